"""What can be read of a damaged spool, as a new state folder that a service can be started on.

Contract: the damaged spool is only read: its database is copied first, octets that the disk does not give as zeros.
Its rows are then read page by page (``pages``), so that a page that is gone costs what was in it and no more, whatever
page it is.  Everything that waits goes over with its body, its story and its history; what was under way waits again.
``Salvaged.lost`` names each message of which something is known and not all is there; one without its body is held.
The sums count as ``lost`` what was accepted and is not accounted for: the new spool's audit is clean and says it.
Failure: ``SpoolLocked`` while a service runs; ``SpoolUnusable`` for a target that is not empty or cannot be written, or
where there is no database; a part of a copy stays there, which nothing takes for a spool.
Limits: of a recipient whose row is gone only the message's story may tell.
"""

from __future__ import annotations

import mmap
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from mta.spool.backup import name, take_bodies
from mta.spool.bodies import BodyFolder
from mta.spool.encode import CLAIMED, STAGED, WAITING
from mta.spool.folders import Folders, StateLock
from mta.spool.load import external_bodies
from mta.spool.pages import Pages
from mta.spool.schema import PAGE_SIZE, connect, open_writer
from mta.spool.store import Destinations
from mta.spool.values import Damage, SpoolUnusable, id_text

#: How totals call what was accepted and is gone.
LOST: Final = "lost"
#: Rows written in one transaction.
SLICE: Final = 1000
#: Tables whose rows go over as they are, and how many columns they have.
_TABLES: Final = {"message": 9, "body": 2, "recipient": 15, "notice": 3, "history": 10, "event": 3}


#: The table ``totals``, by day and what is counted.
Sums: TypeAlias = dict[tuple[Any, Any], Any]


@dataclass(slots=True)
class Salvaged:
    """What went over: messages, recipients that wait or are held; and what could not be read."""

    messages: int = 0
    recipients: int = 0
    lost: list[Damage] = field(default_factory=list)


def salvage(state: str | os.PathLike[str], target: str | os.PathLike[str], workers: Sequence[int] = (0,)) -> Salvaged:
    """See the module's text.  Blocks."""
    new = Folders(target)
    if not all(Folders(state, worker).database.exists() for worker in workers or (0,)):
        raise SpoolUnusable(f"there is no spool in {Folders(state).state}")
    if new.state.exists() and any(new.state.iterdir()):
        raise SpoolUnusable(f"{new.state} is not empty: give a folder that does not exist yet")
    lock = StateLock(Folders(state).lock)
    lock.acquire()
    found = Salvaged()
    try:
        for worker in workers or (0,):
            source, new = Folders(state, worker), Folders(target, worker)
            new.make()
            one = _salvage(source, new)
            found.messages += one.messages
            found.recipients += one.recipients
            found.lost += one.lost
        return found
    except sqlite3.Error as error:
        raise SpoolUnusable(f"cannot save the spool to {new.state}: {error}") from error
    except OSError as error:
        if isinstance(error, SpoolUnusable):
            raise
        raise SpoolUnusable(f"cannot save the spool to {new.state}: {error}") from error
    finally:
        lock.release()


def _salvage(source: Folders, new: Folders) -> Salvaged:
    damaged, part = new.root / "damaged.db", new.root / "spool.part"
    copy_readable(source.database, damaged)
    log = Path(f"{source.database}-wal")
    if log.exists():
        copy_readable(log, Path(f"{damaged}-wal"))
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    _bring_log_in(damaged)
    db = open_writer(part)
    try:
        salvaged = Salvaged()
        sums = _copy_rows(damaged, db)
        _put_in_order(db, salvaged)
        bodies = BodyFolder(source.body)
        try:
            wanted = external_bodies(db)
            take_bodies(bodies, list(wanted), new.body)
            sizes = {number: bodies.size(number) for number in wanted}
        finally:
            bodies.close()
        _note_bodies(db, salvaged, wanted, sizes)
        _sums(db, sums)
        salvaged.messages = db.execute("SELECT count(*) FROM message").fetchone()[0]
        salvaged.recipients = db.execute("SELECT count(*) FROM recipient").fetchone()[0]
        Destinations(db).rebuild()
    finally:
        db.close()
    name(part, new)
    for suffix in ("", "-wal", "-shm"):
        Path(f"{damaged}{suffix}").unlink(missing_ok=True)
    salvaged.lost.sort()
    return salvaged


def copy_readable(source: Path, target: Path) -> None:
    """Copy a file; pieces that the disk does not give become zeros."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(source, "rb", buffering=0) as octets, os.fdopen(os.open(target, flags, 0o600), "wb") as copy:
        size = os.fstat(octets.fileno()).st_size
        for offset in range(0, size, PAGE_SIZE):
            length = min(PAGE_SIZE, size - offset)
            try:
                piece = os.pread(octets.fileno(), length, offset)
            except OSError:
                piece = b""
            copy.write(piece.ljust(length, b"\0"))


def _bring_log_in(damaged: Path) -> None:
    """What is in the copy's log goes into the copy, as far as SQLite can still do that."""
    try:
        db = connect(str(damaged))
        try:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            db.close()
    except sqlite3.DatabaseError:
        pass  # its first page is gone; the log has what was written last, if anything


