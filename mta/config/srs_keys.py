"""The keys that return paths of SRS are signed with, where the configuration names none: a file in the state folder.

What it is: ``srs.key``, a key a line; the first signs, all are good; lines that are empty or begin with "#" are none.
Contract: it is made once, whole or not at all, with mode 0600, by whichever process comes first; it is never changed
here: who wants a new key puts one on top (docs/forwarding.rst).
How it fails: ``OSError``; ``ValueError`` where the file holds no key or anybody may read it.
"""

from __future__ import annotations

import os
import secrets
import stat
from typing import Final

from mta.config.forward_options import SHORTEST_KEY

_MOST: Final = 64 << 10
_HEAD: Final = "# Signs return paths (docs/forwarding.rst). The first key signs, all are good.\n"


def place(state: str) -> str:
    """Where it is."""
    return os.path.join(state, "srs.key")


def srs_keys(state: str, *, make: bool) -> tuple[bytes, ...]:
    """The keys.  With ``make`` there is a file afterwards; without it one that is missing stays so, and where there is
    none that we may read the key that comes back is for this once."""
    path = place(state)
    if not os.path.lexists(path):
        key = secrets.token_urlsafe(30)
        if not make:
            return (key.encode(),)
        _make(path, key)
    try:
        return _read(path)
    except PermissionError:
        if make:
            raise
        return (secrets.token_bytes(30),)


def _make(path: str, key: str) -> None:
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o600)) as file:
        file.write(f"{_HEAD}{key}\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass  # another process was first, and its key counts
    finally:
        os.unlink(temporary)


def _read(path: str) -> tuple[bytes, ...]:
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW)) as file:
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o007:
            raise ValueError(f"{path} is open to anybody; run: chmod o= {path}")
        lines = [line.strip() for line in file.read(_MOST).split(b"\n")]
    keys = tuple(line for line in lines if line and not line.startswith(b"#"))
    if not keys or any(len(key) < SHORTEST_KEY for key in keys):
        raise ValueError(f"{path} holds no key, or one of less than {SHORTEST_KEY} characters; write one a line")
    return keys
