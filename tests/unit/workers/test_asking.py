"""One answer of several workers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from mta.admin.control import ControlError
from mta.admin.pausing import Pausing
from mta.queue.paused import Pauses
from mta.workers.asking import Asking
from mta.workers.child import WorkerDown

STATUS = {
    "connections": 1,
    "tls": "",
    "tls_done": 0,
    "tls_failed": 0,
    "accepted": 2,
    "queued": 0,
    "held": 0,
    "in_memory": 0,
    "spool": "in order",
}


class FakeChild:
    """Answers what it is told to."""

    empty = False

    def __init__(self, number: int, answers: Mapping[str, Any]) -> None:
        self.number = number
        self.answers = answers
        self.asked: list[str] = []

    def values(self) -> dict[str, Any]:
        return {"worker": self.number}

    def ask(self, command: str, by: str, arguments: Mapping[str, Any], wait: float = 0) -> Deferred[Any]:
        self.asked.append(command)
        answer = self.answers.get(command)
        return fail(answer) if isinstance(answer, Exception) else succeed(answer)


class Asked(SynchronousTestCase):
    def asking(self, *children: FakeChild) -> Asking:
        self.used = 0
        state = self.mktemp()
        os.makedirs(state)
        self.pauses = Pauses(state)
        pausing = Pausing(self.pauses, now=lambda: 0, emit=lambda event, id: None)

        def use() -> None:
            self.used += 1

        found: Any = children
        return Asking(lambda: found, pausing, about=lambda: {"pid": 1}, read=lambda: use)

    def do(self, asking: Asking, command: str, **request: Any) -> Any:
        return self.successResultOf(ensureDeferred(asking.handlers()[command](request, "root")))

    def refused(self, asking: Asking, command: str, **request: Any) -> str:
        failure = self.failureResultOf(ensureDeferred(asking.handlers()[command](request, "root")), ControlError)
        return str(failure.value)

    def test_a_change_in_all(self) -> None:
        asking = self.asking(*(FakeChild(n, {"change": {"changed": n + 1}}) for n in range(3)))
        self.assertEqual(self.do(asking, "change"), {"changed": 6})

    def test_a_change_that_one_did_not_make_says_so(self) -> None:
        down = FakeChild(1, {"change": WorkerDown("worker 1 is down")})
        said = self.refused(self.asking(FakeChild(0, {"change": {"changed": 4}}), down), "change")
        self.assertEqual(said, "not in all workers (worker 1 is down); done in the others: changed 4")

    def test_status_of_those_that_run(self) -> None:
        down = FakeChild(1, {"status": WorkerDown("worker 1 is down")})
        answer = self.do(self.asking(FakeChild(0, {"status": STATUS}), down), "status")
        self.assertEqual((answer["accepted"], answer["pid"], answer["down"]), (2, 1, "worker 1 is down"))
        self.assertEqual(answer["workers"], [{"worker": 0}, {"worker": 1}])
        self.assertNotIn("accepted", self.do(self.asking(down), "status"))

    def test_a_reload_that_one_refuses_is_used_by_none(self) -> None:
        good = FakeChild(0, {"check": "fine", "reload": "read again"})
        bad = FakeChild(1, {"check": ControlError("it is wrong")})
        self.assertEqual(self.refused(self.asking(good, bad), "reload"), "it is wrong")
        self.assertEqual((good.asked, bad.asked, self.used), (["check"], ["check"], 0))

    def test_a_reload_while_one_is_down(self) -> None:
        gone = WorkerDown("worker 1 is down")
        good = FakeChild(0, {"check": "fine", "reload": "read again"})
        down = FakeChild(1, {"check": gone, "reload": gone})
        said = self.do(self.asking(good, down), "reload")
        self.assertEqual((said, self.used), ("read again; later, when it runs again: worker 1 is down", 1))

    def test_a_pause_that_one_who_runs_does_not_know_of_is_told(self) -> None:
        wrong = FakeChild(1, {"reread-pauses": ControlError("cannot be read")})
        asking = self.asking(FakeChild(0, {"reread-pauses": "read again"}), wrong)
        said = self.refused(asking, "pause", place="internet")
        self.assertEqual(said, "the pause is kept, but not all workers know of it: cannot be read; say it again")
        self.assertIn("the end of the pause is kept", self.refused(asking, "resume", place="internet"))

    def test_a_pause_while_one_is_down(self) -> None:
        down = FakeChild(1, {"reread-pauses": WorkerDown("worker 1 is down")})
        self.assertEqual(self.do(self.asking(down), "pause", place="internet"), {"paused": "internet", "new": True})

    def test_draining_is_remembered_for_those_that_start_later(self) -> None:
        left = {"draining": True, "sessions": 0, "in_memory": 0, "due": 0, "paused": 0, "done": True}
        asking = self.asking(FakeChild(0, {"drain": left}))
        self.do(asking, "drain", on=True)
        self.assertTrue(asking.draining)
        self.do(asking, "drain")
        self.assertTrue(asking.draining)
        self.do(asking, "drain", on=False)
        self.assertFalse(asking.draining)

    def test_what_has_emptied_its_spool_is_not_asked(self) -> None:
        ended = FakeChild(2, {})
        ended.empty = True
        self.do(self.asking(FakeChild(0, {"change": {"changed": 1}}), ended), "change")
        self.assertEqual(ended.asked, [])
