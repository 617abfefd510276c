"""LMTP, server side (RFC 2033): what the dialogues ``lmtp-*`` do not show."""

from __future__ import annotations

from harness import Client, Server
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mta.reply import Reply, TemporaryFailure
from mta.routing.tables import MemoryTable
from mta.smtp.lmtp import EachReply

BROKEN = Reply.of(451, "4.3.0", "The table aliases cannot answer")


class Aliases(MemoryTable):
    """Cannot answer for some, once it is told so."""

    broken: frozenset[str] = frozenset()

    def lookup(self, key: str) -> str | None:
        if key in self.broken:
            raise TemporaryFailure(BROKEN, "disk")
        return super().lookup(key)


class LmtpCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server(lmtp=True)

    def greet(self, client: Client) -> Client:
        client.seen()
        self.assertTrue(client.say("LHLO client.example").startswith("250"))
        return client

    def connect(self) -> Client:
        return self.greet(self.server.connect())

    def open(self, client: Client, *recipients: str) -> None:
        """MAIL, RCPT and DATA."""
        client.say("MAIL FROM:<a@client.example>")
        for recipient in recipients:
            self.assertTrue(client.say(f"RCPT TO:<{recipient}>").startswith("250"), recipient)
        self.assertTrue(client.say("DATA").startswith("354"))


class Greeting(LmtpCase):
    def test_what_must_be_offered_is(self) -> None:
        # RFC 2033 5
        client = self.server.connect()
        client.seen()
        offered = client.say("LHLO client.example").split("|")
        self.assertEqual(offered[0], "250-mail.ours.example greets client.example")
        words = {line[4:].partition(" ")[0] for line in offered[1:]}
        self.assertLessEqual({"PIPELINING", "ENHANCEDSTATUSCODES", "8BITMIME", "CHUNKING", "SIZE"}, words)
        self.assertNotIn("ETRN", words)

    def test_networks_of_ours_may_not_relay_here(self) -> None:
        client = self.greet(self.server.connect("10.1.2.3"))
        client.say("MAIL FROM:<a@client.example>")
        self.assertTrue(client.say("RCPT TO:<x@foreign.example>").startswith("550 5.7.1"))
        self.assertTrue(client.say("RCPT TO:<x@relayed.example>").startswith("250"))


class Trace(LmtpCase):
    def received(self, client: Client) -> bytes:
        self.open(client, "ann@ours.example")
        client.say("Subject: x\r\n\r\n.")
        ((_, octets),) = self.server.messages()
        return octets.partition(b"Subject")[0]

    def test_protocol(self) -> None:
        # RFC 3848
        field = self.received(self.connect())
        self.assertIn(b"Received: from client.example ([203.0.113.9])\r\n\tby mail.ours.example with LMTP id ", field)

    def test_client_at_a_unix_socket(self) -> None:
        field = self.received(self.greet(self.server.connect(kind="UNIX")))
        self.assertIn(b"Received: from client.example\r\n\tby mail.ours.example with LMTP id ", field)


