-- Standing endpoints that answered 410 since their last 2xx: the first such answer of each delivery, of
-- three deliveries at most. Enough of them disable the endpoint, which replaces them by a row of `endpoint`.
CREATE TABLE endpoint_gone (
    name             TEXT    COLLATE "C" NOT NULL,
    delivery_id      BIGINT  NOT NULL CHECK (delivery_id > 0),
    at               BIGINT  NOT NULL,
    PRIMARY KEY (name, delivery_id)
);
