"""What RFC 5322 3.6 asks of a header that is submitted, and the names that stand in it.  Pure.

Contract: a message that is not one message to everybody is refused: a field that may stand once and stands twice, a
line that is no field (what comes after it is header to some readers and body to others), no From or one without an
address, names that do not read (``mta.message.address_list``).  What can be completed is not missed here
(``mta.submission.fields``).  In fields that name no author whatever is an address has to be one, and nothing else is
asked of them: real mail has "undisclosed recipients" there, and ``bob@x.example <bob@x.example>``.
How it fails: ``PermanentFailure``, 550 5.6.0 with the field and what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mta.address import Address, AddressError
from mta.message.address_list import Listed, Malformed, read_addresses
from mta.message.header import Field, Header
from mta.message.mailboxes import mailboxes
from mta.reply import PermanentFailure, Reply

#: RFC 5322 3.6: at most one of each.  Bcc too, but that is cut.
ONCE: Final = (
    b"date",
    b"from",
    b"sender",
    b"reply-to",
    b"to",
    b"cc",
    b"message-id",
    b"in-reply-to",
    b"references",
    b"subject",
)
#: Fields of addresses that name no author.
_OTHERS: Final = (b"reply-to", b"to", b"cc", b"resent-to", b"resent-cc")
_SPELLED: Final = {b"message-id": "Message-ID"}


@dataclass(frozen=True, slots=True)
class Names:
    """Whom a header names as its authors and senders; ``resent_from`` and ``resent_sender`` are of the newest block of
    Resent- fields (RFC 5322 3.6.6), the first.  ``shown``: by field, what people read beside its addresses."""

    from_: tuple[Address, ...]
    sender: Address | None = None
    resent_from: tuple[Address, ...] = ()
    resent_sender: Address | None = None
    shown: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def every(self) -> tuple[Address, ...]:
        """All of them."""
        senders = (one for one in (self.sender, self.resent_sender) if one is not None)
        return (*self.from_, *self.resent_from, *senders)


def read_names(header: Header) -> Names:
    """See the module's text."""
    _check_lines(header)
    for name in ONCE:
        if (count := header.count(name)) > 1:
            raise _refused(f"{spelled(name)} stands {count} times")
    shown: list[tuple[str, tuple[str, ...]]] = []
    fields = header.all(b"from")
    if not fields:
        raise _refused("From is missing")
    from_ = _read(header, fields[0], shown)
    senders, resent, resent_senders = (header.all(name) for name in (b"sender", b"resent-from", b"resent-sender"))
    sender = _one(_read(header, senders[0], shown), "Sender") if senders else None
    resent_from: tuple[Address, ...] = ()
    resent_sender = None
    if resent:
        resent_from = _read(header, resent[0], shown)
        # RFC 5322 3.6.6: the block ends where one of its fields stands again.
        if resent_senders and (len(resent) == 1 or resent_senders[0].start < resent[1].start):
            resent_sender = _one(_read(header, resent_senders[0], shown), "Resent-Sender")
    elif resent_senders:
        raise _refused("Resent-Sender stands without Resent-From")
    return Names(from_, sender, resent_from, resent_sender, tuple(shown))


def check_addresses(header: Header, names: Names, qualified: Callable[[Address], bool]) -> None:
    """RFC 6409 4.2, 5.1: what is an address in the header, is one whose domain is whole."""
    for address in names.every:
        if not qualified(address):
            raise not_qualified(address)
    for name in _OTHERS:
        for field in header.all(name):
            for _, octets in mailboxes(header.value(field)):
                if b"@" not in octets:
                    continue
                try:
                    address = Address.parse(octets.decode(), utf8=True)
                except (AddressError, UnicodeDecodeError) as error:
                    why = str(error) if isinstance(error, AddressError) else "it has octets that are no UTF-8"
                    raise _refused(f"{spelled(name)} has what is no address: {why}") from None
                if not qualified(address):
                    raise not_qualified(address)


def not_qualified(address: Address) -> PermanentFailure:
    """RFC 6409 4.2."""
    return PermanentFailure(Reply.of(554, "5.6.0", f"{address} has no whole domain name"))


def _check_lines(header: Header) -> None:
    if header.wellformed:
        return
    if not header.complete:
        # A message may end with its header; the last line is one of it.
        lines = [field for field in header.fields if not field.name]
        if not lines:
            return
    first = next(field for field in header.fields if not field.name)
    number = header.octets.count(b"\r\n", 0, first.start) + 1
    raise _refused(f"line {number} of the header is no field")


def _read(header: Header, field: Field, shown: list[tuple[str, tuple[str, ...]]]) -> tuple[Address, ...]:
    name = spelled(field.name)
    listed = parse(header, field)
    if not listed.addresses:
        raise _refused(f"{name} has no address")
    if listed.shown:
        shown.append((name, listed.shown))
    return listed.addresses


def parse(header: Header, field: Field) -> Listed:
    """The addresses of a field.  Raises ``PermanentFailure``."""
    try:
        return read_addresses(header.value(field))
    except Malformed as wrong:
        raise _refused(f"{spelled(field.name)} does not read: {wrong}") from None


def _one(addresses: tuple[Address, ...], name: str) -> Address:
    if len(addresses) > 1:
        raise _refused(f"{name} has {len(addresses)} addresses, and may have one")
    return addresses[0]


def spelled(name: bytes) -> str:
    """A field's name as people write it."""
    return _SPELLED.get(name) or name.decode("ascii", "replace").title()


def _refused(why: str) -> PermanentFailure:
    return PermanentFailure(Reply.of(550, "5.6.0", why))
