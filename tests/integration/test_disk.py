"""A full disk: 4yz replies, what had its 250 is delivered, and the service recovers by itself."""

from __future__ import annotations

import unittest

from tests.integration.tools import Daemon, Dialogue, Sink, mounted, wait_for

MORE = '[relay]\nnetworks = ["127.0.0.0/8"]\n[queue]\nretry = ["1s"]\nreserve = "1MiB"\n'
BODY = b"Subject: %d\r\n\r\n" + (b"x" * 78 + b"\r\n") * 700


class Disk(unittest.TestCase):
    def fill(self, daemon: Daemon) -> tuple[set[str], list[str]]:
        """Send until nothing more is taken: the recipients taken, and the replies that refused."""
        taken: set[str] = set()
        refusals: list[str] = []
        with Dialogue(daemon.port) as client:
            client.greet()
            for number in range(1000):
                recipient = f"{number}@far.example"
                reply = client.message("ann@ours.example", [recipient], BODY % number)
                if reply.startswith("250"):
                    taken.add(recipient)
                else:
                    refusals.append(reply)
                    if len(refusals) > 3:
                        break
        return taken, refusals

    def test_it_refuses_and_recovers_and_loses_nothing(self) -> None:
        with (
            Sink({"RCPT": "450 4.2.1 later"}) as sink,
            Daemon(MORE, internet=sink.delivery(), start=False) as daemon,
            mounted(daemon.state, "size=6m,mode=700"),
        ):
            daemon.start()
            taken, refusals = self.fill(daemon)
            self.assertGreater(len(taken), 10)
            self.assertTrue(refusals)
            for reply in refusals:
                self.assertRegex(reply, r"^45[12] 4\.3\.[01] ")
            sink.script.clear()  # what is delivered frees the disk
            arrived = wait_for(
                lambda: len(found := self.arrived(sink)) >= len(taken) and found,
                lambda: f"{len(taken)} messages, {len(self.arrived(sink))} came:\n{daemon.log()}",
            )
            self.assertEqual(arrived, taken)
            daemon.drained()
            self.assertEqual(daemon.audit()["ended"], {"relayed": len(taken)})
            wait_for(lambda: self.takes(daemon), "the service to take mail again")

    def arrived(self, sink: Sink) -> set[str]:
        """Who has his mail."""
        return {lines[1].removeprefix("RCPT TO:<").partition(">")[0] for lines, _ in sink.messages}

    def takes(self, daemon: Daemon) -> bool:
        with Dialogue(daemon.port) as client:
            return client.greet().message("ann@ours.example", ["y@far.example"], b"again\r\n").startswith("250")

    def test_maildir_on_a_full_disk_is_a_wait(self) -> None:
        more = '[queue]\nretry = ["2s"]\n'
        with Daemon(more, start=False) as daemon, mounted(daemon.mail, "size=256k,mode=700"):
            filler = daemon.mail / "filler"
            filler.write_bytes(b"x" * 250_000)
            daemon.start()
            daemon.take("bob@ours.example", octets=BODY % 1)
            (row,) = daemon.tried()
            self.assertEqual(row["reply"], "452 4.3.1 The disk of the mailboxes is full")
            filler.unlink()  # before three tries in a row make its destination rest
            (mail,) = daemon.wait_for_mail("bob")
            self.assertIn(b"Subject: 1\n", mail)
            daemon.drained()
            self.assertIn(row["reply"], daemon.mta("explain", row["id"]).stdout)
            self.assertEqual(list((daemon.mail / "ours.example/bob/tmp").iterdir()), [], "nothing half written")
