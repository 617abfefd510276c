"""When each password of an account was last used: for ``mta account show``, so that one that nobody uses can go.

What it is: ``Used`` notes logins; a file of each process in the state folder keeps them; ``last_used`` reads all files.
Contract: noting costs no disk access: the file is written ``WRITE_EVERY`` seconds after a change, and at a stop.
How it fails: what cannot be read or written is lost, and the log says so; a login never waits for it.
Limits: ``MOST`` passwords; the one not used for longest is forgotten.  A kill loses the last ``WRITE_EVERY`` seconds.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple

from twisted.logger import Logger

log = Logger()

WRITE_EVERY: Final = 60.0
MOST: Final = 100_000
_MOST_OCTETS: Final = 64 << 20


class Which(NamedTuple):
    """One password: ``credential`` as in ``Login``."""

    source: str
    account: str
    credential: str


def folder_of(state: str) -> str:
    """Where the files are."""
    return os.path.join(state, "logins")


def last_used(state: str) -> dict[Which, int]:
    """UTC milliseconds of the last use, over all processes.  Raises ``OSError``."""
    found: dict[Which, int] = {}
    folder = folder_of(state)
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        if name.endswith(".json"):
            for which, at in _read(os.path.join(folder, name)).items():
                found[which] = max(at, found.get(which, 0))
    return found


class Used:
    """See the module's text.  ``in_thread`` runs blocking work."""

    def __init__(self, number: int, call_later: Callable[..., Any], in_thread: Callable[..., Any]) -> None:
        self._number = number
        self._call_later = call_later
        self._in_thread = in_thread
        self._path = ""
        self._at: OrderedDict[Which, int] = OrderedDict()
        self._timer: Any = None

    def open(self, state: str) -> None:
        """The state folder is there."""
        self._path = os.path.join(folder_of(state), f"{self._number}.json")
        with suppress(FileNotFoundError):
            try:
                self._at.update(_read(self._path))
            except ValueError as error:
                log.warn("{path}: {error}; it begins anew", path=self._path, error=error)

    def note(self, which: Which, now: int) -> None:
        """It was used."""
        self._at.pop(which, None)
        self._at[which] = now
        if len(self._at) > MOST:
            self._at.popitem(last=False)
        if self._path and self._timer is None:
            self._timer = self._call_later(WRITE_EVERY, self._write_later)

    def _write_later(self) -> None:
        self._timer = None
        text = self._text()
        self._in_thread(_write, self._path, text).addErrback(
            lambda failure: log.warn("when passwords were used cannot be kept: {why}", why=failure.value)
        )

    def close(self) -> None:
        """Write what is not written yet."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            try:
                _write(self._path, self._text())
            except OSError as error:
                log.warn("when passwords were used cannot be kept: {why}", why=error)

    def _text(self) -> str:
        return json.dumps([[*which, at] for which, at in self._at.items()], ensure_ascii=False)


def _read(path: str) -> dict[Which, int]:
    with open(path, encoding="utf-8", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW)) as file:
        read = json.loads(file.read(_MOST_OCTETS))
    if not isinstance(read, list) or not all(isinstance(one, list) and len(one) == 4 for one in read):
        raise ValueError(f"{path} is not what was written there")
    return {Which(str(source), str(account), str(credential)): int(at) for source, account, credential, at in read}


def _write(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    new = f"{path}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with open(os.open(new, flags, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(new, path)
