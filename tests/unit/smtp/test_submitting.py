"""A listener for submission, seen from a session (RFC 6409)."""

from __future__ import annotations

import re
from dataclasses import replace

from fixed_accounts import FixedAccounts
from harness import Client, Server
from twisted.trial.unittest import SynchronousTestCase

from mta.accounts.values import Account, State
from mta.reply import Reply, TemporaryFailure
from mta.submission.identity import Mode

PROXY = "198.51.100.7"
OWN = b"From: Ann <ann@ours.example>\r\n"


class Submitting(SynchronousTestCase):
    def log_in(self, server: Server, name: str = "ann") -> Client:
        client = server.connect(PROXY)
        client.seen()
        assert client.say(f"XCLIENT LOGIN={name}").startswith("220")
        assert client.say("EHLO client.example").startswith("250")
        return client

    def sent(self, header: bytes, body: bytes = b"hello\r\n", mode: Mode = Mode.STRICT, mail: str = "") -> bytes:
        """What is stored of a message; or the reply that refuses it."""
        server = Server(submission=True, identity=mode)
        client = self.log_in(server)
        assert client.say(f"MAIL FROM:<ann@ours.example>{mail}").startswith("250")
        assert client.say("RCPT TO:<x@foreign.example>").startswith("250")
        assert client.say("DATA").startswith("354")
        reply = client.say(header + b"\r\n" + body + b".")
        if not reply.startswith("250"):
            return reply.encode()
        ((_, octets),) = server.messages()
        self.assertEqual(server.memory.used, 0)
        return octets.partition(b"\r\n\t")[2]

    def fields(self, octets: bytes) -> list[bytes]:
        """The names of the header's fields, without Received."""
        return re.findall(rb"^([A-Za-z-]+):", octets.partition(b"\r\n\r\n")[0], re.MULTILINE)


class Logins(Submitting):
    def test_nobody_sends_without(self) -> None:
        client = Server(submission=True).connect("10.1.2.3").greet()
        self.assertEqual(client.say("MAIL FROM:<ann@ours.example>"), "530 5.7.0 Authentication required")

    def test_who_has_logged_in_sends_anywhere(self) -> None:
        server = Server(submission=True)
        client = self.log_in(server)
        self.assertTrue(
            client.message("ann@ours.example", "x@foreign.example", data=OWN + b"\r\nx\r\n").startswith("250")
        )
        ((lease, octets),) = server.messages()
        self.assertEqual(lease.message.envelope.origin.login, "ann")
        self.assertIn(b"with ESMTPA ", octets)

    def test_a_state_that_changes_counts_at_the_next_mail(self) -> None:
        # RFC 6409 6.1
        for state in (State.DISABLED, State.EXPIRED):
            server = Server(submission=True)
            client = self.log_in(server)
            client.message("ann@ours.example", "x@foreign.example", data=OWN + b"\r\nx\r\n")
            server.accounts.put(replace(server.accounts.accounts["ann"], state=state, why="left us"))
            self.assertEqual(
                client.say("MAIL FROM:<ann@ours.example>"), f"550 5.7.1 Your account is {state.value}: left us"
            )
            # The login is over with it.
            self.assertEqual(client.say("MAIL FROM:<ann@ours.example>"), "530 5.7.0 Authentication required")

    def test_an_account_that_is_gone(self) -> None:
        server = Server(submission=True)
        client = self.log_in(server)
        del server.accounts.accounts["ann"]
        self.assertEqual(client.say("MAIL FROM:<ann@ours.example>"), "530 5.7.0 Authentication required")

    def test_accounts_that_cannot_be_asked_are_trouble_for_now(self) -> None:
        server = Server(submission=True)
        client = self.log_in(server)
        server.accounts.failure = TemporaryFailure(Reply.of(454, "4.7.0", "down"))
        self.assertTrue(client.say("MAIL FROM:<ann@ours.example>").startswith("454 4.7.0"))
        server.accounts.failure = None
        self.assertTrue(client.say("MAIL FROM:<ann@ours.example>").startswith("250"))

    def test_an_account_that_is_held_may_send(self) -> None:
        server = Server(submission=True)
        client = self.log_in(server)
        server.accounts.put(replace(server.accounts.accounts["ann"], state=State.HELD))
        self.assertTrue(client.say("MAIL FROM:<ann@ours.example>").startswith("250"))

    def test_limits_of_an_account(self) -> None:
        server = Server(submission=True)
        client = self.log_in(server, "bob")
        self.assertTrue(client.say("MAIL FROM:<bob@ours.example> SIZE=2001").startswith("552 5.3.4"))
        self.assertTrue(client.say("MAIL FROM:<bob@ours.example> SIZE=2000").startswith("250"))
        for number in range(3):
            reply = client.say(f"RCPT TO:<x{number}@foreign.example>")
            self.assertTrue(reply.startswith("250" if number < 2 else "452 4.5.3"), reply)
        client.say("DATA")
        big = b"From: bob@ours.example\r\n\r\n" + b"x" * 70 + b"\r\n" * 1000
        self.assertTrue(client.say(big + b".").startswith("552 5.3.4"))
        # Whoever logs in next has his own.
        client.say("XCLIENT LOGIN=ann")
        client.say("EHLO client.example")
        self.assertTrue(client.say("MAIL FROM:<ann@ours.example> SIZE=2001").startswith("250"))

    def test_limits_of_an_account_only_lower_those_of_the_listener(self) -> None:
        server = Server(submission=True)
        server.accounts = FixedAccounts()
        server.accounts.put(Account(name="eve", message_size=10**9, recipients=10**6))
        server.factory.context = replace(server.context, accounts=server.accounts)
        client = self.log_in(server, "eve")
        self.assertTrue(client.say("MAIL FROM:<> SIZE=100001").startswith("552"))


