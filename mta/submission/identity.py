"""In whose name an account sends: its login against MAIL FROM, and against From, Sender and their Resent- kin.  Pure.

What it is: ``sender`` decides at MAIL, ``authors`` at the end of a message.  Either gives a ``Finding`` that names the
check that failed and the address, or none.
Contract (docs/submission.rst has the table):
- ``strict``: every address of MAIL FROM, From (each of a group too), Sender and the newest Resent- block is one that
  the account may send as; and no display name, group name or comment there shows another address.
- ``relaxed``: MAIL FROM is; of the header, From or Sender is (of the newest Resent- block, if there is one, Resent-From
  or Resent-Sender); a Sender that is there has to be right.  Where From is not, ``Authors.sender_missing`` says so.
- ``off``: nothing is refused.
The null reverse-path is no name and passes (RFC 8098 3: MDNs have it); the header is looked at all the same.
How it fails: as ``Ownership``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from mta.accounts.values import Account
from mta.address import Address, ReversePath
from mta.message.shown import addresses_in
from mta.reply import Reply
from mta.routing.values import Facts, Needs
from mta.submission.ownership import Ownership, main_address
from mta.submission.syntax import Names


class Mode(StrEnum):
    """See the module's text."""

    STRICT = "strict"
    RELAXED = "relaxed"
    OFF = "off"


class Finding(NamedTuple):
    """``check`` failed: the name of a field, or MAIL FROM; by this address."""

    check: str
    address: str
    shown: bool = False  # it stands where people read it, not where replies go

    def reply(self, account: Account) -> Reply:
        """RFC 6409 6.1, 6.3: it names what was wrong."""
        what = f"{self.check} shows {self.address}, which" if self.shown else f"{self.check} is {self.address}, which"
        return Reply.of(550, "5.7.1", f"{what} {account.name} may not send as")


@dataclass(frozen=True, slots=True)
class Authors:
    """What a header's names come to.  ``finding``: why it is refused.

    ``sender_missing``: another's name stands alone in From (or ``resent``: in Resent-From), or several do, and who
    sends has to be said beside it (RFC 5322 3.6.2, RFC 6409 8.1).  ``grounds`` are for the story.
    """

    finding: Finding | None = None
    sender_missing: bool = False
    resent: bool = False
    grounds: tuple[str, ...] = ()


def sender(
    ownership: Ownership, account: Account, path: ReversePath, mode: Mode, facts: Facts
) -> Finding | Needs | None:
    """MAIL FROM."""
    if mode is Mode.OFF or path is None:
        return None
    basis = ownership.basis(account, path, facts)
    if isinstance(basis, Needs):
        return basis
    return None if basis else Finding("MAIL FROM", str(path))


def authors(ownership: Ownership, account: Account, names: Names, mode: Mode, facts: Facts) -> Authors | Needs:
    """The header: ``names`` as ``mta.submission.syntax`` has read them."""
    grounds: dict[Address, str] = {}
    needs: list[Needs] = []
    for address in dict.fromkeys(names.every):
        basis = ownership.basis(account, address, facts)
        if isinstance(basis, Needs):
            needs.append(basis)
        else:
            grounds[address] = basis
    if needs:
        return Needs(tuple(question for need in needs for question in need.questions))
    resent = bool(names.resent_from)
    whose, by = (names.resent_from, names.resent_sender) if resent else (names.from_, names.sender)
    wrong = first_wrong("Resent-From" if resent else "From", whose, grounds)
    missing = by is None and (wrong is not None or len(whose) > 1)
    said = tuple(f"{address}: {basis or 'another'}" for address, basis in grounds.items())
    if mode is Mode.OFF:
        return Authors(None, missing, resent, said)
    by_wrong = None if by is None else first_wrong("Resent-Sender" if resent else "Sender", (by,), grounds)
    if mode is Mode.RELAXED:
        # Without an address of its own nothing says who it was.
        nameless = wrong if by is None and main_address(account.addresses) is None else None
        return Authors(by_wrong or nameless, missing, resent, said)
    finding = (
        first_wrong("From", names.from_, grounds)
        or (None if names.sender is None else first_wrong("Sender", (names.sender,), grounds))
        or wrong
        or by_wrong
        or _shown(ownership, account, names, facts)
    )
    if isinstance(finding, Needs):
        return finding
    return Authors(finding, missing, resent, said)


def first_wrong(check: str, addresses: Iterable[Address], grounds: dict[Address, str]) -> Finding | None:
    """The first address for which there is no ground."""
    return next((Finding(check, str(address)) for address in addresses if not grounds[address]), None)


def _shown(ownership: Ownership, account: Account, names: Names, facts: Facts) -> Finding | Needs | None:
    """A display name that shows another's address: most readers show that, and not the address behind it."""
    for check, texts in names.shown:
        for found in addresses_in(texts):
            basis = "" if isinstance(found, str) else ownership.basis(account, found, facts)
            if isinstance(basis, Needs):
                return basis
            if not basis:
                return Finding(check, str(found), shown=True)
    return None
