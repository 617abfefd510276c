"""The files that aliases include (``:include:``): one or more targets a line, ``#`` begins a comment line.

Contract: a file is read when it is first asked for and again when it changes (``mta.routing.tables.watched``); what is
wrong with a new version leaves the last right one in force.  It must be one that only the administrator can change.
How it fails: ``CannotKnow`` with the reason where there is no right version or it cannot be read: mail waits.
Limits: ``MAX_OCTETS`` a file; ``MAX_FILES`` are remembered.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

from mta.plugin import Services
from mta.reply import MailFailure
from mta.routing.aliases import Allowed, parse_targets
from mta.routing.tables.entries import TableError
from mta.routing.tables.watched import Watched
from mta.routing.trust import untrusted
from mta.routing.values import CannotKnow, IncludeQuestion

MAX_OCTETS: Final = 1 << 20
MAX_FILES: Final = 1000


class Includes:
    """Answers ``IncludeQuestion``."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._files: OrderedDict[str, Watched[str]] = OrderedDict()

    def answer(self, question: IncludeQuestion) -> str | CannotKnow:
        """The targets of the file in one line."""
        path = question.path
        try:
            file = self._files.get(path)
            if file is None:
                if why := untrusted(path):  # before anything of it is read
                    raise TableError(path, 0, why)
                if len(self._files) >= MAX_FILES:
                    self._files.popitem(last=False)
                file = self._files[path] = Watched(path, targets_of, self._services)
            self._files.move_to_end(path)
            return file.current()
        except TableError as error:
            return CannotKnow(str(error))
        except OSError as error:
            return CannotKnow(f"{path}: {error.strerror or error}")
        except MailFailure as failure:
            return CannotKnow(failure.reason)


def targets_of(blocks: Iterable[bytes], lines: int, path: str, rest: Callable[[], object] | None = None) -> str:
    """The targets in one line, all of them right.  Raises ``TableError``, ``OSError``."""
    if why := untrusted(path):
        raise TableError(path, 0, why)
    octets = b""
    for block in blocks:
        octets += block + b"\n"
        if len(octets) > MAX_OCTETS:
            raise TableError(path, 0, f"it is over the limit of {MAX_OCTETS} octets")
    return targets_in(octets, path, Allowed(folder=os.path.dirname(path)))


def targets_in(octets: bytes, path: str, allowed: Allowed) -> str:
    """The targets in a file's text, in one line.  Raises ``TableError``."""
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TableError(path, octets.count(b"\n", 0, error.start) + 1, "the text is not UTF-8") from error
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip().rstrip(",")
        if line and not line.startswith("#"):
            try:
                parse_targets(line, "domain.invalid", allowed)
            except ValueError as error:
                raise TableError(path, number, str(error)) from error
            found.append(line)
    return ", ".join(found)
