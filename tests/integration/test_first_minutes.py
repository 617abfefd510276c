"""What a new user does: start, send, follow, change the configuration, stop, start again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import smtplib
import subprocess
import sys
import unittest
from pathlib import Path

from tests.integration.tools import Daemon, Dialogue, Sink, program, wait_for

ROOT = Path(__file__).parents[2]
MESSAGE = "Subject: hello\r\n\r\nIt works.\r\n"


def send(daemon: Daemon, *recipients: str, sender: str = "ann@ours.example") -> None:
    with smtplib.SMTP("127.0.0.1", daemon.port, timeout=30) as smtp:
        smtp.sendmail(sender, list(recipients), MESSAGE)


class FirstMinutes(unittest.TestCase):
    def test_message_arrives_and_can_be_followed(self) -> None:
        with Daemon() as daemon:
            send(daemon, "bob@ours.example")
            (mail,) = daemon.wait_for_mail("bob")
            self.assertTrue(mail.startswith(b"Return-Path: <ann@ours.example>\n"))
            self.assertIn(b"\n\nIt works.\n", mail)
            told = daemon.mta("explain", "bob@ours.example").stdout
            for word in ("accepted", "127.0.0.1", "delivered by local", "nothing: it has ended"):
                self.assertIn(word, told)
            id = told.split()[0]
            self.assertIn(id, daemon.log())
            self.assertIn("delivered", daemon.mta("queue", "show", id).stdout)
            self.assertIn("nothing waits", daemon.mta("queue", "list").stdout)
            self.assertEqual(daemon.audit()["unaccounted"], 0)
            self.assertIn("in order", daemon.mta("status").stdout)
            self.assertIn(id, daemon.mta("explain", id.lower()).stdout)

    def test_shipped_configuration_is_clean(self) -> None:
        done = subprocess.run(
            [program("mta"), "--config", str(ROOT / "etc/mta.toml"), "check"], capture_output=True, text=True
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("is in order", done.stdout)

    def test_twisted_starts_it_too(self) -> None:
        daemon = Daemon(start=False)
        daemon.command = lambda: [  # type: ignore[method-assign]
            sys.executable, "-m", "twisted", "mta", "--config", str(daemon.configuration)
        ]  # fmt: skip
        with daemon:
            daemon.launch()
            daemon.wait_for_log("is up as mail.ours.example")
            send(daemon, "bob@ours.example")
            daemon.wait_for_mail("bob")

    def test_unknown_things_are_said_plainly(self) -> None:
        with Daemon() as daemon:
            for words in (("explain", "0000000000000"), ("explain", "no@where.example"), ("queue", "show", "nonsense")):
                done = daemon.mta(*words, check=False)
                self.assertEqual(done.returncode, 1)
                self.assertNotIn("Traceback", done.stderr)
            daemon.stop()
            done = daemon.mta("status", check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("not running", done.stderr)

    def test_before_the_first_start(self) -> None:
        with Daemon(start=False) as daemon:
            done = daemon.mta("queue", "list", check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("has not run yet", done.stderr)


class StopAndStart(unittest.TestCase):
    def test_what_waits_goes_on_after_a_restart(self) -> None:
        with (
            Sink({"RCPT": "450 4.2.1 not now"}) as sink,
            Daemon(
                '[relay]\nnetworks = ["127.0.0.0/8"]\n[queue]\nretry = ["1s"]\n', internet=sink.delivery()
            ) as daemon,
        ):
            send(daemon, "x@far.example")
            wait_for(lambda: [row for row in daemon.queue() if "not now" in row["reply"]], "the first try")
            told = daemon.mta("explain", "x@far.example").stdout
            self.assertIn("450", told)
            self.assertIn("NEXT", told)
            self.assertIn(daemon.stop(), (0, -signal.SIGTERM), "twistd ends as the signal would have ended it")
            self.assertEqual(len(daemon.queue()), 1, "reading works with the service stopped")
            sink.script.clear()
            daemon.start()
            sink.wait_for(1)
            wait_for(lambda: not daemon.queue(), "the queue to be empty")
            self.assertEqual(daemon.audit()["ended"], {"relayed": 1})

    def test_backup_of_a_running_spool_can_be_started_from(self) -> None:
        relay = '[relay]\nnetworks = ["127.0.0.0/8"]\n'
        with Sink({"RCPT": "450 4.2.1 not now"}) as sink, Daemon(relay, internet=sink.delivery()) as daemon:
            send(daemon, "x@far.example")
            wait_for(daemon.queue, "something to wait")
            daemon.mta("spool", "backup", str(daemon.folder / "copy"))
            done = daemon.mta("spool", "backup", str(daemon.folder / "copy"), check=False)
            self.assertEqual(done.returncode, 1, "what is there is not written over")
            daemon.stop()
            shutil.rmtree(daemon.state)
            os.rename(daemon.folder / "copy", daemon.state)
            sink.script.clear()
            daemon.start()
            self.assertEqual(len(daemon.queue()), 1)
            self.assertEqual(daemon.audit()["unaccounted"], 0)


class Reload(unittest.TestCase):
    def test_new_configuration_for_open_sessions_from_their_next_mail(self) -> None:
        with Daemon() as daemon, Dialogue(daemon.port) as client:
            client.greet()
            client.say("MAIL FROM:<a@b.example>")
            text = daemon.configuration.read_text()
            daemon.write(text + '[domains."new.example"]\ndeliver = "local"\n')
            self.assertIn("in force", daemon.mta("reload").stdout)
            self.assertTrue(client.say("RCPT TO:<x@new.example>").startswith("550 5.7.1"))
            client.say("RSET")
            client.say("MAIL FROM:<a@b.example>")
            self.assertTrue(client.say("RCPT TO:<x@new.example>").startswith("250"))

    def test_wrong_configuration_changes_nothing_and_says_why(self) -> None:
        with Daemon() as daemon:
            text = daemon.configuration.read_text()
            daemon.write(text + "[limits]\nrecipients = 0\nsize = 1\n")
            done = daemon.mta("reload", check=False)
            self.assertEqual(done.returncode, 1)
            for word in ("nothing was changed", "limits.recipients", "limits.size"):
                self.assertIn(word, done.stderr)
            daemon.signal(signal.SIGHUP)
            daemon.wait_for_log("reload-refused")
            send(daemon, "bob@ours.example")
            daemon.wait_for_mail("bob")

    def test_sighup(self) -> None:
        with Daemon() as daemon:
            daemon.signal(signal.SIGHUP)
            daemon.wait_for_log("reloaded: configuration read again")

    def test_what_needs_a_restart_is_named(self) -> None:
        with Daemon() as daemon:
            text = daemon.configuration.read_text()
            daemon.write(text.replace("mail.ours.example", "other.ours.example"))
            self.assertIn("hostname", daemon.mta("reload").stdout)
            with Dialogue(daemon.port) as client:
                self.assertIn("mail.ours.example", client.reply())

    def test_mailbox_file_is_read_again(self) -> None:
        with Daemon() as daemon:

            def rcpt() -> str:
                with Dialogue(daemon.port) as client:
                    client.greet().say("MAIL FROM:<a@b.example>")
                    return client.say("RCPT TO:<eve@ours.example>")

            self.assertTrue(rcpt().startswith("550 5.1.1"))
            path = daemon.folder / "mailboxes"
            path.with_suffix(".new").write_text("postmaster\nann\nbob\neve\n")
            os.rename(path.with_suffix(".new"), path)
            wait_for(lambda: rcpt().startswith("250"), "the new mailbox")


class Json(unittest.TestCase):
    def test_every_reading_command_speaks_json(self) -> None:
        with Daemon() as daemon:
            send(daemon, "bob@ours.example")
            daemon.wait_for_mail("bob")
            for words in (("queue", "list"), ("explain", "bob@ours.example"), ("audit",), ("status",)):
                json.loads(daemon.mta(*words, "--json").stdout)
