"""Whether a file may be believed in what it has us do: run a command, or send mail on to all whom it names.

Contract: only root and the user that asks may be able to change it: they own the file and its folder, and nobody else
may write to them.  (A folder with the sticky bit, as /tmp has it, lets nobody replace a file of another.)
How it fails: ``OSError`` where the file cannot be looked at.
"""

from __future__ import annotations

import os
import stat

_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def untrusted(path: str, user: int | None = None) -> str:
    """Why it must not be believed, or "".  ``user``: who asks, if not this process."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        return "it is no regular file"
    if why := _changeable(status, user):
        return why
    above = os.path.dirname(os.path.abspath(path))
    why = untrusted_folder(above, user)
    return f"its folder {above}: {why}" if why else ""


def untrusted_folder(path: str, user: int | None = None) -> str:
    """Why somebody else might put another file in the place of one that is there, or ""."""
    status = os.stat(path)
    return "" if status.st_mode & stat.S_ISVTX else _changeable(status, user)


def _changeable(status: os.stat_result, user: int | None) -> str:
    if status.st_uid not in (0, os.geteuid() if user is None else user):
        return f"it belongs to user {status.st_uid}, who is neither root nor the user of the service"
    return "its group or anybody may write to it; run: chmod go-w" if status.st_mode & _OTHERS else ""
