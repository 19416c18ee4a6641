-- Tasks, what EvoLink said about them, and what consumers are told. Times are Unix milliseconds.
--
-- The CHECKs say OR where IN would be shorter: SQLite makes a table of each IN list for every statement, which took two
-- fifths of a batch's time.

CREATE TABLE task (
    -- Numbered by the recorder, one after the other.
    seq              INTEGER PRIMARY KEY,
    submission_id    TEXT    NOT NULL UNIQUE CHECK (length(submission_id) = 36),
    task_id          TEXT    UNIQUE CHECK (length(task_id) BETWEEN 1 AND 128),
    -- submit: through our API; standing: by a standing callback URL; restored: from a callback whose record was gone.
    origin           TEXT    NOT NULL CHECK (origin = 'submit' OR origin = 'standing' OR origin = 'restored'),
    -- The API key's name, or the label of the standing URL.
    client           TEXT,
    -- What was asked of EvoLink, without the callback URL.
    request          BLOB,
    -- The app's own address, where the outcome is delivered to.
    callback_url     TEXT,
    state            TEXT    NOT NULL CHECK (state = 'completed' OR state = 'submitting' OR state = 'pending'
                                 OR state = 'processing' OR state = 'failed' OR state = 'cancelled'
                                 OR state = 'submit_unknown' OR state = 'rejected' OR state = 'unresolved'),
    progress         INTEGER NOT NULL CHECK (progress BETWEEN 0 AND 100),
    source           TEXT    CHECK (source = 'callback' OR source = 'submit' OR source = 'poll' OR source = 'replay'),
    -- SHA-256 over the result URLs of a completed task.
    results_digest   BLOB    CHECK (length(results_digest) = 32),
    -- EvoLink's refusal of the submit.
    refusal          BLOB,
    -- How many observations are kept, and which one's body is shown.
    observations     INTEGER NOT NULL CHECK (observations BETWEEN 0 AND 1023),
    shown            INTEGER CHECK (shown BETWEEN 0 AND 1023),
    submitted_at     INTEGER NOT NULL,
    outcome_at       INTEGER,
    next_poll_at     INTEGER,
    polled_at        INTEGER,
    polls            INTEGER NOT NULL,
    empty_polls      INTEGER NOT NULL,
    missed_polls     INTEGER NOT NULL,
    -- When EvoLink itself first named the task id, in answer to a submit or to a poll.
    vouched_at       INTEGER,
    -- An outcome that a callback told of and that EvoLink is asked about before it is believed.
    claimed          TEXT    CHECK (claimed = 'completed' OR claimed = 'failed' OR claimed = 'cancelled'),
    claimed_at       INTEGER,
    CHECK ((state = 'completed' OR state = 'failed' OR state = 'cancelled') = (outcome_at IS NOT NULL)),
    CHECK (task_id IS NOT NULL OR state = 'submitting' OR state = 'submit_unknown' OR state = 'rejected'),
    CHECK ((claimed IS NULL) = (claimed_at IS NULL)),
    -- After an outcome EvoLink is asked about nothing but another one that is claimed.
    CHECK (outcome_at IS NULL OR next_poll_at IS NULL OR claimed IS NOT NULL)
) STRICT;

CREATE INDEX task_due ON task (next_poll_at) WHERE next_poll_at IS NOT NULL;
-- Most tasks are completed, and those need no index to be found. Submission ids sort by time.
CREATE INDEX task_state ON task (state, submission_id) WHERE state <> 'completed';
CREATE INDEX task_client ON task (client, submission_id);

CREATE TRIGGER task_outcome_never_changes BEFORE UPDATE OF state, outcome_at, results_digest, shown ON task
WHEN OLD.outcome_at IS NOT NULL AND (NEW.state IS NOT OLD.state OR NEW.outcome_at IS NOT OLD.outcome_at
    OR NEW.results_digest IS NOT OLD.results_digest OR NEW.shown IS NOT OLD.shown)
BEGIN
    SELECT RAISE(ABORT, 'an outcome never changes');
END;

CREATE TRIGGER task_binding_never_changes BEFORE UPDATE OF task_id ON task
WHEN OLD.task_id IS NOT NULL AND NEW.task_id IS NOT OLD.task_id
BEGIN
    SELECT RAISE(ABORT, 'a bound task id never changes');
