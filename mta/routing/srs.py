"""SRS, the Sender Rewriting Scheme: a return path of ours that leads back to the original sender.  Pure.

What it is: ``SRS0=HASH=DAY=DOMAIN=LOCAL@ours`` for a sender ``LOCAL@DOMAIN``; for a sender that another forwarder has
already so rewritten, ``SRS1=HASH=FORWARDER==...@ours``, which leads to that forwarder: two hops are enough however many
there were.  HASH is the beginning of a base64 HMAC-SHA1 over what follows, in lower case; DAY the day in base 32.
Source: Shevek, "The Sender Rewriting Scheme" (2004), as libsrs2 (``srs2.c``), PostSRSd and Mail::SRS::Guarded have it:
what they make, we make, octet for octet.
Contract: the first key signs, all keys verify.  Hash, day and tag are compared without regard to case, since hosts on
the way may change it; a local part that was changed so comes back changed.
How it fails: ``SrsError``, whose reply is for the client at RCPT.
Limits: days count modulo 1024, so ``max_age`` is below that; a hash has ``hash_length`` characters at least.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from hmac import compare_digest, digest
from typing import Final

from mta.address import Address, AddressError, normal_domain
from mta.reply import PermanentFailure, Reply

FORGED: Final = Reply.of(550, "5.7.1", "This return address was not made here, or it was changed")
EXPIRED: Final = Reply.of(550, "5.1.1", "This return address is too old")
NOT_A_REPORT: Final = Reply.of(550, "5.7.1", "Only delivery reports are taken for this address (MAIL FROM:<>)")

#: What may stand behind SRS0 and SRS1; between the parts it is always the first of them.
SEPARATORS: Final = "=-+"
_SEP: Final = "="
_BASE32: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
#: Two letters of base 32.
_SLOTS: Final = 1024
_DAY_MS: Final = 86_400_000
#: RFC 5321 4.5.3.1.3, the angle brackets among them.
MAX_PATH: Final = 256


class SrsError(PermanentFailure):
    """The address leads nowhere: forged, changed or too old."""


class TooLong(ValueError):
    """The address would be longer than hosts take."""


def is_srs(local: str) -> bool:
    """Has a local part the form of SRS, by whomever it was made?"""
    return len(local) > 4 and local[4] in SEPARATORS and local[:4].upper() in ("SRS0", "SRS1")


def day_of(at_ms: int) -> int:
    """The day of UTC milliseconds, counted from 1970."""
    return at_ms // _DAY_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Srs:
    """See the module's text.  ``keys``: one at least by the time that they are used.  ``max_age``: days for which an
    address leads back; ``longest``: octets of a local part."""

    domain: str
    keys: Sequence[bytes] = field(repr=False)
    separator: str = _SEP
    hash_length: int = 4
    max_age: int = 21
    longest: int = 128

    def forward(self, sender: Address, day: int) -> Address:
        """The return path for mail that ``sender`` sent and that is forwarded; ``day`` as by ``day_of``.

        Raises ``TooLong``.
        """
        local = sender.local
        if is_srs(local):
            if local[:4].upper() == "SRS1":
                # Its forwarder is left out: the first one alone knows the sender, the last one alone is asked.
                _, host, rest = _parts(local[5:], 3)
            else:
                host, rest = sender.domain, local[4:]
            if host and rest:
                return self._made("SRS1", host, rest)
        return self._made("SRS0", _BASE32[day >> 5 & 31] + _BASE32[day & 31], sender.domain, local)

    def reverse(self, address: Address, today: int) -> Address:
        """The sender to whom an address of ours leads back.  Raises ``SrsError``."""
        local = address.local
        if not is_srs(local):
            raise SrsError(FORGED, f"{address} is no SRS address")
        if local[:4].upper() == "SRS1":
            hash, host, rest = _parts(local[5:], 3)
            self._verify(address, hash, host, rest)
            if rest[:1] not in SEPARATORS:
                raise SrsError(FORGED, f"{address} leads to no SRS address")
            return _address("SRS0" + rest, host)
        hash, stamp, host, user = _parts(local[5:], 4)
        self._verify(address, hash, stamp, host, user)
        age = (today - _day(stamp)) % _SLOTS
        # A day ahead: the clock of another host of ours, at midnight.
        if age > self.max_age and age != _SLOTS - 1:
            raise SrsError(EXPIRED, f"{address} is {age} days old")
        return _address(user, host)

    def _made(self, tag: str, *parts: str) -> Address:
        hash = self._hash(self.keys[0], *parts)[: self.hash_length]
        made = Address(f"{tag}{self.separator}{_SEP.join((hash, *parts))}", self.domain)
        octets = len(made.local.encode())
        if octets > self.longest or len(f"<{made}>".encode()) > MAX_PATH:
            raise TooLong(f"its local part would have {octets} octets")
        return made

    def _hash(self, key: bytes, *parts: str) -> str:
        # bytes.lower is that of C: only ASCII.
        mac = digest(key, b"".join(part.encode("utf-8", "surrogatepass").lower() for part in parts), "sha1")
        return b64encode(mac).decode("ascii")

    def _verify(self, address: Address, hash: str, *parts: str) -> None:
        """All parts are there and signed by a key of ours."""
        if not all(parts) or len(hash) < self.hash_length:
            raise SrsError(FORGED, f"{address} is not well formed")
        given = hash.encode("utf-8", "surrogatepass").lower()
        good = [compare_digest(given, self._hash(key, *parts).encode().lower()[: len(given)]) for key in self.keys]
        if not any(good):
            raise SrsError(FORGED, f"{address} is not signed by a key of ours")


def _parts(text: str, count: int) -> list[str]:
    """So many; what is missing is ""."""
    parts = text.split(_SEP, count - 1)
    return parts + [""] * (count - len(parts))


def _day(stamp: str) -> int:
    first, second = (_BASE32.find(letter) for letter in stamp.upper().ljust(2)[:2])
    if len(stamp) != 2 or min(first, second) < 0:
        raise SrsError(FORGED, f"{stamp} is no day")
    return first << 5 | second


def _address(local: str, host: str) -> Address:
    try:
        return Address(local, normal_domain(host))
    except AddressError as error:
        raise SrsError(FORGED, f"{host}: {error}") from error
