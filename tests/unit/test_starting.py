"""The log of a service that gives its rights up."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import tempfile
import unittest
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mta.config.log_options import Log
from mta.starting import CannotStart, open_log


class Configured:
    """As much of a configuration as a log needs."""

    log = Log()


@unittest.skipUnless(os.geteuid() == 0, "only root can give its rights up")
class LogOfAnotherUser(SynchronousTestCase):
    def setUp(self) -> None:
        self.user = pwd.getpwnam("nobody")
        self.folder = Path(tempfile.mkdtemp(prefix="txmta-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.folder.chmod(0o755)
        self.path = self.folder / "mta.log"

    def open(self) -> Any:
        configuration: Any = Configured()
        writer = open_log(configuration, str(self.path), self.user.pw_uid, self.user.pw_gid)
        self.addCleanup(writer._file.close)
        return writer

    def test_it_is_made_for_the_user_also_in_a_folder_of_root(self) -> None:
        self.open()
        found = self.path.stat()
        self.assertEqual((found.st_uid, found.st_gid), (self.user.pw_uid, self.user.pw_gid))
        self.assertEqual(stat.S_IMODE(found.st_mode), 0o640)
        self.assertEqual((os.geteuid(), os.getegid()), (0, 0))
        self.open()  # as at the next start

    def test_one_that_the_user_cannot_write_is_refused(self) -> None:
        self.path.write_text("")
        self.path.chmod(0o640)
        error = self.assertRaises(CannotStart, self.open)
        self.assertIn(f"run: chown {self.user.pw_uid} {self.path}", str(error))
        self.assertEqual(os.geteuid(), 0)

    def test_one_that_the_group_may_write_will_do(self) -> None:
        self.path.write_text("")
        self.path.chmod(0o660)
        os.chown(self.path, 0, self.user.pw_gid)
        self.open()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o660)

    def test_a_link_is_not_followed_with_the_rights_of_root(self) -> None:
        os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)
        target = self.folder / "roots"
        for there in (False, True):
            if there:
                target.write_text("")
                target.chmod(0o600)
            else:
                target = Path(tempfile.mkdtemp(prefix="txmta-")) / "new"
                self.addCleanup(shutil.rmtree, target.parent)
            self.path.unlink(missing_ok=True)
            self.path.symlink_to(target)
            self.assertRaises(CannotStart, self.open)
            self.assertEqual(target.exists(), there)
