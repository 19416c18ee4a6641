-- A completed task may get more results: EvoLink sends the callbacks of some tasks in stages.
--
-- The order in which results are numbered: positions, separated by commas. NULL if they are
-- numbered as EvoLink lists them.
ALTER TABLE task ADD COLUMN results_order TEXT;

-- Only the results of a completed task may be replaced, by those of a later observation. That these
-- contain the published ones is checked by the recorder.
DROP TRIGGER task_outcome_never_changes ON task;
CREATE TRIGGER task_outcome_never_changes
BEFORE UPDATE OF state, outcome_at, results_digest, shown, results_order ON task FOR EACH ROW
WHEN (OLD.outcome_at IS NOT NULL AND (NEW.state IS DISTINCT FROM OLD.state OR NEW.outcome_at IS DISTINCT FROM OLD.outcome_at
    OR NEW.results_digest IS DISTINCT FROM OLD.results_digest OR NEW.shown IS DISTINCT FROM OLD.shown
    OR NEW.results_order IS DISTINCT FROM OLD.results_order)
    AND NOT (OLD.state = 'completed' AND NEW.state = 'completed' AND NEW.outcome_at IS NOT DISTINCT FROM OLD.outcome_at
        AND NEW.results_digest IS NOT NULL AND NEW.results_digest IS DISTINCT FROM OLD.results_digest
        AND NEW.shown IS NOT NULL AND NEW.shown > coalesce(OLD.shown, -1)))
EXECUTE FUNCTION task_outcome_never_changes();
