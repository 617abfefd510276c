"""What is kept free for a full disk."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mta.spool.ballast import Ballast

MIB = 1 << 20


class Files(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.ballast = Ballast(self.path, MIB)

    def test_takes_the_room_and_gives_it_back_once(self) -> None:
        self.ballast.make(100 * MIB)
        status = os.stat(self.path)
        self.assertEqual(status.st_size, MIB)
        self.assertGreaterEqual(status.st_blocks * 512, MIB, "the room is really taken")
        self.assertEqual(status.st_mode & 0o777, 0o600)
        self.ballast.make(100 * MIB)
        self.assertTrue(self.ballast.drop())
        self.assertFalse(self.ballast.drop())

    def test_takes_nothing_where_there_is_little(self) -> None:
        self.ballast.make(2 * MIB)
        self.assertFalse(self.path.exists())

    def test_link_in_its_place_is_not_followed(self) -> None:
        os.symlink("elsewhere", self.path)
        self.ballast.make(100 * MIB)
        self.assertFalse(os.path.exists("elsewhere"))
