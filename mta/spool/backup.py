"""An online copy of a spool, as a state folder that a service can be started on.

Contract: the copy is of one moment: every message in it has its body.  It needs no help of a service that
runs: all body files are linked first, then the database is held still, then those that are new are linked;
where one of them ended just between, this begins again.  Files are linked where the target is on the same
file system (they never change), else copied; all is synced before it returns.
Failure: ``SpoolUnusable`` for a target that is not empty or cannot be written.  A part of a copy stays there, which
nothing takes for a whole one: the database gets its name last, when all else is synced.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mta.spool.bodies import BodyFolder
from mta.spool.folders import Folders, sync_folder
from mta.spool.load import external_bodies
from mta.spool.reader import SpoolReader
from mta.spool.schema import connect
from mta.spool.values import SpoolUnusable, id_text

TRIES: Final = 20


def backup(state: str | os.PathLike[str], target: str | os.PathLike[str], workers: Sequence[int] = (0,)) -> int:
    """Copy the spools of a state folder; returns how many messages, ended ones too.  Blocks."""
    check_empty(Path(target))
    count = 0
    for worker in workers:
        with SpoolReader(state, worker) as source:
            count += _copy_spool(source, Path(target), worker)
    return count


def check_empty(target: Path) -> None:
    """Raises ``SpoolUnusable``."""
    try:
        if target.exists() and any(target.iterdir()):
            raise SpoolUnusable(f"{target} is not empty: give a folder that does not exist yet")
    except OSError as error:
        if isinstance(error, SpoolUnusable):
            raise
        raise SpoolUnusable(f"cannot copy the spool to {target}: {error}") from error


def copy_spool(source: SpoolReader, target: str | os.PathLike[str], worker: int = 0) -> int:
    """The same with a reader that is open."""
    check_empty(Path(target))
    return _copy_spool(source, Path(target), worker)


def _copy_spool(source: SpoolReader, path: Path, worker: int) -> int:
    try:
        folders = Folders(path, worker)
        folders.make()
        take_bodies(source.folder, source.folder.numbers(), folders.body)
        for _ in range(TRIES):
            # One read transaction: what is written meanwhile neither restarts the copy nor gets into it.
            with source.snapshot() as db:
                if take_bodies(source.folder, list(external_bodies(db)), folders.body):
                    count = copy_database(db, folders)
                    break
        else:
            raise SpoolUnusable(f"cannot copy the spool to {path}: its bodies come and go too fast; try again")
    except sqlite3.Error as error:
        raise SpoolUnusable(f"cannot copy the spool to {path}: {error}") from error
    except OSError as error:
        if isinstance(error, SpoolUnusable):
            raise
        raise SpoolUnusable(f"cannot copy the spool to {path}: {error}") from error
    return count


def copy_database(db: sqlite3.Connection, folders: Folders) -> int:
    """Copy it, and give it its name when all that belongs to it is on disk; returns how many messages."""
    part = folders.database.with_suffix(".part")
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    copy = connect(str(part))
    try:
        db.backup(copy, pages=1024)
        copy.execute("PRAGMA journal_mode = WAL")
        count: int = copy.execute("SELECT count(*) FROM message").fetchone()[0]
    finally:
        copy.close()
    name(part, folders)
    return count


def name(part: Path, folders: Folders) -> None:
    """The database, closed and whole, becomes that of the folder."""
    for folder in (folders.body, folders.root, folders.spool, folders.state):
        sync_folder(folder)
    os.rename(part, folders.database)
    sync_folder(folders.root)


def take_bodies(source: BodyFolder, numbers: list[int], target: Path) -> bool:
    """Link or copy those that are not there yet; False if one has gone."""
    whole = True
    for number in numbers:
        name = id_text(number)
        if (target / name).exists():
            continue
        try:
            os.link(name, target / name, src_dir_fd=source.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            whole = False
        except OSError:  # another file system, or one without links
            whole = _copy(source, name, target / name) and whole
    return whole


def _copy(source: BodyFolder, name: str, target: Path) -> bool:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source.descriptor)
    except FileNotFoundError:
        return False
    with os.fdopen(descriptor, "rb") as octets:
        made = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(made, "wb") as written:
            shutil.copyfileobj(octets, written, 1024 * 1024)
            written.flush()
            os.fsync(written.fileno())
    return True
