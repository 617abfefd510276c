"""The spool's database: how it is opened, made, and brought to the schema of today.

Tables: ``message`` and ``body`` are never updated (a body beside a status would be rewritten with it);
``body`` goes when the last recipient has ended, ``message`` stays with the history until it is purged.
``recipient`` is the queue, ``line`` what waits in it of one sender (``mta.spool.lines``); ``staging`` names messages
whose recipients are not all visible yet; ``notice`` are reports owed; ``history`` is what ended; ``event`` is what
happened in between; ``totals`` are sums by day that no purge touches, ``counter`` what is held now; ``named`` and
``unnamed`` are the index by address (``mta.spool.named``).

Contract: ``open_writer`` gives a connection to a database of the newest version; older ones are migrated in
one transaction (``MIGRATIONS``; its length is the version), newer ones refused.
Failure: ``SpoolUnusable`` with the path and what to do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Final
from urllib.parse import quote

from mta.spool.values import SpoolUnusable

Connect = Callable[[str], sqlite3.Connection]

APPLICATION_ID: Final = 0x74786D74  # "txmt"
PAGE_SIZE: Final = 8192
#: Seconds that a statement waits for a lock that no well-behaved process holds.
BUSY: Final = 2.0
#: Pages in the log past which a commit of the writer brings them into the database (16 MiB).
WAL_PAGES: Final = 2048
LEAST_WAL_PAGES: Final = 32
#: Octets of a database that is read whole at the start.
VERIFIED: Final = 2 * 1024 * 1024 * 1024

_LOWER: Final = (
    "UPDATE destination SET first_due = NEW.due"
    " WHERE id = NEW.destination AND (first_due IS NULL OR first_due > NEW.due);"
)
_LINE: Final = (
    " INSERT INTO line VALUES (NEW.destination, NEW.priority, NEW.sender, NEW.due, NULL)"
    " ON CONFLICT DO UPDATE SET first_due = excluded.first_due WHERE first_due > excluded.first_due;"
)
#: Step N brings version N to version N + 1.
MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        # Version 0 of the first trial: no reports owed, no staging, nothing kept between attempts.
        "ALTER TABLE recipient ADD COLUMN progress TEXT",
        "CREATE INDEX external_message ON message (id) WHERE external = 1",
        "CREATE TABLE staging (message INTEGER PRIMARY KEY)",
        "CREATE TABLE notice (message INTEGER NOT NULL, n INTEGER NOT NULL, state INTEGER NOT NULL,"
        " PRIMARY KEY (message, n)) WITHOUT ROWID",
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    ),
    (
        # Version 1 went through all destinations to find those that have something due.
        "ALTER TABLE destination ADD COLUMN first_due INTEGER",
        "CREATE INDEX destination_due ON destination (first_due) WHERE first_due IS NOT NULL",
        "CREATE INDEX aside ON recipient (destination) WHERE state >= 2",
        "CREATE TRIGGER new_waits AFTER INSERT ON recipient WHEN NEW.state = 0 BEGIN " + _LOWER + " END",
        "CREATE TRIGGER waits_again AFTER UPDATE OF state ON recipient WHEN NEW.state = 0 BEGIN " + _LOWER + " END",
        "UPDATE destination SET first_due ="
        " (SELECT min(due) FROM recipient WHERE state = 0 AND destination = destination.id)",
    ),
    (
        # Version 2 went through the queue to count it, and through queue and history to find an address.
        "CREATE TABLE counter (what TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID",
        "INSERT INTO counter SELECT 'held', count(*) FROM recipient WHERE state >= 2 AND state = 2",
        "CREATE TRIGGER new_held AFTER INSERT ON recipient WHEN NEW.state = 2 BEGIN"
        " UPDATE counter SET n = n + 1 WHERE what = 'held'; END",
        "CREATE TRIGGER held_over AFTER DELETE ON recipient WHEN OLD.state = 2 BEGIN"
        " UPDATE counter SET n = n - 1 WHERE what = 'held'; END",
        "CREATE TRIGGER held_again AFTER UPDATE OF state ON recipient WHEN (OLD.state = 2) != (NEW.state = 2) BEGIN"
        " UPDATE counter SET n = n + (NEW.state = 2) - (OLD.state = 2) WHERE what = 'held'; END",
        "CREATE TABLE named (part INTEGER NOT NULL, name TEXT NOT NULL, message INTEGER NOT NULL,"
        " PRIMARY KEY (part, name, message)) WITHOUT ROWID",
        "CREATE TABLE unnamed (message INTEGER PRIMARY KEY)",
        # ... and served a destination without regard to the sender: whose mail it is where it waits is not known, so
        # all of it is one line, until its next try.
        "ALTER TABLE recipient ADD COLUMN sender INTEGER NOT NULL DEFAULT 0",
        "DROP INDEX waiting",
        "CREATE INDEX waiting ON recipient (destination, priority, sender, due, message, n) WHERE state = 0",
        "CREATE TABLE line (destination INTEGER NOT NULL, priority INTEGER NOT NULL, sender INTEGER NOT NULL,"
        " first_due INTEGER NOT NULL, turn INTEGER, PRIMARY KEY (destination, priority, sender)) WITHOUT ROWID",
        "CREATE INDEX line_due ON line (destination, priority, first_due) WHERE turn IS NULL",
        "CREATE INDEX line_turn ON line (destination, priority, turn, sender) WHERE turn IS NOT NULL",
        "INSERT INTO line SELECT destination, priority, sender, min(due), NULL FROM recipient WHERE state = 0"
        " GROUP BY destination, priority, sender",
        "DROP TRIGGER new_waits",
        "DROP TRIGGER waits_again",
        "CREATE TRIGGER new_waits AFTER INSERT ON recipient WHEN NEW.state = 0 BEGIN " + _LOWER + _LINE + " END",
        f"CREATE TRIGGER waits_again AFTER UPDATE OF state ON recipient WHEN NEW.state = 0 BEGIN {_LOWER}{_LINE} END",
    ),
)
VERSION: Final = len(MIGRATIONS)

_PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",
    "PRAGMA cache_size = -65536",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA recursive_triggers = ON",  # what REPLACE deletes is counted like any other
    "PRAGMA trusted_schema = OFF",
)


def connect(path: str) -> sqlite3.Connection:
    """A connection for one thread at a time, transactions written out."""
    return sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False, cached_statements=512)


def open_writer(path: Path, connect: Connect = connect, wal_octets: int = WAL_PAGES * PAGE_SIZE) -> sqlite3.Connection:
    """The connection that writes.  ``wal_octets``: the log is brought into the database past this, and past
    ``WAL_PAGES``; it must fit into what is kept free for a full disk."""
    try:
        db = connect(str(path))
        try:
            _prepare(db, path)
            pages = max(LEAST_WAL_PAGES, min(WAL_PAGES, wal_octets // PAGE_SIZE))
            db.execute(f"PRAGMA wal_autocheckpoint = {pages}")
        except BaseException:
            db.close()
            raise
    except sqlite3.DatabaseError as error:
        raise unusable(path, error) from error
    return db


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that only reads; it never checkpoints."""
    try:
        db = sqlite3.connect(
            f"file:{quote(str(path))}?mode=ro",
            uri=True,
            timeout=BUSY,
            isolation_level=None,
            check_same_thread=False,
        )
        db.execute("PRAGMA query_only = ON")
        version = _version(db)
        if version != VERSION or not _has_tables(db):
            db.close()
            raise SpoolUnusable(
                f"{path} has schema version {version}, this program reads version {VERSION}: "
                "start the service once, it migrates the spool"
            )
    except sqlite3.DatabaseError as error:
        raise unusable(path, error) from error
    return db


