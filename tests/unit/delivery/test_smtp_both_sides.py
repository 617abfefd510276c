"""The delivery service against our own server: envelope and octets arrive as they were sent."""

from __future__ import annotations

from typing import Any

from smtp_harness import Message, ServiceCase, _address

from mta.delivery.values import Batch
from mta.envelope import Destination, Recipient
from mta.routing.values import Route
from mta.smtp.client_chunks import AT_ONCE, WORTH_IT
from tests.unit.smtp.harness import Server


class BothSides(ServiceCase):
    """b.example leads to a server of ours, which relays for it."""

    def setUp(self) -> None:
        super().setUp()
        self.server = Server(message_size=1_000_000)

    def carry(self, octets: bytes, recipient: dict[str, Any] | None = None, **envelope: Any) -> None:
        """One message, there and back, until both sides have said all."""
        destination = Destination("internet", "b.example")
        bob = _address("Bob+x@relayed.example")
        more = {"original": bob, **(recipient or {})}
        to = Recipient(id=0, address=bob, destination=destination, due=0, **more)
        message: Any = Message(octets, "ann@a.example", **envelope)
        message.open = lambda: Pieces(octets)
        self.mail = Batch(message, [to], Route(destination=destination), 1e9)
        self.deliver(self.mail)
        far, near = self.far(), self.server.connect("10.1.2.3")
        far.accept()
        self.octets = b""
        while said := near.seen():
            far.say(said)
            heard = far.heard()
            self.octets += heard
            if heard:
                near.send(heard)

    def arrived(self) -> tuple[Any, bytes]:
        self.assertEqual(self.told(self.mail), [("relayed", 250, "message", "end of data")])
        lease, octets = self.server.messages()[-1]
        return lease, octets

    def test_octets_in_every_size(self) -> None:
        # RFC 3030 2: in one write with MAIL, in one chunk, in many
        for size in (0, 1, AT_ONCE - 20, AT_ONCE + 1, WORTH_IT + 5, 8 * WORTH_IT):
            with self.subTest(size=size):
                self.setUp()
                octets = b"Subject: x\r\n\r\n" + b".0123456789\r\n" * (size // 13) + b"x" * (size % 13)
                self.carry(octets)
                self.assertTrue(self.arrived()[1].endswith(octets))
                self.assertIn(b"BDAT", self.octets)

    def test_binary(self) -> None:
        # RFC 3030 3
        octets = b"Subject: x\r\nContent-Transfer-Encoding: binary\r\n\r\n\0\n\r.\n.\r\n\xff"
        self.carry(octets, body="BINARYMIME", eight_bit=True)
        lease, arrived = self.arrived()
        self.assertTrue(arrived.endswith(octets))
        self.assertEqual(lease.message.envelope.body, "BINARYMIME")

    def test_what_the_sender_wishes(self) -> None:
        # RFC 3461 5.2.1, RFC 6710 3
        self.carry(
            b"Subject: x\r\n\r\nx\r\n",
            {"notify": "SUCCESS,DELAY", "orcpt": "rfc822;a=b@x.example", "priority": 4},
            ret="HDRS",
            envid="QQ 1=2",
        )
        lease, _ = self.arrived()
        envelope, recipient = lease.message.envelope, lease.recipients[0]
        self.assertEqual((envelope.ret, envelope.envid), ("HDRS", "QQ 1=2"))
        self.assertEqual((recipient.notify, recipient.orcpt), ("SUCCESS,DELAY", "rfc822;a=b@x.example"))
        self.assertEqual(recipient.priority, 4)
        self.assertEqual(str(recipient.address), "Bob+x@relayed.example")
        self.assertTrue(self.outcomes(self.mail)[0].dsn_taken_over)

    def test_time_that_is_left(self) -> None:
        # RFC 2852 4.1.4
        self.carry(b"Subject: x\r\n\r\nx\r\n", deliver_by=500_000, by_mode="RT")
        envelope = self.arrived()[0].message.envelope
        self.assertEqual((envelope.deliver_by - envelope.arrived, envelope.by_mode), (500_000, "RT"))

    def test_international(self) -> None:
        # RFC 6531 3.4
        octets = "Subject: gr\xfc\xdfe\r\n\r\nx\r\n".encode()
        original = _address("g\xfc@ours.example")
        self.carry(octets, {"original": original}, smtputf8=True, eight_bit=True)
        lease, arrived = self.arrived()
        self.assertTrue(arrived.endswith(octets))
        self.assertTrue(lease.message.envelope.smtputf8)
        self.assertEqual(lease.recipients[0].orcpt, "utf-8;g\xfc@ours.example")


class Pieces:
    """A message as the spool gives it, in pieces."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._place = 0

    def next(self) -> bytes:
        piece = self._octets[self._place : self._place + 20_000]
        self._place += len(piece)
        return piece

    def close(self) -> None:
        pass
