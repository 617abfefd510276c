"""A file that only takes room: dropped when the disk is full, so that outcomes of deliveries can still be written.

Contract: the spool can then bring its log into its database, write what is known of deliveries under way and so free
more; new mail is refused all the while.  The file is made again when there is plenty of room.
Limits: it takes ``size`` octets, and is made only where twice that stays free.
"""

from __future__ import annotations

import os
from pathlib import Path


class Ballast:
    """See the module's text.  Used in the writer's thread."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size

    def make(self, free: int) -> None:
        """Take the room if it is not taken; ``free`` octets are on the disk.  What fails is tried again later."""
        if self._size <= 0 or free < 3 * self._size or self._path.exists():
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            file = os.open(self._path, flags, 0o600)
        except OSError:
            return
        try:
            os.posix_fallocate(file, 0, self._size)
        except OSError:
            self.drop()
        finally:
            os.close(file)

    def drop(self) -> bool:
        """Give the room back; true if there was some."""
        try:
            os.unlink(self._path)
        except OSError:
            return False
        return True
