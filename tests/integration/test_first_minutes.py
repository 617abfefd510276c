"""What a new user does: start, send, follow, look at the queue, stop, start again, make a backup."""

from __future__ import annotations

import json
import shutil
import signal
import smtplib
import subprocess
import sys
import threading
import unittest
from pathlib import Path

from tests.integration.tools import DEADLINE, MESSAGE, Daemon, Dialogue, Sink, free_port, program, wait_for

ROOT = Path(__file__).parents[2]
TWISTED = (sys.executable, "-m", "twisted")
RELAY = '[relay]\nnetworks = ["127.0.0.0/8"]\n[queue]\nretry = ["1s"]\n'
LATER = {"RCPT": "450 4.2.1 not now"}


class FirstMinutes(unittest.TestCase):
    def test_message_arrives_and_can_be_followed(self) -> None:
        with Daemon() as daemon:
            with smtplib.SMTP("127.0.0.1", daemon.port, timeout=30) as smtp:
                smtp.sendmail("ann@ours.example", ["info@ours.example"], "Subject: hello\n\nIt works.\n")
            (mail,) = daemon.wait_for_mail("bob")
            self.assertTrue(mail.startswith(b"Return-Path: <ann@ours.example>\nDelivered-To: bob@ours.example\n"))
            self.assertTrue(mail.endswith(b"Subject: hello\n\nIt works.\n"))
            told = daemon.mta("explain", "bob@ours.example").stdout
            for words in (
                "accepted",
                "127.0.0.1",
                "info@ours.example -> bob@ours.example",
                "delivered by local",
                "nothing: it has ended",
            ):
                self.assertIn(words, told)
            id = told.split()[0]
            self.assertIn(id, daemon.log())
            self.assertIn(id.encode(), mail)
            self.assertEqual(daemon.mta("explain", id.lower()).stdout, told)
            shown = daemon.mta("queue", "show", id).stdout
            for words in (f"id        {id}", "<ann@ours.example>", "<bob@ours.example>  delivered", "sent to <info@"):
                self.assertIn(words, shown)
            self.assertEqual(daemon.mta("queue", "list").stdout, "nothing waits\n")
            self.assertRegex(daemon.mta("audit").stdout, r"(?m)^ +0  unaccounted for$")
            self.assertIn("in order", daemon.mta("status").stdout)
            self.assertEqual(daemon.state.stat().st_mode & 0o777, 0o700)
            self.assertEqual((daemon.state / "control").stat().st_mode & 0o777, 0o660)
            for words in ("explain", id), ("audit",), ("status",), ("queue", "show", id):
                json.loads(daemon.mta(*words, "--json").stdout)

    def test_what_waits_is_listed_with_its_reason(self) -> None:
        with Sink(LATER) as sink, Daemon(RELAY, internet=sink.delivery()) as daemon:
            id = daemon.take("x@far.example")
            daemon.tried(words="not now")
            listed = daemon.mta("queue", "list").stdout
            for words in ("LAST REASON", id, "<ann@ours.example>", "<x@far.example>", "450 4.2.1 not now"):
                self.assertIn(words, listed)
            self.assertIn("450 4.2.1 not now", daemon.mta("queue", "show", id).stdout)
            self.assertRegex(daemon.mta("explain", id).stdout, r"NEXT .*x@far\.example> try \d+ .*\n.*; expires ")

    def test_shipped_configuration_is_clean(self) -> None:
        done = subprocess.run(
            [program("mta"), "--config", "etc/mta.toml", "check"], capture_output=True, text=True, cwd=ROOT
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertIn("etc/mta.toml is in order; 3 tests passed\n", done.stdout)
        for line in done.stdout.splitlines()[:-1]:
            self.assertRegex(
                line,
                r"^warning: .* is a placeholder; write the full name of this host$"
                r"|^hint: tls: no certificate is named: a self-signed one is used, which proves nothing to anybody$",
            )

    def test_shipped_configuration_starts(self) -> None:
        with Daemon(start=False) as daemon:
            shutil.copytree(ROOT / "etc", daemon.folder / "etc")
            daemon.configuration = daemon.folder / "etc/mta.toml"
            daemon.change("tcp:2525:", f"tcp:{daemon.port}:")
            daemon.change("tcp:2587:", f"tcp:{free_port()}:")
            daemon.start()
            daemon.take("bob@example.org", sender="ann@example.org")
            box = daemon.folder / "var/mail/example.org/bob/new"
            wait_for(lambda: box.is_dir() and list(box.iterdir()), lambda: f"the mail:\n{daemon.log()}")

    def test_unknown_things_are_said_plainly(self) -> None:
        with Daemon(start=False) as daemon:
            done = daemon.mta("queue", "list", check=False)
            self.assertEqual((done.returncode, "has not run yet" in done.stderr), (1, True))
            done = daemon.mta("status", check=False)
            self.assertEqual((done.returncode, "not running" in done.stderr), (1, True))
            daemon.start()
            for words in (("explain", "0000000000000"), ("explain", "no@where.example"), ("queue", "show", "nonsense")):
                done = daemon.mta(*words, check=False)
                self.assertEqual(done.returncode, 1)
                self.assertRegex(done.stderr, r"^Error: (there is )?no message .*\n$")


class WaysToStart(unittest.TestCase):
    def test_python_m_twisted(self) -> None:
        with Daemon('[log]\nfile = "mta.log"\n', starter=TWISTED) as daemon:
            id = daemon.take("bob@ours.example")
            daemon.wait_for_mail("bob")
            daemon.stop()
            self.assertIn(f"{id} accepted: ", (daemon.folder / "mta.log").read_text())
            self.assertIn("delivered", daemon.mta("explain", id).stdout)

    def test_options_are_overridden(self) -> None:
        overrides = ("--set", "limits.message_size=2KiB", "--set", "hostname=x.ours.example")
        with Daemon(arguments=overrides) as daemon, Dialogue(daemon.port) as client:
            self.assertIn("220 x.ours.example ", client.reply())
            self.assertIn("SIZE 2048", client.say("EHLO client.example"))


class StopAndStart(unittest.TestCase):
    def test_what_waits_goes_on_after_a_restart(self) -> None:
        with (
            Sink(LATER) as sink,
            Daemon(RELAY, internet=sink.delivery()) as daemon,
            Dialogue(daemon.port) as idle,
            Dialogue(daemon.port) as busy,
        ):
            idle.greet()
            busy.greet()
            for command in ("MAIL FROM:<a@b.example>", "RCPT TO:<bob@ours.example>", "DATA", "half a message"):
                busy.sock.sendall(command.encode() + b"\r\n")
            ids = [daemon.take(f"{number}@far.example") for number in range(5)]
            daemon.tried(5)
            # twistd ends as the signal would have ended it, once its work is done.
            self.assertEqual(daemon.stop(), -signal.SIGTERM)
            self.assertEqual(idle.reply(), "421 4.3.2 The service is stopping")
            self.assertEqual(idle.reply(), "", "the connection is closed")
            replies = [busy.reply()[:3] for _ in range(5)]
            self.assertEqual(replies, ["250", "250", "354", "421", ""])
            self.assertEqual({row["id"] for row in daemon.queue()}, set(ids), "reading works while it is stopped")
            self.assertIn("NEXT", daemon.mta("explain", ids[0]).stdout)
            sink.script.clear()
            daemon.start()
            sink.wait_for(5)
            daemon.drained()
            self.assertEqual(daemon.audit()["ended"], {"relayed": 5})
            self.assertEqual(len(sink.messages), 5, "each once")

    def test_message_under_way_when_it_stops_is_tried_again(self) -> None:
        stopping = threading.Event()

        def slow(line: str) -> str:
            stopping.wait(DEADLINE)
            return "451 4.3.2 busy"

        with Sink({"dot": slow}) as sink, Daemon(RELAY, internet=sink.delivery()) as daemon:
            daemon.take("x@far.example")
            wait_for(lambda: "DATA" in sink.commands, "the delivery")
            daemon.signal(signal.SIGTERM)
            daemon.wait_for_log("stopping: ")
            stopping.set()
            assert daemon.process is not None
            daemon.process.wait(DEADLINE)
            (row,) = daemon.queue()
            self.assertIn("busy", row["reply"], "the delivery had its time to end")
            sink.script.clear()
            daemon.start()
            sink.wait_for(1)
            daemon.drained()

    def test_backup_of_a_running_spool_starts_a_second_daemon(self) -> None:
        with Sink(LATER) as sink, Daemon(RELAY, internet=sink.delivery()) as daemon:
            ids = {daemon.take(f"{number}@far.example") for number in range(3)}
            # One large enough to lie in a file of its own.
            large = MESSAGE + b"0123456789abcdef" * 4 + b"\r\n"
            large += (b"x" * 76 + b"\r\n") * 2000
            ids.add(daemon.take("large@far.example", octets=large))
            with Sink() as other, Daemon(RELAY, internet=other.delivery(), start=False) as second:
                daemon.mta("spool", "backup", str(second.state))
                done = daemon.mta("spool", "backup", str(second.state), check=False)
                self.assertEqual(done.returncode, 1, "what is there is not written over")
                self.assertNotIn("Traceback", done.stderr)
                second.start()
                other.wait_for(4)
                second.drained()
                self.assertEqual(second.audit()["unaccounted"], 0)
                (copy,) = [octets for lines, octets in other.messages if "large@" in lines[1]]
                self.assertTrue(copy.endswith(large))
            self.assertEqual({row["id"] for row in daemon.queue()}, ids, "the first one has them still")
