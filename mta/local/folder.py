"""The folder of local mail: what lies in it, who may do what there.

What it is: ``FOLDER/socket``, which all reach who may use it; ``FOLDER/pickup``, into which only its group, the
service's user and root can write, and which only the service's user can list; ``FOLDER/refused``, which is the
service's alone.
Contract: ``prepare`` makes what is missing and corrects the modes of what is its own; folders above that only the
service's user could enter are opened as far as others have to pass (to pass is not to look), within ``state`` alone.
How it fails: ``CannotStart`` with what to do: for what is somebody else's, or a link.
"""

from __future__ import annotations

import os
import stat
from typing import Final

from mta.config.local_options import group_id
from mta.sendmail.place import pickup_of
from mta.starting import CannotStart

REFUSED: Final = "refused"
_PASS: Final = 0o011


def prepare(folder: str, state: str, group: str) -> None:
    """See the module's text.  The umask does not matter."""
    try:
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        _own(folder, 0o755)
        _own(os.path.join(folder, REFUSED), 0o700)
        pickup = pickup_of(folder)
        gid = group_id(group) if group else None
        if gid is None:
            _own(pickup, 0o700)
        else:
            # Sticky, so that nobody takes another's file away; not to be listed, so that nobody finds one.
            _own(pickup, 0o1730, gid)
        _open_way(folder, state)
    except OSError as error:
        raise CannotStart(f"local.folder: {error.filename or folder}: {error.strerror or error}") from None


def _own(path: str, mode: int, gid: int | None = None) -> None:
    """A folder of ours with this mode, and group."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid():
            raise CannotStart(f"local.folder: {path} belongs to user {found.st_uid}: give it to the service's user")
        if gid is not None and found.st_gid != gid:
            try:
                os.fchown(descriptor, -1, gid)
            except PermissionError:
                text = f"{path} cannot be given to the group {gid}: make the service's user a member of it"
                raise CannotStart(f"local.group: {text}") from None
        if stat.S_IMODE(found.st_mode) != mode or (gid is not None and found.st_gid != gid):
            os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def _open_way(folder: str, state: str) -> None:
    """Folders from the state down to this one may be passed by all."""
    path = os.path.dirname(folder)
    while os.path.commonpath((path, state)) == state:
        found = os.stat(path)
        if found.st_mode & _PASS != _PASS and found.st_uid == os.geteuid():
            os.chmod(path, stat.S_IMODE(found.st_mode) | _PASS)
        if path == state:
            return
        path = os.path.dirname(path)


def closed_way(folder: str) -> str:
    """The first folder above it that others cannot pass; "" where there is none."""
    path = folder
    while path != os.path.dirname(path):
        path = os.path.dirname(path)
        try:
            if not os.stat(path).st_mode & stat.S_IXOTH:
                return path
        except OSError:
            return path
    return ""
