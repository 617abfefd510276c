"""Clients and servers that others wrote: smtplib, swaks and aiosmtpd; and the kinds of addresses they come from."""

from __future__ import annotations

import shutil
import smtplib
import socket
import subprocess
import unittest
from email.message import EmailMessage

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.integration.tools import Daemon, Dialogue, Sink, free_port

RELAY = '[relay]\nnetworks = ["127.0.0.0/8"]\n'
SIX = '[relay]\nnetworks = ["::1/128"]\n'


def mail(text: str = "It works.\n") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "ann@ours.example", "bob@ours.example", "hello"
    message.set_content(text)
    return message


class Smtplib(unittest.TestCase):
    def test_messages_of_every_kind_on_one_connection(self) -> None:
        eight_bit = b"Subject: 8\r\n\r\n\xe4\xf6\xfc\r\n.\r\n..dots\r\n"
        with Daemon() as daemon, smtplib.SMTP("127.0.0.1", daemon.port, timeout=30) as smtp:
            smtp.ehlo("client.example")
            for keyword in ("size", "pipelining", "8bitmime", "enhancedstatuscodes"):
                self.assertTrue(smtp.has_extn(keyword), keyword)
            self.assertEqual(smtp.send_message(mail()), {})
            self.assertEqual(smtp.sendmail("a@b.example", "ann@ours.example", eight_bit, ["BODY=8BITMIME"]), {})
            self.assertEqual(smtp.verify("bob@ours.example")[0], 252)
            self.assertEqual(smtp.noop()[0], 250)
            self.assertEqual(smtp.help()[:3], b"2.0")
            refused = smtp.sendmail("a@b.example", ["bob@ours.example", "nobody@ours.example"], "Subject: x\n\n")
            self.assertEqual({to: code for to, (code, _) in refused.items()}, {"nobody@ours.example": 550})
            (to_ann,) = daemon.wait_for_mail("ann")
            self.assertTrue(to_ann.endswith(eight_bit.replace(b"\r\n", b"\n")))
            self.assertEqual(len(daemon.wait_for_mail("bob", 2)), 2)

    def test_what_is_refused(self) -> None:
        more = '[limits]\nmessage_size = "100KiB"\nrecipients = 2\n'
        with Daemon(more) as daemon, smtplib.SMTP("127.0.0.1", daemon.port, timeout=30) as smtp:
            with self.assertRaises(smtplib.SMTPRecipientsRefused) as nobody:
                smtp.sendmail("a@b.example", ["x@foreign.example"], "Subject: x\r\n\r\n")
            self.assertEqual(nobody.exception.recipients["x@foreign.example"][0], 550)
            with self.assertRaises(smtplib.SMTPSenderRefused) as size:
                smtp.sendmail("a@b.example", ["bob@ours.example"], "Subject: x\r\n\r\n" + "x\r\n" * 50_000)
            self.assertEqual((size.exception.smtp_code, size.exception.smtp_error[:5]), (552, b"5.3.4"))
            boxes = [f"{name}@ours.example" for name in ("ann", "bob", "postmaster")]
            refused = smtp.sendmail("a@b.example", boxes, "Subject: x\r\n\r\n")
            self.assertEqual(refused["postmaster@ours.example"][0], 452)
            daemon.wait_for_mail("ann")
            daemon.wait_for_mail("bob")

    def test_helo_alone(self) -> None:
        with Daemon() as daemon, smtplib.SMTP("127.0.0.1", daemon.port, timeout=30) as smtp:
            smtp.helo("old.example")
            smtp.sendmail("a@b.example", ["bob@ours.example"], "Subject: x\r\n\r\nold\r\n")
            (found,) = daemon.wait_for_mail("bob")
            self.assertRegex(found, rb"Received: from old\.example \([^)]*\)\n\tby mail\.ours\.example with SMTP ")


