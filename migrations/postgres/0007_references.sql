-- What apps call their tasks, and the failed attempts of deliveries. Times are Unix milliseconds.
ALTER TABLE task ADD COLUMN reference TEXT COLLATE "C" CHECK (length(reference) BETWEEN 1 AND 128);

-- Most tasks of most apps have none.
CREATE INDEX task_reference ON task (reference, submission_id) WHERE reference IS NOT NULL;

-- An operator's retry of a delivery begins at number 1 again, and replaces the rows before.
CREATE TABLE failed_attempt (
    delivery_id      BIGINT  NOT NULL,
    number           BIGINT  NOT NULL CHECK (number >= 1),
    at               BIGINT  NOT NULL,
    status           BIGINT  CHECK (status BETWEEN 100 AND 999),
    error            TEXT    NOT NULL,
    PRIMARY KEY (delivery_id, number)
);
