-- From version 1 of the file to version 2, see schema.sql. Run in one transaction, without foreign keys.
-- A CHECK cannot be altered, so the table of queues is made again; its numbers stay, and none is used twice.

CREATE TABLE new_queue (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    name           TEXT NOT NULL UNIQUE,
    kind           TEXT NOT NULL CHECK (kind IN ('work', 'dead', 'reply', 'temporary')),
    max_priority   INTEGER NOT NULL DEFAULT 0,
    delivery_limit INTEGER,                          -- NULL: no limit
    dead_letter    INTEGER REFERENCES queue (id),    -- NULL: messages above the limit stay
    owner          INTEGER REFERENCES process (id),  -- of a reply or temporary queue, which goes with it
    max_length     INTEGER,                          -- of a temporary queue: how many messages may wait
    overflow       TEXT CHECK (overflow IN ('drop-head', 'reject-publish')),
    label          TEXT                              -- of a temporary queue: what it is for, for people
) STRICT;

INSERT INTO new_queue (id, name, kind, max_priority, delivery_limit, dead_letter, owner)
SELECT id, name, kind, max_priority, delivery_limit, dead_letter, owner FROM queue;

DELETE FROM sqlite_sequence WHERE name = 'new_queue';
INSERT INTO sqlite_sequence (name, seq) SELECT 'new_queue', seq FROM sqlite_sequence WHERE name = 'queue';

DROP TABLE queue;
ALTER TABLE new_queue RENAME TO queue;
CREATE INDEX queue_of_owner ON queue (owner) WHERE owner IS NOT NULL;

CREATE TABLE exchange (
    id      INTEGER PRIMARY KEY,
    name    TEXT NOT NULL UNIQUE,
    kind    TEXT NOT NULL CHECK (kind IN ('fanout', 'direct', 'topic', 'headers')),
    durable INTEGER NOT NULL                         -- as it was declared; in this file everything is
) STRICT;

-- The bindings of an exchange, and those that have one key, are a range.
CREATE TABLE binding (
    exchange INTEGER NOT NULL REFERENCES exchange (id) ON DELETE CASCADE,
    key      TEXT NOT NULL,
    queue    INTEGER NOT NULL REFERENCES queue (id) ON DELETE CASCADE,
    headers  TEXT NOT NULL,                          -- a JSON object, sorted by name
    match    TEXT NOT NULL CHECK (match IN ('all', 'any')),
    PRIMARY KEY (exchange, key, queue, headers, match)
) STRICT, WITHOUT ROWID;

-- What goes with a queue.
CREATE INDEX binding_of_queue ON binding (queue);
