-- Epochs: the lifetimes of this store. An event's id is `{name}-{seq}`, with the newest epoch that
-- began before the event.

CREATE TABLE epoch (
    -- Counts 1, 2, 3 …; the greatest is the current epoch.
    number           BIGINT  PRIMARY KEY CHECK (number >= 1),
    name             TEXT    NOT NULL UNIQUE CHECK (length(name) = 8),
    -- The newest event when the epoch began; its own events come after it.
    after_seq        BIGINT  NOT NULL CHECK (after_seq >= 0),
    began_at         BIGINT  NOT NULL,
    -- PostgreSQL: the server, timeline, database and table that the epoch began in. Others mean
    -- that the database was copied or restored. NULL on SQLite, where the high-water mark says so.
    home             TEXT
);

CREATE FUNCTION epoch_never_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an epoch never changes';
END $$;

CREATE TRIGGER epoch_never_changes BEFORE UPDATE ON epoch FOR EACH ROW EXECUTE FUNCTION epoch_never_changes();

-- An id of an epoch that is not there any more could not be distinguished from one of another store.
CREATE FUNCTION epoch_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an epoch stays';
END $$;

CREATE TRIGGER epoch_stays BEFORE DELETE ON epoch FOR EACH ROW EXECUTE FUNCTION epoch_stays();
