"""Which destinations an operator has paused.  Kept in a small file of the state folder.

What it is: a pause is not a hold: what waits keeps its due time and the time at which it expires, and both count when
the pause is over.  A pause names ``*`` (everything), a service, a next hop, or ``service:next hop``.
Contract: a change is on disk when ``put`` or ``end`` returns; it survives a restart.  Who writes has the state's lock.
How it fails: a file that cannot be read is ``OSError`` or ``ValueError`` at the start: mail that was to wait must not
leave because of it.
Limits: ``MOST`` pauses.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from mta.envelope import Destination

FILE: Final = "paused.json"
EVERYTHING: Final = "*"
MOST: Final = 10_000


class Pause(NamedTuple):
    """What is paused, by whom, since when (UTC milliseconds) and why."""

    place: str
    by: str
    since: int
    reason: str = ""


class Pauses:
    """See the module's text."""

    def __init__(self, state: str | os.PathLike[str]) -> None:
        self._path = Path(state) / FILE
        self._pauses: dict[str, Pause] = {}

    def read(self) -> None:
        """Take them from the file; none where there is no file."""
        try:
            text = self._path.read_text("utf-8")
        except FileNotFoundError:
            self._pauses = {}
            return
        try:
            self._pauses = {fields["place"]: _pause(fields) for fields in json.loads(text)}
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{self._path} does not say what is paused ({error!r}): repair or remove it") from error

    def __iter__(self) -> Iterator[Pause]:
        return iter(self._pauses.values())

    def find(self, destination: Destination) -> Pause | None:
        """The pause that a destination is under."""
        pauses = self._pauses
        if not pauses:
            return None
        for place in (EVERYTHING, destination.service, destination.next_hop, str(destination)):
            if place in pauses:
                return pauses[place]
        return None

    def paused(self, destination: Destination) -> bool:
        """Must nothing be sent there now?"""
        return bool(self._pauses) and self.find(destination) is not None

    def put(self, pause: Pause) -> bool:
        """Begin a pause; False: there is one already.  Raises ``OSError``, ``ValueError`` past ``MOST``."""
        if pause.place in self._pauses:
            return False
        if len(self._pauses) >= MOST:
            raise ValueError(f"there are {MOST} pauses already")
        self._write({**self._pauses, pause.place: pause})
        return True

    def end(self, place: str) -> list[Pause]:
        """End the pause of this name, or with ``*`` all of them; those that ended.  Raises ``OSError``."""
        ended = [pause for pause in self if place in (EVERYTHING, pause.place)]
        if ended:
            gone = {pause.place for pause in ended}
            self._write({name: pause for name, pause in self._pauses.items() if name not in gone})
        return ended

    def _write(self, pauses: dict[str, Pause]) -> None:
        """The new file is whole on disk before it takes the place of the old one."""
        text = json.dumps([pause._asdict() for pause in pauses.values()], indent=1)
        beside = self._path.with_suffix(".new")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(descriptor, text.encode("utf-8"))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(beside, self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._pauses = pauses


def _pause(fields: dict[str, Any]) -> Pause:
    return Pause(str(fields["place"]), str(fields["by"]), int(fields["since"]), str(fields["reason"]))
