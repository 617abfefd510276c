"""``mta simulate`` on a spool that it reads and leaves as it is."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.admin.main import main
from mta.admin.setting import now_ms
from mta.envelope import Destination, Envelope, Origin, Recipient, Right
from mta.spool.lanes import Inline
from mta.spool.sqlite import SqliteSpool

CONFIGURATION = """\
format = 1
hostname = "mail.ours.example"
postmaster = "postmaster@ours.example"
state = "state"

[[listen]]
name = "mx"
endpoint = "tcp:2525:interface=127.0.0.1"

[domains."ours.example"]
mailboxes = "file:mailboxes"
deliver = "local"

[delivery.local]
type = "maildir"
path = "mail"

[delivery.internet]
type = "smtp"
connections = 1
"""

GREY = {"reply": "451 4.7.1 Greylisted", "scope": "recipient", "stage": "RCPT", "host": "mx", "trouble": "greylisted"}


class Reactor(Clock):
    """A spool that works at once."""

    def callFromThread(self, call: Any, *args: Any) -> None:
        call(*args)


class Simulate(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        (self.folder / "mta.toml").write_text(CONFIGURATION)
        (self.folder / "mailboxes").write_text("postmaster\n")
        self.state = self.folder / "state"
        os.mkdir(self.state, 0o700)
        self.now = now_ms()
        self.spool = SqliteSpool(
            str(self.state),
            reactor=Reactor(),
            now=lambda: self.now,
            reserve_bytes=0,
            reserve_inodes=0,
            lanes=Inline(),
        )
        self.spool.open()

    def add(self, domain: str, count: int, recipients: int = 1, **more: Any) -> None:
        envelope = Envelope(
            origin=Origin(listener="mx", protocol="ESMTP"),
            reverse_path=Address("ann", "ours.example"),
            arrived=self.now - 3_600_000,
            rights=frozenset({Right.NETWORK}),
        )
        for _ in range(count):
            incoming = self.spool.begin(0)
            incoming.write(b"Subject: x\r\n\r\nhello\r\n")
            addresses = [Address(f"u{number}", domain) for number in range(recipients)]
            place = Destination("internet", domain)
            incoming.add_recipients(
                [
                    Recipient(id=n, address=one, original=one, destination=place, due=self.now, **more)
                    for n, one in enumerate(addresses)
                ]
            )
            incoming.seal(envelope, (), ())
            self.successResultOf(self.spool.commit(incoming, None))

    def run_it(self, *arguments: str) -> str:
        result = CliRunner().invoke(main, ["--config", str(self.folder / "mta.toml"), "simulate", *arguments])
        self.assertEqual(result.exit_code, 0, result.output)
        return result.output

    def refused(self, *arguments: str) -> str:
        result = CliRunner().invoke(main, ["--config", str(self.folder / "mta.toml"), "simulate", *arguments])
        self.assertEqual(result.exit_code, 1, result.output)
        return result.output

    def asked(self, *arguments: str) -> Any:
        return json.loads(self.run_it(*arguments, "--json"))

    def queue(self) -> Any:
        return json.loads(
            CliRunner().invoke(main, ["--config", str(self.folder / "mta.toml"), "queue", "list", "--json"]).stdout
        )

    def test_a_table_by_hour_and_nothing_is_changed(self) -> None:
        self.add("b.example", 3, recipients=2)
        self.add("grey.example", 4, attempts=2, progress=GREY)
        before = [(row["id"], row["recipient"], row["attempts"]) for row in self.queue()]
        text = self.run_it("--hours", "4")
        self.assertEqual([(row["id"], row["recipient"], row["attempts"]) for row in self.queue()], before)
        self.assertIn("10 recipients of 7 messages wait; played 4 hours forward.", text)
        lines = text.splitlines()
        first = next(line for line in lines if line.startswith("0 h")).split()
        self.assertEqual((first[3], first[-1]), ("6", "4"), "delivered, and waiting after it")
        self.assertIn("internet:grey.example (last)", text)
        self.assertEqual(len([line for line in lines if line[:1].isdigit() and " h  " in line]), 4)

    def test_a_changed_rule_beside_the_one_in_force(self) -> None:
        self.add("b.example", 5)
        values = self.asked("--hours", "12", "--assume", "*=greylisting:2h", "--set", 'queue.retry=["3h"]')
        self.assertEqual(values["total"]["tries"], 10, "at once and after three hours")
        self.assertGreater(values["before"]["total"]["tries"], values["total"]["tries"])

    def test_the_end_is_when_all_has_expired(self) -> None:
        self.add("b.example", 2)
        values = self.asked("--assume", "*=refusing:451 4.2.1 Not now", "--set", 'queue.expire_after="2d"')
        self.assertEqual((values["for_hours"], values["total"]["expired"], values["total"]["waiting"]), (121, 2, 0))
        self.assertLessEqual(max(int(hour) for hour, count in values["hours"].items() if count["expired"]), 47)

    def test_the_limit_is_told(self) -> None:
        self.add("b.example", 5)
        text = self.run_it("--hours", "1", "--limit", "3", "--assume", "*=up")
        self.assertIn("3 recipients of 3 messages", text)
        self.assertIn("--limit takes more", text)

    def test_the_service_keeps_its_own_limits(self) -> None:
        self.add("b.example", 30)
        self.assertEqual(self.asked("--hours", "1", "--assume", "*=up")["most_connections"], 1)

    def test_nothing_waits(self) -> None:
        self.assertEqual(self.run_it(), "nothing waits\n")

    def test_what_is_wrong_is_told(self) -> None:
        self.assertIn("known are", self.refused("--assume", "*=odd"))
        self.assertIn("with --set the configuration is wrong", self.refused("--set", "queue.retry=7"))
