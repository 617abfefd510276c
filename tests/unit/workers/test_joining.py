"""Several answers made one."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.workers.joining import JOINS, joined_status, status_text

FIGURES = {
    "pid": 1,
    "connections": 2,
    "tls": "",
    "tls_done": 3,
    "tls_failed": 1,
    "accepted": 5,
    "queued": 1,
    "held": 0,
    "in_memory": 1,
    "spool": "in order",
}


class Joined(SynchronousTestCase):
    def test_status(self) -> None:
        joined = joined_status([FIGURES, {**FIGURES, "accepted": 7, "spool": "452 4.3.1 full"}])
        self.assertEqual((joined["accepted"], joined["connections"], joined["spool"]), (12, 4, "452 4.3.1 full"))
        told = status_text(joined)
        self.assertEqual(told["tls"], "6 handshakes, 2 failed")
        self.assertNotIn("tls_done", told)
        self.assertEqual(list(status_text(FIGURES))[:3], ["pid", "connections", "tls"])

    def test_lanes_are_as_wide_as_all_and_limited_as_the_freest(self) -> None:
        rests = {"active": 0, "window": 1, "limited_by": "dead host", "detail": "", "seconds": 60}
        free = {"active": 2, "window": 5, "limited_by": "", "detail": "", "seconds": 0}
        shorter = {**rests, "seconds": 10}
        joined = JOINS["lanes"]([{"a": rests, "b": rests}, {"a": free, "c": free}, {"b": shorter}])
        self.assertEqual(joined["a"], {**free, "window": 6})
        self.assertEqual(joined["b"], {**rests, "window": 2, "seconds": 10})
        self.assertEqual(joined["c"], free)

    def test_drained_when_all_are(self) -> None:
        left = {"draining": True, "sessions": 0, "in_memory": 0, "due": 0, "paused": 1, "done": True}
        busy = {**left, "sessions": 2, "done": False}
        self.assertEqual(JOINS["drain"]([left, busy]), {**busy, "paused": 2})
        self.assertTrue(JOINS["drain"]([left, left])["done"])

    def test_sums(self) -> None:
        self.assertEqual(JOINS["change"]([{"changed": 2}, {"changed": 3}]), {"changed": 5})
