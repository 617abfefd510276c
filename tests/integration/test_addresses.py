"""Domains, tags, aliases, people who have moved and loops with the daemon, and what is found in the mailboxes."""

from __future__ import annotations

import unittest

from tests.integration.tools import MESSAGE, Daemon, Dialogue, Sink

MORE = """\
moved = "file:moved"
quota = "file:quota"

[domains."other.example"]
alias_of = "ours.example"

[domains."null.example"]
null = true
"""


class Addresses(unittest.TestCase):
    def daemon(self, more: str = "") -> Daemon:
        daemon = Daemon(more, start=False)
        daemon.change('deliver = "local"\n', 'deliver = "local"\n' + MORE)
        daemon.change("{local_part}", "{local_part}/.{tag}")
        (daemon.folder / "aliases").write_text("team: :include:members, ann@other.example\n")
        (daemon.folder / "members").write_text("# all of us\nann\nbob+team\n")
        (daemon.folder / "moved").write_text("old: bob@ours.example; reply=251\ngone: new@far.example; reply=551\n")
        (daemon.folder / "quota").write_text("dora: full\n")
        (daemon.folder / "mailboxes").write_text("postmaster\nann\nbob\ndora\n")
        return daemon

    def test_where_mail_goes_and_what_is_written_on_it(self) -> None:
        with self.daemon() as daemon:
            daemon.start()
            daemon.take("Team@other.example")
            (copy,) = daemon.wait_for_mail("ann")
            self.assertIn(b"Delivered-To: ann@ours.example\nX-Original-To: Team@other.example\n", copy)
            (tagged,) = daemon.wait_for_mail("bob/.team")
            self.assertIn(b"Delivered-To: bob+team@ours.example\n", tagged)
            daemon.drained()
            self.assertEqual(daemon.audit()["unaccounted"], 0)

    def test_replies(self) -> None:
        with self.daemon() as daemon:
            daemon.start()
            with Dialogue(daemon.port) as client:
                client.greet().say("MAIL FROM:<x@elsewhere.example>")
                for address, reply in (
                    ("old@other.example", "251 2.1.5 User not local; will forward to <bob@ours.example>"),
                    ("gone+x@ours.example", "551 5.1.6 User not local; please try <new@far.example>"),
                    ("any@null.example", "556 5.1.10 This domain takes no mail"),
                    ("nobody@other.example", "550 5.1.1 No such mailbox here"),
                    ("dora@ours.example", "452 4.2.2 The mailbox is full, please try again later"),
                ):
                    self.assertEqual(client.say(f"RCPT TO:<{address}>"), reply)

    def test_a_loop_ends_at_the_mailbox(self) -> None:
        """RFC 5321 6.3; the report names the address that the sender used."""
        with Sink() as sink:
            route = '[[route]]\nname = "far"\nto = ["elsewhere.example"]\nvia = "far"\n'
            with self.daemon(sink.delivery("far") + route) as daemon:
                daemon.start()
                octets = b"Delivered-To: bob@ours.example\r\n" + MESSAGE
                daemon.take("old@ours.example", sender="eve@elsewhere.example", octets=octets)
                ((_, report),) = sink.wait_for(1)
                self.assertIn(b"Final-Recipient: rfc822; old@ours.example", report)
                self.assertIn(b"Status: 5.4.6", report)
                self.assertNotIn(b"rfc822; bob@ours.example", report)
                self.assertEqual(daemon.mails("bob"), [])
