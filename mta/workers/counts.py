"""Connections counted over all workers, in memory that they share: no limit is divided, and nobody is asked.

What it is: ``Counts`` is a table with a row for each worker: its connections, and how many of them fall into each of
``SLOTS`` classes of clients, by a keyed hash.  A worker writes its own row only and reads all.
Contract: a client has at most as many connections as the sum of its class says, so no limit is ever passed unseen (but
by as many as are accepted in the same microseconds); clients that share a class count together, which with thousands of
connections and 65,536 classes makes a difference to nobody.  The hash's key is new at each start: nobody can choose an
address that shares a class with another's.
How it fails: the row of a worker that died is emptied by the parent (``forget``) at once.
"""

from __future__ import annotations

import mmap
import os
from hashlib import blake2b
from typing import Final

from mta.address import client_key
from mta.reply import Reply
from mta.smtp import replies
from mta.smtp.factory import Connections
from mta.workers.place import COUNTS, Place

SLOTS: Final = 1 << 16
_KEY: Final = 32  # octets
_CELL: Final = 4
_ROW: Final = SLOTS + 1  # the last one is the sum


def make(workers: int) -> int:
    """The shared memory, as a descriptor; its rows are zero."""
    descriptor = os.memfd_create("connections")
    os.ftruncate(descriptor, _KEY + workers * _ROW * _CELL)
    os.pwrite(descriptor, os.urandom(_KEY), 0)
    return descriptor


class Counts:
    """See the module's text.  ``descriptor`` may be closed afterwards."""

    def __init__(self, descriptor: int, workers: int) -> None:
        self._map = mmap.mmap(descriptor, _KEY + workers * _ROW * _CELL)
        self._key = self._map[:_KEY]
        self._cells = memoryview(self._map)[_KEY:].cast("I")
        self._rows = range(0, workers * _ROW, _ROW)

    def slot(self, client: str) -> int:
        """The class of a client, as by ``client_key``."""
        return int.from_bytes(blake2b(client.encode(), digest_size=2, key=self._key).digest(), "little")

    def of(self, slot: int) -> int:
        """The connections of a class, over all workers; ``SLOTS``: of all."""
        return sum([self._cells[row + slot] for row in self._rows])

    def add(self, worker: int, slot: int, by: int) -> None:
        """Count in a worker's own row."""
        row = worker * _ROW
        self._cells[row + slot] += by
        self._cells[row + SLOTS] += by

    def forget(self, worker: int) -> None:
        """A worker is no more."""
        start = _KEY + worker * _ROW * _CELL
        self._map[start : start + _ROW * _CELL] = bytes(_ROW * _CELL)


class SharedConnections(Connections):
    """``Connections`` of one worker, refused by the limits over all of them."""

    def __init__(self, counts: Counts, worker: int) -> None:
        super().__init__()
        self._counts = counts
        self._worker = worker

    def refusal(self, client: str, total_limit: int, client_limit: int) -> Reply | None:
        counts = self._counts
        if self.refused is not None:
            return self.refused
        if counts.of(SLOTS) >= total_limit:
            return replies.TOO_MANY_CONNECTIONS
        if client and counts.of(counts.slot(client_key(client))) >= client_limit:
            return replies.TOO_MANY_FROM_CLIENT
        return None

    def add(self, client: str) -> None:
        super().add(client)
        self._counts.add(self._worker, self._counts.slot(client_key(client)), 1)

    def remove(self, client: str) -> None:
        super().remove(client)
        self._counts.add(self._worker, self._counts.slot(client_key(client)), -1)


def counted(place: Place) -> Connections:
    """What counts the connections: those of this process alone, or of all together."""
    if place.alone or place.empties:
        return Connections()
    return SharedConnections(Counts(COUNTS, place.workers), place.number)
