"""Mailing lists with the daemon: who may post, what members get, and who hears of what fails (RFC 5321 3.9.2)."""

from __future__ import annotations

import email
import email.policy
import sqlite3
import unittest
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from tests.integration.tools import MESSAGE, Daemon, Dialogue, Sink, wait_for

LISTS = """\
[lists."team@ours.example"]
owner = "ann@ours.example"
description = "The team"
members = ["bob@ours.example", "sub@ours.example", "Carl@far.example", "nobody@far.example"]
posting = ["anyone"]
subject_tag = "[team]"

[lists."sub@ours.example"]
owner = "ann@ours.example"
members = "team@ours.example"
members_from = "file:sub"
posting = "members"
"""
SMALL = '[lists."small@ours.example"]\nowner = "ann@ours.example"\nposting = "anyone"\nmax_members = 1\n'
DATABASE = """\
[tables.db]
type = "sqlite"
database = "db.sqlite"
query = "SELECT address FROM member WHERE address = :key"
list_query = "SELECT address FROM member"
[tables.all]
type = "chain"
tables = ["file:sub", "table:db"]
[lists."large@ours.example"]
owner = "ann@ours.example"
members_from = "table:all"
posting = "anyone"
"""
TRUST = '[relay]\nnetworks = ["127.0.0.0/8"]\n'
ROUTE = '[[route]]\nname = "far"\nto = ["far.example"]\nvia = "far"\n'


def read(octets: bytes) -> Any:
    return email.message_from_bytes(octets, policy=email.policy.default)


