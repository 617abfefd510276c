"""What goes wrong: a clear message, the right reply, nothing lost."""

from __future__ import annotations

import os
import smtplib
import subprocess
import unittest

from tests.integration.tools import INTERNET, Daemon, Dialogue, Sink, free_port, wait_for

RELAY = '[relay]\nnetworks = ["127.0.0.0/8"]\n[queue]\nretry = ["1s"]\n'
OCTETS = b"Subject: x\r\n\r\nhello\r\n"


def refused(daemon: Daemon) -> str:
    """Start it; it must end by itself with status 1.  What it said."""
    process = daemon.launch()
    assert process.wait(30) == 1, daemon.log()
    return daemon.log()


class Starting(unittest.TestCase):
    def test_wrong_configuration(self) -> None:
        with Daemon("[limits]\nrecipients = 0\n[queue]\nretry = [1]\nx = 1\n", start=False) as daemon:
            said = refused(daemon)
            for word in ("mta.toml", "limits.recipients", "queue.retry", "queue.x"):
                self.assertIn(word, said)
            self.assertNotIn("Traceback", said)

    def test_no_configuration(self) -> None:
        with Daemon(start=False) as daemon:
            daemon.configuration.unlink()
            said = refused(daemon)
            self.assertIn("mta.toml", said)
            self.assertNotIn("Traceback", said)

    def test_port_in_use(self) -> None:
        with Sink() as other, Daemon(start=False) as daemon:
            daemon.write(daemon.configuration.read_text().replace(f"tcp:{daemon.port}:", f"tcp:{other.port}:"))
            said = refused(daemon)
            self.assertIn("listener mx cannot have", said)
            self.assertIn("in use", said)
            self.assertNotIn("Traceback", said)

    def test_state_that_another_holds(self) -> None:
        with Daemon() as first, Daemon(start=False) as second:
            text = second.configuration.read_text()
            second.write(text.replace('state = "state"', f'state = "{first.state}"'))
            said = refused(second)
            self.assertIn(str(first.process.pid if first.process else ""), said)
            self.assertNotIn("Traceback", said)

    def test_state_that_cannot_be_written(self) -> None:
        with Daemon(start=False) as daemon:
            daemon.state.write_text("a file in the way")
            said = refused(daemon)
            self.assertIn("mta: ", said)
            self.assertIn(str(daemon.state), said)
            self.assertNotIn("Traceback", said)

    def test_state_on_a_file_system_that_is_read_only(self) -> None:
        if os.geteuid():
            raise unittest.SkipTest("only root can mount")
        with Daemon(start=False) as daemon:
            daemon.state.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", str(daemon.state)], check=True)
            try:
                said = refused(daemon)
            finally:
                subprocess.run(["umount", str(daemon.state)], check=True)
            self.assertIn("Read-only", said)
            self.assertNotIn("Traceback", said)

    def test_plugin_that_does_not_load(self) -> None:
        plugin = '[plugins]\npaths = ["plugins"]\n'
        with Daemon(plugin, start=False) as daemon:
            (daemon.folder / "plugins").mkdir()
            (daemon.folder / "plugins/broken.py").write_text("import a_module_that_is_not_there\n")
            text = daemon.configuration.read_text()
            self.assertIn("a_module_that_is_not_there", daemon.mta("check", check=False).stderr)
            daemon.write(text + '[delivery.x]\ntype = "broken"\n')
            said = refused(daemon)
            self.assertIn("broken.py", said)
            self.assertIn("a_module_that_is_not_there", said)


class Disk(unittest.TestCase):
    def test_full_disk_refuses_and_recovers_and_loses_nothing(self) -> None:
        if os.geteuid():
            raise unittest.SkipTest("only root can mount")
        more = RELAY + 'reserve = "1MiB"\n'
        small = ["mount", "-t", "tmpfs", "-o", "size=6m,mode=700", "none"]
        with Sink({"RCPT": "450 4.2.1 later"}) as sink, Daemon(more, internet=sink.delivery(), start=False) as daemon:
            daemon.state.mkdir(mode=0o700)
            subprocess.run([*small, str(daemon.state)], check=True)
            try:
                daemon.start()
                self._fill_and_free(daemon, sink)
            finally:
                if daemon.process is not None and daemon.process.poll() is None:
                    daemon.kill()
                subprocess.run(["umount", str(daemon.state)], check=True)

    def _fill_and_free(self, daemon: Daemon, sink: Sink) -> None:
        accepted, refusals = 0, []
        with Dialogue(daemon.port) as client:
            client.greet()
            for number in range(200):
                octets = b"Subject: %d\r\n\r\n" % number + (b"x" * 78 + b"\r\n") * 700
                reply = client.message("ann@ours.example", [f"{number}@far.example"], octets)
                if reply.startswith("250"):
                    accepted += 1
                else:
                    refusals.append(reply)
                    if len(refusals) > 3:
                        break
        self.assertGreater(accepted, 10)
        self.assertTrue(refusals)
        for reply in refusals:
            self.assertRegex(reply, r"^45[12] 4\.3\.[01]")
        sink.script.clear()  # what is delivered frees the disk
        sink.wait_for(accepted)
        wait_for(lambda: not daemon.queue(), "the queue to be empty")
        self.assertEqual(daemon.audit()["ended"], {"relayed": accepted})

        def taken() -> bool:
            with Dialogue(daemon.port) as client:
                return client.greet().message("ann@ours.example", ["y@far.example"], OCTETS).startswith("250")

        wait_for(taken, "the service to take mail again")


