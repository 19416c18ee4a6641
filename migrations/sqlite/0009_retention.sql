-- The janitor, which deletes what was kept for as long as the configuration says. Times are Unix
-- milliseconds.
CREATE TABLE janitor (
    id               INTEGER PRIMARY KEY CHECK (id = 1),
    -- The process that deletes, and when its lease ends.
    holder           TEXT,
    lease_until      INTEGER,
    -- The last task (task.seq) whose old bodies were deleted.
    bodies_upto      INTEGER NOT NULL CHECK (bodies_upto >= 0),
    -- The last delivery (delivery.id) that was examined because it was delivered long ago.
    deliveries_upto  INTEGER NOT NULL CHECK (deliveries_upto >= 0),
    -- When everything that was due was deleted last.
    ran_at           INTEGER,
    CHECK ((holder IS NULL) = (lease_until IS NULL))
) STRICT;

INSERT INTO janitor (id, bodies_upto, deliveries_upto) VALUES (1, 0, 0);

-- Tasks that were exported before their first events were deleted, and that are still here.
CREATE TABLE exported_task (
    task_seq         INTEGER PRIMARY KEY,
    -- The newest event of the task that the export has.
    event_seq        INTEGER NOT NULL CHECK (event_seq > 0)
) STRICT;

CREATE INDEX idempotency_age ON idempotency (made_at);