class Identity(Submitting):
    def test_the_sender(self) -> None:
        client = self.log_in(Server(submission=True))
        self.assertEqual(
            client.say("MAIL FROM:<bob@ours.example>"),
            "550 5.7.1 MAIL FROM is bob@ours.example, which ann may not send as",
        )
        for path in ("ann@ours.example", "ANN@ours.example", "office@foreign.example", ""):
            self.assertTrue(client.say(f"MAIL FROM:<{path}>").startswith("250"), path)
            client.say("RSET")

    def test_the_header(self) -> None:
        for header, reply in {
            b"From: bob@ours.example\r\n": b"550 5.7.1 From is bob@ours.example, which ann may not send as",
            OWN + b"Sender: bob@ours.example\r\n": b"550 5.7.1 Sender is bob@ours.example, which ann may not send as",
            OWN + OWN: b"550 5.6.0 From stands 2 times",
            b"Subject: x\r\n": b"550 5.6.0 From is missing",
            b"": b"550 5.6.0 From is missing",
        }.items():
            self.assertEqual(self.sent(header), reply)

    def test_modes(self) -> None:
        header = b"From: bob@ours.example\r\nDate: x\r\nMessage-ID: <x@y>\r\n"
        self.assertTrue(self.sent(header).startswith(b"550 5.7.1"))
        # RFC 6409 8.1
        for mode in (Mode.RELAXED, Mode.OFF):
            found = self.sent(header, mode=mode)
            self.assertIn(b"Sender: ann@ours.example\r\nFrom: bob@ours.example\r\n", found)
        own = self.sent(OWN, mode=Mode.OFF)
        self.assertNotIn(b"Sender:", own)


