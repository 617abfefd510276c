"""RCPT to a return path of ours: reports alone, and only what a key of ours has signed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from harness import Server
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.routing.ask import Answerer
from mta.routing.router import Router
from mta.routing.rules import DomainRule
from mta.routing.srs import Srs, day_of
from mta.routing.values import DayQuestion

SRS = Srs(domain="srs.ours.example", keys=(b"tops3cr3t",))


class ReturnPath(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = server = Server()
        router = server.context.router
        assert isinstance(router, Router)
        rules = router.rules
        today = datetime.fromtimestamp(server.now() / 1000, UTC).date().isoformat()
        domains = {**rules.domains, SRS.domain: DomainRule(name=SRS.domain)}
        server.context = replace(
            server.context,
            router=Router(replace(rules, domains=domains, srs=SRS)),
            answerer=Answerer(server.tables, server.resolver, {DayQuestion: lambda question: today}),
        )
        server.factory.context = server.context
        self.client = server.connect().greet()
        self.path = str(SRS.forward(Address("ann", "a.example"), day_of(server.now())))

    def test_a_report_goes_on_to_the_sender(self) -> None:
        self.client.say("MAIL FROM:<>")
        self.assertEqual(self.client.say(f"RCPT TO:<{self.path.lower()}>")[:3], "250")
        self.client.say("DATA")
        self.assertEqual(self.client.say("Subject: report\r\n\r\nx\r\n.")[:3], "250")
        ((lease, _),) = self.server.messages()
        (recipient,) = lease.recipients
        self.assertEqual(str(recipient.address), "ann@a.example")
        self.assertEqual(recipient.destination.service, "internet")

    def test_anything_else_does_not(self) -> None:
        self.client.say("MAIL FROM:<spam@b.example>")
        self.assertEqual(
            self.client.say(f"RCPT TO:<{self.path}>"),
            "550 5.7.1 Only delivery reports are taken for this address (MAIL FROM:<>)",
        )

    def test_what_was_forged_is_refused(self) -> None:
        self.client.say("MAIL FROM:<>")
        self.assertEqual(
            self.client.say(f"RCPT TO:<{self.path.replace('=ann@', '=bob@')}>"),
            "550 5.7.1 This return address was not made here, or it was changed",
        )
