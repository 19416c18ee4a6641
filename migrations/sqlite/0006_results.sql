-- Result files: one row for each file of a completed task, from the completion on. Times are Unix
-- milliseconds.
CREATE TABLE result (
    -- task.seq * 64 + n, where n counts the files of the task from 0. So the rows of one task are
    -- stored together.
    id               INTEGER PRIMARY KEY,
    -- The client of the task; empty if it has none. The files of all clients are fetched in turns.
    client           TEXT    NOT NULL,
    -- The newest URL at which EvoLink offers the file.
    url              TEXT    NOT NULL,
    state            TEXT    NOT NULL CHECK (state = 'pending' OR state = 'archived' OR state = 'failed'
                                 OR state = 'expired'),
    -- Failed fetches since it was recorded, or last retried by an operator.
    attempts         INTEGER NOT NULL CHECK (attempts >= 0),
    due_at           INTEGER,
    -- When EvoLink stops offering the file.
    offered_until    INTEGER NOT NULL,
    -- The process that fetches the file, and when its lease ends.
    holder           TEXT,
    lease_until      INTEGER,
    -- 1 once EvoLink was asked for a fresh URL.
    refreshed        INTEGER NOT NULL CHECK (refreshed = 0 OR refreshed = 1),
    -- The copy, and when it was made, given up or deleted.
    sha256           TEXT    CHECK (length(sha256) = 64),
    bytes            INTEGER CHECK (bytes >= 0),
    content_type     TEXT,
    width            INTEGER CHECK (width >= 0),
    height           INTEGER CHECK (height >= 0),
    ended_at         INTEGER,
    error            TEXT,
    CHECK ((state = 'pending') = (due_at IS NOT NULL)),
    CHECK ((state = 'pending') = (ended_at IS NULL)),
    CHECK ((holder IS NULL) = (lease_until IS NULL)),
    CHECK (holder IS NULL OR state = 'pending'),
    CHECK ((state = 'archived' OR state = 'expired') = (sha256 IS NOT NULL)),
    CHECK ((sha256 IS NULL) = (bytes IS NULL)),
    CHECK ((sha256 IS NULL) = (content_type IS NULL)),
    CHECK ((width IS NULL) = (height IS NULL))
) STRICT;

-- Pending files by client, those that EvoLink deletes first before the others. `due_at` is in the
-- index, so files that are not due are skipped without reading their rows.
CREATE INDEX result_pending ON result (client, offered_until, due_at) WHERE state = 'pending';
CREATE INDEX result_failed ON result (state, id) WHERE state = 'failed';
-- Archived files by age, to find those whose retention is over.
CREATE INDEX result_archived ON result (ended_at) WHERE state = 'archived';
-- Archived files by copy, to find out whether a copy is still needed.
CREATE INDEX result_copy ON result (sha256) WHERE state = 'archived';
