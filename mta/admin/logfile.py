"""Reading the log: the lines about an address or a message, from the oldest rotated file on, and as they are written.

What it is: ``Filter`` says which lines are shown, of either format; ``LogReader`` gives the lines of the files
``mta.log.2.gz``, ``mta.log.1``, ``mta.log``, and goes on behind the last one when asked to.
Contract: once a line about a message has matched, all that follow with its queue id are shown.  A file that is moved
away is read to its end before the new one.
Limits: ``MOST_IDS`` queue ids are remembered, the oldest is forgotten first.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from mta.events import escape
from mta.spool.masking import Mask
from mta.spool.settle import mailbox

MOST_IDS: Final = 100_000
MAX_LINE: Final = 1 << 20
_LINE: Final = re.compile(r"\S+ (?:([0-9A-HJKMNP-TV-Z]{13}) )?([a-z0-9-]+): (.*)")
_ROTATED: Final = re.compile(r"\.(\d+)(\.gz)?\Z|-(\d{8}(?:-\d+)?)(\.gz)?\Z")
_FROM: Final = re.compile(r"(?:; |from |sender |FROM:)<([^>]*)>")


class Filter:
    """See the module's text.  ``mask`` is how the log has addresses.  Conditions are joined by "and"."""

    def __init__(self, *, to: str | None = None, sender: str | None = None, id: str = "", mask: Mask) -> None:
        self._to = None if to is None else _forms(to, mask)
        self._sender = None if sender is None else _forms(sender, mask)
        self._id = id.upper()
        self._ids: dict[str, None] = {}

    def shows(self, line: str) -> bool:
        """Is this line to be shown?"""
        if self._to is None and self._sender is None and not self._id:
            return True
        if line.startswith("{"):
            id, text = _of_json(line)
        else:
            found = _LINE.match(line)
            id, text = ("", "") if found is None else (found[1] or "", found[3])
        if self._id:
            if id != self._id:
                return False
            if self._to is None and self._sender is None:
                return True
        if id and id in self._ids:
            return True
        if not self._matches(text):
            return False
        if id:
            self._remember(id)
        return True

    def _matches(self, text: str) -> bool:
        senders = set(_FROM.findall(text.split(" to ", 1)[0])) if self._sender is not None else set()
        if self._sender is not None and not any(form in senders for form in self._sender):
            return False
        return self._to is None or any(named(form, _without_sender(text)) for form in self._to)

    def _remember(self, id: str) -> None:
        self._ids[id] = None
        if len(self._ids) > MOST_IDS:
            del self._ids[next(iter(self._ids))]


def _forms(address: str, mask: Mask) -> set[str]:
    """How an address may stand in the log: as it is, or masked."""
    plain = mailbox(address)
    return {escape(plain), escape(mask(plain))}


def named(address: str, text: str) -> bool:
    """Does the address stand there by itself?"""
    return re.search(rf"(?<![^\s<>(),:;]){re.escape(address)}(?![^\s<>(),:;])", text, re.IGNORECASE) is not None


def _without_sender(text: str) -> str:
    return _FROM.sub("", text)


def _of_json(line: str) -> tuple[str, str]:
    try:
        fields: Any = json.loads(line)
    except ValueError:
        return "", ""
    return (str(fields.get("id", "")), str(fields.get("text", ""))) if isinstance(fields, dict) else ("", "")


def log_files(path: str) -> list[Path]:
    """The log and what it was rotated to, oldest first."""
    current = Path(path)
    rotated: list[tuple[tuple[int, int], Path]] = []
    for beside in current.parent.glob(f"{_glob_escaped(current.name)}[.-]*"):
        found = _ROTATED.search(beside.name[len(current.name) :])
        if found is None or not beside.is_file():
            continue
        # .2.gz is older than .1; -20240102 is older than -20240103, and dates than numbers.
        key = (1, -int(found[1])) if found[1] else (0, int(found[3].replace("-", "")))
        rotated.append((key, beside))
    return [*(path for _, path in sorted(rotated)), *([current] if current.exists() else [])]


def _glob_escaped(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def lines_of(path: Path) -> Iterator[str]:
    """The lines of one file, packed or not."""
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        for line in file:
            yield _text(line)


class LogReader:
    """See the module's text."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._rest = b""

    def existing(self) -> Iterator[str]:
        """All lines that there are; the last file stays open for ``more``."""
        files = log_files(self._path)
        for path in files:
            if str(path) == self._path:
                continue
            yield from lines_of(path)
        yield from self.more()

    def skip(self) -> None:
        """Begin at the end."""
        if self._open():
            assert self._file is not None
            self._file.seek(0, os.SEEK_END)

    def more(self) -> Iterator[str]:
        """What was written since."""
        if not self._open():
            return
        yield from self._lines()
        if self._moved():
            yield from self._lines()  # what was written just before it was moved
            self._close()
            if self._open():
                yield from self._lines()

    def _lines(self) -> Iterator[str]:
        assert self._file is not None
        while chunk := self._file.read(MAX_LINE):
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            for line in lines:
                yield _text(line)
            if len(self._rest) > MAX_LINE:
                self._rest = b""

    def _open(self) -> bool:
        if self._file is None:
            try:
                self._file = open(self._path, "rb")  # noqa: SIM115  # lives as long as it is followed
            except FileNotFoundError:
                return False
        return True

    def _moved(self) -> bool:
        assert self._file is not None
        here = os.fstat(self._file.fileno())
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return False  # not made anew yet
        return (here.st_ino, here.st_dev) != (there.st_ino, there.st_dev) or there.st_size < self._file.tell()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._rest = None, b""


def _text(line: bytes) -> str:
    # What is in the log was escaped when it was written; another file may have been given.
    return escape(line.rstrip(b"\r\n").decode("utf-8", "backslashreplace")).replace("\\\\", "\\")
