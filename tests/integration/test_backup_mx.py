"""A backup MX that asks ahead, with the daemon: what strangers hear at RCPT while the next host is up, and is down."""

from __future__ import annotations

import unittest

from tests.integration.tools import Daemon, Dialogue, Sink

MORE = """\
[domains."customer.example"]
relay = true
call_ahead = true

[[route]]
name = "customer"
to = ["customer.example"]
via = "customer"

[call_ahead]
yes = "1s"
pause = "1s"
"""


def rcpt(line: str) -> str | None:
    """As a host that has one mailbox."""
    return None if "<bob@customer.example>" in line else "550 5.1.1 no such user"


class BackupMx(unittest.TestCase):
    def ask(self, daemon: Daemon, *locals: str) -> list[str]:
        with Dialogue(daemon.port) as client:
            client.greet().say("MAIL FROM:<x@elsewhere.example>")
            return [client.say(f"RCPT TO:<{local}@customer.example>") for local in locals]

    def test_it_never_takes_what_it_would_bounce(self) -> None:
        with Sink({"RCPT": rcpt}) as sink, Daemon(sink.delivery("customer") + MORE) as daemon:
            good, bad = self.ask(daemon, "bob", "eve")
            self.assertEqual(good, "250 2.1.5 Ok")
            self.assertEqual(bad, "550 5.1.1 The next host says: no such user")
            self.assertEqual(sink.messages, [])  # asking delivers nothing
            daemon.take("bob@customer.example", sender="x@elsewhere.example")
            sink.wait_for(1)
            daemon.drained()
            shown = daemon.mta("route", "eve@customer.example", "--from", "x@elsewhere.example", "--client", "9.9.9.9")
            self.assertIn("the next host is asked for it at RCPT", shown.stdout)
            shown = daemon.mta("route", "eve@customer.example", "--client", "9.9.9.9", "--call-ahead", check=False)
            self.assertEqual(shown.returncode, 1)
            self.assertIn("550 5.1.1 The next host says: no such user", shown.stdout)
        self.assertTrue(any("RSET" in line for line in sink.commands))

    def test_while_the_next_host_is_down(self) -> None:
        with Sink({"RCPT": rcpt}) as sink, Daemon(sink.delivery("customer") + MORE) as daemon:
            self.assertEqual(self.ask(daemon, "bob"), ["250 2.1.5 Ok"])
            sink.script["connect"] = sink.script["MAIL"] = "421 4.3.2 not now"
            new, known = self.ask(daemon, "new", "bob")
            self.assertEqual(new[:9], "451 4.4.1")
            self.assertEqual(known, "250 2.1.5 Ok")
            daemon.wait_for_log("call-ahead-fails")
