"""Damage in the middle of the database, as an operator meets it: refused, checked, salvaged, started, delivered."""

from __future__ import annotations

import json
import unittest

from tests.integration.tools import Daemon, Sink, wait_for

MORE = '[relay]\nnetworks = ["127.0.0.0/8"]\n[queue]\nretry = ["1s"]\n'
PAGE = 8192


class DamagedSpool(unittest.TestCase):
    def test_from_the_refusal_to_the_delivery(self) -> None:
        with Sink({"RCPT": "450 4.2.1 later"}) as sink, Daemon(MORE, internet=sink.delivery()) as daemon:
            taken = [daemon.take(f"{n}@far.example", octets=b"X: y\r\n\r\n" + b"z" * 3000) for n in range(20)]
            daemon.tried(20)
            daemon.stop()
            self.assertEqual(daemon.mta("spool", "check").stdout, "the spool is in order\n")
            database = daemon.state / "spool/0/spool.db"
            octets = bytearray(database.read_bytes())
            leaf = next(
                at
                for at in range(15 * PAGE, len(octets), PAGE)
                if octets[at] == 0x0D and b"zzzz" in octets[at : at + PAGE]
            )
            octets[leaf : leaf + PAGE] = b"\xee" * PAGE
            database.write_bytes(octets)

            self.assertIn("mta spool salvage", daemon.refused())
            self.assertEqual(daemon.mta("spool", "check", check=False).returncode, 1)
            done = daemon.mta("spool", "salvage", "saved", "--json", check=False)
            self.assertEqual(done.returncode, 1, done.stderr)
            found = json.loads(done.stdout)
            lost = {damage["id"] for damage in found["lost"]}
            self.assertEqual((found["messages"], found["recipients"]), (20, 20))
            self.assertTrue(0 < len(lost) < 4, found)

            daemon.change('state = "state"', 'state = "saved"')
            sink.script.clear()
            daemon.start()
            sink.wait_for(20 - len(lost))
            wait_for(lambda: len(daemon.queue()) == len(lost), daemon.log)
            self.assertEqual({row["id"] for row in daemon.queue()}, lost)
            self.assertLess(lost, set(taken))
            self.assertEqual(daemon.audit()["unaccounted"], 0)
