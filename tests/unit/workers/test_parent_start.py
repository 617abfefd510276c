"""What is started: one process, or a parent and its workers; and what is said where neither can be."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.admin.log import LogWriter
from mta.config.load import from_mapping
from mta.workers import parent as parents
from mta.workers.child import Surroundings
from mta.workers.parent import Parent, Start

PROGRAM = {"type": "pipe", "command": ["/bin/true"], "user": "nobody"}


def start(workers: int, left_over: dict[int, bool], state: str = "state", **delivery: Any) -> Start:
    plain = {
        "format": 1,
        "hostname": "mx1.site.com",
        "postmaster": "postmaster@site.com",
        "state": state,
        "workers": workers,
        "listen": [{"name": "mx", "endpoint": "tcp:0:interface=127.0.0.1", "service": "mx"}],
        "domains": {"site.com": {"deliver": "local"}},
        "delivery": {
            "local": {"type": "maildir", "path": "mail/{local_part}"},
            "internet": {"type": "smtp"},
            **delivery,
        },
    }
    configuration = from_mapping(plain, "/srv/etc")
    return Start(path="", overrides=(), configuration=configuration, log=LogWriter(), left_over=left_over)


class OneOrSeveral(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(os, "geteuid", lambda: 0)

    def test_one_process_where_nothing_is_left_over(self) -> None:
        self.assertTrue(start(1, {}).alone)
        self.assertFalse(start(2, {}).alone)

    def test_what_is_left_over_has_a_process_of_its_own(self) -> None:
        self.assertFalse(start(1, {1: False}).alone)
        self.assertFalse(start(1, {1: True}).alone)

    def test_history_that_is_left_over_does_not_hinder_programs_of_other_users(self) -> None:
        self.assertTrue(start(1, {1: False, 2: False}, prog=PROGRAM).alone)

    def test_mail_that_is_left_over_does_and_says_what_to_do(self) -> None:
        several = start(1, {1: False, 2: True}, prog=PROGRAM)
        self.assertFalse(several.alone)
        parent = Parent(several, reactor=Clock(), now=lambda: 0, stop_time=1)
        error = self.assertRaises(SystemExit, parent.privilegedStartService)
        self.assertIn("mail waits in spool/2, of a worker that there is no longer", str(error))
        self.assertIn("leave out the user of delivery.prog until mta status says that it is empty", str(error))
        self.assertNotIn("workers = 1", str(error))


class FakeProcess:
    pid = 1234


class FirstStart(SynchronousTestCase):
    """Without processes: the children are only told of."""

    def setUp(self) -> None:
        self.ended: list[str] = []
        self.patch(parents, "give_up_late", lambda reactor, why, log: self.ended.append(why))
        self.parent = Parent(start(2, {2: True}), reactor=Clock(), now=lambda: 0, stop_time=1)
        self.parent.running = 1
        self.patch(self.parent, "_spawn", self.spawn)
        for child in self.parent.children.values():
            child._around = Surroundings(
                reactor=Clock(), spawn=self.spawn, ready=lambda n: None, died=self.parent._died, emit=lambda *_: None
            )
        self.refused = {0, 1}

    def spawn(self, number: int, protocol: Any) -> Any:
        if number in self.refused:
            raise OSError(11, f"no process {number}")
        return FakeProcess()

    def test_no_worker_comes_up(self) -> None:
        self.parent.children[0].start()
        (why,) = self.ended
        self.assertTrue(why.startswith("no worker can start: cannot be started: [Errno 11] no process 0"), why)

    def test_one_of_them_is_enough(self) -> None:
        self.refused = {0}
        self.parent.children[0].start()
        self.assertEqual(self.ended, [])
        self.assertFalse(self.parent.children[1].unborn)

    def test_later_it_is_tried_again(self) -> None:
        self.parent._starting = False
        self.parent.children[0].start()
        self.assertEqual(self.ended, [])

    def test_an_unsafe_spool_of_any_worker_ends_it(self) -> None:
        state = Path(tempfile.mkdtemp(prefix="txmta-"))  # a socket's name is short
        self.addCleanup(shutil.rmtree, state)
        unsafe = state / "spool" / "1"
        unsafe.mkdir(0o700, parents=True)
        for folder in (state, state / "spool"):
            folder.chmod(0o700)
        unsafe.chmod(0o755)
        self.patch(os, "umask", lambda mask: None)
        parent = Parent(start(2, {}, str(state)), reactor=Clock(), now=lambda: 0, stop_time=1)
        parent._ports = {"mx": None}  # they are bound
        self.addCleanup(parent._lock.release)
        error = self.assertRaises(SystemExit, parent.startService)
        self.assertIn(f"{unsafe} may be used by others (mode 0755)", str(error))
        self.assertEqual(list(state.rglob("spool.db")), [])  # who opens a spool makes it
