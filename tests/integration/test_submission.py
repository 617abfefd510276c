"""Submission against the daemon: the brake holds and is released, and accounts that may not send."""

from __future__ import annotations

import smtplib
import unittest

from tests.integration.tools import Daemon, free_port, wait_for

MORE = """
[[listen]]
name = "submission"
endpoint = "tcp:{port}:interface=127.0.0.1"
service = "submission"
xclient = ["127.0.0.1"]

[accounts.main]
type = "file"
path = "accounts"

[brake]
messages_per_hour = 2
"""
ACCOUNT = '{{"name": "ann", "addresses": ["ann@ours.example"]{more}}}\n'


class Submission(unittest.TestCase):
    def setUp(self) -> None:
        self.port = free_port()
        self.daemon = self.enterContext(Daemon(MORE.format(port=self.port), start=False))
        self.account()
        self.daemon.start()

    def account(self, more: str = "") -> None:
        path = self.daemon.folder / "accounts"
        path.touch(0o600)
        path.write_text(ACCOUNT.format(more=more))

    def send(self, text: str, count: int = 1) -> None:
        with smtplib.SMTP("127.0.0.1", self.port) as smtp:
            code, said = smtp.docmd("XCLIENT LOGIN=ann")
            self.assertEqual(code, 220, said)
            for _ in range(count):
                octets = f"From: ann@ours.example\r\nSubject: {text}\r\n\r\nhello\r\n"
                self.assertEqual(smtp.sendmail("ann@ours.example", ["bob@ours.example"], octets), {})

    def held(self) -> list[str]:
        return [row["hold"] for row in self.daemon.queue() if row["hold"]]

    def test_a_brake_that_closes_and_opens(self) -> None:
        self.send("hurry", 4)
        self.daemon.wait_for_mail("bob", 2)
        wait_for(lambda: len(self.held()) == 2, "two held")
        for reason in self.held():
            self.assertIn("account ann is held: the brake closed: 3 messages in an hour, and 2 are allowed", reason)
        (told,) = self.daemon.wait_for_mail("ann")
        self.assertIn(b"Auto-Submitted: auto-generated", told)
        (told,) = self.daemon.wait_for_mail("postmaster")
        self.assertIn(b"mta account release ann", told)
        self.daemon.stop()
        self.daemon.start()  # nothing of it is forgotten
        self.send("more")
        wait_for(lambda: len(self.held()) == 3, "three held")
        said = self.daemon.mta("account", "release", "ann").stdout
        self.assertIn("ann was held: the brake closed: 3 messages in an hour", said)
        self.assertIn("released 3 recipients of ann", said)
        self.daemon.wait_for_mail("bob", 5)
        self.send("again")
        self.daemon.wait_for_mail("bob", 6)
        self.assertEqual(len(self.daemon.mails("ann")), 1, "told once")
        self.assertEqual(self.daemon.audit()["unaccounted"], 0)

    def test_what_is_held_is_dropped_with_the_service_stopped(self) -> None:
        self.send("hurry", 4)
        wait_for(lambda: len(self.held()) == 2, "two held")
        self.daemon.stop()
        said = self.daemon.mta("account", "release", "ann", "--drop", "--yes").stdout
        self.assertIn("deleted 2 recipients of ann", said)
        self.daemon.start()
        self.send("again")
        self.daemon.wait_for_mail("bob", 3)
        self.assertEqual(self.held(), [])
        self.assertEqual(self.daemon.audit()["unaccounted"], 0)

    def test_mail_of_an_account_that_was_disabled_meanwhile(self) -> None:
        self.daemon.mta("queue", "pause", "local")
        self.send("wait")
        self.account(', "state": "disabled", "why": "left us"')
        self.daemon.mta("queue", "resume", "local")
        wait_for(self.held, "it is held")
        self.assertIn("account ann is disabled: left us", self.held()[0])
        refused = self.daemon.mta("account", "release", "ann", check=False)
        self.assertIn("mta account enable", refused.stderr)
        with smtplib.SMTP("127.0.0.1", self.port) as smtp:
            smtp.docmd("XCLIENT LOGIN=ann")
            smtp.ehlo()
            code, said = smtp.mail("ann@ours.example")
            self.assertEqual((code, said), (550, b"5.7.1 Your account is disabled: left us"))
        self.account()
        self.daemon.mta("account", "release", "ann")
        self.daemon.wait_for_mail("bob")
