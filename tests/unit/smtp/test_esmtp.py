"""What extensions make of a message and of a session: envelopes, recipients, Received, chunks that wait."""

from __future__ import annotations

from harness import Client, Server
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mta.envelope import Envelope, Recipient
from mta.reply import Reply, TemporaryFailure
from mta.routing.tables import MemoryTable
from mta.spool.values import Selection

NETWORK = "10.1.2.3"


def unfolded(octets: bytes) -> bytes:
    return octets.replace(b"\r\n\t", b" ")


class Wishes(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server()

    def accepted(
        self, mail: str, *rcpts: str, client: str = NETWORK, tls: str = "", data: bytes = b"Subject: x\r\n\r\n"
    ) -> tuple[Envelope, tuple[Recipient, ...], bytes]:
        """A transaction over a new connection: the envelope, the recipients and the octets."""
        connection = self.server.connect(client)
        connection.protocol.session.tls = tls
        connection.greet()
        self.assertEqual(connection.say(f"MAIL FROM:{mail}")[:9], "250 2.1.0")
        for rcpt in rcpts:
            self.assertEqual(connection.say(f"RCPT TO:{rcpt}")[:9], "250 2.1.5", rcpt)
        connection.say("DATA")
        self.assertEqual(connection.say(data + b".")[:3], "250")
        connection.leave()
        lease, octets = self.server.messages()[-1]
        return lease.message.envelope, tuple(lease.recipients), unfolded(octets)

    def test_plain_mail_wishes_nothing(self) -> None:
        envelope, (recipient,), _ = self.accepted("<a@b.example>", "<ann@ours.example>")
        self.assertEqual((envelope.ret, envelope.envid, envelope.deliver_by, envelope.hold_until), ("", "", 0, 0))
        self.assertEqual((recipient.orcpt, recipient.notify, recipient.priority), ("", "", 0))
        self.assertEqual(recipient.due, envelope.arrived)

    def test_notifications(self) -> None:
        # RFC 3461 4, 5.2.7: an alias keeps what the sender wished
        envelope, recipients, _ = self.accepted(
            "<a@b.example> RET=HDRS ENVID=x+20y",
            "<ann@ours.example> NOTIFY=NEVER",
            "<info@ours.example> NOTIFY=success,FAILURE ORCPT=rfc822;info+2Bx@old.example",
        )
        self.assertEqual((envelope.ret, envelope.envid), ("HDRS", "x y"))
        self.assertEqual(
            [(str(one.address), one.notify, one.orcpt) for one in recipients],
            [
                ("ann@ours.example", "NEVER", ""),
                ("bob@ours.example", "SUCCESS,FAILURE", "rfc822;info+x@old.example"),
            ],
        )

    def test_deliver_by(self) -> None:
        # RFC 2852 4: from now on
        envelope, _, _ = self.accepted("<a@b.example> BY=120;RT", "<ann@ours.example>")
        self.assertEqual(envelope.deliver_by, self.server.now() + 120_000)
        self.assertEqual(envelope.by_mode, "RT")
        late, _, _ = self.accepted("<a@b.example> BY=-5;N", "<ann@ours.example>")
        self.assertEqual((late.deliver_by, late.by_mode), (self.server.now() - 5000, "N"))

    def test_held_until_its_time(self) -> None:
        # RFC 4865 4.2
        self.server.queue.birth_claim = lambda leads=None, envelope=None: None  # type: ignore[method-assign]
        connection = self.server.connect(NETWORK).greet()
        until = self.server.now() + 600_000
        for line in ("MAIL FROM:<> HOLDFOR=600", "RCPT TO:<ann@ours.example>", "DATA", "."):
            self.assertIn(connection.say(line)[:3], ("250", "354"), line)
        (row,) = self.successResultOf(self.server.spool.page(Selection(), None, 10))
        self.assertEqual(row.recipient.due, until)
        message = self.successResultOf(self.server.spool.get(row.id))
        self.assertEqual(message.envelope.hold_until, until)

    def test_future_release_is_offered_to_those_who_may(self) -> None:
        # RFC 4865 3, 4.2
        ours, stranger = self.server.connect(NETWORK), self.server.connect()
        ours.seen(), stranger.seen()
        # The time is 22:30:00 and a half: what EHLO tells by the minute is what holds.
        self.server.clock.advance(0.5)
        self.assertEqual(self.server.now(), 1_700_001_000_500)
        self.assertIn("|250-FUTURERELEASE 3600 2023-11-14T23:30:00Z", ours.say("EHLO c.example"))
        self.assertEqual(ours.say("MAIL FROM:<> HOLDUNTIL=2023-11-14T23:30:00.4Z")[:9], "501 5.5.4")
        for wish in ("HOLDUNTIL=2023-11-14T23:30:00Z", "HOLDFOR=3600"):
            self.assertEqual(ours.say(f"MAIL FROM:<> {wish}")[:9], "250 2.1.0")
            self.assertEqual(ours.say("RSET")[:3], "250")
        self.assertNotIn("FUTURERELEASE", stranger.say("EHLO c.example"))
        self.server.limits.future_release = 0.0
        self.assertNotIn("FUTURERELEASE", ours.say("EHLO c.example"))
        self.assertTrue(ours.say("MAIL FROM:<> HOLDFOR=60").startswith("555"))

    def test_priority(self) -> None:
        # RFC 6710 4.1: who may send anywhere may raise it, a stranger may only lower it; Received and story tell
        for client, asked, given in (
            (NETWORK, 6, 6),
            (NETWORK, -4, -4),
            ("203.0.113.9", 6, 0),
            ("203.0.113.9", -4, -4),
            ("203.0.113.9", 0, 0),
        ):
            _, (recipient,), octets = self.accepted(
                f"<a@b.example> MT-PRIORITY={asked}", "<ann@ours.example>", client=client
            )
            self.assertEqual(recipient.priority, given)
            self.assertIn(f" for <ann@ours.example> PRIORITY {given}; ".encode(), octets)
            story = [str(event) for _, event in self.server.events if event.code == "priority"]
            self.assertEqual(story[-1], f"priority {given}; asked for: {asked}")
        _, _, octets = self.accepted("<a@b.example>", "<ann@ours.example>")
        self.assertNotIn(b"PRIORITY", octets)

    def test_aliases_keep_the_priority(self) -> None:
        # RFC 6710 4.4
        self.server.tables["aliases"] = MemoryTable({"all": "ann@ours.example, bob@ours.example"})
        _, recipients, _ = self.accepted("<a@b.example> MT-PRIORITY=3", "<all@ours.example>")
        self.assertEqual([recipient.priority for recipient in recipients], [3, 3])

    def test_tls_at_every_hop(self) -> None:
        # RFC 8689 2, 4.1
        plain = self.server.connect().greet()
        self.assertTrue(plain.say("MAIL FROM:<> REQUIRETLS").startswith("530 5.7.10"))
        envelope, _, _ = self.accepted("<a@b.example> REQUIRETLS", "<ann@ours.example>", tls="TLSv1.3 X")
        self.assertTrue(envelope.requiretls)

    def test_tls_is_not_needed(self) -> None:
        # RFC 8689 3, 4.1: the field; REQUIRETLS goes before it
        data = b"TLS-Required:  no\r\n\r\n"
        for mail, field, optional in (
            ("<a@b.example>", data, True),
            ("<a@b.example>", data.replace(b"no", b"NO"), True),
            ("<a@b.example>", data.replace(b"no", b"yes"), False),
            ("<a@b.example>", data.replace(b"\r\n\r\n", b"\r\nTLS-Required: yes\r\n\r\n"), False),
            ("<a@b.example>", b"\r\n" + data, False),
            ("<a@b.example> REQUIRETLS", data, False),
        ):
            envelope, _, _ = self.accepted(mail, "<ann@ours.example>", tls="TLSv1.3 X", data=field)
            self.assertIs(envelope.tls_optional, optional, (mail, field))

    def test_protocol_in_received(self) -> None:
        # RFC 3848, RFC 6531 4.3
        for mail, tls, protocol in (
            ("<a@b.example>", "", b"with ESMTP id"),
            ("<a@b.example>", "TLSv1.3 AES", b"with ESMTPS (version=TLSv1.3 cipher=AES) id"),
            ("<a@b.example> SMTPUTF8", "", b"with UTF8SMTP id"),
            ("<a@b.example> SMTPUTF8", "TLSv1.3 AES", b"with UTF8SMTPS (version=TLSv1.3 cipher=AES) id"),
        ):
            envelope, _, octets = self.accepted(mail, "<ann@ours.example>", tls=tls)
            self.assertIn(protocol, octets)
            self.assertEqual(envelope.origin.protocol, protocol.split()[1].decode())
            self.assertEqual(envelope.origin.tls, tls)

    def test_addresses_outside_ascii(self) -> None:
        # RFC 6531 3.3, 3.7.3
        envelope, (recipient,), octets = self.accepted(
            "<d\u00f6rte@gr\u00fc\u00dfe.example> SMTPUTF8", "<\u03b8\u03c3\u03b5\u03c1@foreign.example>"
        )
        self.assertTrue(envelope.smtputf8)
        self.assertEqual(str(envelope.reverse_path), "d\u00f6rte@xn--gre-6ka8l.example")
        self.assertEqual(recipient.address.local, "\u03b8\u03c3\u03b5\u03c1")
        self.assertIn("for <\u03b8\u03c3\u03b5\u03c1@foreign.example>".encode(), octets)
        _, _, octets = self.accepted("<> SMTPUTF8", "<d\u00f6rte@gr\u00fc\u00dfe.example>")
        self.assertIn("for <d\u00f6rte@gr\u00fc\u00dfe.example>".encode(), octets)
        _, _, octets = self.accepted("<> SMTPUTF8", "<ann@gr\u00fc\u00dfe.example>")
        self.assertIn(b"for <ann@xn--gre-6ka8l.example>", octets)

    def test_one_mailbox_in_both_normal_forms(self) -> None:
        # RFC 6532 3.1
        self.server.tables["boxes"] = MemoryTable({"d\u00f6rte": ""})
        _, recipients, _ = self.accepted("<> SMTPUTF8", "<do\u0308rte@ours.example>", "<D\u00d6RTE@ours.example>")
        self.assertEqual(len(recipients), 1)

    def test_blind_copies_are_not_told_of(self) -> None:
        # RFC 5322 3.6.3, RFC 6409 8: of those who may send through us
        bcc = b"Bcc: c@b.example,\r\n d@b.example\r\n"
        data = b"To: x@b.example\r\n" + bcc + b"Subject: x\r\nresent-bcc: e@b.example\r\n\r\nBcc: f\r\n"
        _, _, ours = self.accepted("<a@b.example>", "<ann@ours.example>", data=data)
        self.assertTrue(ours.endswith(b"To: x@b.example\r\nSubject: x\r\n\r\nBcc: f\r\n"))
        self.assertIn("header-cut", [event.code for _, event in self.server.events])
        _, _, theirs = self.accepted("<a@b.example>", "<ann@ours.example>", data=data, client="203.0.113.9")
        self.assertTrue(theirs.endswith(data))

    def test_commands_may_be_as_long_as_the_extensions_make_them(self) -> None:
        # RFC 5321 4.5.3.1.4, RFC 3461 4.2: an ORCPT of 500
        orcpt = "rfc822;" + "a" * 493
        _, (recipient,), _ = self.accepted("<a@b.example>", f"<ann@ours.example> NOTIFY=DELAY ORCPT={orcpt}")
        self.assertEqual(recipient.orcpt, orcpt)
        connection = self.server.connect().greet()
        self.assertTrue(connection.say("NOOP " + "x" * 510).startswith("500 5.5.2"))
        self.assertTrue(connection.say("RCPT TO:<" + "x" * 1100).startswith("500 5.5.2"))


class Chunks(SynchronousTestCase):
    """BDAT (RFC 3030 2) where something waits or fails; see tests/dialogues for the rest."""

    def setUp(self) -> None:
        self.server = Server()
        self.client = self.server.connect().greet()

    def begin(self, client: Client | None = None, mail: str = "MAIL FROM:<a@b.example>") -> None:
        client = client or self.client
        self.assertEqual(client.say(mail)[:3], "250")
        self.assertEqual(client.say("RCPT TO:<ann@ours.example>")[:3], "250")

    def test_octets_are_kept_as_they_are(self) -> None:
        self.begin(mail="MAIL FROM:<a@b.example> BODY=BINARYMIME")
        body = b"\0.\r\n..\r\n.\r\n\r\r\n\n\xff" + bytes(range(256))
        self.assertEqual(self.client.say(b"BDAT 14\r\nSubject: x\r\n")[:3], "250")
        self.client.send(b"BDAT %d LAST\r\n" % len(body) + body)
        self.assertEqual(self.client.seen()[:3], b"250")
        ((lease, octets),) = self.server.messages()
        self.assertTrue(octets.endswith(b"Subject: x\r\n\r\n" + body))
        self.assertEqual(lease.message.envelope.body, "BINARYMIME")
        self.assertTrue(lease.message.envelope.eight_bit)

    def test_chunk_waits_for_the_spool_and_pauses_the_client(self) -> None:
        self.begin()
        slow: Deferred[None] = Deferred()
        self.client.send(b"BDAT 5\r\n")
        incoming = self.client.protocol.session.transaction.incoming
        self.patch(type(incoming), "write", lambda incoming, octets: slow)
        self.client.send(b"hello")
        self.client.send(b"BDAT 0 LAST\r\nNOOP\r\n")
        self.assertEqual(self.client.seen(), b"")
        self.assertEqual(self.client.transport.producerState, "paused")
        slow.callback(None)
        self.assertEqual([line[:3] for line in self.client.seen().splitlines()], [b"250"] * 3)
        self.assertEqual(self.client.transport.producerState, "producing")

    def test_disk_that_fails_is_told_at_the_end_of_the_chunk(self) -> None:
        # Then the transaction is over: a later chunk alone would be a message without its beginning.
        self.begin()
        self.server.spool.fail_next("write", TemporaryFailure(Reply.of(452, "4.3.1", "disk full")))
        self.client.send(b"BDAT 7\r\nhel")
        self.assertEqual(self.client.seen(), b"")
        self.client.send(b"lo\r\nBDAT 3 LAST\r\nxyzNOOP\r\n")
        seen = [line[:9] for line in self.client.seen().splitlines()]
        self.assertEqual(seen, [b"452 4.3.1", b"503 5.5.1", b"250 2.0.0"])
        self.assertEqual(self.server.memory.used, 0)
        self.assertEqual(self.server.queue.leases, [])

    def test_message_that_cannot_be_begun(self) -> None:
        self.begin()
        self.server.spool.fail_next("begin", TemporaryFailure(Reply.of(451, "4.3.0", "no")))
        self.client.send(b"BDAT 5\r\nhelloBDAT 5 LAST\r\nworldNOOP\r\n")
        seen = [line[:9] for line in self.client.seen().splitlines()]
        self.assertEqual(seen, [b"451 4.3.0", b"503 5.5.1", b"250 2.0.0"])

    def test_no_memory_for_another_message(self) -> None:
        self.server.memory.used = self.server.limits.memory
        self.begin()
        self.client.send(b"BDAT 5 LAST\r\nhello")
        self.assertEqual(self.client.seen()[:9], b"452 4.3.1")
        self.server.memory.used = 0

    def test_unhealthy_spool(self) -> None:
        self.begin()
        self.server.spool.sick = Reply.of(452, "4.3.1", "disk full")
        self.client.send(b"BDAT 5 LAST\r\nhello")
        self.assertEqual(self.client.seen()[:9], b"452 4.3.1")

    def test_chunks_over_the_size_together(self) -> None:
        # RFC 1870 4, RFC 3030 2: refused as soon as it is announced, the octets read and dropped
        self.begin()
        self.client.send(b"BDAT 60000\r\n" + b"\r\n" * 500 + (b"y" * 998 + b"\r\n") * 59)
        self.assertEqual(self.client.seen()[:3], b"250")
        self.client.send(b"BDAT 60000 LAST\r\n")
        self.assertEqual(self.server.memory.used, 0)
        self.client.send((b"QUIT" + b"y" * 994 + b"\r\n") * 60)
        self.assertEqual(self.client.seen()[:9], b"552 5.3.4")
        self.assertEqual(self.client.say("NOOP")[:3], "250")

    def test_silence_in_a_chunk(self) -> None:
        # RFC 5321 4.5.3.2.5
        self.begin()
        self.server.clock.pump([1.0] * 100)
        self.client.send(b"BDAT 5\r\n")
        self.server.clock.pump([1.0] * 178)
        self.assertEqual(self.client.seen(), b"")
        self.server.clock.pump([1.0] * 5)
        self.assertEqual(self.client.seen()[:9], b"421 4.4.2")
        self.client.leave()
        self.assertEqual(self.server.memory.used, 0)

    def test_silence_in_a_refused_chunk(self) -> None:
        self.client.send(b"BDAT 5 LAST\r\nabc")
        self.server.clock.pump([1.0] * 185)
        self.assertEqual(self.client.seen()[:9], b"421 4.4.2")

    def test_connection_lost_between_chunks_leaves_nothing(self) -> None:
        # RFC 5321 4.1.1.4
        self.begin()
        self.client.send(b"BDAT 5\r\nhelloBDAT 5 LAST\r\nwor")
        self.client.leave()
        self.assertEqual(self.server.memory.used, 0)
        self.assertEqual(self.successResultOf(self.server.spool.totals()).accepted, 0)

    def test_chunks_of_nothing_are_counted(self) -> None:
        self.begin()
        seen = [self.client.say("BDAT 0")[:9] for _ in range(25)]
        self.assertIn("421 4.7.0", seen)

    def test_commit_has_its_reply_last(self) -> None:
        self.begin()
        self.server.spool.hold()
        self.client.send(b"BDAT 5 LAST\r\nhelloNOOP\r\n")
        self.assertEqual(self.client.seen(), b"")
        self.server.spool.let_go()
        self.assertEqual([line[:3] for line in self.client.seen().splitlines()], [b"250", b"250"])


class Asking(SynchronousTestCase):
    """ETRN, VRFY, EXPN and HELP."""

    def setUp(self) -> None:
        self.server = Server()
        self.client = self.server.connect(NETWORK).greet()

    def test_waiting_mail(self) -> None:
        # RFC 1985 5.1, 5.3
        self.server.queue.waiting["waiting.example"] = 12
        self.assertEqual(
            self.client.say("ETRN Waiting.Example"), "253 2.0.0 12 pending messages for waiting.example started"
        )
        self.assertEqual(self.client.say("ETRN @waiting.example")[:3], "253")
        self.assertEqual(self.server.queue.flushed, [("waiting.example", False), ("waiting.example", True)])

    def test_queue_that_cannot_be_asked(self) -> None:
        async def flush(domain: str, subdomains: bool) -> int:
            raise TemporaryFailure(Reply.of(451, "4.3.0", "no"))

        self.patch(self.server.queue, "flush", flush)
        self.assertEqual(self.client.say("ETRN a.example")[:9], "458 4.3.0")

    def test_letters_outside_ascii_in_a_reply(self) -> None:
        # RFC 6531 3.7, 3.7.4.2
        self.server.tables["boxes"] = MemoryTable({"d\u00f6rte": ""})
        self.server.tables["aliases"] = MemoryTable({"info": "d\u00f6rte@gr\u00fc\u00dfe.example"})
        for command, without, with_it in (
            ("EXPN info@ours.example", "550 5.6.8", "<d\u00f6rte@gr\u00fc\u00dfe.example>"),
            ("VRFY d\u00f6rte@ours.example", "252 2.6.8", "<d\u00f6rte@ours.example>"),
        ):
            self.assertEqual(self.client.say(command)[:9], without)
            self.client.send(f"{command} SMTPUTF8\r\n".encode())
            self.assertEqual(self.client.seen().decode("utf-8"), f"250 2.1.5 {with_it}\r\n")

    def test_alias_of_several(self) -> None:
        # RFC 5321 3.5.2
        self.server.tables["aliases"] = MemoryTable({"all": "ann@ours.example, x@other.example"})
        self.assertEqual(
            self.client.say("EXPN all@ours.example"), "250-2.1.5 <ann@ours.example>|250 2.1.5 <x@other.example>"
        )

    def test_help_on_everything(self) -> None:
        # RFC 5321 4.1.1.8
        topics = self.client.say("HELP").replace("214-2.0.0 ", "").split("|")[1:-1]
        names = " ".join(topics).split()
        self.assertLessEqual(
            {"EHLO", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "QUIT", "VRFY", "HELP"}, set(names)
        )
        for name in names[:15]:
            syntax, meaning = self.client.say(f"HELP {name.lower()}").split("|")
            self.assertTrue(syntax.startswith(f"214-2.0.0 {name}"), syntax)
            self.assertTrue(meaning.startswith("214 2.0.0 "), meaning)
