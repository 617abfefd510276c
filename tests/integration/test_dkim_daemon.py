"""A running MTA signs what its own senders send, what it reports, what a list sends on and what it forwards in its own
name; and takes up new keys without being told."""

from __future__ import annotations

import json
import re
import unittest
from typing import Any

import dkim

from tests.integration.tools import Daemon, Dialogue, Sink, wait_for

SIGNING = """
[policy.sign]
type = "dkim"
[service.mx]
policy = ["sign"]
[relay]
networks = ["127.0.0.1"]
[srs]
domain = "ours.example"
[[forward]]
name = "author"
rewrite = "from"
[lists."team@ours.example"]
owner = "ann@ours.example"
members = ["x@far.example"]
posting = "anyone"
"""
FORGED = b"From: Ann <ann@a.example>\r\nSubject: hello\r\n\r\nhello\r\n"
LARGE = b"From: ann@ours.example\r\nSubject: large\r\n\r\n" + b"0123456789  abcdef \r\n" * 40_000


class Signed(unittest.TestCase):
    def records(self, daemon: Daemon) -> dict[bytes, bytes]:
        """What DNS should have."""
        shown: list[dict[str, Any]] = json.loads(daemon.mta("dkim", "show", "--no-dns", "--json").stdout)
        return {f"{key['name']}.".encode(): key["record"].encode() for one in shown for key in one["keys"]}

    def assert_signed(self, daemon: Daemon, octets: bytes, count: int = 2) -> None:
        records = self.records(daemon)
        found = dkim.DKIM(octets)
        numbers = range(octets.partition(b"\r\n\r\n")[0].count(b"DKIM-Signature:"))
        self.assertEqual(len(numbers), count, octets[:2000])
        for number in numbers:
            taken = found.verify(number, dnsfunc=lambda name, timeout=5: records.get(name))
            self.assertTrue(taken, octets[:2000])
            self.assertEqual(found.domain, b"ours.example")

    def test_all_that_leaves(self) -> None:
        script = {"RCPT": lambda line: "550 5.1.1 nobody" if "gone" in line else None}
        with Sink(script) as far, Daemon(SIGNING, internet=far.delivery()) as daemon:
            (daemon.folder / "aliases").write_text("fwd: x@far.example\n")
            daemon.take("x@far.example")
            self.assertNotIn(b"DKIM-Signature", far.wait_for(1)[0][1])
            daemon.mta("dkim", "keygen", "ours.example")
            daemon.mta("dkim", "rotate", "--now")

            def takes_up() -> bool:
                count = len(far.messages)
                daemon.take("x@far.example")
                far.wait_for(count + 1)
                return b"DKIM-Signature" in far.messages[-1][1]

            wait_for(takes_up, "the keys to be used")
            self.assert_signed(daemon, far.messages[-1][1])
            # What goes to the list is signed when it comes, and as the copy of the list.
            for recipient, octets, count in (("x", LARGE, 2), ("team", LARGE, 4), ("fwd", FORGED, 2)):
                with self.subTest(recipient=recipient):
                    before = len(far.messages)
                    to = "x@far.example" if recipient == "x" else f"{recipient}@ours.example"
                    id = daemon.take(to, octets=octets, sender="ann@a.example")
                    _, arrived = far.wait_for(before + 1)[-1]
                    self.assert_signed(daemon, arrived, count)
                    if octets is FORGED:
                        self.assertIn(b'From: "Ann via ours.example"', arrived)
                    else:
                        self.assertRegex(daemon.mta("explain", id).stdout, r"DKIM: ours\.example, \d+r, \d+e")

            # The report goes to a mailbox here.
            daemon.take("gone@far.example", sender="bob@ours.example")
            wait_for(lambda: list(daemon.mail.glob("ours.example/bob/new/*")), "the report")
            (report,) = daemon.mail.glob("ours.example/bob/new/*")
            text = report.read_bytes()
            self.assertRegex(text, rb"(?m)^From: .*")
            sender = re.search(rb"(?m)^From: .*@([a-z.]+)", text)
            assert sender is not None
            self.assertEqual(b"DKIM-Signature:" in text.partition(b"\n\n")[0], sender[1] == b"ours.example")
            self.assertEqual(daemon.audit()["unaccounted"], 0)


class Strangers(unittest.TestCase):
    def test_nobody_signs_for_them(self) -> None:
        configuration = SIGNING.replace("127.0.0.1", "192.0.2.1")
        with Sink() as far, Daemon(configuration, internet=far.delivery(), start=False) as daemon:
            daemon.mta("dkim", "keygen", "ours.example")
            daemon.mta("dkim", "rotate", "--now")
            daemon.start()
            forged = b"From: ann@ours.example\r\nSubject: forged\r\n\r\nx\r\n"
            with Dialogue(daemon.port).greet() as client:
                self.assertEqual(client.message("x@a.example", ["team@ours.example"], forged)[:3], "250")
            ((_, octets),) = far.wait_for(1)
            self.assertIn(b"List-Id:", octets)
            self.assertNotIn(b"DKIM-Signature", octets)
