"""Notes about people who have moved, with the daemon: to whom has logged in, once, also after a restart (RFC 3834)."""

from __future__ import annotations

import email
import email.policy
import smtplib
import unittest
from typing import Any

from tests.integration.test_submission import ACCOUNT, MORE
from tests.integration.tools import Daemon, free_port


class Notes(unittest.TestCase):
    def setUp(self) -> None:
        self.port = free_port()
        self.daemon = self.enterContext(Daemon(MORE.format(port=self.port).partition("[brake]")[0], start=False))
        path = self.daemon.folder / "accounts"
        path.touch(0o600)
        path.write_text(ACCOUNT.format(more=""))
        (self.daemon.folder / "moved").write_text("old: bob@ours.example; note=address\n")
        self.daemon.change('aliases = "file:aliases"', 'aliases = "file:aliases"\nmoved = "file:moved"')
        self.daemon.start()

    def send(self, text: str) -> None:
        with smtplib.SMTP("127.0.0.1", self.port) as smtp:
            self.assertEqual(smtp.docmd("XCLIENT LOGIN=ann")[0], 220)
            octets = f"From: ann@ours.example\r\nSubject: {text}\r\n\r\nhello\r\n"
            self.assertEqual(smtp.sendmail("ann@ours.example", ["old@ours.example"], octets), {})

    def test_once(self) -> None:
        self.send("one")
        (octets,) = self.daemon.wait_for_mail("ann")
        note: Any = email.message_from_bytes(octets, policy=email.policy.default)
        self.assertEqual((note["Auto-Submitted"], note["Return-Path"]), ("auto-replied", "<>"))
        self.assertIn("The new address is <bob@ours.example>", note.get_content())
        self.daemon.wait_for_mail("bob", 1)
        self.daemon.stop()
        self.daemon.start()
        self.send("two")
        # From elsewhere, with the same sender: it is forwarded, and nobody is told.
        self.daemon.take("old@ours.example", sender="ann@ours.example")
        self.daemon.wait_for_mail("bob", 3)
        self.daemon.drained()
        self.assertEqual(len(self.daemon.mails("ann")), 1)
        audit = self.daemon.audit()
        self.assertEqual((audit["unaccounted"], audit["ended"]["expanded"]), (0, 2))
        said = self.daemon.mta("explain", "old@ours.example").stdout
        self.assertIn("The sender is told by ", said)
        self.assertIn("No note: the sender was told before", said)
        self.assertIn(f"old@ours.example -> bob@ours.example   moved   {self.daemon.folder}/moved:1", said)
