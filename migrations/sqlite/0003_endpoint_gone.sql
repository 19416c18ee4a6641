-- 410 answers of standing endpoints since their last 2xx: the first one to each delivery, at most
-- three of an endpoint. When they disable the endpoint, a row of `endpoint` replaces them.
CREATE TABLE endpoint_gone (
    name             TEXT    NOT NULL,
    delivery_id      INTEGER NOT NULL CHECK (delivery_id > 0),
    at               INTEGER NOT NULL,
    PRIMARY KEY (name, delivery_id)
) STRICT;
