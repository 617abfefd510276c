"""What operators do while the service runs: over its control socket, as it is."""

from __future__ import annotations

import getpass
import json
import stat

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.tools import INTERNET, Daemon, Dialogue, deaf_port, wait_for

RELAY = '\n[relay]\nnetworks = ["127.0.0.1"]\n'
FAR = "x@y.example"
WHO = getpass.getuser()


class Operating(SynchronousTestCase):
    def test_a_pause_lasts_over_a_restart_and_is_no_hold(self) -> None:
        with Daemon(RELAY, internet='[delivery.internet]\ntype = "smtp"\nhost = "127.0.0.1"\n') as daemon:
            self.assertEqual(stat.S_IMODE((daemon.state / "control").stat().st_mode), 0o660)
            daemon.mta("queue", "pause", "internet")
            id = daemon.take(FAR)
            daemon.stop()
            daemon.start()
            daemon.take("ann@ours.example")
            daemon.wait_for_mail("ann")
            (row,) = daemon.asked("queue", "stats")["destinations"]
            self.assertEqual((row["limited_by"], row["held"]), (f"paused by {WHO}", 0))
            (waiting,) = daemon.queue()
            self.assertEqual((waiting["id"], waiting["attempts"]), (id, 0))
            self.assertEqual(daemon.asked("queue", "resume", "--all"), {"resumed": ["internet"]})

    def test_who_did_it_is_in_the_story(self) -> None:
        with Daemon(RELAY) as daemon:
            daemon.mta("queue", "pause", "--all")
            id = daemon.take(FAR)
            daemon.mta("queue", "hold", id, "--because", "odd")
            self.assertEqual([row["state"] for row in daemon.queue()], ["held"])
            story = daemon.asked("explain", id)["story"]
            (changed,) = [event for event in story if event["code"] == "changed"]
            self.assertEqual((changed["change"], changed["by"], changed["detail"]), ("hold", WHO, "odd"))
            self.assertEqual(daemon.asked("queue", "delete", id), {"selected": 1, "changed": 1})
            self.assertEqual(daemon.audit()["unaccounted"], 0)
            self.assertEqual(daemon.mails("ann"), [])

    def test_bounced_while_paused(self) -> None:
        with Daemon(RELAY) as daemon:
            daemon.mta("queue", "pause", "internet")
            id = daemon.take(FAR)
            daemon.mta("queue", "bounce", id, "--because", "Not wanted")
            (report,) = daemon.wait_for_mail("ann")
            self.assertIn(b"Not wanted", report)

    def test_drained_it_takes_no_mail_and_stops(self) -> None:
        with Daemon() as daemon:
            daemon.take("ann@ours.example")
            answer = daemon.asked("drain")
            self.assertTrue(answer["done"])
            self.assertEqual(len(daemon.mails("ann")), 1)
            with Dialogue(daemon.port) as client:
                self.assertIn("421 4.3.2", client.reply())
            daemon.asked("drain", "--cancel")
            daemon.take("ann@ours.example")
            self.assertTrue(daemon.asked("drain", "--stop")["stopping"])
            process = daemon.process
            assert process is not None
            wait_for(lambda: process.poll() is not None, lambda: daemon.log())
            self.assertEqual(process.returncode, 0)

    def test_why_mail_was_refused(self) -> None:
        with Daemon() as daemon:
            with Dialogue(daemon.port) as client:
                client.greet()
                client.say("MAIL FROM:<x@y.example>")
                reply = client.say("RCPT TO:<nobody@ours.example>")
            for asked in ("nobody@ours.example", "x@y.example", "127.0.0.0/8"):
                wait_for(lambda asked=asked: not daemon.mta("explain", asked, check=False).returncode, daemon.log)
                self.assertIn(f"refused    127.0.0.1   {reply}", daemon.mta("explain", asked).stdout)
            self.assertEqual(daemon.log().count("nobody@ours.example"), 1)
            self.assertEqual(stat.S_IMODE((daemon.state / "refused").stat().st_mode), 0o700)
            # Erased by the service, and read with the service stopped.
            self.assertEqual(daemon.asked("erase", "nobody@ours.example", "--yes")["refused"], 1)
            daemon.stop()
            self.assertEqual(daemon.mta("explain", "x@y.example", check=False).returncode, 1)

    def test_what_is_kept_of_refusals_is_masked(self) -> None:
        with Daemon('\n[privacy]\naddresses = "hash"\n') as daemon:
            with Dialogue(daemon.port) as client:
                client.greet()
                client.say("MAIL FROM:<x@y.example>")
                client.say("RCPT TO:<nobody@ours.example>")
            daemon.stop()
            kept = b"".join(path.read_bytes() for path in (daemon.state / "refused").iterdir())
            self.assertNotIn(b"example", kept)
            self.assertEqual(len(daemon.asked("explain", "nobody@ours.example")["refused"]), 1)

    def test_a_configuration_that_was_broken_hides_nothing(self) -> None:
        with Daemon(RELAY) as daemon:
            daemon.mta("queue", "pause", "--all")
            id = daemon.take(FAR)
            daemon.add("nonsense = = 1\n")
            for words in (("status",), ("queue", "list"), ("queue", "stats"), ("explain", id), ("queue", "hold", id)):
                done = daemon.mta(*words)
                self.assertEqual(done.stderr, "warning: the configuration is wrong: see mta check\n")
            self.assertIn("is not TOML", daemon.mta("reload", check=False).stderr)

    def test_a_state_whose_socket_can_have_no_name(self) -> None:
        with Daemon(start=False) as daemon:
            daemon.change('state = "state"', f'state = "{"x" * 100}"')
            self.assertIn("a socket's has 107 at most; write a shorter path", daemon.refused())

    def test_log_in_json_with_hashed_addresses(self) -> None:
        more = '\n[log]\nformat = "json"\n[privacy]\naddresses = "hash"\n'
        with Daemon(more, internet=INTERNET) as daemon:
            id = daemon.take("info@ours.example")
            daemon.wait_for_mail("bob")
            daemon.drained()
            text = daemon.wait_for_log('"code": "attempt"')
            events = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
            (attempt,) = [event for event in events if event.get("code") == "attempt"]
            self.assertEqual((attempt["id"], attempt["level"], attempt["args"]["status"]), (id, "info", "delivered"))
            self.assertNotIn("bob@ours.example", text)
            self.assertRegex(attempt["args"]["address"], "^#[0-9a-f]{16}$")
            for address in ("info@ours.example", "bob@ours.example", "ann@ours.example"):
                self.assertEqual([one["id"] for one in daemon.asked("explain", address)["messages"]], [id])
                self.assertNotIn(address, daemon.mta("explain", id).stdout)

    def test_status_says_what_is_paused_and_drained(self) -> None:
        with Daemon() as daemon:
            daemon.mta("queue", "pause", f"internet:127.0.0.1:{deaf_port()}", check=False)
            daemon.asked("drain")
            status = daemon.asked("status")
            self.assertIn("internet:127.0.0.1", status["paused"])
            self.assertEqual(status["draining"], "takes no mail")
