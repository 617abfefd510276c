"""What a worker is told when it is started."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.workers.place import LISTENERS, Place


class Told(SynchronousTestCase):
    def test_as_it_was_said(self) -> None:
        place = Place(number=1, share=3, workers=2, listeners=(("mx", LISTENERS, 2), ("lmtp", LISTENERS + 1, 1)))
        self.assertEqual(Place.read(place.text()), place)
        self.assertFalse(place.alone or place.empties)

    def test_alone_and_emptying(self) -> None:
        self.assertTrue(Place().alone)
        self.assertFalse(Place().empties)
        self.assertTrue(Place(number=2, workers=2).empties)
