"""What we have signed is converted for a host that takes 7 bits only, and signed anew (RFC 6376 5.3)."""

from __future__ import annotations

from typing import Any

from dkim_signer import Pieces, signer, verified
from twisted.trial.unittest import SynchronousTestCase

from mta.delivery.seven_bit import seven_bit
from mta.envelope import Envelope, Origin, Right
from mta.message.convert import CannotConvert, Conversion
from mta.message.reading import read_whole
from mta.spool.message import StoredMessage
from mta.waiting import as_deferred

LETTER = (
    "From: Ann <ann@example.org>\r\nSubject: hi\r\nMIME-Version: 1.0\r\n"
    "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSchöne Grüße\r\n"
).encode()
FOREIGN = b"DKIM-Signature: v=1; a=rsa-sha256; d=%b; s=x; h=from; bh=AAAA; b=AAAA\r\n"


class SevenBit(SynchronousTestCase):
    def setUp(self) -> None:
        self.signer = signer()

    def signed(self, octets: bytes = LETTER) -> bytes:
        fields: bytes = self.successResultOf(
            as_deferred(self.signer.sign(Pieces(octets), self.signer.author))  # type: ignore[arg-type]
        ).fields
        return fields + octets

    def convert(self, octets: bytes, rights: frozenset[Right] = frozenset({Right.AUTHENTICATED}), **how: Any) -> Any:
        envelope = Envelope(origin=Origin(listener="mx", protocol="ESMTP"), reverse_path=None, arrived=0, rights=rights)
        bodies: Any = None
        message = StoredMessage("ID", 1, envelope, (), len(octets), False, bodies, octets)
        by = how.get("signer", self.signer)
        return self.successResultOf(as_deferred(seven_bit(message, message.open, by)))

    def read(self, conversion: Conversion) -> bytes:
        return self.successResultOf(as_deferred(read_whole(conversion)))  # type: ignore[arg-type]

    def test_signed_anew(self) -> None:
        conversion = self.convert(self.signed())
        octets = self.read(conversion)
        self.assertTrue(octets.isascii())
        self.assertIn(b"Content-Transfer-Encoding: base64", octets)
        self.assertEqual(verified(octets), [True, True])
        self.assertGreaterEqual(conversion.size, len(octets))

    def test_what_is_not_signed(self) -> None:
        octets = self.read(self.convert(LETTER))
        self.assertNotIn(b"DKIM-Signature", octets)

    def test_another_s_signature_stays(self) -> None:
        for domain in (b"elsewhere.example", b"sub.example.org", b"-", b""):
            with self.subTest(domain=domain):
                self.assertIsInstance(self.convert(self.signed(FOREIGN % domain + LETTER)), CannotConvert)
        self.assertIsInstance(self.convert(b"ARC-Seal: x\r\n" + self.signed()), CannotConvert)

    def test_a_stranger_s_mail(self) -> None:
        self.assertIsInstance(self.convert(self.signed(), frozenset()), CannotConvert)

    def test_without_keys(self) -> None:
        self.assertIsInstance(self.convert(self.signed(), signer=None), CannotConvert)
