"""Our LMTP listeners, driven by smtplib and swaks, and by our own delivery service ``lmtp`` (RFC 2033)."""

from __future__ import annotations

import shutil
import smtplib
import ssl
import subprocess
import unittest

from tests.integration.tools import Daemon, free_port, wait_for

LISTEN = """
[[listen]]
name = "lmtp"
endpoint = "tcp:{port}:interface=127.0.0.1"
service = "lmtp"

[[listen]]
name = "lmtp-socket"
endpoint = "unix:lmtp.sock"
service = "lmtp"

[relay]
networks = ["127.0.0.0/8"]
"""
OCTETS = b"Subject: x\r\n\r\n.\r\n..\r\n\xe4\r\n"


class Server(unittest.TestCase):
    def setUp(self) -> None:
        self.port = free_port()
        self.daemon = self.enterContext(Daemon(LISTEN.format(port=self.port)))
        self.socket = self.daemon.folder / "lmtp.sock"


class Smtplib(Server):
    """It reads one reply after the message, and leaves the others to its caller."""

    def deliver(self, lmtp: smtplib.LMTP, *recipients: str) -> list[tuple[int, bytes]]:
        """A message; the replies to it."""
        self.assertEqual(lmtp.mail("a@b.example", ["BODY=8BITMIME"])[0], 250)
        taken = [lmtp.rcpt(recipient)[0] for recipient in recipients].count(250)
        return [lmtp.data(OCTETS), *(lmtp.getreply() for _ in range(taken - 1))]

    def check(self, host: str, port: int, origin: bytes) -> None:
        with smtplib.LMTP(host, port, local_hostname="client.example") as lmtp:
            lmtp.ehlo_or_helo_if_needed()  # LHLO
            for keyword in ("pipelining", "enhancedstatuscodes", "8bitmime", "chunking"):
                self.assertTrue(lmtp.has_extn(keyword), keyword)
            replies = self.deliver(lmtp, "ann@ours.example", "nobody@ours.example", "info@ours.example")
            self.assertEqual([code for code, _ in replies], [250, 250])
            self.assertEqual(len(set(replies)), 1, "one commit, one queue id")
            self.assertEqual([code for code, _ in self.deliver(lmtp, "bob@ours.example")], [250])
        (to_ann,) = self.daemon.wait_for_mail("ann")
        self.assertTrue(to_ann.endswith(OCTETS.replace(b"\r\n", b"\n")))
        self.assertRegex(
            to_ann, rb"\nReceived: from client\.example" + origin + rb"\n\tby mail\.ours\.example with LMTP id"
        )
        self.assertEqual(len(self.daemon.wait_for_mail("bob", 2)), 2)

    def test_tcp(self) -> None:
        self.check("127.0.0.1", self.port, rb" \([^)]*\[127\.0\.0\.1\]\)")

    def test_unix_socket(self) -> None:
        self.check(str(self.socket), 0, b"")

    def test_tls(self) -> None:
        # RFC 3848: LMTPS
        anybody = ssl.create_default_context()
        anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
        for host, port in (("127.0.0.1", self.port), (str(self.socket), 0)):
            with smtplib.LMTP(host, port) as lmtp:
                lmtp.starttls(context=anybody)
                lmtp.sendmail("a@b.example", ["ann@ours.example"], b"Subject: x\r\n\r\n")
        for found in self.daemon.wait_for_mail("ann", 2):
            self.assertRegex(found, rb"\n\tby mail\.ours\.example with LMTPS\n\t\(version=TLSv1\.3 ")

    def test_mailboxes_only(self) -> None:
        # relay.networks has this client, and does not count here.
        with smtplib.LMTP("127.0.0.1", self.port) as lmtp, smtplib.LMTP(str(self.socket)) as local:
            for client in (lmtp, local):
                with self.assertRaises(smtplib.SMTPRecipientsRefused) as refused:
                    client.sendmail("a@b.example", ["x@foreign.example"], OCTETS)
                self.assertEqual(refused.exception.recipients["x@foreign.example"][0], 550)

    def test_it_is_not_smtp(self) -> None:
        with smtplib.SMTP("127.0.0.1", self.port) as smtp, self.assertRaises(smtplib.SMTPHeloError) as no:
            smtp.ehlo_or_helo_if_needed()
        self.assertEqual(no.exception.smtp_code, 500)
        with smtplib.LMTP("127.0.0.1", self.daemon.port) as lmtp:
            self.assertEqual(lmtp.ehlo()[0], 500)

    def test_the_socket_is_for_its_group(self) -> None:
        self.assertEqual(self.socket.stat().st_mode & 0o777, 0o660)

    def test_a_socket_that_a_killed_daemon_left_is_taken_over(self) -> None:
        self.daemon.kill()
        self.daemon.start()
        with smtplib.LMTP(str(self.socket)) as lmtp:
            lmtp.sendmail("a@b.example", ["ann@ours.example"], b"Subject: x\r\n\r\n")
        self.daemon.wait_for_mail("ann")


class Swaks(Server):
    def test_both_ways(self) -> None:
        if shutil.which("swaks") is None:
            raise unittest.SkipTest("swaks is not installed")
        for where in (["--server", f"127.0.0.1:{self.port}"], ["--socket", str(self.socket)]):
            arguments = ["--protocol", "LMTP", "--from", "a@b.example", "--to", "ann@ours.example"]
            done = subprocess.run(
                ["swaks", *where, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
            )
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn("-> LHLO", done.stdout)
        self.assertEqual(len(self.daemon.wait_for_mail("ann", 2)), 2)


class OurOwn(Server):
    """Our delivery service into our own listener."""

    def check(self, where: str) -> None:
        more = f'[domains."there.example"]\ndeliver = "there"\n[delivery.there]\ntype = "lmtp"\n{where}\n'
        with Daemon(more) as sender:
            self.daemon.add('[domains."there.example"]\nmailboxes = "file:there"\ndeliver = "local"\n')
            (self.daemon.folder / "there").write_text("mary\njohn\n")
            self.daemon.mta("reload")
            id = sender.take("mary@there.example", "nobody@there.example", "john@there.example", octets=OCTETS)
            sender.drained()
            for name in ("mary", "john"):
                wait_for(lambda name=name: self.daemon.mails(name, "there.example"), f"mail for {name}")
                (found,) = self.daemon.mails(name, "there.example")
                self.assertIn(b" with LMTP", found)
                self.assertTrue(found.endswith(OCTETS.replace(b"\r\n", b"\n")))
            (report,) = sender.wait_for_mail("ann")
            self.assertIn(b"nobody@there.example", report)
            self.assertNotIn(b"mary@there.example", report)
            self.assertIn("queued as", sender.mta("explain", id).stdout)

    def test_tcp(self) -> None:
        self.check(f'host = "127.0.0.1"\nport = {self.port}')

    def test_unix_socket(self) -> None:
        self.check(f'path = "{self.socket}"')
