"""People who have moved or left (RFC 5321 3.4): the value that a table of them has for an address.

What it is: ``NEW@ADDRESS; reply=WORD; until=DATE; then=WORD``, each part but one may be left out.  The words:

- ``forward``: mail is taken and forwarded, and the sender is told nothing;
- ``251``: it is forwarded, and RCPT gets 251 with the new address;
- ``551``: it is refused, with the new address; ``551-hidden``: without it;
- ``550``: it is refused as if there had never been such a mailbox.

``note=address`` beside it: who sends something that is forwarded is told once by mail, with the new address;
``note=moved``: without it (``mta.notes``: who has proved who he is, alone).

Contract: ``reply`` holds to the end of the day ``until`` (UTC), ``then`` from there on.  Left out: ``reply`` is
``forward`` where there is an address, else ``550``; ``then`` is ``550``.
How it fails: ``ValueError`` in plain words.
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from typing import Final, NamedTuple

from mta.address import Address
from mta.reply import Reply
from mta.routing.ours import NO_MAILBOX

_WORDS: Final = ("forward", "251", "551", "551-hidden", "550")
_NEED_ADDRESS: Final = frozenset({"forward", "251", "551"})
_KEYS: Final = ("reply", "until", "then", "note")
_NOTES: Final = ("address", "moved")
#: RFC 3463 X.1.6; the words for 551 are those of RFC 5321 4.2.2.
HIDDEN: Final = Reply.of(551, "5.1.6", "User not local; the new address is not told here")
_DAY = re.compile(r"\d{4}-\d\d-\d\d\Z", re.ASCII)


class Moved(NamedTuple):
    """A value that was read.  ``until`` is an ISO date, "" for no end."""

    to: Address | None
    reply: str
    until: str = ""
    then: str = "550"
    note: str = ""

    def word(self, today: str) -> str:
        """What holds on a day (ISO, UTC; not looked at where nothing ends)."""
        return self.then if self.until and today > self.until else self.reply


class Choice(NamedTuple):
    """What RCPT says, None for a plain 250, and where mail goes on; without ``to`` it is refused by ``reply``.

    ``note``: the address that a note to the sender tells, "" for one without; None: no note."""

    reply: Reply | None
    to: Address | None
    note: str | None = None


@lru_cache(maxsize=1024)
def parse_moved(text: str) -> Moved:
    """Read a value.  Raises ``ValueError``."""
    first, *rest = [part.strip() for part in text.split(";")]
    to = None
    if not first or first.partition("=")[0].rstrip() in _KEYS:
        rest.insert(0, first)
    else:
        to = Address.parse(first, utf8=True)
    given: dict[str, str] = {}
    for part in filter(None, rest):
        key, mark, value = (piece.strip() for piece in part.partition("="))
        if not mark or key not in _KEYS or key in given:
            raise ValueError(f'"{part}" is none of reply=, until=, then= and note=, once each')
        given[key] = value
    reply = given.get("reply", "forward" if to else "550")
    then = given.get("then", "550")
    _check(to, reply, then, given)
    return Moved(to, reply, given.get("until", ""), then, given.get("note", ""))


def _check(to: Address | None, reply: str, then: str, given: dict[str, str]) -> None:
    if to is None and not given:
        raise ValueError("it is empty; write the new address, or reply=550")
    for word in (reply, then):
        if word not in _WORDS:
            raise ValueError(f'"{word}" is none of {", ".join(_WORDS)}')
        if to is None and word in _NEED_ADDRESS:
            raise ValueError(f"{word} needs the new address, in front of all else")
    if given.get("note", "moved") not in _NOTES:
        raise ValueError(f'note="{given["note"]}" is none of {", ".join(_NOTES)}')
    if "note" in given and {reply, then}.isdisjoint(("forward", "251")):
        raise ValueError("note= is for mail that is forwarded: with reply=forward or 251")
    if "then" in given and "until" not in given:
        raise ValueError("then= needs until=")
    if "until" in given:
        if not _DAY.match(given["until"]):
            raise ValueError(f'"{given["until"]}" is not a day such as 2027-03-31')
        date.fromisoformat(given["until"])


def choose(moved: Moved, today: str) -> Choice:
    """What follows on a day."""
    word, to = moved.word(today), moved.to
    if word == "550" or to is None:
        return Choice(HIDDEN if word == "551-hidden" else NO_MAILBOX, None)
    told = f"<{to}>"  # outside ASCII: told to those alone who can read it (mta.smtp.told.readable)
    note = {"": None, "moved": "", "address": str(to)}[moved.note]
    if word == "251":
        return Choice(Reply.of(251, "2.1.5", f"User not local; will forward to {told}"), to, note)
    if word == "forward":
        return Choice(None, to, note)
    return Choice(Reply.of(551, "5.1.6", f"User not local; please try {told}") if word == "551" else HIDDEN, None)
