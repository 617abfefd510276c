-- The spool's schema, version 3.  What each table is for: see mta/spool/schema.py.
-- Times are UTC milliseconds; "message" is a queue id as a number; "n" is a recipient's number in its message.

CREATE TABLE message (
    id INTEGER PRIMARY KEY,
    arrived INTEGER NOT NULL,
    sender TEXT,                    -- NULL is the null reverse-path
    size INTEGER NOT NULL,          -- octets with the edits applied
    stored INTEGER NOT NULL,        -- octets as they came
    external INTEGER NOT NULL,      -- 1: the body is a file
    envelope TEXT NOT NULL,
    edits TEXT,
    story TEXT NOT NULL
);
CREATE INDEX external_message ON message (id) WHERE external = 1;

CREATE TABLE body (
    id INTEGER PRIMARY KEY,
    data BLOB NOT NULL
);

CREATE TABLE destination (
    id INTEGER PRIMARY KEY,
    service TEXT NOT NULL,
    next_hop TEXT NOT NULL,
    first_due INTEGER,              -- of what waits for it; NULL: nothing does
    UNIQUE (service, next_hop)
);
CREATE INDEX destination_due ON destination (first_due) WHERE first_due IS NOT NULL;

CREATE TABLE recipient (
    message INTEGER NOT NULL,
    n INTEGER NOT NULL,
    state INTEGER NOT NULL,         -- 0 waiting, 1 claimed, 2 held, 3 staged
    destination INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    due INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    address TEXT NOT NULL,
    original TEXT,                  -- NULL: the same as address
    path TEXT,
    orcpt TEXT NOT NULL,
    notify TEXT NOT NULL,
    hold TEXT NOT NULL,
    progress TEXT,
    sender INTEGER NOT NULL DEFAULT 0,  -- whose turn it takes: a number (mta/sender.py); 0: not known
    PRIMARY KEY (message, n)
) WITHOUT ROWID;
-- Partial: a recipient that is claimed at birth and ends in its first attempt never touches it.
CREATE INDEX waiting ON recipient (destination, priority, sender, due, message, n) WHERE state = 0;
CREATE INDEX aside ON recipient (destination) WHERE state >= 2;
-- What waits of one sender with one priority; "turn": something of it is due, and this is its place in the round.
CREATE TABLE line (
    destination INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    sender INTEGER NOT NULL,
    first_due INTEGER NOT NULL,
    turn INTEGER,
    PRIMARY KEY (destination, priority, sender)
) WITHOUT ROWID;
CREATE INDEX line_due ON line (destination, priority, first_due) WHERE turn IS NULL;
CREATE INDEX line_turn ON line (destination, priority, turn, sender) WHERE turn IS NOT NULL;
-- Whoever makes a recipient wait, its destination and its line know; what waits no more is taken back by who takes it.
CREATE TRIGGER new_waits AFTER INSERT ON recipient WHEN NEW.state = 0 BEGIN
    UPDATE destination SET first_due = NEW.due
    WHERE id = NEW.destination AND (first_due IS NULL OR first_due > NEW.due);
    INSERT INTO line VALUES (NEW.destination, NEW.priority, NEW.sender, NEW.due, NULL)
    ON CONFLICT DO UPDATE SET first_due = excluded.first_due WHERE first_due > excluded.first_due;
END;
CREATE TRIGGER waits_again AFTER UPDATE OF state ON recipient WHEN NEW.state = 0 BEGIN
    UPDATE destination SET first_due = NEW.due
    WHERE id = NEW.destination AND (first_due IS NULL OR first_due > NEW.due);
    INSERT INTO line VALUES (NEW.destination, NEW.priority, NEW.sender, NEW.due, NULL)
    ON CONFLICT DO UPDATE SET first_due = excluded.first_due WHERE first_due > excluded.first_due;
END;

-- What is held, counted as it changes: nobody goes through the queue for it.  Deletions by REPLACE fire these too
-- (recursive_triggers).
CREATE TRIGGER new_held AFTER INSERT ON recipient WHEN NEW.state = 2 BEGIN
    UPDATE counter SET n = n + 1 WHERE what = 'held';
END;
CREATE TRIGGER held_over AFTER DELETE ON recipient WHEN OLD.state = 2 BEGIN
    UPDATE counter SET n = n - 1 WHERE what = 'held';
END;
CREATE TRIGGER held_again AFTER UPDATE OF state ON recipient WHEN (OLD.state = 2) != (NEW.state = 2) BEGIN
    UPDATE counter SET n = n + (NEW.state = 2) - (OLD.state = 2) WHERE what = 'held';
END;

CREATE TABLE staging (
    message INTEGER PRIMARY KEY
);

CREATE TABLE notice (
    message INTEGER NOT NULL,
    n INTEGER NOT NULL,
    state INTEGER NOT NULL,         -- 0 waiting, 1 claimed, 2 cannot be read
    PRIMARY KEY (message, n)
) WITHOUT ROWID;

CREATE TABLE history (
    message INTEGER NOT NULL,
    n INTEGER NOT NULL,
    status TEXT NOT NULL,
    ended INTEGER NOT NULL,
    reply TEXT NOT NULL,
    address TEXT NOT NULL,
    original TEXT,
    service TEXT NOT NULL,
    next_hop TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (message, n)
) WITHOUT ROWID;

CREATE TABLE event (
    id INTEGER PRIMARY KEY,
    message INTEGER NOT NULL,
    data TEXT NOT NULL
);
CREATE INDEX event_message ON event (message);

CREATE TABLE totals (
    day INTEGER NOT NULL,
    what TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (day, what)
) WITHOUT ROWID;

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE counter (
    what TEXT PRIMARY KEY,
    n INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO counter VALUES ('held', 0);

-- Who is named in which message: an address, or "@" and its domain.  Filled when there is time for it, up to the
-- message under "named" in meta; "unnamed" are those up to there that have ended since and must be looked at again.
CREATE TABLE named (
    part INTEGER NOT NULL,          -- the time of the message, roughly
    name TEXT NOT NULL,
    message INTEGER NOT NULL,
    PRIMARY KEY (part, name, message)
) WITHOUT ROWID;
CREATE TABLE unnamed (
    message INTEGER PRIMARY KEY
);
