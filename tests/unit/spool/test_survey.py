"""What waits, counted."""

from __future__ import annotations

from spool_case import CAROL, LATER, MINUTE, NORTH, SOUTH, START, outcome, recipient
from sqlite_case import SqliteCase
from twisted.trial.unittest import SynchronousTestCase

from mta.envelope import Status
from mta.spool import narrow
from mta.spool.survey import Survey, survey
from mta.spool.values import Next, Selection


class Counting(SqliteCase, SynchronousTestCase):
    def survey(self, **selection: object) -> Survey:
        return survey(self.spool._engine.query, Selection(**selection), START + MINUTE)  # type: ignore[arg-type]

    def fill(self) -> None:
        self.accept(recipient(0), recipient(1, hold="odd"), recipient(2, CAROL, SOUTH, due=START + 5 * MINUTE))
        lease = self.accept_leased(recipient(0, CAROL, SOUTH))
        progress = {"reply": str(LATER), "trouble": "greylisted", "tried": START + 1}
        following = {0: Next(START + 2 * MINUTE, SOUTH, "", progress)}
        self.finish(lease, outcomes=(outcome(0, Status.DEFERRED, LATER),), next=following)

    def test_by_destination_and_reason(self) -> None:
        self.fill()
        found = self.survey()
        self.assertEqual((found.recipients, found.messages), (4, 2))
        north, south = found.places[NORTH], found.places[SOUTH]
        self.assertEqual((north.recipients, north.due, north.held, north.last[1]), (2, 1, 1, "odd"))
        self.assertEqual((south.recipients, south.due, south.next_due), (2, 0, START + 2 * MINUTE))
        self.assertEqual(south.last, (START + 1, str(LATER)))
        self.assertEqual(dict(north.troubles), {"held": 1, "": 1})
        self.assertEqual(dict(south.troubles), {"greylisted": 1, "": 1})

    def test_of_a_selection(self) -> None:
        self.fill()
        self.assertEqual(self.survey(held=True).recipients, 1)
        self.assertEqual(self.survey(place="c.example").messages, 2)

    def test_in_slices_of_any_size_it_is_the_same(self) -> None:
        self.fill()
        whole = self.survey()
        for size in (1, 2, 3):
            self.patch(narrow, "SLICE", size)
            self.assertEqual(self.survey(), whole)

    def test_of_nothing(self) -> None:
        self.assertEqual(self.survey(), Survey())
