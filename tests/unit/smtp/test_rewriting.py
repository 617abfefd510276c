"""Canonical addresses and masquerading in a session: envelope, header, story."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness import Server
from twisted.trial.unittest import SynchronousTestCase

from mta.routing.canonical import Canonical, Kind
from mta.routing.tables import MemoryTable
from mta.smtp.factory import SmtpFactory

BOTH = {
    "first.last@ours.example": "ann@ours.example",
    "bob@ours.example": "bob.b@ours.example",
    "away@ours.example": "away@far.example",
    "uni@ours.example": "\u00fcni@ours.example",
}
BACK = {"ann@ours.example": "first.last@ours.example"}
ALL = frozenset(Kind)
INSIDE, OUTSIDE = "10.1.2.3", "203.0.113.9"

HEADER = b"""From: "Ann, the first" <ann@ours.example> (ann@ours.example)
To: Bob <bob@pc7.ours.example>,
\tx@far.example, first.last@ours.example
Cc: Team: bob@pc7.ours.example;
Subject: ann@ours.example

ann@ours.example
"""
MESSAGE = HEADER.replace(b"\n", b"\r\n")


class Rewriting(SynchronousTestCase):
    def setUp(self) -> None:
        self.make()

    def make(self, **more: Any) -> None:
        self.server = Server(tables={"both": MemoryTable(BOTH), "back": MemoryTable(BACK)}, connections_per_client=20)
        rules = self.server.context.router.rules  # type: ignore[attr-defined]  # that of the harness
        rewriting: dict[str, Any] = {
            "recipients": "both",
            "senders": "back",
            "canonical_in": ALL,
            "masquerade": ("ours.example",),
            "domains": rules.domains,
            **more,
        }
        context = replace(self.server.context, canonical=Canonical(**rewriting))
        self.server.factory = SmtpFactory(context, self.server.connections, self.server.clock.callLater)

    def send(
        self, *recipients: str, client: str = INSIDE, sender: str = "ann@ours.example", data: bytes = MESSAGE
    ) -> Any:
        """Who has it, and the octets behind our Received."""
        reply = self.server.connect(client).greet().message(sender, *recipients, data=data)
        self.assertTrue(reply.startswith("250"), reply)
        lease, octets = self.server.messages()[-1]
        return lease, octets[octets.index(data[:5]) :] if data[:5] in octets else octets

    def story(self, code: str) -> list[str]:
        return [str(event) for _, event in self.server.events if event.code == code]

    def test_envelope_and_header(self) -> None:
        lease, octets = self.send("first.last@ours.example")
        (recipient,) = lease.recipients
        self.assertEqual(str(recipient.address), "ann@ours.example")
        self.assertEqual(str(recipient.original), "first.last@ours.example")
        self.assertEqual(recipient.path, ("canonical:first.last@ours.example",))
        self.assertEqual(str(lease.message.envelope.reverse_path), "first.last@ours.example")
        changed = (
            MESSAGE.replace(b"<ann@", b"<first.last@", 1)
            .replace(b"bob@pc7.ours.example", b"bob@ours.example")
            .replace(b"x@far.example, first.last@", b"x@far.example, ann@")
        )
        self.assertEqual(octets, changed)
        self.assertEqual(len(octets), lease.message.size - (lease.message.size - len(octets)))

    def test_every_other_octet_stays(self) -> None:
        """The stored octets are those that came; the change is in edits."""
        lease, octets = self.send("ann@ours.example")
        stored = lease.message
        self.assertIn(b"(ann@ours.example)", octets)
        self.assertIn(b"\r\n\tx@far.example", octets)
        self.assertTrue(octets.endswith(b"\r\n\r\nann@ours.example\r\n"))
        self.assertEqual(stored.size, len(b"".join([self.server.messages()[-1][1]])))

    def test_the_story_tells(self) -> None:
        self.send("first.last@ours.example")
        told = self.story("address-renamed")
        self.assertEqual(told[0], "recipient: first.last@ours.example -> ann@ours.example   both")
        self.assertIn("sender: ann@ours.example -> first.last@ours.example   back", told)
        self.assertIn("header: bob@pc7.ours.example -> bob@ours.example   masquerade", told)

    def test_strangers_have_theirs_unchanged(self) -> None:
        lease, octets = self.send("ann@ours.example", client=OUTSIDE, sender="ann@ours.example")
        self.assertEqual(octets, MESSAGE)
        self.assertEqual(str(lease.message.envelope.reverse_path), "ann@ours.example")
        client = self.server.connect(OUTSIDE).greet()
        client.say("MAIL FROM:<x@far.example>")
        self.assertIn("550 5.1.1", client.say("RCPT TO:<first.last@ours.example>"))

    def test_of_anyone(self) -> None:
        self.make(who="anyone")
        lease, _ = self.send("first.last@ours.example", client=OUTSIDE)
        self.assertEqual(str(lease.recipients[0].address), "ann@ours.example")

    def test_it_never_permits(self) -> None:
        """What a stranger's recipient becomes is judged as if it had been written so."""
        self.make(who="anyone")
        client = self.server.connect(OUTSIDE).greet()
        client.say("MAIL FROM:<x@far.example>")
        self.assertIn("550 5.7.1", client.say("RCPT TO:<away@ours.example>"))
        lease, _ = self.send("away@ours.example", client=INSIDE)
        self.assertEqual(str(lease.recipients[0].address), "away@far.example")

    def test_the_null_sender_and_postmaster_stay(self) -> None:
        lease, _ = self.send("postmaster", sender="")
        self.assertIsNone(lease.message.envelope.reverse_path)

    def test_signed_mail_keeps_its_header(self) -> None:
        for field in (
            b"DKIM-Signature: v=1; d=ours.example; h=from",
            b"ARC-Seal: i=1",
            b"Content-Type: multipart/signed; boundary=x",
            b"Content-Type: application/pkcs7-mime; smime-type=signed-data",
        ):
            signed = b"X-A: b\r\n" + field + b"\r\n" + MESSAGE
            lease, octets = self.send("first.last@ours.example", data=signed)
            self.assertEqual(octets, signed)
            self.assertEqual(str(lease.recipients[0].address), "ann@ours.example")  # of the envelope nothing is signed
            self.assertIn("signed or encrypted", self.story("not-renamed")[-1])
        self.make(signed=True)
        _, octets = self.send("ann@ours.example", data=signed)
        self.assertIn(b"<first.last@ours.example>", octets)

    def test_outside_ascii_only_with_smtputf8(self) -> None:
        # RFC 6531 3.4
        client = self.server.connect(INSIDE).greet()
        client.say("MAIL FROM:<ann@ours.example>")
        self.assertIn("550 5.1.1", client.say("RCPT TO:<uni@ours.example>"))
        client.say("RSET")
        client.say("MAIL FROM:<ann@ours.example> SMTPUTF8")
        self.assertIn("550 5.1.1", client.say("RCPT TO:<uni@ours.example>"))  # no such mailbox, by its new name

    def test_a_table_that_is_away(self) -> None:
        table = self.server.tables["both"]
        table.failing = "away"
        client = self.server.connect(INSIDE).greet()
        client.say("MAIL FROM:<x@far.example>")
        self.assertIn("451 4.3.0", client.say("RCPT TO:<ann@ours.example>"))
        table.failing = ""
        client.say("RSET")
        client.say("MAIL FROM:<x@far.example>")
        self.assertIn("250", client.say("RCPT TO:<ann@ours.example>"))
        client.say("DATA")
        self.server.tables["back"].failing = "away"
        self.assertIn("451 4.3.0", client.say(MESSAGE + b"."))
        self.assertEqual(self.server.queue.leases, [])

    def test_what_is_cut_is_not_changed(self) -> None:
        _, octets = self.send("ann@ours.example", data=b"Bcc: ann@ours.example\r\n" + MESSAGE)
        self.assertNotIn(b"Bcc:", octets)

    def test_hostile_headers(self) -> None:
        for field in (b"From: " + b"<" * 500, b'To: "ann@ours.example', b"To: (((ann@ours.example", b"From:"):
            data = b"X-A: b\r\n" + field + b"\r\nDate: x\r\nMessage-ID: <x>\r\n\r\nhello\r\n"
            _, octets = self.send("ann@ours.example", data=data)
            self.assertEqual(octets, data)
