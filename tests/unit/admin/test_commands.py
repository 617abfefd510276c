"""The command line with the service stopped: reading, changes under the lock of the state, questions before them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.admin.main import main
from mta.admin.offline import now_there
from mta.envelope import Destination, Envelope, Origin, Recipient
from mta.spool.folders import StateLock
from mta.spool.lanes import Inline
from mta.spool.sqlite import SqliteSpool
from mta.spool.values import Selection

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

[tables.plans]
type = "file"
path = "plans"

[log]
file = "mta.log"
"""


class Reactor:
    """Nothing happens later."""

    def callFromThread(self, call: Any, *args: Any) -> None:
        call(*args)

    def callLater(self, delay: float, call: Any, *args: Any) -> Any:
        return self

    def cancel(self) -> None:
        """What was to be later."""


class Commands(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        (self.folder / "mta.toml").write_text(CONFIGURATION)
        (self.folder / "mailboxes").write_text("ann\npostmaster\n")
        (self.folder / "plans").write_text("bob@b.example: gold\n")
        self.state = str(self.folder / "state")
        os.mkdir(self.state, 0o700)
        self.ids = self.fill()

    def spool(self) -> SqliteSpool:
        spool = SqliteSpool(
            self.state,
            reactor=Reactor(),
            now=lambda: 1_700_000_000_000,
            reserve_bytes=0,
            reserve_inodes=0,
            lanes=Inline(),
        )
        spool.open()
        return spool

    def fill(self) -> list[str]:
        """Seven messages of ann's, to bob and carol in turn."""
        spool, ids = self.spool(), []
        for number in range(7):
            address = Address(("bob", "carol")[number % 2], "b.example")
            incoming = spool.begin(0)
            now_there(_wait(incoming.write(b"Subject: x\r\n\r\nhello\r\n")))
            place = Destination("internet", "b.example")
            due = 1_700_000_000_000
            incoming.add_recipients([Recipient(id=0, address=address, original=address, destination=place, due=due)])
            envelope = Envelope(
                origin=Origin(listener="mx", protocol="ESMTP"), reverse_path=Address("ann", "a.example"), arrived=due
            )
            now_there(_wait(incoming.seal(envelope, (), ())))
            now_there(spool.commit(incoming, None))
            ids.append(incoming.id)
        now_there(spool.close())
        return ids

    def run_mta(self, *arguments: str, input: str = "") -> Result:
        return CliRunner().invoke(main, ["--config", str(self.folder / "mta.toml"), *arguments], input=input)

    def ok(self, *arguments: str, input: str = "") -> str:
        result = self.run_mta(*arguments, input=input)
        self.assertEqual(result.exit_code, 0, result.output)
        return result.output

    def refused(self, *arguments: str, input: str = "") -> str:
        result = self.run_mta(*arguments, input=input)
        self.assertNotEqual(result.exit_code, 0, result.output)
        self.assertNotIn("Traceback", result.output)
        return result.output

    def asked(self, *arguments: str) -> Any:
        return json.loads(self.run_mta(*arguments, "--json").stdout)

    def listed(self, *arguments: str) -> list[str]:
        return [row["id"] for row in self.asked("queue", "list", *arguments)]

    def test_list_by_any_condition(self) -> None:
        self.assertEqual(self.listed(), self.ids)
        self.assertEqual(self.listed("--recipient", "bob@b.example"), self.ids[::2])
        self.assertEqual(self.listed("--destination", "b.example", "--older-than", "1h"), self.ids)
        self.assertEqual(self.listed("--older-than", "20000d"), [])
        self.assertEqual(self.listed("--held"), [])
        self.assertIn("is not a duration", self.refused("queue", "list", "--older-than", "soon"))

    def test_one_is_changed_without_a_question(self) -> None:
        self.assertEqual(self.ok("queue", "hold", self.ids[0].lower(), "--because", "odd"), "held 1 recipient\n")
        self.assertEqual(self.listed("--held", "--reason", "ODD"), self.ids[:1])
        self.assertIn("hold: odd   by ", self.ok("explain", self.ids[0]))

    def test_many_are_shown_and_asked_about(self) -> None:
        said = self.refused("queue", "delete", "--sender", "ann@a.example", input="n\n")
        self.assertIn("... and 2 more", said)
        self.assertIn("Delete 7 recipients: nobody is told?", said)
        self.assertEqual(len(self.listed()), 7)
        said = self.ok("queue", "delete", "--sender", "ann@a.example", input="y\n")
        self.assertIn("deleted 7 recipients: nobody is told", said)
        self.assertEqual(self.listed(), [])
        self.assertIn("0  unaccounted for", self.ok("audit"))

    def test_yes_is_an_answer_and_json_needs_it(self) -> None:
        self.assertIn("--yes", self.refused("queue", "hold", "--all", "--json"))
        self.assertEqual(self.asked("queue", "hold", "--all", "--yes"), {"selected": 7, "changed": 7})
        self.assertEqual(self.asked("queue", "hold", "--all", "--yes"), {"selected": 7, "changed": 0})

    def test_nothing_said_is_nothing_meant(self) -> None:
        self.assertIn("--all", self.refused("queue", "delete"))
        self.assertIn("nothing that waits", self.refused("queue", "delete", "38GDQNCPM0000"))
        self.assertEqual(len(self.listed()), 7)

    def test_reroute_knows_the_services(self) -> None:
        self.assertIn("known: local, internet", self.refused("queue", "reroute", self.ids[0], "--via", "moon"))
        self.ok("queue", "reroute", self.ids[0], "--via", "local:ours.example")
        self.assertEqual(self.listed("--destination", "local"), self.ids[:1])
        self.ok("queue", "reroute", self.ids[0], "--by-configuration")

    def test_pause_and_stats(self) -> None:
        self.ok("queue", "pause", "internet", "--because", "maintenance")
        self.assertIn("maintenance", self.ok("queue", "pause"))
        stats = self.asked("queue", "stats")
        (row,) = stats["destinations"]
        self.assertEqual((stats["recipients"], stats["messages"], row["waiting"]), (7, 7, 7))
        self.assertRegex(row["limited_by"], "^paused by .*: maintenance$")
        self.assertRegex(self.ok("queue", "stats"), r"internet:b\.example +7 +7 .* paused by")
        self.assertEqual(self.ok("queue", "resume", "internet"), "internet is sent to again\n")
        self.assertIn("is not paused", self.refused("queue", "resume", "internet"))
        self.assertEqual(self.asked("queue", "stats")["destinations"][0]["limited_by"], "the service is stopped")

    def test_the_lock_of_the_state_counts(self) -> None:
        lock = StateLock(Path(self.state) / "lock")
        lock.acquire()
        self.addCleanup(lock.release)
        self.assertIn("held by process", self.refused("queue", "hold", self.ids[0]))
        self.assertEqual(len(self.listed()), 7)

    def test_what_only_the_service_does(self) -> None:
        for command in (("status",), ("reload",), ("drain",)):
            self.assertIn("is not running", self.refused(*command))

    def test_erase_says_what_is_left(self) -> None:
        self.ok("queue", "delete", self.ids[0])
        (self.folder / "mta.log").write_text("x to bob@b.example\nx to jbob@b.example\n")
        said = self.ok("erase", "bob@b.example", "--yes")
        self.assertIn("is erased from the history of 1 message\n", said)
        self.assertIn("not from what waits (3 recipients)", said)
        self.assertIn("named in 1 line;", said)
        self.assertEqual(len(self.asked("erase", "bob@b.example", "--yes")["logs"]), 1)
        self.assertNotIn("bob@", self.ok("queue", "show", self.ids[0]))

    def test_tables_and_configuration(self) -> None:
        self.assertEqual(self.ok("table", "get", "plans", "bob@B.example"), "gold\n")
        self.assertEqual(self.asked("table", "get", "table:plans", "x@b.example")["value"], None)
        self.assertIn('did you mean "plans"', self.refused("table", "get", "plan", "x"))
        self.assertEqual(self.asked("config", "show", "privacy.addresses"), {"privacy.addresses": '"full"'})
        self.assertIn('did you mean "privacy"', self.refused("config", "show", "privac"))

    def test_the_log_about_an_address(self) -> None:
        (self.folder / "mta.log").write_text("x held: bob@b.example: odd\nx held: carol@b.example: odd\n")
        self.assertEqual(self.ok("log", "--to", "bob@b.example"), "x held: bob@b.example: odd\n")

    def test_what_comes_next(self) -> None:
        said = self.ok("explain", "bob@b.example")
        self.assertIn("NEXT         <bob@b.example> try 1 when the service is started, by internet:b.example", said)
        self.assertIn("expires 19 Nov", said)

    def test_changes_are_in_the_spool(self) -> None:
        self.ok("queue", "bounce", self.ids[0], "--because", "Not wanted")
        spool = self.spool()
        (row,) = now_there(spool.page(Selection(ids=(self.ids[0],)), None, 9))
        self.assertEqual(row.recipient.progress["bounce"], "Not wanted")
        now_there(spool.close())


async def _wait(maybe: Any) -> None:
    if maybe is not None:
        await maybe