class Far(unittest.TestCase):
    def send(self, daemon: Daemon, recipient: str = "x@far.example") -> None:
        with Dialogue(daemon.port) as client:
            reply = client.greet().message("ann@ours.example", [recipient], OCTETS)
        self.assertTrue(reply.startswith("250"), reply)

    def test_temporary_refusal_at_each_step(self) -> None:
        for step, reply in (
            ("connect", "421 4.3.2 busy here"),
            ("EHLO", "421 4.3.2 busy here"),
            ("MAIL", "451 4.3.0 busy here"),
            ("RCPT", "450 4.2.1 busy here"),
            ("DATA", "451 4.3.0 busy here"),
            ("dot", "451 4.3.0 busy here"),
        ):
            with self.subTest(step), Sink({step: reply}) as sink, Daemon(RELAY, internet=sink.delivery()) as daemon:
                self.send(daemon)
                wait_for(lambda: [row for row in daemon.queue() if "busy here" in row["reply"]], f"{step}: the try")
                told = daemon.mta("explain", "x@far.example").stdout
                self.assertIn("busy here", told)
                self.assertIn("NEXT", told)
                self.assertEqual(daemon.mails("ann"), [])
                sink.script.clear()
                sink.wait_for(1)
                wait_for(lambda: not daemon.queue(), "the queue to be empty")
                self.assertEqual(daemon.audit()["ended"], {"relayed": 1})

    def test_permanent_refusal_at_each_step_comes_back_as_a_report(self) -> None:
        for step, reply in (
            ("connect", "554 5.7.1 not you"),
            ("MAIL", "550 5.7.1 not you"),
            ("RCPT", "550 5.1.1 not you"),
            ("DATA", "554 5.6.0 not you"),
            ("dot", "554 5.7.1 not you"),
        ):
            with self.subTest(step), Sink({step: reply}) as sink, Daemon(RELAY, internet=sink.delivery()) as daemon:
                self.send(daemon)
                (report,) = daemon.wait_for_mail("ann")
                for word in (b"multipart/report", b"x@far.example", b"not you", b"Action: failed", b"MAILER-DAEMON"):
                    self.assertIn(word, report)
                self.assertIn(b"Return-Path: <>", report)
                self.assertEqual(daemon.queue(), [])
                self.assertEqual(daemon.audit()["unaccounted"], 0)

    def test_report_that_cannot_be_delivered_goes_to_the_postmaster(self) -> None:
        with Sink({"RCPT": "550 5.1.1 nobody"}) as sink, Daemon(RELAY, internet=sink.delivery()) as daemon:
            with Dialogue(daemon.port) as client:
                client.greet().message("gone@elsewhere.example", ["x@far.example"], OCTETS)
            (mail,) = daemon.wait_for_mail("postmaster")
            self.assertIn(b"gone@elsewhere.example", mail)
            self.assertEqual(daemon.audit()["unaccounted"], 0)

    def test_host_that_is_down(self) -> None:
        port = free_port()
        internet = f'[delivery.internet]\ntype = "smtp"\nhost = "127.0.0.1"\nport = {port}\n'
        with Daemon(RELAY, internet=internet) as daemon:
            self.send(daemon)
            (row,) = wait_for(lambda: [row for row in daemon.queue() if row["reply"]], "the first try")
            self.assertIn("No connection", row["reply"])
            self.assertEqual(daemon.mails("ann"), [])

    def test_connection_lost_after_the_dot_is_tried_again(self) -> None:
        with Sink({"dot": "close"}) as sink, Daemon(RELAY, internet=sink.delivery()) as daemon:
            self.send(daemon)
            wait_for(lambda: [row for row in daemon.queue() if "lost" in row["reply"]], "the first try")
            sink.script.clear()
            sink.wait_for(1)

    def test_dns_that_does_not_answer_is_a_wait_never_a_bounce(self) -> None:
        dns = f'[dns]\nservers = ["127.0.0.1:{free_port()}"]\ntimeout = "1s"\n'
        with Daemon(RELAY + dns, internet=INTERNET) as daemon:
            self.send(daemon)
            (row,) = wait_for(lambda: [row for row in daemon.queue() if row["reply"]], "the first try")
            self.assertRegex(row["reply"], r"^451 4\.4\.3")
            self.assertEqual(daemon.mails("ann"), [])

    def test_smtplib_is_told_what_is_refused(self) -> None:
        with Daemon() as daemon, smtplib.SMTP("127.0.0.1", daemon.port, timeout=30) as smtp:
            with self.assertRaises(smtplib.SMTPRecipientsRefused) as caught:
                smtp.sendmail("a@b.example", ["x@foreign.example"], "Subject: x\r\n\r\n")
            self.assertEqual(caught.exception.recipients["x@foreign.example"][0], 550)
