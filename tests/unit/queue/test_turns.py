"""Whose turn it is: senders by deficit round robin, priorities by share."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.queue.turns import QUANTUM, SHARE, Turns


class Senders(SynchronousTestCase):
    def setUp(self) -> None:
        self.turns: Turns[str] = Turns()

    def push(self, name: str, sender: str, priority: int = 0, cost: int = 1) -> None:
        self.turns.push(name, priority, sender, cost)

    def all(self) -> list[str]:
        found = []
        while (item := self.turns.pop()) is not None:
            found.append(item)
        return found

    def test_one_sender_goes_in_order_of_arrival(self) -> None:
        for n in range(5):
            self.push(str(n), "a")
        self.assertEqual(self.all(), ["0", "1", "2", "3", "4"])
        self.assertEqual(self.turns.count, 0)

    def test_a_flood_delays_another_by_one_turn(self) -> None:
        for n in range(100_000):
            self.push(f"flood {n}", "flooder")
        self.push("single", "quiet")
        first = [self.turns.pop() for _ in range(QUANTUM + 1)]
        self.assertEqual(first[-1], "single")

    def test_a_message_to_many_is_paid_for(self) -> None:
        # 100,000 recipients in batches of 100 against single messages: as many recipients each.
        for n in range(1000):
            self.push(f"list {n}", "list", cost=100)
        for n in range(300):
            self.push(f"single {n}", "quiet")
        order = [self.turns.pop() or "" for _ in range(303)]
        lists = [index for index, name in enumerate(order) if name.startswith("list")]
        self.assertEqual(lists, [0, 101, 202])

    def test_many_senders_each_have_their_turn(self) -> None:
        for _n in range(50):
            for sender in "abcde":
                self.push(sender, sender)
        served = [self.turns.pop() for _ in range(5 * QUANTUM)]
        self.assertEqual({sender: served.count(sender) for sender in "abcde"}, dict.fromkeys("abcde", QUANTUM))

    def test_what_was_not_used_is_the_next_again(self) -> None:
        for n in range(3):
            self.push(str(n), "a")
        taken = self.turns.pop()
        assert taken is not None
        self.turns.push_back(taken, 0, "a", 1)
        self.assertEqual(self.all(), ["0", "1", "2"])

    def test_priority_goes_first_and_the_lower_ones_are_not_forgotten(self) -> None:
        for _n in range(1000):
            self.push("high", "a", 3)
        for _n in range(10):
            self.push("usual", "b", 0)
            self.push("low", "b", -3)
        served = [self.turns.pop() for _ in range(10 * SHARE)]
        self.assertEqual(served.count("high"), 10 * (SHARE - 1))
        self.assertEqual((served.count("usual"), served.count("low")), (5, 5))

    @given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(-2, 2), st.integers(1, 100)), max_size=60))
    def test_all_that_goes_in_comes_out_in_its_senders_order(self, things: list[tuple[str, int, int]]) -> None:
        turns: Turns[tuple[int, str, int]] = Turns()
        for number, (sender, priority, cost) in enumerate(things):
            turns.push((number, sender, priority), priority, sender, cost)
        out: list[tuple[int, str, int]] = []
        while (item := turns.pop()) is not None:
            out.append(item)
        self.assertEqual(len(out), len(things))
        for key in {(sender, priority) for _, sender, priority in out}:
            numbers = [number for number, sender, priority in out if (sender, priority) == key]
            self.assertEqual(numbers, sorted(numbers))