def _copy_rows(damaged: Path, db: sqlite3.Connection) -> Sums:
    """All tables but the sums, which are returned."""
    statements = {
        table: f"INSERT OR IGNORE INTO {table} VALUES ({', '.join('?' * columns)})"  # noqa: S608  # names of our own
        for table, columns in _TABLES.items()
    }
    statements["destination"] = "INSERT OR IGNORE INTO destination (id, service, next_hop) VALUES (?, ?, ?)"
    sums: Sums = {}
    db.execute("BEGIN")
    with open(damaged, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as octets:
        for count, (table, row) in enumerate(Pages(octets).rows(), 1):
            if table == "totals":
                day, what, n = row
                sums[day, what] = n
                continue
            db.execute(statements[table], row)
            if not count % SLICE:
                db.execute("COMMIT")
                db.execute("BEGIN")
    # To where it was to go cannot be read: it is routed anew at its next attempt in any case.
    db.execute("INSERT OR IGNORE INTO destination (service, next_hop) VALUES ('', '')")
    db.execute(
        "UPDATE recipient SET destination = (SELECT id FROM destination WHERE service = '' AND next_hop = '')"
        " WHERE destination NOT IN (SELECT id FROM destination)"
    )
    db.execute("COMMIT")
    return sums


def _put_in_order(db: sqlite3.Connection, salvaged: Salvaged) -> None:
    """What belongs to nothing goes; what was under way waits."""
    orphans = "message NOT IN (SELECT id FROM message)"
    query = f"SELECT DISTINCT message FROM recipient WHERE state != {STAGED} AND {orphans}"  # noqa: S608  # constants
    salvaged.lost += [Damage(id_text(number), "its row cannot be read") for (number,) in db.execute(query)]
    query = (
        "SELECT id FROM message m WHERE NOT EXISTS (SELECT 1 FROM recipient WHERE message = m.id)"
        " AND NOT EXISTS (SELECT 1 FROM history WHERE message = m.id)"
    )
    what = "for whom it waited, or how it ended, cannot be read"
    salvaged.lost += [Damage(id_text(number), what) for (number,) in db.execute(query)]
    db.execute("BEGIN")
    for table in ("recipient", "notice", "history", "event"):
        db.execute(f"DELETE FROM {table} WHERE {orphans}")  # noqa: S608  # constants
    db.execute("UPDATE recipient SET state = iif(hold = '', ?, 2) WHERE state IN (?, ?)", (WAITING, CLAIMED, STAGED))
    # It ended, and the page that said so was read while the other, that it waits, was an old one.
    db.execute("DELETE FROM recipient WHERE (message, n) IN (SELECT message, n FROM history)")
    db.execute("UPDATE notice SET state = 0")
    db.execute("DELETE FROM notice WHERE (message, n) NOT IN (SELECT message, n FROM history)"
               " AND (message, n) NOT IN (SELECT message, n FROM recipient)")  # fmt: skip
    db.execute("DELETE FROM body WHERE id NOT IN (SELECT message FROM recipient UNION SELECT message FROM notice)")
    db.execute("INSERT OR REPLACE INTO meta SELECT 'last', max(id) FROM message HAVING max(id) IS NOT NULL")
    db.execute("COMMIT")


def _note_bodies(db: sqlite3.Connection, salvaged: Salvaged, wanted: dict[int, int], sizes: dict[int, int]) -> None:
    """Messages that wait and whose body is not whole are held, for somebody to look at."""
    query = (
        "SELECT m.id, m.stored, coalesce(length(b.data), -1) FROM message m LEFT JOIN body b ON b.id = m.id"
        " WHERE m.external = 0 AND EXISTS (SELECT 1 FROM recipient WHERE message = m.id)"
    )
    found = db.execute(query).fetchall() + [(number, wanted[number], sizes[number]) for number in wanted]
    db.execute("BEGIN")
    for number, stored, size in found:
        if size != stored:
            what = "its body cannot be read" if size < 0 else f"its body has {size} octets and should have {stored}"
            salvaged.lost.append(Damage(id_text(number), what))
            statement = "UPDATE recipient SET state = 2, hold = ? WHERE message = ? AND hold = ''"
            db.execute(statement, (f"damaged: {what}", number))
    db.execute("COMMIT")


def _sums(db: sqlite3.Connection, sums: Sums) -> None:
    """Those of the old spool where they can be read, else what the rows say; the difference is what was lost."""
    there = db.execute("SELECT count(*) FROM recipient").fetchone()[0]
    accepted = sum(n for (_, what), n in sums.items() if what == "accepted")
    ended = sum(n for (_, what), n in sums.items() if what != "accepted")
    db.execute("BEGIN")
    if accepted - ended >= there:
        db.executemany("INSERT INTO totals VALUES (?, ?, ?)", [(*key, n) for key, n in sums.items()])
        if accepted - ended > there:
            day = max(day for day, _ in sums)
            db.execute("INSERT INTO totals VALUES (?, ?, ?)", (day, LOST, accepted - ended - there))
    else:
        db.execute("INSERT INTO totals SELECT ended / 86400000, status, count(*) FROM history GROUP BY 1, 2")
        query = "SELECT coalesce(sum(n), 0), coalesce(max(day), 0) FROM totals"
        known, day = db.execute(query).fetchone()
        db.execute("INSERT INTO totals VALUES (?, 'accepted', ?)", (day, known + there))
    db.execute("COMMIT")
