"""A changed configuration while it runs: in force for open sessions from their next MAIL, or nothing is changed."""

from __future__ import annotations

import os
import signal
import unittest

from tests.integration.tools import Daemon, Dialogue, Sink, wait_for


class Reload(unittest.TestCase):
    def test_open_sessions_have_it_from_their_next_mail(self) -> None:
        with Daemon() as daemon, Dialogue(daemon.port) as client:
            client.greet()
            client.say("MAIL FROM:<a@b.example>")
            daemon.add('[domains."new.example"]\ndeliver = "local"\n[limits]\nrecipients = 1\n')
            self.assertEqual(daemon.mta("reload").stdout, "read again; all of it is in force\n")
            self.assertRegex(client.say("RCPT TO:<x@new.example>"), "^550 5.7.1 ")
            self.assertRegex(client.say("RCPT TO:<ann@ours.example>"), "^250 ")
            self.assertRegex(client.say("RCPT TO:<bob@ours.example>"), "^250 ")
            client.say("RSET")
            client.say("MAIL FROM:<a@b.example>")
            self.assertRegex(client.say("RCPT TO:<x@new.example>"), "^250 ")
            self.assertRegex(client.say("RCPT TO:<ann@ours.example>"), "^452 4.5.3 ")

    def test_right_to_relay_is_taken_away(self) -> None:
        with Daemon('[relay]\nnetworks = ["127.0.0.0/8"]\n') as daemon, Dialogue(daemon.port) as client:
            client.greet()
            client.say("MAIL FROM:<a@b.example>")
            self.assertRegex(client.say("RCPT TO:<x@far.example>"), "^250 ")
            daemon.change("127.0.0.0/8", "192.0.2.0/24")
            daemon.signal(signal.SIGHUP)
            daemon.wait_for_log("reloaded: configuration read again; all of it is in force")
            client.say("RSET")
            client.say("MAIL FROM:<a@b.example>")
            self.assertRegex(client.say("RCPT TO:<x@far.example>"), "^550 5.7.1 ")

    def test_waiting_mail_takes_its_new_way_at_the_next_try(self) -> None:
        more = '[relay]\nnetworks = ["127.0.0.0/8"]\n[queue]\nretry = ["1s"]\n'
        with (
            Sink({"RCPT": "450 4.2.1 moved"}) as old,
            Sink() as new,
            Daemon(more, internet=old.delivery()) as daemon,
        ):
            daemon.take("x@far.example")
            daemon.tried(words="moved")
            daemon.change(f"port = {old.port}\n", f"port = {new.port}\n")
            daemon.mta("reload")
            new.wait_for(1)
            daemon.drained()

    def test_domain_that_vanished_is_held_not_bounced(self) -> None:
        more = '[domains."leaves.example"]\nrelay = true\ndeliver = "there"\n[queue]\nretry = ["1s"]\n'
        with Sink({"RCPT": "450 4.2.1 later"}) as sink, Daemon(more + sink.delivery("there")) as daemon:
            daemon.take("x@leaves.example")
            daemon.tried(words="later")
            daemon.change('deliver = "there"', "")
            daemon.change('[domains."leaves.example"]\nrelay = true\n', "")
            daemon.change(sink.delivery("there"), "")
            daemon.mta("reload")
            (row,) = wait_for(lambda: [row for row in daemon.queue() if row["hold"]], lambda: daemon.log())
            self.assertIn("no longer in the configuration", row["hold"])
            self.assertIn("held until somebody releases it", daemon.mta("explain", row["id"]).stdout)
            self.assertEqual(daemon.mails("ann"), [])

    def test_reports_in_another_language(self) -> None:
        more = '[relay]\nnetworks = ["127.0.0.0/8"]\n[reports]\nlanguage = "fr"\n'
        with Sink({"RCPT": "550 5.1.1 gone"}) as sink, Daemon(more, internet=sink.delivery()) as daemon:
            daemon.take("x@far.example")
            self.assertIn(b"Content-Language: fr", daemon.wait_for_mail("ann")[0])
            daemon.change('"fr"', '["zh", "de"]')
            daemon.mta("reload")
            daemon.take("y@far.example")
            mails = daemon.wait_for_mail("ann", 2)
            self.assertEqual(sum(b"Content-Language: zh-Hans, de" in mail for mail in mails), 1)

    def test_wrong_configuration_changes_nothing_and_says_why(self) -> None:
        with Daemon() as daemon:
            daemon.add('[domains."new.example"]\ndeliver = "nobody"\n[limits]\nrecipients = 0\nsize = 1\n')
            done = daemon.mta("reload", check=False)
            self.assertEqual(done.returncode, 1)
            mistakes = ("nothing was changed", "mta.toml", "limits.recipients", "limits.size", "delivery.nobody")
            for words in mistakes:
                self.assertIn(words, done.stderr)
            self.assertNotIn("Traceback", done.stderr)
            daemon.signal(signal.SIGHUP)
            log = daemon.wait_for_log("reload-refused")
            self.assertIn("limits.recipients", log)
            daemon.take("ann@ours.example", "bob@ours.example")
            daemon.wait_for_mail("bob")
            with Dialogue(daemon.port) as client:
                client.greet().say("MAIL FROM:<a@b.example>")
                self.assertRegex(client.say("RCPT TO:<x@new.example>"), "^550 5.7.1 ")

    def test_one_that_fails_a_test_of_its_own_is_refused(self) -> None:
        case = '[[case]]\nname = "bob has mail"\nto = "bob@ours.example"\n[case.expect]\nreply = "250"\n'
        with Daemon() as daemon:
            (daemon.folder / "tests.d").mkdir()
            (daemon.folder / "tests.d/ours.toml").write_text(case)
            self.assertIn("read again", daemon.mta("reload").stdout)
            daemon.add('[limits]\nmessage_size = "1KiB"\n')
            (daemon.folder / "tests.d/ours.toml").write_text(case.replace('to = "bob', 'size = 2048\nto = "bob'))
            done = daemon.mta("reload", check=False)
            self.assertEqual(done.returncode, 1)
            for words in (
                "nothing was changed",
                'tests.d/ours.toml: case[0] "bob has mail": expect.reply',
                "552 5.3.4",
            ):
                self.assertIn(words, done.stderr)
            self.assertIn("bob has mail", daemon.wait_for_log("reload-refused"))
            with Dialogue(daemon.port) as client:
                client.greet()
                self.assertRegex(client.say("MAIL FROM:<a@b.example> SIZE=2048"), "^250 ")
            # A start goes on, and says so: docs/decisions/tests-of-a-configuration.rst.
            daemon.stop()
            daemon.start()
            self.assertIn("bob has mail", daemon.wait_for_log("test-failed"))

    def test_what_needs_a_restart_is_named(self) -> None:
        with Daemon() as daemon:
            daemon.change("mail.ours.example", "other.ours.example")
            daemon.change('state = "state"', 'state = "elsewhere"')
            daemon.change(f"tcp:{daemon.port}", "tcp:2")
            # The command line looks for the service where the configuration now says.
            daemon.signal(signal.SIGHUP)
            daemon.wait_for_log("needs a restart: hostname, state, listen")
            self.assertFalse((daemon.folder / "elsewhere").exists())
            with Dialogue(daemon.port) as client:
                self.assertIn("mail.ours.example", client.reply())

    def test_mailbox_file_is_read_again_by_itself(self) -> None:
        with Daemon() as daemon, Dialogue(daemon.port) as client:
            client.greet()

            def rcpt() -> str:
                client.say("RSET")
                client.say("MAIL FROM:<a@b.example>")
                return client.say("RCPT TO:<eve@ours.example>")

            self.assertRegex(rcpt(), "^550 5.1.1 ")
            new = daemon.folder / "mailboxes.new"
            new.write_text("postmaster\nann\nbob\neve\n")
            os.rename(new, daemon.folder / "mailboxes")
            client.say("QUIT")
            wait_for(lambda: self.known(daemon, "eve"), "the new mailbox")

    def test_log_is_opened_again_after_it_was_moved_away(self) -> None:
        with Daemon('[log]\nfile = "mta.log"\n', start=False) as daemon:
            log = daemon.folder / "mta.log"
            daemon.launch()
            wait_for(lambda: log.exists() and " started: " in log.read_text(), "the daemon to start")
            log.rename(daemon.folder / "mta.log.1")
            daemon.signal(signal.SIGUSR1)
            wait_for(log.exists, "a new log")
            id = daemon.take("bob@ours.example")
            wait_for(lambda: f"{id} accepted" in log.read_text(), "the message in the new log")

    def known(self, daemon: Daemon, name: str) -> bool:
        with Dialogue(daemon.port) as client:
            client.greet().say("MAIL FROM:<a@b.example>")
            return client.say(f"RCPT TO:<{name}@ours.example>").startswith("250")
