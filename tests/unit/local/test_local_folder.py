"""The folder of local mail: what lies there, and who may do what."""

from __future__ import annotations

import grp
import os
import stat
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from mta.local.folder import closed_way, prepare
from mta.starting import CannotStart


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class Preparing(SynchronousTestCase):
    def setUp(self) -> None:
        self.state = Path(self.mktemp()).absolute()
        self.state.mkdir(parents=True, mode=0o700)
        self.folder = self.state / "local"
        self.group = grp.getgrgid(os.getgid()).gr_name

    def prepare(self, group: str = "") -> None:
        prepare(str(self.folder), str(self.state), group)

    def test_without_a_group_nobody_else_may_leave_mail(self) -> None:
        old = os.umask(0o077)
        self.addCleanup(os.umask, old)
        self.prepare()
        self.assertEqual([mode(self.folder / name) for name in (".", "pickup", "refused")], [0o755, 0o700, 0o700])

    def test_members_may_write_and_not_look(self) -> None:
        self.prepare(self.group)
        found = (self.folder / "pickup").stat()
        self.assertEqual((stat.S_IMODE(found.st_mode), found.st_gid), (0o1730, os.getgid()))

    def test_others_may_pass_the_state_and_not_look(self) -> None:
        self.prepare()
        self.assertEqual(mode(self.state), 0o711)

    def test_what_lies_elsewhere_is_left_as_it_is(self) -> None:
        above = self.state.parent / "above"
        above.mkdir(mode=0o700)
        self.folder = above / "local"
        self.prepare()
        self.assertEqual((mode(above), mode(self.state)), (0o700, 0o700))
        self.assertEqual(closed_way(str(self.folder)), str(above))

    def test_modes_are_corrected(self) -> None:
        self.prepare()
        (self.folder / "pickup").chmod(0o777)
        self.prepare()
        self.assertEqual(mode(self.folder / "pickup"), 0o700)

    def test_a_link_is_not_followed(self) -> None:
        self.prepare()
        elsewhere = self.state / "elsewhere"
        elsewhere.mkdir()
        (self.folder / "pickup").rmdir()
        (self.folder / "pickup").symlink_to(elsewhere)
        self.assertRaises(CannotStart, self.prepare)

    def test_what_is_anothers_is_refused(self) -> None:
        self.prepare()
        with patch("os.geteuid", return_value=os.geteuid() + 1):
            error = self.assertRaises(CannotStart, self.prepare)
        self.assertIn("belongs to user", str(error))

    def test_a_group_that_is_not_ours_to_give(self) -> None:
        with patch("os.fchown", side_effect=PermissionError(1, "Operation not permitted")):
            error = self.assertRaises(CannotStart, self.prepare, "daemon")
        self.assertIn("member", str(error))
