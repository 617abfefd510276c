"""Forwarded mail, and the bounce of it, through two daemons: out with a return path of ours, back to the sender."""

from __future__ import annotations

import re
import stat
import unittest

from tests.integration.tools import Daemon, Dialogue, Sink, wait_for

LETTER = b"From: Ann <ann@a.example>\r\nSubject: hello\r\n\r\nhello\r\n"


def to(domain: str, name: str, port: int) -> str:
    return (
        f'[delivery.{name}]\ntype = "smtp"\nhost = "127.0.0.1"\nport = {port}\n'
        f'[[route]]\nname = "{name}"\nto = ["{domain}"]\nvia = "{name}"\n'
    )


FORWARDING = """
[srs]
domain = "srs.ours.example"
[[forward]]
name = "author"
to = ["list.example"]
rewrite = "from"
[[forward]]
name = "all"
rewrite = "srs"
"""
#: The second forwards once more, to a host that takes the mail and bounces it later.
SECOND = """
[domains."second.example"]
aliases = "file:second"
[srs]
domain = "srs.second.example"
[[forward]]
name = "all"
rewrite = "srs"
"""


class Forwarding(unittest.TestCase):
    def test_a_bounce_comes_back_to_the_sender(self) -> None:
        with Sink() as sender, Sink() as last, Daemon(start=False) as first, Daemon(start=False) as second:
            second.add(SECOND + to("far.example", "far", last.port) + to("srs.ours.example", "back", first.port))
            (second.folder / "second").write_text("bob: bob@far.example\n")
            second.start()
            first.add(
                FORWARDING
                + to("second.example", "second", second.port)
                + to("a.example", "a", sender.port)
                + to("list.example", "list", last.port)
            )
            (first.folder / "aliases").write_text("fwd: bob@second.example\nauthor: all@list.example\n")
            first.start()
            self.assertEqual(stat.S_IMODE((first.state / "srs.key").stat().st_mode), 0o600)

            with Dialogue(first.port).greet() as client:
                self.assertEqual(client.message("ann@a.example", ["fwd@ours.example"], LETTER)[:3], "250")
            ((envelope, _),) = last.wait_for(1)
            path = re.fullmatch(r"MAIL FROM:<(SRS1=[^>]+@srs\.second\.example)>.*", envelope[0])
            assert path is not None, envelope
            self.assertIn("=srs.ours.example==", path[1])

            # The last host smashes the case, and bounces.
            with Dialogue(second.port).greet() as client:
                forged = path[1].replace("ann@", "bob@")
                self.assertEqual(client.message("", [forged], LETTER)[:9], "550 5.7.1")
                self.assertEqual(client.message("spam@b.example", [path[1]], LETTER)[:9], "550 5.7.1")
                self.assertEqual(client.message("", [path[1].lower()], b"Subject: bounce\r\n\r\n")[:3], "250")
            ((envelope, octets),) = sender.wait_for(1)
            self.assertEqual(
                [line.partition(" SIZE")[0] for line in envelope], ["MAIL FROM:<>", "RCPT TO:<ann@a.example>"]
            )
            self.assertIn(b"Subject: bounce", octets)

            told = first.mta("explain", "fwd@ours.example").stdout
            self.assertRegex(
                told, r"bob@second\.example -> second, SRS \(rule all\); from <SRS0=.{4}=..=a\.example=ann@"
            )
            self.assertEqual(sum(first.audit()["ended"].values()), 2)

    def test_a_new_key_signs_and_the_old_one_is_still_good(self) -> None:
        with Sink() as far, Daemon(FORWARDING + to("far.example", "far", far.port), start=False) as daemon:
            (daemon.folder / "aliases").write_text("fwd: bob@far.example\n")
            daemon.start()
            with Dialogue(daemon.port).greet() as client:
                client.message("ann@a.example", ["fwd@ours.example"], LETTER)
                far.wait_for(1)
                key = daemon.state / "srs.key"
                key.write_text("the new key\n" + key.read_text())
                self.assertEqual(daemon.mta("reload").returncode, 0)
                client.message("ann@a.example", ["fwd@ours.example"], LETTER)
                paths = [envelope[0].partition(" SIZE")[0] for envelope, _ in far.wait_for(2)]
                self.assertNotEqual(*paths)
                for path in paths:
                    client.say("MAIL FROM:<>")
                    self.assertEqual(client.say(path.replace("MAIL FROM", "RCPT TO"))[:3], "250")
                    client.say("RSET")

    def test_the_author(self) -> None:
        with Sink() as far, Daemon(FORWARDING + to("list.example", "list", far.port)) as daemon:
            (daemon.folder / "aliases").write_text("author: all@list.example\n")

            def sent() -> bool:
                with Dialogue(daemon.port).greet() as client:
                    return client.message("ann@a.example", ["author@ours.example"], LETTER).startswith("250")

            wait_for(sent, "the aliases to be read again")
            ((envelope, octets),) = far.wait_for(1)
            self.assertRegex(envelope[0], r"MAIL FROM:<SRS0=.*@srs\.ours\.example>")
            self.assertIn(
                b'From: "Ann via ours.example"\r\n <author@ours.example>\r\nReply-To: Ann <ann@a.example>\r\n'
                b"X-Original-From: Ann <ann@a.example>\r\nSubject: hello\r\n\r\nhello\r\n",
                octets,
            )
