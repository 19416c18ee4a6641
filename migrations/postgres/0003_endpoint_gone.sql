-- 410 answers of standing endpoints since their last 2xx: the first one to each delivery, at most
-- three of an endpoint. When they disable the endpoint, a row of `endpoint` replaces them.
CREATE TABLE endpoint_gone (
    name             TEXT    COLLATE "C" NOT NULL,
    delivery_id      BIGINT  NOT NULL CHECK (delivery_id > 0),
    at               BIGINT  NOT NULL,
    PRIMARY KEY (name, delivery_id)
);