class Domains(Submitting):
    """RFC 6409 4.2, 5.1: whole domain names in envelope and header."""

    def test_envelope(self) -> None:
        client = self.log_in(Server(submission=True))
        self.assertEqual(client.say("MAIL FROM:<ann@ours>"), "554 5.6.0 ann@ours has no whole domain name")
        client.say("MAIL FROM:<ann@ours.example>")
        self.assertEqual(client.say("RCPT TO:<x@foreign>"), "554 5.6.0 x@foreign has no whole domain name")
        self.assertTrue(client.say("RCPT TO:<x@[192.0.2.1]>").startswith("250"))
        self.assertTrue(client.say("RCPT TO:<postmaster>").startswith("250"))

    def test_header(self) -> None:
        for field, reply in {
            b"To: x@foreign": b"554 5.6.0 x@foreign has no whole domain name",
            b"Cc: X <x@foreign.example>, Y <y@foreign>": b"554 5.6.0 y@foreign has no whole domain name",
            b"Reply-To: x@@foreign.example": b"550 5.6.0 Reply-To has what is no address: the local part is not well",
            b"To: x@foreign..example": b"550 5.6.0 To has what is no address: the domain has a wrong character",
        }.items():
            found = self.sent(OWN + field + b"\r\n")
            self.assertTrue(found.startswith(reply), found)
        for field in (
            b"To: undisclosed recipients",
            b"To: undisclosed-recipients:;",
            b"To:",
            b"To: x@foreign.example <x@foreign.example>",
            b"To: " + b", ".join(b"x%d@foreign.example" % n for n in range(50)),
        ):
            self.assertTrue(self.sent(OWN + field + b"\r\n").endswith(field + b"\r\n\r\nhello\r\n"), field)


class Completion(Submitting):
    def test_what_is_missing_is_added(self) -> None:
        # RFC 6409 8.2, 8.3
        found = self.sent(OWN + b"Subject: x\r\n")
        self.assertEqual(self.fields(found), [b"Date", b"Message-ID", b"From", b"Subject"])

    def test_what_is_there_stays(self) -> None:
        header = b"Date: yesterday\r\nMessage-ID: <1@x.example>\r\n" + OWN
        self.assertTrue(self.sent(header).endswith(header + b"\r\nhello\r\n"))

    def test_a_message_id_that_is_none_is_replaced(self) -> None:
        # RFC 6409 8.3
        for value in (b"", b"hello", b"<a b@c.example>", b"<>"):
            header = b"Message-ID: " + value + b"\r\nDate: x\r\n" + OWN
            self.assertRegex(self.sent(header), rb"\nMessage-ID: <[0-9A-Z]{13}@mail.ours.example>\r\nDate: x\r\n")
        for value in (b"<a@b.example>", b"<a$b>", b"\r\n <a@[192.0.2.1]> (x)"):
            header = b"Message-ID: " + value + b"\r\nDate: x\r\n" + OWN
            self.assertTrue(self.sent(header).endswith(header + b"\r\nhello\r\n"))

    def test_bcc_goes(self) -> None:
        # RFC 6409 8 leaves it to us, RFC 5322 3.6.3 wants it; also where it is the first field
        found = self.sent(b"Bcc: x@foreign.example\r\n" + OWN + b"Bcc: y@foreign.example\r\n")
        self.assertEqual(self.fields(found), [b"Date", b"Message-ID", b"From"])
        found = self.sent(b"Bcc: x@foreign.example\r\nFrom: bob@ours.example\r\n", mode=Mode.RELAXED)
        self.assertEqual(self.fields(found), [b"Date", b"Message-ID", b"Sender", b"From"])

    def test_several_authors(self) -> None:
        # RFC 5322 3.6.2
        found = self.sent(b"From: ann@ours.example, office@foreign.example\r\n")
        self.assertIn(b"\r\nSender: ann@ours.example\r\n", found)

    def test_what_is_sent_again(self) -> None:
        # RFC 5322 3.6.6
        header = b"Resent-From: ann@ours.example\r\nResent-To: x@foreign.example\r\nDate: x\r\nMessage-ID: <x@y>\r\n"
        found = self.sent(header + b"From: bob@ours.example\r\n", mode=Mode.RELAXED)
        expected = [b"Resent-Date", b"Resent-Message-ID", b"Resent-From", b"Resent-To", b"Date", b"Message-ID", b"From"]
        self.assertEqual(self.fields(found), expected)
        whole = b"Resent-Date: x\r\nResent-Message-ID: <y@z>\r\n" + header
        found = self.sent(whole + b"From: bob@ours.example\r\n", mode=Mode.RELAXED)
        self.assertTrue(found.endswith(whole + b"From: bob@ours.example\r\n\r\nhello\r\n"), found)
        other = header.replace(b"ann@", b"bob@") + OWN
        found = self.sent(other, mode=Mode.RELAXED)
        self.assertEqual(self.fields(found)[:3], [b"Resent-Sender", b"Resent-Date", b"Resent-Message-ID"])


