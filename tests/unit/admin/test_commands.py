"""The command line with the service stopped: reading, changes under the lock of the state, questions before them."""

from __future__ import annotations

from pathlib import Path

from stopped_state import StoppedState

from mta.admin.offline import now_there
from mta.admin.refusals import Refusals
from mta.events import RECIPIENT_REFUSED
from mta.spool.folders import StateLock
from mta.spool.values import Selection


class Stopped(StoppedState):
    more = """
[tables.plans]
type = "file"
path = "plans"

[log]
file = "mta.log"
"""

    def setUp(self) -> None:
        super().setUp()
        (self.folder / "plans").write_text("bob@b.example: gold\n")
        self.ids = self.fill()

    def fill(self) -> list[str]:
        """Seven messages of ann's, to bob and carol in turn."""
        spool = self.spool()
        to = ("bob@b.example", "carol@b.example")
        ids = [self.put(spool, to[number % 2], sender="ann@a.example") for number in range(7)]
        now_there(spool.close())
        return ids

    def listed(self, *arguments: str) -> list[str]:
        return [row["id"] for row in self.asked("queue", "list", *arguments)]


class Commands(Stopped):
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

    def test_what_is_no_queue_id(self) -> None:
        self.assertIn(
            "ann@a.example is no queue id; for an address say --sender", self.refused("queue", "list", "ann@a.example")
        )
        self.assertIn("* is no queue id", self.refused("queue", "delete", "*", "--yes"))

    def test_changes_are_in_the_spool(self) -> None:
        self.ok("queue", "bounce", self.ids[0], "--because", "Not wanted")
        spool = self.spool()
        (row,) = now_there(spool.page(Selection(ids=(self.ids[0],)), None, 9))
        self.assertEqual(row.recipient.progress["bounce"], "Not wanted")
        now_there(spool.close())


class Explained(Stopped):
    """``mta explain`` of what never got a queue id."""

    def setUp(self) -> None:
        super().setUp()
        kept = Refusals(self.state, now=lambda: 1_700_000_000_000)
        kept.configure("full", None, 1 << 20, 1 << 40)
        for number in range(12):
            kept.note(
                RECIPIENT_REFUSED(
                    client=f"192.0.2.{number}", sender="ann@a.example", address="x@ours.example", reply="550 No", why=[]
                )
            )

    def test_an_address(self) -> None:
        said = self.ok("explain", "x@ours.example")
        self.assertIn("REFUSED      x@ours.example, the latest 10 of 12: it never got a queue id", said)
        self.assertIn("refused    192.0.2.11   550 No\n", said)
        self.assertNotIn("192.0.2.1 ", said)

    def test_one_that_was_taken_too(self) -> None:
        values = self.asked("explain", "ann@a.example", "--limit", "3")
        self.assertEqual([one["id"] for one in values["messages"]], self.ids[-3:])
        self.assertEqual([one["client"] for one in values["refused"]], ["192.0.2.9", "192.0.2.10", "192.0.2.11"])
        said = self.ok("explain", "ann@a.example", "--limit", "3")
        self.assertIn("... and 4 earlier messages", said)

    def test_a_client_and_its_network(self) -> None:
        self.assertEqual(len(self.asked("explain", "192.0.2.3")["refused"]), 1)
        self.assertEqual(len(self.asked("explain", "192.0.2.0/29", "--limit", "20")["refused"]), 8)

    def test_nothing_is_known(self) -> None:
        self.assertIn("none was refused since 14 Nov 22:13 UTC", self.refused("explain", "no@where.example"))
        self.assertIn("nothing of 198.51.100.1 was refused", self.refused("explain", "198.51.100.1"))
        for odd in ("*", "", "x" * 500, "0000000000000", "ZZZZZZZZZZZZZ", "\x1b[2J"):
            self.assertNotIn("\x1b", self.refused("explain", odd))

    def test_erased(self) -> None:
        self.assertEqual(self.asked("erase", "x@ours.example", "--yes")["refused"], 12)
        self.refused("explain", "x@ours.example")


class Broken(Stopped):
    """With a configuration that is wrong, what can be read is read."""

    def setUp(self) -> None:
        super().setUp()
        self.add("nonsense = 1\n")

    def add(self, text: str) -> None:
        with open(self.folder / "mta.toml", "a") as file:
            file.write(text)

    def test_the_queue_is_read_and_changed(self) -> None:
        for toml in ("", "this is = = no TOML\n"):
            self.add(toml)
            for words in (
                ("queue", "list"),
                ("queue", "stats"),
                ("explain", self.ids[0]),
                ("audit",),
                ("queue", "pause"),
            ):
                result = self.run_mta(*words)
                self.assertEqual(result.exit_code, 0, result.output)
                self.assertIn("warning: the configuration is wrong: see mta check\n", result.stderr)
                self.assertNotIn("warning", result.stdout)
        self.ok("queue", "hold", self.ids[0])

    def test_the_log_is_found(self) -> None:
        (self.folder / "mta.log").write_text("2026-11-24T00:00:00.000Z started: x\n")
        self.assertIn("started", self.ok("log"))
        self.add("this is = = no TOML\n")
        self.assertIn("started", self.ok("log"))

    def test_another_state_can_be_said(self) -> None:
        (self.folder / "mta.toml").unlink()
        self.assertIn("cannot be read", self.refused("queue", "list"))
        self.assertIn(self.ids[0], self.ok("--set", f"state={self.state}", "queue", "list"))

    def test_what_needs_it_says_what_is_wrong(self) -> None:
        for words in (("check",), ("config", "show"), ("queue", "reroute", self.ids[0], "--via", "internet")):
            self.assertIn("nonsense", self.refused(*words))
