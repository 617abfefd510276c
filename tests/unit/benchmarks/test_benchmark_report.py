"""The table, the history and the drawings of a benchmark."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import figures, report
from benchmarks.rows import GROWTH, NAMES, ROWS

POSTFIX, TUNED = report.POSTFIX


def runs(*values: float, cpu: float = 1.0) -> dict[str, list[float]]:
    return {"figures": list(values), "cpu_ms": [cpu] * len(values)}


def document(**rows: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    """Of a run on a machine of fiction."""
    return {
        "date": "2026-11-24T12:00Z",
        "commit": "abc1234",
        "machine": {"cpu": "A, cpu", "cores": 2, "memory_mib": 24105, "file_system": "ext4", "python": "3.11.7"},
        "runs": 3,
        "messages": 100,
        "quick": False,
        "settings": [],
        "chosen": list(NAMES),
        "without": "",
        "notes": [],
        "rows": {name.replace("_", "-"): servers for name, servers in rows.items()},
        "growth": [],
        "more": {},
    }


def one(name: str, found: dict[str, Any]) -> report.Result:
    return next(result for result in report.results(found) if result.name == name)


RELAY = {POSTFIX: runs(500, cpu=2.0), TUNED: runs(590, 600, 610, cpu=2.2), "txmta": runs(3600, 3000, 100, cpu=0.25)}


class Results(SynchronousTestCase):
    def test_medians_against_the_better_postfix(self) -> None:
        result = one("relay-kept", document(relay_kept=RELAY))
        self.assertEqual((result.ours, result.best, result.times), (3000, 600, 5.0))
        self.assertTrue(result.met)
        self.assertFalse(result.aimed)

    def test_of_what_costs_less_is_better(self) -> None:
        result = one("relay-cpu", document(relay_kept=RELAY))
        self.assertEqual((result.ours, result.best, result.times), (0.25, 2.0, 8.0))

    def test_a_bound_counts_besides(self) -> None:
        for ours, met in ((7.9, True), (8.1, False)):
            found = document(idle={POSTFIX: runs(1200), "txmta": runs(ours)})
            self.assertIs(one("idle", found).met, met)

    def test_without_postfix_there_is_no_verdict(self) -> None:
        found = document(relay_kept={"txmta": runs(3000)})
        found["without"] = "Postfix can be started by root alone"
        result = one("relay-kept", found)
        self.assertEqual((result.times, result.met), (None, None))
        self.assertIn("without Postfix: Postfix can be started by root alone", report.table(found))

    def test_growth_is_compared_with_an_empty_queue(self) -> None:
        found = document()
        for last, met in ((920.0, True), (880.0, False)):
            found["growth"] = [{"waiting": 0, "delivered": [1000.0]}, {"waiting": 1_000_000, "delivered": [last]}]
            self.assertIs(one(GROWTH, found).met, met)

    def test_a_row_that_was_not_chosen_is_not_shown(self) -> None:
        found = document(relay_kept=RELAY)
        found["chosen"] = ["relay-cpu"]
        self.assertEqual([result.name for result in report.results(found)], ["relay-cpu"])


class Table(SynchronousTestCase):
    def test_a_line_has_figure_goal_and_verdict(self) -> None:
        lines = report.table(document(relay_kept=RELAY), {"relay-kept": 4.0})
        line = next(line for line in lines if line.startswith("relay, 1 KiB, 50 sessions"))
        self.assertEqual(line.split()[-9:], ["messages/s", "3,000", "500", "600", "5.00", "4.00", "5", "8", "met"])

    def test_a_goal_that_is_missed_stands_out(self) -> None:
        found = document(relay_kept={**RELAY, "txmta": runs(1200)})
        self.assertTrue(next(line for line in report.table(found) if "kept" in line).endswith("NOT MET"))


class History(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def test_a_record_is_a_line_a_row(self) -> None:
        report.record(document(relay_kept=RELAY), self.path)
        report.record(document(relay_kept=RELAY), self.path)
        with self.path.open(newline="") as file:
            lines = list(csv.DictReader(file))
        self.assertEqual([line["row"] for line in lines], ["relay-kept", "relay-cpu"] * 2)
        wanted = {"date": "2026-11-24T12:00Z", "commit": "abc1234", "txmta": "3000", POSTFIX: "500", "times": "5"}
        self.assertEqual({name: lines[0][name] for name in wanted}, wanted)
        self.assertIn("A, cpu x2 23 GiB ext4", lines[0]["machine"])

    def test_a_loss_of_speed_is_seen(self) -> None:
        report.record(document(relay_kept=RELAY), self.path)
        later = document(relay_kept={**RELAY, "txmta": runs(2000, cpu=0.25)})
        later["date"] = "2026-11-25T12:00Z"
        before = report.last_ratios(later, self.path)
        self.assertEqual(before, {"relay-kept": 5.0, "relay-cpu": 8.0})
        text = "slower than before: relay, 1 KiB, 50 sessions, kept: 3.33 times, was 5.00"
        self.assertEqual(report.losses(later, before), [text])

    def test_another_machine_or_other_settings_are_not_compared(self) -> None:
        report.record(document(relay_kept=RELAY), self.path)
        for change in ({"settings": ["workers=2"]}, {"machine": {**document()["machine"], "cores": 8}}):
            later = {**document(relay_kept=RELAY), "date": "2026-11-25T12:00Z", **change}
            self.assertEqual(report.last_ratios(later, self.path), {})

    def test_without_a_history_there_is_nothing_to_compare(self) -> None:
        self.assertEqual(report.last_ratios(document(relay_kept=RELAY), self.path), {})

    def test_no_goal_of_the_table_is_lost(self) -> None:
        self.assertEqual(len({row.name for row in ROWS}), len(ROWS))
        for row in ROWS:
            self.assertLessEqual(row.least, row.aim)
            self.assertLessEqual(len(row.text), 40)


class Drawings(SynchronousTestCase):
    def drawn(self, found: dict[str, Any]) -> dict[str, ElementTree.Element]:
        folder = Path(self.mktemp())
        figures.draw(found, folder)
        return {path.name: ElementTree.fromstring(path.read_text()) for path in folder.iterdir()}

    def test_each_row_has_a_bar_and_its_words(self) -> None:
        rows = {row.name: RELAY for row in ROWS if not row.like}
        picture = self.drawn(document(**rows))["compare.svg"]
        texts = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
        for row in ROWS:
            self.assertIn(row.text, texts)
        self.assertIn("3,000 : 600 messages/s", texts)
        words = picture.find("{http://www.w3.org/2000/svg}desc")
        assert words is not None
        self.assertIn("relay, 1 KiB, 50 sessions, kept: 5.00 times, goal 5", words.text or "")

    def test_nothing_leaves_the_paper(self) -> None:
        slow = {POSTFIX: runs(9000, cpu=2.0), "txmta": runs(10, cpu=0.001)}
        pictures = self.drawn(document(relay_kept=slow, idle={POSTFIX: runs(9e6), "txmta": runs(0.5)}))
        for element in pictures["compare.svg"].iter("{http://www.w3.org/2000/svg}rect"):
            begin, width = element.get("x", "0"), element.get("width", "")
            if width != "100%":
                self.assertGreaterEqual(float(begin), 0)
                self.assertLessEqual(float(begin) + float(width), figures.WIDTH)

    def test_growth_has_a_point_for_each_size(self) -> None:
        found = document()
        found["growth"] = [{"waiting": size, "delivered": [1000.0 - size / 1000]} for size in (0, 1000, 100_000)]
        picture = self.drawn(found)["growth.svg"]
        self.assertEqual(len(list(picture.iter("{http://www.w3.org/2000/svg}circle"))), 3)

    def test_without_figures_nothing_is_drawn(self) -> None:
        self.assertEqual(self.drawn(document(relay_kept={"txmta": runs(1)})), {})
