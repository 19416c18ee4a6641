-- How much each API key uses. Its limits are compared with this, so restarts and replicas agree.
CREATE TABLE key_use (
    -- The API key's name; empty where no keys are used.
    client           TEXT    COLLATE "C" NOT NULL,
    -- Days since 1970-01-01, in UTC.
    day              BIGINT  NOT NULL,
    -- The submits of that day, without those that were refused.
    submits          BIGINT  NOT NULL CHECK (submits >= 0),
    -- Millionths of credits: what EvoLink reserved or charged for those submits.
    credits          BIGINT  NOT NULL CHECK (credits >= 0),
    -- Unix microseconds: until then the submits so far use up what the key may send in a second.
    spent_until      BIGINT  NOT NULL,
    PRIMARY KEY (day, client)
);

-- Millionths of credits that EvoLink reserved for the task, or charged for it.
ALTER TABLE task ADD COLUMN credits BIGINT CHECK (credits >= 0);