def verify(db: sqlite3.Connection, path: Path) -> None:
    """Refuse a database with damaged pages.  Reads all of it, some hundred megabytes a second; past ``VERIFIED`` octets
    it is left to ``mta spool check``."""
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    if pages * PAGE_SIZE > VERIFIED:
        return
    (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise damaged(path, found.replace("\n", " "))


def damaged(path: Path, what: str) -> SpoolUnusable:
    """What an operator can do about it."""
    return SpoolUnusable(
        f"{path} is damaged ({what}): stop the service and keep a copy of its folder; 'mta spool salvage NEW-FOLDER'"
        " saves what can be read, or start on a copy that 'mta spool backup' made"
    )


def unusable(path: Path, error: sqlite3.Error) -> SpoolUnusable:
    """What SQLite said, for an operator."""
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return damaged(path, str(error))
    return SpoolUnusable(f"cannot open {path}: {error}")


def _version(db: sqlite3.Connection) -> int:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    return version


def _has_tables(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'message'").fetchone() is not None


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    # Both count only before the first table.
    db.execute(f"PRAGMA page_size = {PAGE_SIZE}")
    db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    for pragma in _PRAGMAS:
        db.execute(pragma)
    db.execute("BEGIN IMMEDIATE")
    try:
        if _has_tables(db):
            _migrate(db, path)
        else:
            _create(db)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _create(db: sqlite3.Connection) -> None:
    script = resources.files("mta.spool").joinpath("schema.sql").read_text("utf-8")
    statement = ""
    for line in script.splitlines():
        statement += line.partition("--")[0] + "\n"
        if sqlite3.complete_statement(statement):  # the ";" within a trigger ends none
            db.execute(statement)
            statement = ""


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    version = _version(db)
    if version > VERSION:
        raise SpoolUnusable(
            f"{path} was written by a newer txmta (schema version {version}, this one knows {VERSION}): upgrade"
        )
    for step in MIGRATIONS[version:]:
        for statement in step:
            db.execute(statement)
