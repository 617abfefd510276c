"""The index of the memory spool: what is due where, also when time goes back."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.envelope import Destination, Recipient
from mta.spool.due_index import DueIndex

A, B = Destination("internet", "a.example"), Destination("internet", "b.example")


def recipient(destination: Destination, due: int, priority: int = 0, n: int = 0) -> Recipient:
    address = Address("x", destination.next_hop)
    return Recipient(id=n, address=address, original=address, destination=destination, due=due, priority=priority)


class Index(SynchronousTestCase):
    def setUp(self) -> None:
        self.index = DueIndex()

    def test_what_is_due_and_the_one_that_is_next(self) -> None:
        for number, (place, due) in enumerate(((A, 50), (A, 10), (B, 30))):
            self.index.note(number, recipient(place, due), free=True)
        self.assertEqual(self.index.destinations(5), [(10, A)])
        self.assertEqual(self.index.destinations(10), [(10, A), (30, B)])
        self.assertEqual(sorted(self.index.destinations(60)), [(10, A), (30, B)])
        self.assertEqual(self.index.destinations(5), [(10, A)], "the clock was set back")
        self.assertEqual(self.index.take(A, 20, 9), [(1, 0)])
        self.assertEqual(self.index.destinations(20), [(30, B)])
        self.index.note(2, recipient(B, 30), free=False)
        self.assertEqual(self.index.destinations(20), [(50, A)])

    def test_by_priority_then_due_time_then_arrival(self) -> None:
        for number, (due, priority) in enumerate(((20, 0), (10, 0), (10, 0), (30, 4), (99, 9))):
            self.index.note(number, recipient(A, due, priority), free=True)
        self.assertEqual(self.index.take(A, 50, 3), [(3, 0), (1, 0), (2, 0)])
        self.assertEqual(self.index.take(A, 50, 3), [(0, 0)])
        self.assertEqual(self.index.take(B, 50, 3), [])

    def test_one_that_was_changed_is_known_by_its_last_state_alone(self) -> None:
        self.index.note(1, recipient(A, 10), free=True)
        self.index.note(1, recipient(A, 40), free=True)
        self.index.note(1, recipient(A, 10), free=False)
        self.index.note(1, recipient(A, 10, priority=3), free=True)
        self.index.note(1, recipient(B, 20), free=True)
        self.assertEqual(self.index.destinations(15), [(20, B)])
        self.assertEqual(self.index.take(A, 100, 9), [])
        self.assertEqual(self.index.take(B, 100, 9), [(1, 0)])
        self.assertEqual(self.index.destinations(100), [])

    def test_as_a_plain_model_whatever_the_order(self) -> None:
        for seed in range(200):
            random, index, model = Random(seed), DueIndex(), dict[int, Recipient]()
            for _ in range(60):
                number, now = random.randint(0, 8), random.randint(0, 60)
                one = recipient(random.choice((A, B)), random.randint(0, 50), random.randint(0, 2))
                if random.random() < 0.7:
                    free = random.random() < 0.7
                    index.note(number, one, free)
                    model.pop(number, None)
                    model.update({number: one} if free else {})
                else:
                    due = [n for n, it in model.items() if it.destination == one.destination and it.due <= now]
                    due.sort(key=lambda n: (-model[n].priority, model[n].due, n))
                    self.assertEqual(index.take(one.destination, now, 3), [(n, 0) for n in due[:3]], seed)
                    for n in due[:3]:
                        del model[n]
                first = {it.destination: it.due for it in sorted(model.values(), key=lambda it: -it.due)}
                expected = [(due, place) for place, due in first.items() if due <= now]
                expected += sorted((due, place) for place, due in first.items() if due > now)[:1]
                told = index.destinations(now)
                if expected and told and expected[-1][0] > now:
                    # Of two whose turn is at the same time either may be told.
                    self.assertEqual(first[max(told)[1]], max(told)[0], seed)
                self.assertEqual(sorted(due for due, _ in told), sorted(due for due, _ in expected), seed)
