"""The delivery service ``lmtp`` against a real Dovecot, over TCP and a UNIX socket (RFC 2033)."""

from __future__ import annotations

import re
import unittest

from tests.integration.dovecot import Dovecot
from tests.integration.tools import MESSAGE, Daemon, Dialogue

#: mary has room; tiny's mailbox is too small for any message.
QUOTAS = {"mary": "", "tiny": "*:storage=1K"}
DOMAIN = """
[domains."there.example"]
deliver = "there"
"""
#: Dots at the beginning of lines, octets over 127, a long line, an empty body's end.
ODD = b"From: ann@ours.example\r\nSubject: odd\r\n\r\n.\r\n..\r\n.x\r\n\xe4\xf6\xfc\r\n" + b"x" * 990 + b"\r\n\r\n"
LARGE = b"From: ann@ours.example\r\nSubject: large\r\n\r\n" + b".0123456789abcdef\r\n" * 60_000
FULL = MESSAGE + b"x" * 2000 + b"\r\n"


class Delivery(unittest.TestCase):
    """Over TCP; below, the same over a UNIX socket."""

    unix = False

    def begin(self, more: str = "", configuration: str = "") -> tuple[Dovecot, Daemon]:
        dovecot = self.enterContext(Dovecot(QUOTAS, more))
        configuration += DOMAIN + dovecot.delivery("there", unix=self.unix)
        return dovecot, self.enterContext(Daemon(configuration))

    def test_it_arrives_octet_for_octet_over_one_connection(self) -> None:
        dovecot, daemon = self.begin()
        for octets in (MESSAGE, ODD, LARGE):
            daemon.take("mary@there.example", octets=octets)
            daemon.drained()
        found = {next(it for it in (MESSAGE, ODD, LARGE) if mail.endswith(it)): mail for mail in dovecot.mails("mary")}
        self.assertEqual(len(found), 3, dovecot.log())
        for octets, mail in found.items():
            added = mail.removesuffix(octets)
            # RFC 5321 4.4: the server that makes the final delivery adds Return-Path, once and on top.
            self.assertTrue(added.startswith(b"Return-Path: <ann@ours.example>\r\n"), added)
            self.assertEqual(len(re.findall(rb"(?im)^return-path:", added)), 1)
            self.assertIn(b"by mail.ours.example with ESMTP", added)
        self.assertEqual(len(re.findall(r"Connect from", dovecot.log())), 1, dovecot.log())

    def test_story_says_that_it_was_delivered(self) -> None:
        dovecot, daemon = self.begin()
        id = daemon.take("mary@there.example")
        daemon.drained()
        story = daemon.mta("explain", id).stdout
        self.assertIn("delivered", story)
        self.assertNotIn("relayed", story)
        self.assertIn("Saved", story)
        self.assertIn(str(dovecot.socket) if self.unix else f"[127.0.0.1]:{dovecot.port}", story)

    def test_success_that_the_sender_wants_to_hear_of(self) -> None:
        # RFC 3461 5.2.2: Dovecot knows no DSN, so the report is ours; and it says delivered, not relayed.
        _, daemon = self.begin(configuration='[relay]\nnetworks = ["127.0.0.0/8"]\n')
        with Dialogue(daemon.port) as client:
            client.greet().say("MAIL FROM:<ann@ours.example> RET=HDRS ENVID=e1")
            client.say("RCPT TO:<mary@there.example> NOTIFY=SUCCESS")
            self.assertTrue(client.say("DATA").startswith("354"))
            self.assertTrue(client.say(MESSAGE + b".").startswith("250"))
        (report,) = daemon.wait_for_mail("ann")
        self.assertIn(b"\nAction: delivered\n", report)
        self.assertIn(b"\nFinal-Recipient: rfc822; mary@there.example\n", report)
        self.assertIn(b"\nOriginal-Envelope-Id: e1\n", report)

    def test_unknown_user_fails_alone(self) -> None:
        dovecot, daemon = self.begin()
        daemon.take("mary@there.example", "nobody@there.example")
        (report,) = daemon.wait_for_mail("ann")
        self.assertEqual(len(dovecot.wait_for_mail("mary")), 1)
        self.assertIn(b"550 5.1.1", report)
        self.assertIn(b"nobody@there.example", report)
        self.assertNotIn(b"mary@there.example", report)

    def test_full_mailbox_fails_alone_after_the_dot(self) -> None:
        # RFC 2033 4.2: both RCPT were taken; each has its own reply to the message.
        dovecot, daemon = self.begin()
        id = daemon.take("tiny@there.example", "mary@there.example", octets=FULL)
        (report,) = daemon.wait_for_mail("ann")
        daemon.drained()
        (found,) = dovecot.mails("mary")
        self.assertTrue(found.endswith(FULL))
        self.assertEqual(dovecot.mails("tiny"), [])
        self.assertIn(b"Final-Recipient: rfc822; tiny@there.example", report)
        self.assertIn(b"552 5.2.2", report)
        self.assertIn(b"Quota exceeded", report)
        self.assertNotIn(b"mary@there.example", report)
        self.assertIn("552 5.2.2", daemon.mta("explain", id).stdout)
        self.assertFalse(daemon.audit().get("unaccounted"))

    def test_full_mailbox_waits_where_the_server_says_so(self) -> None:
        dovecot, daemon = self.begin("quota_full_tempfail = yes\n")
        daemon.take("mary@there.example", "tiny@there.example", octets=FULL)
        (row,) = daemon.tried(1, "452 4.2.2")
        self.assertEqual(len(dovecot.wait_for_mail("mary")), 1)
        self.assertEqual(daemon.mails("ann"), [])
        self.assertIn("tiny@there.example", str(row))
        # It slows nobody: the next message goes at once.
        daemon.take("mary@there.example")
        self.assertEqual(len(dovecot.wait_for_mail("mary", 2)), 2)

    def test_it_waits_for_a_server_that_is_away(self) -> None:
        dovecot, daemon = self.begin(configuration='[queue]\nretry = ["1s"]\n')
        dovecot.stop()
        daemon.take("mary@there.example")
        daemon.tried(1, "4.4.1")
        dovecot.start()
        self.assertEqual(len(dovecot.wait_for_mail("mary")), 1)


class DeliveryOverUnixSocket(Delivery):
    unix = True