class EndOfMessage(LmtpCase):
    def test_one_commit_one_id(self) -> None:
        client = self.connect()
        self.open(client, "ann@ours.example", "bob@ours.example")
        replies = client.say("Subject: x\r\n\r\n.").split("|")
        self.assertEqual(len(replies), 2)
        self.assertEqual(len(set(replies)), 1)
        ((lease, _),) = self.server.messages()
        self.assertTrue(replies[0].endswith(lease.message.id))
        self.assertEqual([str(it.address) for it in lease.recipients], ["ann@ours.example", "bob@ours.example"])

    def test_a_recipient_that_leads_nowhere_fails_alone(self) -> None:
        aliases = Aliases({"info": "bob@ours.example"})
        self.server = Server({"aliases": aliases}, lmtp=True)
        client = self.connect()
        client.say("MAIL FROM:<a@client.example>")
        for name in ("ann", "info", "bob"):
            client.say(f"RCPT TO:<{name}@ours.example>")
        # What RCPT asked is known; only what is asked at the end can fail now.
        session = client.protocol.session
        session.transaction.facts.clear()
        aliases.broken = frozenset({"info@ours.example", "info"})
        client.say("DATA")
        replies = client.say("Subject: x\r\n\r\n.").split("|")
        self.assertEqual([reply[:3] for reply in replies], ["250", "451", "250"])
        ((lease, _),) = self.server.messages()
        self.assertEqual([str(it.address) for it in lease.recipients], ["ann@ours.example", "bob@ours.example"])

    def test_all_lead_nowhere(self) -> None:
        aliases = Aliases({})
        self.server = Server({"aliases": aliases}, lmtp=True)
        client = self.connect()
        self.open(client, "ann@ours.example", "bob@ours.example")
        session = client.protocol.session
        session.transaction.facts.clear()
        aliases.broken = frozenset({"ann@ours.example", "ann", "bob@ours.example", "bob"})
        replies = client.say("Subject: x\r\n\r\n.").split("|")
        self.assertEqual([reply[:3] for reply in replies], ["451", "451"])
        self.assertEqual(self.server.messages(), [])
        self.assertEqual(self.server.memory.used, 0)
        self.assertTrue(client.say("MAIL FROM:<>").startswith("250"))

    def test_commit_that_fails_is_told_to_each(self) -> None:
        client = self.connect()
        self.open(client, "ann@ours.example", "bob@ours.example")
        self.server.spool.commit = lambda incoming, lease: _raise(OSError("disk"))  # type: ignore[method-assign]
        replies = client.say("Subject: x\r\n\r\n.").split("|")
        self.assertEqual([reply[:9] for reply in replies], ["451 4.3.0"] * 2)
        self.flushLoggedErrors(OSError)

    def test_many_refusals_are_one_error(self) -> None:
        self.server = Server(lmtp=True, errors=2)
        client = self.connect()
        self.open(client, *["ann@ours.example"] * 5)
        replies = client.say("a\0b\r\n.").split("|")
        self.assertEqual([reply[:9] for reply in replies], ["554 5.6.0"] * 5)
        self.assertFalse(client.closed)

    def test_client_that_leaves_before_the_commit_is_done(self) -> None:
        client = self.connect()
        waiting: Deferred[None] = Deferred()
        commit = self.server.spool.commit

        async def late(incoming: object, lease: object) -> object:
            await waiting
            return await commit(incoming, lease)  # type: ignore[arg-type]

        self.server.spool.commit = late  # type: ignore[method-assign,assignment]
        self.open(client, "ann@ours.example", "bob@ours.example")
        client.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
        client.leave()
        waiting.callback(None)
        ((_, octets),) = self.server.messages()
        self.assertTrue(octets.endswith(b"x\r\n"))

    def test_last_chunk_that_is_refused_is_told_to_each(self) -> None:
        # RFC 2033 4.3; RFC 3030 2: its octets are read.
        self.server = Server(lmtp=True, message_size=1024)
        client = self.connect()
        client.say("MAIL FROM:<a@client.example>")
        client.say("RCPT TO:<ann@ours.example>")
        client.say("RCPT TO:<bob@ours.example>")
        client.send(b"BDAT 1500 LAST\r\n" + b"NOOP\r\n" * 250)
        self.assertEqual([line[:9] for line in client.seen().split(b"\r\n")[:-1]], [b"552 5.3.4"] * 2)
        self.assertEqual(client.say("RCPT TO:<bob@ours.example>")[:3], "503")


class Each(SynchronousTestCase):
    def test_replies_in_one(self) -> None:
        good, bad = Reply.of(250, "2.0.0", "ok"), Reply.of(552, "5.2.2", "full", "quite")
        each = EachReply.join([good, bad, good])
        self.assertEqual((each.code, each.text), (552, "full quite"))
        self.assertEqual(each.wire, good.wire + bad.wire + good.wire)


def _raise(error: Exception) -> object:
    raise error