class Swaks(unittest.TestCase):
    def swaks(self, daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
        if shutil.which("swaks") is None:
            raise unittest.SkipTest("swaks is not installed")
        return subprocess.run(
            ["swaks", "--server", f"127.0.0.1:{daemon.port}", "--from", "ann@ours.example", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def test_as_the_readme_has_it(self) -> None:
        with Daemon() as daemon:
            done = self.swaks(daemon, "--to", "bob@ours.example,info@ours.example")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertRegex(done.stdout, r"(?m)^<-  250 2\.0\.0 Ok: queued as [0-9A-Z]{13}")
            # One mailbox, one copy, though two addresses lead to it.
            (found,) = daemon.wait_for_mail("bob")
            self.assertIn(b"This is a test mailing", found)
            daemon.drained()
            self.assertEqual(len(daemon.mails("bob")), 1)

    def test_pipelined(self) -> None:
        with Daemon() as daemon:
            body = "." + "\\n" + "..two" + "\\n" + "end"
            done = self.swaks(daemon, "--pipeline", "--to", "bob@ours.example", "--body", body)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            (found,) = daemon.wait_for_mail("bob")
            self.assertIn(b"\n\n.\n..two\nend\n", found)

    def test_it_is_told_what_is_refused(self) -> None:
        with Daemon() as daemon:
            done = self.swaks(daemon, "--to", "x@foreign.example")
            self.assertEqual(done.returncode, 24, "swaks: no recipient was accepted")
            self.assertIn("550 5.7.1 ", done.stdout)


class Handler:
    """Keeps what it takes; refuses one address."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, list[str], bytes]] = []

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("nobody"):
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        self.taken.append((str(envelope.mail_from), list(envelope.rcpt_tos), content))
        return "250 2.0.0 taken"


class Aiosmtpd(unittest.TestCase):
    def test_relayed_to_it(self) -> None:
        handler = Handler()
        server = Controller(handler, hostname="127.0.0.1", port=free_port(), decode_data=False)
        server.start()
        self.addCleanup(server.stop)
        internet = f'[delivery.internet]\ntype = "smtp"\nhost = "127.0.0.1"\nport = {server.port}\n'
        octets = b"From: a\r\nDate: b\r\nMessage-ID: <c@d>\r\n\r\n.\r\n..\r\n\xe4\r\n" + b"x" * 990 + b"\r\n"
        with Daemon(RELAY, internet=internet) as daemon:
            daemon.take("x@far.example", "nobody@far.example", "y@far.example", octets=octets)
            daemon.drained()
            ((sender, recipients, content),) = handler.taken
            self.assertEqual(sender, "ann@ours.example")
            self.assertEqual(sorted(recipients), ["x@far.example", "y@far.example"])
            self.assertTrue(content.endswith(octets))
            self.assertRegex(content.removesuffix(octets), rb"^Received: from client\.example [^\n]+\n(\t[^\n]+\n)+$")
            (report,) = daemon.wait_for_mail("ann")
            self.assertIn(b"550 5.1.1 no such mailbox", report)


class Addresses(unittest.TestCase):
    """IPv6, and IPv4 clients of a listener for both: RFC 4291 2.5.5.2."""

    def setUp(self) -> None:
        try:
            with socket.socket(socket.AF_INET6) as sock:
                sock.bind(("::1", 0))
        except OSError:
            raise unittest.SkipTest("there is no IPv6 loopback") from None

    def relayed(self, daemon: Daemon, sink: Sink, host: str) -> str:
        """Send one from there to a foreign domain; its story."""
        before = len(sink.messages)
        with Dialogue(daemon.port, host) as client:
            reply = client.greet().message("ann@ours.example", ["x@far.example"], b"hello\r\n")
        self.assertTrue(reply.startswith("250"), reply)
        sink.wait_for(before + 1)
        daemon.drained()
        return daemon.mta("explain", reply.split()[-1]).stdout

    def test_listener_on_ipv6(self) -> None:
        endpoint = r"tcp6:{port}:interface=\:\:1"
        with Sink() as sink, Daemon(SIX, internet=sink.delivery(), endpoint=endpoint) as daemon:
            self.assertIn("accepted   ::1 (", self.relayed(daemon, sink, "::1"))
            _, octets = sink.messages[0]
            self.assertRegex(octets, rb"^Received: from client\.example \([^)]*\[IPv6:::1\]\)")

    def test_ipv4_client_of_a_listener_for_both_is_an_ipv4_client(self) -> None:
        with Sink() as sink, Daemon(RELAY, internet=sink.delivery(), endpoint="tcp6:{port}") as daemon:
            self.assertIn("accepted   127.0.0.1 (", self.relayed(daemon, sink, "127.0.0.1"))
            _, octets = sink.messages[0]
            self.assertRegex(octets, rb"^Received: from client\.example \([^)]*\[127\.0\.0\.1\]\)")
            with Dialogue(daemon.port, "::1") as client:  # who is not in the network of IPv4
                client.greet().say("MAIL FROM:<ann@ours.example>")
                self.assertRegex(client.say("RCPT TO:<x@far.example>"), "^550 5.7.1 ")

    def test_network_of_ipv6_does_not_let_ipv4_in(self) -> None:
        with Daemon('[relay]\nnetworks = ["::1/128"]\n', endpoint="tcp6:{port}") as daemon:
            for host, expected in (("::1", "250"), ("127.0.0.1", "550 5.7.1 ")):
                with Dialogue(daemon.port, host) as client:
                    client.greet().say("MAIL FROM:<ann@ours.example>")
                    self.assertRegex(client.say("RCPT TO:<x@far.example>"), f"^{expected}", host)

    def test_relayed_to_a_host_on_ipv6(self) -> None:
        handler = Handler()
        server = Controller(handler, hostname="::1", port=free_port(), decode_data=False)
        server.start()
        self.addCleanup(server.stop)
        internet = f'[delivery.internet]\ntype = "smtp"\nhost = "[IPv6:::1]"\nport = {server.port}\n'
        with Daemon(RELAY, internet=internet) as daemon:
            daemon.take("x@far.example")
            daemon.drained()
            self.assertEqual([recipients for _, recipients, _ in handler.taken], [["x@far.example"]])
