"""Every value comes back from its columns as it went in, whatever strangers put into it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.envelope import Destination, Envelope, Origin, Recipient, Right
from mta.message.edits import Edit
from mta.spool.encode import (
    decode_address,
    decode_edits,
    decode_ended,
    decode_envelope,
    decode_recipient,
    encode_edits,
    encode_ended,
    encode_envelope,
    encode_recipient,
)
from mta.spool.settle import Ended

TEXT = some.text(max_size=30)
ADDRESS = some.builds(Address, some.text(min_size=1, max_size=30), some.sampled_from(["b.example", "[192.0.2.1]"]))
JSON = some.recursive(some.none() | some.booleans() | some.integers() | TEXT, lambda inner: some.lists(inner))
RECIPIENT = some.builds(
    Recipient,
    id=some.integers(0, 10**6),
    address=ADDRESS,
    original=ADDRESS,
    destination=some.builds(Destination, TEXT, TEXT),
    due=some.integers(0, 2**60),
    path=some.lists(TEXT).map(tuple),
    orcpt=TEXT,
    notify=TEXT,
    priority=some.integers(-10, 10),
    attempts=some.integers(0, 100),
    progress=some.dictionaries(TEXT, JSON),
)


class RoundTrip(SynchronousTestCase):
    """See the module's text."""

    @given(ADDRESS)
    def test_addresses(self, address: Address) -> None:
        self.assertEqual(decode_address(str(address)), address)

    @given(RECIPIENT)
    def test_recipients(self, recipient: Recipient) -> None:
        row = encode_recipient(1, 0, 5, recipient, 7)
        self.assertEqual(decode_recipient((*row[:3], *recipient.destination, *row[4:-1])), recipient)

    @given(RECIPIENT)
    def test_ended_recipients(self, recipient: Recipient) -> None:
        decoded = decode_ended(encode_ended(1, Ended(recipient, "failed", "550 no", 3, []), 99))
        self.assertEqual(decoded.attempts, 3)
        self.assertEqual(decoded.progress, {**recipient.progress, "status": "failed", "reply": "550 no", "ended": 99})
        for name in ("id", "address", "original", "destination", "due", "path", "orcpt", "notify", "priority"):
            self.assertEqual(getattr(decoded, name), getattr(recipient, name))

    @given(
        some.builds(
            Envelope,
            origin=some.builds(Origin, listener=TEXT, protocol=TEXT, client=TEXT, port=some.integers(), helo=TEXT),
            reverse_path=some.none() | ADDRESS,
            arrived=some.integers(0, 2**60),
            rights=some.frozensets(some.sampled_from(Right)),
            smtputf8=some.booleans(),
            envid=TEXT,
        )
    )
    def test_envelopes(self, envelope: Envelope) -> None:
        sender = None if envelope.reverse_path is None else str(envelope.reverse_path)
        self.assertEqual(decode_envelope(encode_envelope(envelope), sender, envelope.arrived), envelope)

    @given(some.lists(some.builds(Edit, some.integers(0, 10**9), some.integers(0, 10**9), some.binary())))
    def test_edits(self, edits: list[Edit]) -> None:
        self.assertEqual(decode_edits(encode_edits(edits)), tuple(edits))
