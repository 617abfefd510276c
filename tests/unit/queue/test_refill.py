"""What is fetched from the spool, and in what order: whoever had no room is first the next time."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from whole_queue import DAY, DOWN, HOUR, OK, WholeQueue

from mta.queue.refill import SLICE
from mta.queue.retry import RetryRule


class Turns(WholeQueue):
    def test_many_destinations_with_much_each_do_not_starve_one_with_a_little(self) -> None:
        waiting: list[Deferred[None]] = []

        def wait() -> Deferred[None]:
            waiting.append(Deferred())
            return waiting[-1]

        self.manager.configure(self.setup(active=4 * SLICE))
        self.far.most, self.far.wait = 10, wait
        for domain in range(8):
            for number in range(3 * SLICE):
                self.send(f"u{number}@big{domain}.example", claim=False)
        self.clock.advance(1)
        self.send("one@small.example", claim=False)
        self.manager.poke()
        served = 0
        while "one@small.example" not in self.far.tried and served < 3000:
            self.clock.advance(1)
            for one in waiting[:50]:
                waiting.remove(one)
                one.callback(None)
                served += 1
        self.assertIn("one@small.example", self.far.tried)
        self.assertLess(len(self.far.tried), 8 * 2 * SLICE)  # long before all of the others are through


class Resting(WholeQueue):
    def test_much_that_waits_for_a_dead_host_expires_all_the_same(self) -> None:
        self.far.answer = lambda recipient: DOWN
        count = 2 * SLICE + 50
        for number in range(count):
            self.send(f"u{number}@b.example", claim=False, sender=None if number % 2 else "ann@a.example")
        self.manager.configure(self.setup(retry=RetryRule(after=(60,), jitter=0.0, expire_after=DAY)))
        self.pass_time(DAY - 600, 600)
        self.assertLess(len(self.far.tried), count)  # it rests: nearly nothing is tried
        self.assertEqual(len(self.rows()), count)
        self.pass_time(HOUR)
        self.assertEqual(self.rows(), [])
        self.assertEqual(self.successResultOf(self.spool.totals()).ended["expired"], count)
        self.assert_accounted()

    def test_and_goes_out_when_it_is_back(self) -> None:
        self.far.answer = lambda recipient: DOWN
        for number in range(2 * SLICE):
            self.send(f"u{number}@b.example", claim=False)
        self.pass_time(HOUR)
        self.far.answer = lambda recipient: OK
        self.pass_time(HOUR, 10)
        self.assertEqual(self.rows(), [])