class EightBit(Submitting):
    def test_text_that_nobody_declared(self) -> None:
        # RFC 2045 4, 5.2, 6.2
        body = "Grüße\r\n".encode()
        found = self.sent(OWN, body)
        self.assertTrue(
            found.endswith(
                OWN + b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
                b"Content-Transfer-Encoding: 8bit\r\n\r\n" + body
            ),
            found,
        )
        self.assertIn(b"charset=unknown-8bit", self.sent(OWN, b"Gr\xfc\xdfe\r\n"))

    def test_what_says_what_it_is_stays(self) -> None:
        # RFC 2045 3: any one of its fields says it
        for field in (
            b"MIME-Version: 1.0",
            b"Content-Type: text/plain; charset=iso-8859-1",
            b"Content-Transfer-Encoding: 8bit",
        ):
            header = OWN + field + b"\r\n"
            self.assertTrue(self.sent(header, b"Gr\xfc\xdfe\r\n").endswith(header + b"\r\nGr\xfc\xdfe\r\n"), field)
        self.assertTrue(self.sent(OWN, b"hello\r\n").endswith(OWN + b"\r\nhello\r\n"))

    def test_the_header(self) -> None:
        # RFC 6531 3.6: without SMTPUTF8 it is ASCII
        found = self.sent("From: Änn <ann@ours.example>\r\nSubject: Grüße\r\n".encode())
        self.assertIn(b"From: =?utf-8?Q?=C3=84nn?= <ann@ours.example>\r\n", found)
        self.assertIn(b"Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n", found)
        self.assertTrue(found.isascii())
        self.assertEqual(self.fields(found), [b"Date", b"Message-ID", b"From", b"Subject"])

    def test_an_address_needs_smtputf8(self) -> None:
        header = OWN + "To: grün@foreign.example\r\n".encode()
        self.assertEqual(
            self.sent(header),
            b"550 5.6.7 To has an address outside ASCII, which needs the parameter SMTPUTF8",
        )
        self.assertTrue(self.sent(header, mail=" SMTPUTF8").endswith(header + b"\r\nhello\r\n"))


class Hostile(Submitting):
    def test_rows(self) -> None:
        for header, reply in {
            b'From: "boss@corp.example" <ann@ours.example>\r\n': b"550 5.7.1 From shows boss@corp.example",
            b"From: ann@ours.example, boss@corp.example\r\n": b"550 5.7.1 From is boss@corp.example",
            b"From: boss@corp.example <ann@ours.example>\r\n": b"550 5.6.0 From does not read",
            b"From: <@corp.example:ann@ours.example>\r\n": b"550 5.6.0 From does not read",
            b"From: " + b"A: " + b"ann@ours.example,\r\n " * 1000 + b";\r\n": b"552 5.3.4",  # limits.header
            b"From:\r\n boss@corp.example\r\n": b"550 5.7.1 From is boss@corp.example",
            b"From:\r\n\tboss\r\n\t@corp.example (ann@ours.example)\r\n": b"550 5.7.1 From is boss@corp.example",
            b"From : boss@corp.example\r\n": b"550 5.7.1 From is boss@corp.example",
            b"From : boss@corp.example\r\n" + OWN: b"550 5.6.0 From stands 2 times",
            b"From:\r\n": b"550 5.6.0 From has no address",
            b"From: \xff\xfe@ours.example\r\n": b"550 5.6.0 From does not read",
            OWN + b"broken\r\nFrom: boss@corp.example\r\n": b"550 5.6.0 line 2 of the header is no field",
            OWN + b"Sender: boss@corp.example\r\n": b"550 5.7.1 Sender is boss@corp.example",
            b"From: ann@xn--urs-hfd.example\r\n": b"550 5.",
            "From: ann@\u043eurs.example\r\n".encode(): b"550 5.7.1 From is ann@xn--",
        }.items():
            found = self.sent(header)
            self.assertTrue(found.startswith(reply), (header[:60], found))
