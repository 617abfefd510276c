"""RCPT for people who have moved or left, and for domains that take no mail: RFC 5321 3.4, RFC 7505."""

from __future__ import annotations

from dataclasses import replace

from harness import Server
from twisted.trial.unittest import SynchronousTestCase

from mta.envelope import Right
from mta.routing.router import Router
from mta.routing.rules import DomainRule
from mta.routing.tables import MemoryTable
from mta.smtp.factory import SmtpFactory

MOVED = {
    "old": "new@far.example; reply=251",
    "told": "new@far.example; reply=551",
    "left": "reply=550",
    "noted": "new@far.example; note=address",
}


class Moved(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server(tables={"moved": MemoryTable(MOVED)})
        rules = self.server.context.router.rules  # type: ignore[attr-defined]  # that of the harness
        ours = replace(rules.domains["ours.example"], moved="moved")
        domains = {**rules.domains, ours.name: ours, "null.example": DomainRule(name="null.example", null=True)}
        context = replace(self.server.context, router=Router(replace(rules, domains=domains)))
        self.server.factory = SmtpFactory(context, self.server.connections, self.server.clock.callLater)
        self.client = self.server.connect().greet()
        self.client.say("MAIL FROM:<x@y.example>")

    def rcpt(self, address: str) -> str:
        return self.client.say(f"RCPT TO:<{address}>")

    def test_forwarded_with_notice(self) -> None:
        """RFC 5321 3.4: 251 and the message goes on; ``original`` is what the sender used."""
        said = self.rcpt("old@ours.example")
        self.assertEqual(said, "251 2.1.5 User not local; will forward to <new@far.example>")
        self.assertTrue(self.client.say("DATA").startswith("354"))
        self.assertTrue(self.client.say(b"Subject: x\r\n\r\nhello\r\n.").startswith("250"))
        ((lease, _),) = self.server.messages()
        (recipient,) = lease.recipients
        self.assertEqual((str(recipient.address), str(recipient.original)), ("new@far.example", "old@ours.example"))
        self.assertEqual(recipient.path, ("moved:old@ours.example",))

    def test_a_note_is_owed_to_whom_has_logged_in_alone(self) -> None:
        """RFC 3834 7: never to a sender who may be forged."""
        for rights, sender, owed in (
            (frozenset[Right](), "x@y.example", 0),
            (frozenset({Right.NETWORK}), "x@y.example", 0),
            (frozenset({Right.AUTHENTICATED}), "x@y.example", 1),
            (frozenset({Right.AUTHENTICATED}), "", 0),
        ):
            self.client.say("RSET")
            self.client.say(f"MAIL FROM:<{sender}>")
            self.client.protocol.session.rights = rights
            self.rcpt("noted@ours.example")
            self.client.say("DATA")
            self.assertTrue(self.client.say(b"Subject: x\r\n\r\nhello\r\n.").startswith("250"))
            lease = self.server.messages()[-1][0]
            self.assertEqual([one.destination.service for one in lease.recipients].count("(note)"), owed)

    def test_refused(self) -> None:
        for address, reply in (
            ("told@ours.example", "551 5.1.6 User not local; please try <new@far.example>"),
            ("left@ours.example", "550 5.1.1 No such mailbox here"),
            ("postmaster@null.example", "556 5.1.10 This domain takes no mail"),
        ):
            self.assertEqual(self.rcpt(address), reply)
        self.assertTrue(self.client.say("DATA").startswith("554"))