END;

CREATE TABLE observation (
    -- task.seq * 1024 + n, n counting the task's observations from 0: the rows of one task lie together and need no
    -- index of their own.
    id               INTEGER PRIMARY KEY,
    source           TEXT    NOT NULL CHECK (source = 'callback' OR source = 'submit' OR source = 'poll' OR source = 'replay'),
    result           TEXT    NOT NULL CHECK (result = 'recorded' OR result = 'unchanged' OR result = 'duplicate'
                                 OR result = 'conflict'),
    at               INTEGER NOT NULL,
    body             BLOB    NOT NULL
) STRICT;

CREATE TABLE event (
    -- Numbered by the recorder, one after the other and without a gap: who has read up to one knows which is next.
    seq              INTEGER PRIMARY KEY,
    task_seq         INTEGER NOT NULL,
    type             TEXT    NOT NULL,
    source           TEXT,
    -- The observation that it tells of; NULL if it tells of our giving up.
    observation      INTEGER,
    at               INTEGER NOT NULL
) STRICT;

CREATE INDEX event_of_task ON event (task_seq);

-- The next number is that of the newest event and one: without it a number would be given twice.
CREATE TRIGGER event_newest_stays BEFORE DELETE ON event
WHEN OLD.seq = (SELECT max(seq) FROM event)
BEGIN
    SELECT RAISE(ABORT, 'the newest event stays');
END;

