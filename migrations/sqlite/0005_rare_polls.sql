-- Unresolved tasks are polled too, but rarely. They get an index of their own, so that any number of
-- them delays no other task.
DROP INDEX task_due;
CREATE INDEX task_due ON task (next_poll_at)
    WHERE next_poll_at IS NOT NULL AND (state <> 'unresolved' OR claimed IS NOT NULL);
CREATE INDEX task_rarely_due ON task (next_poll_at)
    WHERE next_poll_at IS NOT NULL AND state = 'unresolved' AND claimed IS NULL;
