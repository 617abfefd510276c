"""``mta simulate`` on a spool that it reads and leaves as it is."""

from __future__ import annotations

from typing import Any

from stopped_state import StoppedState

from mta.admin.setting import now_ms

GREY = {"reply": "451 4.7.1 Greylisted", "scope": "recipient", "stage": "RCPT", "host": "mx", "trouble": "greylisted"}


class Simulate(StoppedState):
    more = "connections = 1\n"

    def setUp(self) -> None:
        super().setUp()
        self.time = now_ms()
        self.open = self.spool()

    def add(self, domain: str, count: int, recipients: int = 1, **more: Any) -> None:
        for _ in range(count):
            to = [f"u{number}@{domain}" for number in range(recipients)]
            self.put(self.open, *to, sender="ann@ours.example", age=3_600_000, **more)

    def queue(self) -> list[tuple[str, str, int]]:
        return [(row["id"], row["recipient"], row["attempts"]) for row in self.asked("queue", "list")]

    def test_a_table_by_hour_and_nothing_is_changed(self) -> None:
        self.add("b.example", 3, recipients=2)
        self.add("grey.example", 4, attempts=2, progress=GREY)
        before = self.queue()
        text = self.ok("simulate", "--hours", "4")
        self.assertEqual(
            [(row["id"], row["recipient"], row["attempts"]) for row in self.asked("queue", "list")], before
        )
        self.assertIn("10 recipients of 7 messages wait; played 4 hours forward.", text)
        lines = text.splitlines()
        first = next(line for line in lines if line.startswith("0 h")).split()
        self.assertEqual((first[3], first[-1]), ("6", "4"), "delivered, and waiting after it")
        self.assertIn("internet:grey.example (last)", text)
        self.assertEqual(len([line for line in lines if line[:1].isdigit() and " h  " in line]), 4)

    def test_a_changed_rule_beside_the_one_in_force(self) -> None:
        self.add("b.example", 5)
        values = self.asked("simulate", "--hours", "12", "--assume", "*=greylisting:2h", "--set", 'queue.retry=["3h"]')
        self.assertEqual(values["total"]["tries"], 10, "at once and after three hours")
        self.assertGreater(values["before"]["total"]["tries"], values["total"]["tries"])

    def test_the_end_is_when_all_has_expired(self) -> None:
        self.add("b.example", 2)
        values = self.asked("simulate", "--assume", "*=refusing:451 4.2.1 Not now", "--set", 'queue.expire_after="2d"')
        self.assertEqual((values["for_hours"], values["total"]["expired"], values["total"]["waiting"]), (121, 2, 0))
        self.assertLessEqual(max(int(hour) for hour, count in values["hours"].items() if count["expired"]), 47)

    def test_the_limit_is_told(self) -> None:
        self.add("b.example", 5)
        text = self.ok("simulate", "--hours", "1", "--limit", "3", "--assume", "*=up")
        self.assertIn("3 recipients of 3 messages", text)
        self.assertIn("--limit takes more", text)

    def test_the_service_keeps_its_own_limits(self) -> None:
        self.add("b.example", 30)
        self.assertEqual(self.asked("simulate", "--hours", "1", "--assume", "*=up")["most_connections"], 1)

    def test_nothing_waits(self) -> None:
        self.assertEqual(self.ok("simulate"), "nothing waits\n")

    def test_what_is_wrong_is_told(self) -> None:
        self.assertIn("known are", self.refused("simulate", "--assume", "*=odd"))
        self.assertIn("with --set the configuration is wrong", self.refused("simulate", "--set", "queue.retry=7"))