class MailingLists(unittest.TestCase):
    @contextmanager
    def daemon(self, sink: Sink, more: str = "") -> Iterator[Daemon]:
        with Daemon(LISTS + sink.delivery("far") + ROUTE + more, start=False) as daemon:
            (daemon.folder / "sub").write_text("bob\ndora@far.example\n")
            daemon.start()
            yield daemon

    def test_a_post_reaches_all_members_and_failures_the_owner(self) -> None:
        script = {"RCPT": lambda line: "550 5.1.1 No such user" if "nobody" in line else None}
        with Sink(script) as sink, self.daemon(sink) as daemon:
            daemon.take("team@ours.example", sender="eve@elsewhere.example")
            (octets,) = daemon.wait_for_mail("bob")
            self.assertTrue(octets.startswith(b"Return-Path: <team-bounces@ours.example>\n"))
            message = read(octets)
            self.assertEqual(message["Subject"], "[team] hello")
            self.assertEqual(message["List-Id"], '"The team" <team.ours.example>')
            taken = sink.wait_for(1)
            envelope = [line for lines, _ in taken for line in lines]
            self.assertTrue(any(line.startswith("MAIL FROM:<team-bounces@ours.example>") for line in envelope))
            sent = {line.partition("<")[2].partition(">")[0] for line in envelope if line.startswith("RCPT")}
            self.assertLessEqual({"Carl@far.example", "dora@far.example"}, sent)
            # The report about the member that is none goes to the list's sender, which leads to the owner.
            (report,) = daemon.wait_for_mail("ann")
            self.assertEqual(read(report)["To"], "team-bounces@ours.example")
            self.assertIn(b"nobody@far.example", report)
            daemon.drained()
            self.assertEqual(len(daemon.mails("bob")), 1)
            self.assertEqual(daemon.audit()["unaccounted"], 0)
            self.assertEqual(daemon.audit()["ended"]["expanded"], 1)

    def test_who_may_not_post_is_told_at_rcpt(self) -> None:
        """RFC 3463 3.8"""
        with Sink() as sink, self.daemon(sink) as daemon, Dialogue(daemon.port) as client:
            client.greet().say("MAIL FROM:<eve@elsewhere.example>")
            self.assertEqual(client.say("RCPT TO:<sub@ours.example>"), "550 5.7.2 You may not post to this list")
            self.assertTrue(client.say("RCPT TO:<sub-owner@ours.example>").startswith("250"))
            client.say("RSET")
            client.say("MAIL FROM:<DORA@far.example>")
            self.assertTrue(client.say("RCPT TO:<sub@ours.example>").startswith("250"))
            client.say("RSET")
            client.say("MAIL FROM:<>")
            self.assertTrue(client.say("RCPT TO:<team@ours.example>").startswith("550 5.7.2"))
            self.assertTrue(client.say("RCPT TO:<team-bounces@ours.example>").startswith("250"))

    def test_the_sender_hears_that_the_list_has_it_if_he_wants_to(self) -> None:
        """RFC 3461 5.2.7.3"""
        with Sink() as sink, self.daemon(sink, TRUST) as daemon, Dialogue(daemon.port) as client:
            client.greet().say("MAIL FROM:<bob@ours.example>")
            client.say("RCPT TO:<team@ours.example> NOTIFY=SUCCESS")
            client.say("DATA")
            self.assertTrue(client.say(MESSAGE + b".").startswith("250"))
            mails = [read(octets) for octets in daemon.wait_for_mail("bob", 2)]
            reports = [str(mail) for mail in mails if mail.get_content_type() == "multipart/report"]
            self.assertEqual(len(reports), 1)
            self.assertIn("Action: expanded", reports[0])
            for member in ("far.example", "sub@"):
                self.assertNotIn(member, reports[0])

    def test_a_list_that_comes_back_ends(self) -> None:
        """RFC 5321 6.3; refused at once, since a report would go to whoever is named as the sender."""
        with Sink() as sink, self.daemon(sink) as daemon, Dialogue(daemon.port) as client:
            client.greet().say("MAIL FROM:<victim@elsewhere.example>")
            client.say("RCPT TO:<team@ours.example>")
            client.say("DATA")
            looped = client.say(b"List-Id: x <team.ours.example>\r\n" + MESSAGE + b".")
            self.assertEqual(looped, "554 5.4.6 The message has been through this list before")
            daemon.drained()

    def test_too_many_are_refused_before_they_are_taken(self) -> None:
        """RFC 5321 3.9.2: those of lists within count."""
        with (
            Sink() as sink,
            self.daemon(sink, SMALL + 'members = "team@ours.example"\n') as daemon,
            Dialogue(daemon.port) as client,
        ):
            client.greet().say("MAIL FROM:<eve@elsewhere.example>")
            said = client.say("RCPT TO:<small@ours.example>")
            self.assertEqual(said, "452 4.5.3 The list leads to too many recipients")

    def test_members_out_of_a_database(self) -> None:
        """In a chain, with those of a file; and more than one page of them."""
        with Sink() as sink, self.daemon(sink) as daemon:
            with closing(sqlite3.connect(daemon.folder / "db.sqlite")) as db, db:
                db.execute("CREATE TABLE member (address TEXT)")
                many = [(f"U{number}@far.example",) for number in range(1200)]
                db.executemany("INSERT INTO member VALUES (?)", [("bob@ours.example",), *many])
            daemon.change("[[route]]", DATABASE + "[[route]]")
            daemon.mta("reload")
            self.assertIn("U1199@far.example", daemon.mta("list", "members", "large").stdout)
            daemon.take("large@ours.example", sender="eve@elsewhere.example")
            daemon.wait_for_mail("bob")
            daemon.drained()
            sent = [line for lines, _ in sink.wait_for(1) for line in lines if line.startswith("RCPT")]
            self.assertEqual(len(sent), 1201)
            self.assertTrue(any("<U7@far.example>" in line for line in sent), "capitals that may matter")
            self.assertEqual(len(daemon.mails("bob")), 1)
            self.assertEqual(daemon.audit()["unaccounted"], 0)

    def test_what_cannot_be_sent_on_is_held_not_bounced(self) -> None:
        # What stands behind an alias is not counted at RCPT.
        with Sink() as sink, self.daemon(sink, SMALL + 'members = "those@ours.example"\n') as daemon:
            aliases = daemon.folder / "aliases"
            aliases.write_text(aliases.read_text() + "those: bob, ann\n")
            daemon.mta("reload")
            id = daemon.take("small@ours.example", sender="eve@elsewhere.example")
            (row,) = wait_for(lambda: [row for row in daemon.queue() if row["hold"]], "it to be held")
            self.assertEqual(row["hold"], "the list small@ours.example has more than max_members = 1")
            daemon.wait_for_mail("postmaster")
            daemon.change("max_members = 1", "max_members = 100")
            daemon.change("small@ours.example", "other@ours.example")
            daemon.mta("reload")
            daemon.mta("queue", "release", id, "--yes")
            wait_for(lambda: "there is no list" in daemon.queue()[0]["hold"], "it to be held for another reason")
            daemon.change("other@ours.example", "small@ours.example")
            daemon.mta("reload")
            daemon.mta("queue", "release", id, "--yes")
            daemon.wait_for_mail("bob")
            daemon.drained()
            self.assertEqual(daemon.audit()["unaccounted"], 0)


if __name__ == "__main__":
    unittest.main()
