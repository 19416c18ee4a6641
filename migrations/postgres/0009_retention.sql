-- The janitor, which deletes what was kept for as long as the configuration says. Times are Unix
-- milliseconds.
CREATE TABLE janitor (
    id               BIGINT  PRIMARY KEY CHECK (id = 1),
    -- The process that deletes, and when its lease ends.
    holder           TEXT,
    lease_until      BIGINT,
    -- The last task (task.seq) whose old bodies were deleted.
    bodies_upto      BIGINT  NOT NULL CHECK (bodies_upto >= 0),
    -- The last delivery (delivery.id) that was examined because it was delivered long ago.
    deliveries_upto  BIGINT  NOT NULL CHECK (deliveries_upto >= 0),
    -- When everything that was due was deleted last.
    ran_at           BIGINT ,
    CHECK ((holder IS NULL) = (lease_until IS NULL))
);

INSERT INTO janitor (id, bodies_upto, deliveries_upto) VALUES (1, 0, 0);

-- Tasks that were exported before their first events were deleted, and that are still here.
CREATE TABLE exported_task (
    task_seq         BIGINT  PRIMARY KEY,
    -- The newest event of the task that the export has.
    event_seq        BIGINT  NOT NULL CHECK (event_seq > 0)
);

CREATE INDEX idempotency_age ON idempotency (made_at);

-- Rows are deleted at the rate at which they come. By default autovacuum would wait until a fifth
-- of a table is dead, which for a table of many millions of rows is much space and one long run.
ALTER TABLE task SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
ALTER TABLE observation SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
ALTER TABLE event SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
ALTER TABLE delivery SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
ALTER TABLE result SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
ALTER TABLE idempotency SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