-- One event owed to one endpoint.
CREATE TABLE delivery (
    -- event_seq * 1024 + n, n counting the deliveries of the event from 0: the rows of one event lie together, the newest
    -- are last, and an outcome is owed to nobody twice.
    id               INTEGER PRIMARY KEY,
    event_seq        INTEGER NOT NULL,
    task_seq         INTEGER NOT NULL,
    -- The name of a standing endpoint, or the origin (scheme://host:port) of the app's own address.
    endpoint         TEXT    NOT NULL,
    -- The app's own address. NULL for a standing endpoint, whose own is read when it is sent.
    url              TEXT,
    state            TEXT    NOT NULL CHECK (state = 'pending' OR state = 'delivered' OR state = 'dead'),
    -- Since it was made, or last made pending again.
    attempts         INTEGER NOT NULL CHECK (attempts >= 0),
    due_at           INTEGER NOT NULL,
    -- The process that sends it, and until when it is alone with it.
    holder           TEXT,
    lease_until      INTEGER,
    -- How the last attempt ended.
    last_status      INTEGER CHECK (last_status BETWEEN 100 AND 999),
    last_error       TEXT,
    made_at          INTEGER NOT NULL,
    ended_at         INTEGER,
    CHECK (id / 1024 = event_seq),
    CHECK ((state = 'pending') = (ended_at IS NULL)),
    CHECK ((holder IS NULL) = (lease_until IS NULL)),
    CHECK (holder IS NULL OR state = 'pending')
) STRICT;

-- What is to be sent, by endpoint: no endpoint has to wait for another's.
CREATE INDEX delivery_due ON delivery (endpoint, due_at) WHERE state = 'pending';
-- Most are delivered, and those need no index to be found.
CREATE INDEX delivery_open ON delivery (state, id) WHERE state <> 'delivered';
CREATE INDEX delivery_dead ON delivery (endpoint, id) WHERE state = 'dead';

CREATE TRIGGER delivery_delivered_never_changes BEFORE UPDATE ON delivery
WHEN OLD.state = 'delivered'
BEGIN
    SELECT RAISE(ABORT, 'what was delivered never changes');
END;

CREATE TRIGGER delivery_dead_begins_anew BEFORE UPDATE OF state ON delivery
WHEN OLD.state = 'dead' AND NEW.state = 'pending' AND NEW.attempts <> 0
BEGIN
    SELECT RAISE(ABORT, 'a dead delivery is pending only from the beginning');
END;

CREATE TRIGGER delivery_is_of_its_event BEFORE UPDATE OF id, event_seq, task_seq, endpoint, url, made_at ON delivery
BEGIN
    SELECT RAISE(ABORT, 'a delivery stays that of its event and its endpoint');
END;

-- Standing endpoints that want nothing any more, until an operator has something sent to them again.
CREATE TABLE endpoint (
    name             TEXT    PRIMARY KEY,
    disabled_at      INTEGER NOT NULL,
    reason           TEXT    NOT NULL
) STRICT;

-- What could not be applied, with its bytes. The small columns come first: a list reads no more.
CREATE TABLE quarantine (
    -- AUTOINCREMENT: whoever replays an entry names it by its number, which must never mean another.
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    -- The submission id, or `~` and the label of a standing URL.
    subject          TEXT    NOT NULL,
    -- unreadable: no task body; mismatch: about another task than its URL is for; conflict: another outcome.
    kind             TEXT    NOT NULL CHECK (kind = 'unreadable' OR kind = 'mismatch' OR kind = 'conflict'),
    source           TEXT    NOT NULL CHECK (source = 'callback' OR source = 'submit' OR source = 'poll' OR source = 'replay'),
    -- The task that the body names, if it could be read.
    task_id          TEXT,
    repeats          INTEGER NOT NULL,
    first_at         INTEGER NOT NULL,
    last_at          INTEGER NOT NULL,
    -- When it was recorded after all, or last tried, and what became of it.
    replayed_at      INTEGER,
    replay_result    TEXT    CHECK (replay_result = 'recorded' OR replay_result = 'unchanged' OR replay_result = 'duplicate'
                                 OR replay_result = 'conflict' OR replay_result = 'mismatch'),
    -- Of headers and body.
    bytes            INTEGER NOT NULL CHECK (bytes >= 0),
    body_digest      BLOB    NOT NULL CHECK (length(body_digest) = 32),
    reason           TEXT    NOT NULL,
    headers          TEXT    NOT NULL,
    body             BLOB    NOT NULL,
    UNIQUE (subject, body_digest),
    CHECK ((replayed_at IS NULL) = (replay_result IS NULL))
) STRICT;

CREATE INDEX quarantine_task ON quarantine (task_id) WHERE task_id IS NOT NULL;

-- One row: what is in quarantine. Kept by triggers, so that it is true whoever adds or removes.
CREATE TABLE quarantine_total (
    id               INTEGER PRIMARY KEY CHECK (id = 1),
    entries          INTEGER NOT NULL CHECK (entries >= 0),
    bytes            INTEGER NOT NULL CHECK (bytes >= 0)
) STRICT;

INSERT INTO quarantine_total (id, entries, bytes) VALUES (1, 0, 0);

CREATE TRIGGER quarantine_added AFTER INSERT ON quarantine
BEGIN
    UPDATE quarantine_total SET entries = entries + 1, bytes = bytes + NEW.bytes WHERE id = 1;
END;

CREATE TRIGGER quarantine_removed AFTER DELETE ON quarantine
BEGIN
    UPDATE quarantine_total SET entries = entries - 1, bytes = bytes - OLD.bytes WHERE id = 1;
END;

-- Submits that ended without an answer that names a task: when, and whether it is known that nothing was accepted.
CREATE TABLE submit_end (
    task_seq         INTEGER PRIMARY KEY,
    result           TEXT    NOT NULL CHECK (result = 'unknown' OR result = 'refused'),
    at               INTEGER NOT NULL
) STRICT;

CREATE TABLE idempotency (
    -- API key name, `/`, Idempotency-Key.
    name             TEXT    PRIMARY KEY,
    fingerprint      BLOB    NOT NULL CHECK (length(fingerprint) = 32),
    submission_id    TEXT    NOT NULL,
    made_at          INTEGER NOT NULL
) STRICT;

-- The keys that callback tokens are made with, as all processes of this database know them; never the keys themselves.
CREATE TABLE callback_key (
    id               TEXT    PRIMARY KEY,
    -- HMAC-SHA-256 of a constant.
    fingerprint      BLOB    NOT NULL CHECK (length(fingerprint) = 32)
) STRICT;

-- One row. On PostgreSQL a recorder changes it first in each transaction: so recorders take turns, and events become
-- visible in the order of their numbers. SQLite has one writer anyway, and leaves it alone.
CREATE TABLE recorder_turn (
    id               INTEGER PRIMARY KEY CHECK (id = 1),
    taken            INTEGER NOT NULL
) STRICT;

INSERT INTO recorder_turn (id, taken) VALUES (1, 0);
