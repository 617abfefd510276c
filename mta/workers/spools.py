"""All spools of a state folder as one, to read: what ``mta queue``, ``explain`` and ``audit`` look at.

Contract: the questions of ``SpoolReader``; answers are joined in the order of queue ids, sums are sums.  What is asked
of one message is asked of the spool that its id names first, then of the others (a copy may have been put elsewhere).
How it fails: as ``SpoolReader``; a spool that cannot be read fails the question, none is left out silently.
Limits: each spool answers for a moment of its own.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mta.events import Event
from mta.reply import MailFailure
from mta.spool.folders import DATABASE
from mta.spool.message import StoredMessage
from mta.spool.reader import SpoolReader
from mta.spool.survey import Survey, survey
from mta.spool.survey import Waiting as Place
from mta.spool.values import Damage, PageKey, Row, Selection, Totals, id_number, worker_of

T = TypeVar("T")


def numbers(state: str | os.PathLike[str]) -> list[int]:
    """The spools there are.  Raises ``OSError`` where the folder cannot be read; none where there is none."""
    try:
        names = os.listdir(Path(state) / "spool")
    except (FileNotFoundError, NotADirectoryError):  # the start says so
        return []
    return sorted(int(name) for name in names if name.isdigit() and (Path(state) / "spool" / name / DATABASE).exists())


def left_over(state: str | os.PathLike[str], workers: int) -> dict[int, bool]:
    """The spools of workers that there are no longer, in which something waits (true) or is only remembered."""
    found: dict[int, bool] = {}
    for number in numbers(state):
        if number < workers:
            continue
        try:
            with SpoolReader(state, number) as reader:
                waits = bool(reader.page(Selection(), None, 1))
                if waits or reader.page(Selection(), None, 1, history=True):
                    found[number] = waits
        except (OSError, MailFailure):
            found[number] = True  # who opens it will say what is wrong
    return found


class Spools:
    """See the module's text.  Raises ``FileNotFoundError`` where there is no spool yet."""

    def __init__(self, state: str | os.PathLike[str]) -> None:
        self.readers: dict[int, SpoolReader] = {}
        try:
            for number in numbers(state) or [0]:
                self.readers[number] = SpoolReader(state, number)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go.  Idempotent."""
        for reader in self.readers.values():
            reader.close()

    def __enter__(self) -> Spools:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def page(self, selection: Selection, after: PageKey | None, limit: int, history: bool = False) -> list[Row]:
        """As ``ISpool.page``."""
        pages = [reader.page(selection, after, limit, history) for reader in self.readers.values()]
        if len(pages) == 1:
            return pages[0]
        return sorted((row for page in pages for row in page), key=lambda row: (row.id, row.recipient.id))[:limit]

    def story(self, id: str) -> list[Event]:
        """As ``ISpool.story``."""
        return self._first(id, lambda reader: reader.story(id))

    def record(self, id: str) -> StoredMessage:
        """As ``SpoolReader.record``."""
        return self._first(id, lambda reader: reader.record(id))

    def _first(self, id: str, ask: Callable[[SpoolReader], T]) -> T:
        own = worker_of(id_number(id))
        for number in sorted(self.readers, key=lambda number: number != own):
            try:
                return ask(self.readers[number])
            except KeyError:
                continue
        raise KeyError(id)

    def audits(self) -> dict[int, Totals]:
        """As ``SpoolReader.audit``, by spool: more in one and less in another are two mistakes, not none."""
        return {number: reader.audit() for number, reader in self.readers.items()}

    def check(self) -> list[Damage]:
        """As ``SpoolReader.check``."""
        return [damage for reader in self.readers.values() for damage in reader.check()]

    def survey(self, selection: Selection, now: int) -> Survey:
        """What waits, counted."""
        return joined_surveys([survey(reader, selection, now) for reader in self.readers.values()])


def joined(totals: Iterable[Totals]) -> Totals:
    """The sums."""
    all_of = list(totals)
    ended: Counter[str] = Counter()
    for one in all_of:
        ended.update(one.ended)
    return Totals(
        accepted=sum(one.accepted for one in all_of),
        ended=ended,
        queued=sum(one.queued for one in all_of),
        held=sum(one.held for one in all_of),
        miscounted=sum(one.miscounted for one in all_of),
    )


def joined_surveys(surveys: Sequence[Survey]) -> Survey:
    """The sums."""
    first, *others = surveys
    for other in others:
        first.recipients += other.recipients
        first.messages += other.messages
        for destination, waiting in other.places.items():
            _add(first.places.setdefault(destination, Place()), waiting)
    return first


def _add(to: Place, more: Place) -> None:
    for name in ("recipients", "due", "held", "claimed"):
        setattr(to, name, getattr(to, name) + getattr(more, name))
    to.oldest = _least(to.oldest, more.oldest)
    to.next_due = _least(to.next_due, more.next_due)
    to.last = max(to.last, more.last)
    to.troubles.update(more.troubles)


def _least(*moments: Any) -> int:
    """The earliest of those that are not 0."""
    return min((moment for moment in moments if moment), default=0)
