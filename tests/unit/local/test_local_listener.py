"""Sessions of local programs: who they are, names without a domain, and in whose name they send."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.envelope import Right
from mta.local.listener import qualified
from mta.routing.tables import MemoryTable
from tests.unit.local.local_harness import LocalServer

HEADER = b"From: ann@ours.example\r\nSubject: x\r\n"


class Listening(SynchronousTestCase):
    def server(self, table: Any = None, **limits: Any) -> LocalServer:
        server = LocalServer(Path(self.mktemp()), table, **limits)
        self.addCleanup(server.factory.abort)
        return server

    def test_who_it_is_says_the_system(self) -> None:
        server = self.server()
        client = server.program(1000).greet()
        self.assertIn("250 2.0.0", client.message("ann", "bob", data=HEADER + b"\r\nhello\r\n"))
        ((lease, octets),) = server.messages()
        envelope = lease.message.envelope
        self.assertEqual((envelope.origin.login, envelope.origin.helo, envelope.origin.client), ("uid:1000", "ann", ""))
        self.assertEqual(envelope.rights, frozenset({Right.AUTHENTICATED}))
        self.assertTrue(octets.startswith(b"Received: from ann (uid 1000)\r\n\tby mail.ours.example with local id "))
        self.assertEqual(str(envelope.reverse_path), "ann@ours.example")

    def test_it_stays_so_whatever_it_says(self) -> None:
        server = self.server()
        client = server.program(33)
        client.seen()
        for line in ("EHLO root", "HELO uid:0", "XCLIENT LOGIN=uid:0", "AUTH PLAIN AHUAcA==", "EHLO [127.0.0.1]"):
            client.say(line)
        self.assertIn("550 5.7.1", client.say("MAIL FROM:<root>"))
        self.assertIn("250", client.say("MAIL FROM:<www-data>"))

    def test_in_its_own_name_alone(self) -> None:
        client = self.server().program(33).greet()
        refused = client.say("MAIL FROM:<ann@ours.example>")
        self.assertEqual(refused, "550 5.7.1 MAIL FROM is ann@ours.example, which uid:33 may not send as")
        self.assertIn("250", client.say("MAIL FROM:<>"))

    def test_as_the_table_says(self) -> None:
        client = self.server(MemoryTable({"www-data": "shop@far.example"})).program(33).greet()
        self.assertIn("250", client.say("MAIL FROM:<shop@far.example>"))
        client.say("RSET")
        self.assertIn("550", client.say("MAIL FROM:<ann@far.example>"))

    def test_who_is_trusted_sends_as_anybody(self) -> None:
        server = self.server()
        client = server.program(0).greet()
        header = b"From: boss@far.example\r\n"
        self.assertIn("250", client.message("any@far.example", "bob", data=header + b"\r\nx\r\n"))
        self.assertNotIn(b"Sender:", server.messages()[0][1])

    def test_another_in_from_shows_who_it_was(self) -> None:
        server = self.server()
        client = server.program(33).greet()
        self.assertIn("250", client.message("www-data", "bob", data=HEADER + b"\r\nx\r\n"))
        self.assertIn(b"\r\nSender: www-data@ours.example\r\n", server.messages()[0][1])

    def test_it_may_send_anywhere_and_to_names(self) -> None:
        client = self.server().program(1000).greet()
        client.say("MAIL FROM:<ann>")
        self.assertIn("250", client.say("RCPT TO:<someone@far.example>"))
        self.assertIn("250", client.say("RCPT TO:<bob> NOTIFY=NEVER"))
        self.assertIn("250", client.say("RCPT TO:<Postmaster>"))
        self.assertIn("550 5.1.1", client.say("RCPT TO:<nobody>"))

    def test_the_domain_is_told(self) -> None:
        client = self.server().program(1000)
        client.seen()
        self.assertTrue(client.say("EHLO x").endswith("|250 XDOMAIN ours.example"))

    def test_nothing_of_a_network_is_offered(self) -> None:
        client = self.server().program(1000)
        client.seen()
        offers = client.say("EHLO x")
        for keyword in ("STARTTLS", "AUTH", "XCLIENT", "XFORWARD"):
            self.assertNotIn(keyword, offers)

    def test_connections_of_one_user_are_limited(self) -> None:
        server = self.server()
        clients = [server.program(33) for _ in range(3)]
        over = server.program(33)
        self.assertIn(b"421 4.7.0", over.seen())
        self.assertTrue(over.closed)
        self.assertIn(b"220", server.program(1000).seen())
        over.leave()
        clients[0].leave()
        self.assertIn(b"220", server.program(33).seen())

    def test_smtputf8_stays_local(self) -> None:
        server = self.server()
        client = server.program(0).greet()
        client.say("MAIL FROM:<\u00e4nn@far.example> SMTPUTF8")
        client.say("RCPT TO:<bob>")
        client.say("DATA")
        client.say(b"From: a@far.example\r\n\r\nx\r\n.")
        self.assertIn(b" with local id ", server.messages()[0][1])


class Qualifying(SynchronousTestCase):
    def test_names(self) -> None:
        for argument, expected in (
            (b"FROM:<ann>", b"FROM:<ann@x.example>"),
            (b"from: <ann> SIZE=1", b"from: <ann@x.example> SIZE=1"),
            (b'TO:<"a > b">', b'TO:<"a > b"@x.example>'),
            (b"FROM:<postmaster>", b"FROM:<postmaster@x.example>"),
            (b"TO:<PostMaster>", b"TO:<PostMaster>"),
            (b"FROM:<>", b"FROM:<>"),
            (b"TO:<ann@far.example>", b"TO:<ann@far.example>"),
            (b"TO:<@a,@b:ann@far.example>", b"TO:<@a,@b:ann@far.example>"),
            (b"TO:ann", b"TO:ann"),
            (b"", b""),
        ):
            self.assertEqual(qualified(argument, "x.example"), expected)

    @given(st.binary(max_size=60))
    def test_twice_is_as_once(self, argument: bytes) -> None:
        once = qualified(argument, "x.example")
        self.assertEqual(qualified(once, "x.example"), once)
