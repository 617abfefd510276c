"""A worker process from its parent's side, without processes."""

from __future__ import annotations

import json
from signal import SIGKILL
from typing import Any

from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mta.events import Event
from mta.workers.child import EMPTY, FIRST, LONGEST, LOOK, SILENT, Child, Surroundings, WorkerDown
from mta.workers.place import ANSWERS


class FakeProcess:
    """What ``spawnProcess`` returns."""

    def __init__(self) -> None:
        self.pid = 1234
        self.written = b""
        self.closed = False
        self.signals: list[Any] = []

    def write(self, data: bytes) -> None:
        self.written += data

    def closeStdin(self) -> None:
        self.closed = True

    def signalProcess(self, signal: Any) -> None:
        self.signals.append(signal)


class Life(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.processes: list[FakeProcess] = []
        self.told: list[tuple[str, int]] = []
        self.events: list[Event] = []
        self.refuse: OSError | None = None
        around = Surroundings(
            reactor=self.clock,
            spawn=self.spawn,
            ready=lambda number: self.told.append(("ready", number)),
            died=lambda number: self.told.append(("died", number)),
            emit=lambda event, id: self.events.append(event),
        )
        self.child = Child(1, around)

    def spawn(self, number: int, protocol: Any) -> FakeProcess:
        if self.refuse is not None:
            raise self.refuse
        self.processes.append(FakeProcess())
        return self.processes[-1]

    def say(self, **what: Any) -> None:
        self.child.childDataReceived(ANSWERS, json.dumps(what).encode() + b"\n")

    def die(self, status: int | None = None, signal: int | None = 9) -> None:
        error = ProcessDone(0) if status == 0 else ProcessTerminated(status, None if status else signal)
        self.child.processEnded(Failure(error))

    def up(self) -> None:
        self.child.start()
        self.say(ready="abc")

    def test_unborn_started_ready(self) -> None:
        self.assertTrue(self.child.unborn)
        self.child.start()
        self.assertEqual((self.child.unborn, self.child.up), (False, False))
        self.failureResultOf(self.child.ask("status", "root", {}), WorkerDown)
        self.say(ready="abc")
        self.assertEqual((self.child.up, self.child.fingerprint, self.told), (True, "abc", [("ready", 1)]))

    def test_asked_and_answered_in_any_order_and_any_pieces(self) -> None:
        self.up()
        first = self.child.ask("change", "ann", {"kind": "hold"})
        second = self.child.ask("status", "bob", {})
        one, two = map(json.loads, self.processes[0].written.splitlines())
        self.assertEqual((one["command"], one["by"], one["kind"]), ("change", "ann", "hold"))
        answer = json.dumps({"n": two["n"], "ok": True, "result": 7}).encode() + b"\n"
        for octet in answer:
            self.child.childDataReceived(ANSWERS, bytes([octet]))
        self.assertEqual(self.successResultOf(second), 7)
        self.say(n=one["n"], ok=False, error="no")
        self.assertEqual(str(self.failureResultOf(first).value), "no")
        self.assertNotIsInstance(first.result, WorkerDown)

    def test_silence_has_an_end(self) -> None:
        self.up()
        answer = self.child.ask("status", "root", {}, 5.0)
        self.clock.advance(5)
        self.assertIn("did not answer within 5 s", str(self.failureResultOf(answer, WorkerDown).value))
        self.say(n=1, ok=True, result=1)  # too late, and nobody minds

    def test_dead_it_is_started_again_later_and_later(self) -> None:
        self.up()
        answer = self.child.ask("status", "root", {})
        self.die()
        self.failureResultOf(answer, WorkerDown)
        self.assertIn("got signal 9; the next try is in", self.child.trouble)
        wait = FIRST
        for restarts in range(1, 12):
            self.assertEqual(len(self.processes), restarts)
            self.clock.advance(wait * 0.99)
            self.assertEqual(len(self.processes), restarts)
            self.clock.advance(wait)
            self.say(failed="no disk")
            self.die(1)
            wait = min(2 * wait, LONGEST)
        self.assertIn("ended with status 1: no disk", self.child.trouble)
        self.assertEqual({event.code for event in self.events}, {"worker-died"})
        self.clock.advance(LONGEST)
        self.say(ready="abc")
        self.clock.advance(LONGEST)  # a good life: the next death is the first
        self.die()
        self.assertEqual(len(self.processes), 13)
        self.clock.advance(FIRST * 1.01)
        self.assertEqual(len(self.processes), 14)

    def test_that_cannot_be_started_is_tried_again(self) -> None:
        self.refuse = OSError(11, "no processes")
        self.child.start()
        self.assertIn("cannot be started", self.child.trouble)
        self.assertEqual((self.told, self.child.failed), ([("died", 1)], "cannot be started: [Errno 11] no processes"))
        self.refuse = None
        self.clock.advance(FIRST)
        self.assertEqual(len(self.processes), 1)

    def test_that_gives_no_sign_of_life_is_killed(self) -> None:
        self.up()
        for _ in range(SILENT):
            self.clock.advance(LOOK)
            self.assertEqual(self.processes[0].signals, [])
        self.clock.advance(LOOK)
        self.assertEqual(self.processes[0].signals, [SIGKILL])
        self.die()
        self.assertIn("got signal 9: it did not react for 60 s, and was killed", self.child.trouble)
        self.clock.advance(FIRST)
        self.assertEqual(len(self.processes), 2)

    def test_any_answer_is_a_sign_of_life(self) -> None:
        self.up()
        for count in range(1, 4 * SILENT):
            self.clock.advance(LOOK)
            if count % SILENT == 0:
                self.say(n=count, ok=False, error="no such command")
        self.assertEqual(self.processes[0].signals, [])

    def test_a_parent_that_was_stopped_itself_blames_nobody(self) -> None:
        self.up()
        self.clock.advance(100 * LOOK)
        self.clock.advance(100 * LOOK)
        self.assertEqual(self.processes[0].signals, [])

    def test_emptied_it_stays_away(self) -> None:
        self.up()
        self.die(EMPTY)
        self.assertEqual((self.child.empty, self.child.trouble, self.clock.getDelayedCalls()), (True, "", []))
        self.assertEqual(self.child.values()["state"], "empty")

    def test_stopped_it_is_not_started_again(self) -> None:
        self.up()
        done = self.child.stop()
        self.assertTrue(self.processes[0].closed)
        self.assertNoResult(done)
        self.child.kill()
        self.assertEqual(len(self.processes[0].signals), 1)
        self.die()
        self.successResultOf(done)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped_while_it_waits(self) -> None:
        self.up()
        self.die()
        self.successResultOf(self.child.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])
