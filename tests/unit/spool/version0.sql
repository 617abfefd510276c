-- The schema of version 0, with mail inside: one message that waits for two recipients, one of them held, and
-- one that has ended.
CREATE TABLE message (id INTEGER PRIMARY KEY, arrived INTEGER NOT NULL, sender TEXT, size INTEGER NOT NULL,
    stored INTEGER NOT NULL, external INTEGER NOT NULL, envelope TEXT NOT NULL, edits TEXT, story TEXT NOT NULL);
CREATE TABLE body (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE destination (id INTEGER PRIMARY KEY, service TEXT NOT NULL, next_hop TEXT NOT NULL,
    UNIQUE (service, next_hop));
CREATE TABLE recipient (message INTEGER NOT NULL, n INTEGER NOT NULL, state INTEGER NOT NULL,
    destination INTEGER NOT NULL, priority INTEGER NOT NULL, due INTEGER NOT NULL, attempts INTEGER NOT NULL,
    address TEXT NOT NULL, original TEXT, path TEXT, orcpt TEXT NOT NULL, notify TEXT NOT NULL, hold TEXT NOT NULL,
    PRIMARY KEY (message, n)) WITHOUT ROWID;
CREATE INDEX waiting ON recipient (destination, priority DESC, due, message, n) WHERE state = 0;
CREATE TABLE history (message INTEGER NOT NULL, n INTEGER NOT NULL, status TEXT NOT NULL, ended INTEGER NOT NULL,
    reply TEXT NOT NULL, address TEXT NOT NULL, original TEXT, service TEXT NOT NULL, next_hop TEXT NOT NULL,
    detail TEXT NOT NULL, PRIMARY KEY (message, n)) WITHOUT ROWID;
CREATE TABLE event (id INTEGER PRIMARY KEY, message INTEGER NOT NULL, data TEXT NOT NULL);
CREATE INDEX event_message ON event (message);
CREATE TABLE totals (day INTEGER NOT NULL, what TEXT NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (day, what))
    WITHOUT ROWID;

INSERT INTO destination VALUES (1, 'internet', 'b.example');
INSERT INTO message VALUES (3565158400000000000, 1700000000000, 'ann@a.example', 37, 24, 0,
    '{"origin":{"listener":"mx","protocol":"ESMTP","client":"192.0.2.7"},"rights":["network"]}',
    '[[0,0,"Received: x\r\n"]]', '[["accepted",{"client":"192.0.2.7"},1700000000000,-1]]');
INSERT INTO body VALUES (3565158400000000000, CAST('Subject: hello' || char(13, 10, 13, 10) || 'body' || char(13, 10)
    AS BLOB));
INSERT INTO recipient VALUES (3565158400000000000, 0, 1, 1, 0, 1700000000000, 2, 'bob@b.example', NULL,
    '["aliases:12"]', '', '', '');
INSERT INTO recipient VALUES (3565158400000000000, 1, 2, 1, 0, 1700000000000, 0, 'carol@b.example', NULL, NULL, '',
    '', 'by hand');
INSERT INTO message VALUES (3565158400000000001, 1700000000000, NULL, 10, 10, 0, '{"origin":{}}', NULL, '[]');
INSERT INTO history VALUES (3565158400000000001, 0, 'relayed', 1700000000500, '250 2.0.0 Ok', 'bob@b.example', NULL,
    'internet', 'b.example', '{"due":1700000000000,"attempts":1}');
INSERT INTO totals VALUES (19675, 'accepted', 3);
INSERT INTO totals VALUES (19675, 'relayed', 1);
PRAGMA user_version = 0;
