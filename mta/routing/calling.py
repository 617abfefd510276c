"""Backup MX: does an address exist at the next host?  What is asked, what is answered, and what its words mean.  Pure.

What it is: ``CallQuestion`` is asked where a relayed domain has ``call_ahead``; ``mta.delivery.call_ahead`` answers it
with ``Called``, from what it remembers or by asking the next host as a delivery would, without a message.
Contract: only a host's word on the address counts as one.  What it says of us, of our null sender or of its own state
is no word on an address, and never becomes a 5yz of ours: nobody is unknown because of that.
How it fails: ``Heard.UNSURE`` with a 4yz.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from mta.address import Address
from mta.envelope import Destination
from mta.reply import Reply

CANNOT_ASK: Final = Reply.of(451, "4.4.1", "Whether the address exists cannot be found out now, please try again later")
NOT_YET: Final = Reply.of(450, "4.2.1", "Whether the address exists is being found out, please try again later")
ASKED_TOO_MUCH: Final = Reply.of(450, "4.2.1", "Too many addresses are being asked for, please try again later")
NO_UTF8: Final = Reply.of(553, "5.6.7", "The address has characters outside ASCII and the next host takes none")
#: Characters of a host's text that go on to the client.
MOST_TEXT: Final = 200
#: With these codes, and no enhanced one, a host speaks of the mailbox (RFC 5321 4.2.3).
_OF_MAILBOX: Final = frozenset({550, 551, 553})


@dataclass(frozen=True, slots=True)
class CallQuestion:
    """Is the address taken where it goes by this destination?  Answer: ``Called``."""

    destination: Destination
    address: Address


class Heard(StrEnum):
    """What is known of an address."""

    YES = "it exists"
    NO = "it does not exist"
    FULL = "its mailbox takes nothing now"
    ANY = "the host takes every address"
    UNSURE = "it is not known"
    UNASKED = "the next host is asked for it at RCPT"


class Called(NamedTuple):
    """``reply``: to the client, where the address is not to be taken.  ``said``: by whom and what, for an operator."""

    heard: Heard
    said: str = ""
    reply: Reply | None = None


#: Where nobody is asked: ``mta route``.
UNASKED: Final = Called(Heard.UNASKED)


class Word(StrEnum):
    """What a host's reply to RCPT says of the address."""

    YES = "yes"
    NO = "no"
    FULL = "full"  # it exists, and takes nothing now
    POLICY = "policy"  # a no that is of us, or of the null sender
    LATER = "later"


def judge(reply: Reply) -> Word:
    """What the reply to RCPT says of the address (RFC 3463 3)."""
    if reply.code < 300:
        return Word.YES
    kind = reply.enhanced.partition(".")[2]
    if kind == "2.2":
        return Word.FULL
    if not reply.permanent:
        return Word.LATER
    if not kind:
        return Word.NO if reply.code in _OF_MAILBOX else Word.POLICY
    if kind.startswith("1.") and kind not in ("1.7", "1.8"):  # those are of the sender
        return Word.NO
    # X.2.1 is a mailbox that is closed.  Exchange Online says 550 5.4.1 of addresses that its directory does not have;
    # X.1.0 and X.0.0 are "other": the code counts.
    if kind in ("2.0", "2.1", "4.1", "0.0"):
        return Word.NO if reply.code in _OF_MAILBOX or kind == "2.1" else Word.POLICY
    return Word.POLICY


def handed_on(reply: Reply) -> Reply:
    """A host's no as our client hears it: its code, and its text without its name."""
    code = reply.code if 450 <= reply.code < 454 or 550 <= reply.code < 554 else (550 if reply.permanent else 450)
    default = "5.1.1" if reply.permanent else "4.2.0"
    enhanced = reply.enhanced if reply.enhanced[:2] == default[:2] else default
    return Reply.of(code, enhanced, f"The next host says: {reply.text[:MOST_TEXT]}".rstrip(": "))
