-- Version 2 of the file of the embedded broker. A change of this file is a new version, and needs a way to it from the
-- one before, as schema_1_to_2.sql is: see database.py.

-- An open broker. `lease_until` is on the monotonic clock of the boot `boot_id`.
CREATE TABLE process (
    id            INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice: a late process must not find another's row
    pid           INTEGER NOT NULL,
    start_time    INTEGER,                           -- clock ticks after boot; NULL where the system does not tell
    boot_id       TEXT NOT NULL,
    pid_namespace TEXT NOT NULL,
    lease_until   REAL NOT NULL,
    wake_port     INTEGER NOT NULL
) STRICT;

CREATE TABLE queue (
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

-- What is a process's own, when it goes.
CREATE INDEX queue_of_owner ON queue (owner) WHERE owner IS NOT NULL;

CREATE TABLE consumer (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,      -- never used twice: claims are named after it
    process  INTEGER NOT NULL REFERENCES process (id) ON DELETE CASCADE,
    queue    INTEGER NOT NULL REFERENCES queue (id) ON DELETE CASCADE,
    prefetch INTEGER NOT NULL
) STRICT;

-- Whom to wake when a queue got a message.
CREATE INDEX consumer_of_queue ON consumer (queue);
-- What a process leaves behind.
CREATE INDEX consumer_of_process ON consumer (process);

-- `claim` is the consumer's id * 2^32 + the number of the claim, so that one number says who holds the message and in
-- which delivery. `queue` is no foreign key: its check would cost each publish a lookup that the publish has just made,
-- and its cascade an index over all messages. Only reply and temporary queues are ever deleted, together with their messages.
CREATE TABLE message (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order of publishing
    queue        INTEGER NOT NULL,
    priority     INTEGER NOT NULL,
    ready_at     REAL,                               -- seconds since the epoch; NULL: ready
    claim        INTEGER,                            -- NULL: nobody's
    redeliveries INTEGER NOT NULL DEFAULT 0,
    properties   TEXT NOT NULL,                      -- a JSON object under the names of AMQP
    body         BLOB NOT NULL
) STRICT;

-- The next message of a queue: the first entry, whatever else the queue holds. (The id ends each entry by itself.)
CREATE INDEX message_ready ON message (queue, priority DESC) WHERE claim IS NULL AND ready_at IS NULL;
-- What is due now, and what is due next.
CREATE INDEX message_delayed ON message (queue, ready_at) WHERE claim IS NULL AND ready_at IS NOT NULL;
-- What a consumer holds: a range of claims.
CREATE INDEX message_claimed ON message (claim) WHERE claim IS NOT NULL;

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
