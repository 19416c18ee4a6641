-- Standing endpoints that answered 410 since their last 2xx: the first such answer of each delivery, of
-- three deliveries at most. Enough of them disable the endpoint, which replaces them by a row of `endpoint`.
CREATE TABLE endpoint_gone (
    name             TEXT    NOT NULL,
    delivery_id      INTEGER NOT NULL CHECK (delivery_id > 0),
    at               INTEGER NOT NULL,
    PRIMARY KEY (name, delivery_id)
) STRICT;
