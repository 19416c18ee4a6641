-- Submits without an idempotency key whose answer did not reach the app yet, or never did. An equal submit of the same
-- API key is a repeat of one of these. The row goes when the answer was handed over whole, or when the submit was
-- refused.
CREATE TABLE unanswered_submit (
    -- Ids sort by time, so the oldest rows are the first.
    submission_id    TEXT    PRIMARY KEY CHECK (length(submission_id) = 36),
    -- The API key's name; empty where no keys are used.
    client           TEXT    NOT NULL,
    fingerprint      BLOB    NOT NULL CHECK (length(fingerprint) = 32),
    -- The process that the app waits at; empty once that process is known to be dead.
    holder           TEXT    NOT NULL,
    -- Grows while the app waits for long: another process sees that the holder lives.
    beats            INTEGER NOT NULL,
    -- 1 once the app has disconnected, or the outcome of the submit is unknown.
    lost             INTEGER NOT NULL CHECK (lost = 0 OR lost = 1)
) STRICT;

CREATE INDEX unanswered_submit_request ON unanswered_submit (client, fingerprint);
