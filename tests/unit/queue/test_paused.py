"""Pauses: what they name, and that they last."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from mta.envelope import Destination
from mta.queue.paused import EVERYTHING, FILE, Pause, Pauses

NORTH = Destination("internet", "b.example")


class Paused(SynchronousTestCase):
    def setUp(self) -> None:
        self.state = self.mktemp()
        os.mkdir(self.state)
        self.pauses = self.read()

    def read(self) -> Pauses:
        pauses = Pauses(self.state)
        pauses.read()
        return pauses

    def test_nothing_is_paused_at_first(self) -> None:
        self.assertFalse(self.pauses.paused(NORTH))

    def test_by_service_next_hop_both_or_all(self) -> None:
        for place, other in (
            ("internet", Destination("local", "b.example")),
            ("b.example", Destination("internet", "c.example")),
            ("internet:b.example", Destination("internet", "c.example")),
            (EVERYTHING, None),
        ):
            self.assertTrue(self.pauses.put(Pause(place, "root", 1)))
            self.assertTrue(self.pauses.paused(NORTH), place)
            if other is not None:
                self.assertFalse(self.pauses.paused(other), place)
            self.assertEqual([pause.place for pause in self.pauses.end(place)], [place])
            self.assertFalse(self.pauses.paused(NORTH))

    def test_it_lasts_over_a_restart(self) -> None:
        self.pauses.put(Pause("internet", "root", 7, "maintenance"))
        self.assertEqual(self.read().find(NORTH), Pause("internet", "root", 7, "maintenance"))
        self.assertEqual(os.stat(os.path.join(self.state, FILE)).st_mode & 0o777, 0o600)

    def test_twice_is_once(self) -> None:
        self.assertTrue(self.pauses.put(Pause("internet", "root", 7)))
        self.assertFalse(self.pauses.put(Pause("internet", "ann", 8)))
        self.assertEqual([pause.by for pause in self.read()], ["root"])

    def test_all_pauses_end_together(self) -> None:
        self.pauses.put(Pause("internet", "root", 7))
        self.pauses.put(Pause("b.example", "root", 7))
        self.assertEqual(len(self.pauses.end(EVERYTHING)), 2)
        self.assertEqual(list(self.read()), [])

    def test_a_file_that_cannot_be_understood_is_no_pause_forgotten(self) -> None:
        with open(os.path.join(self.state, FILE), "w") as file:
            file.write('[{"place": 1}]')
        self.assertRaises(ValueError, self.read)
