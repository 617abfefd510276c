"""The contract of ``ISpool.claim`` between senders and priorities, and of what is looked at wherever it waits."""

from __future__ import annotations

from dataclasses import replace

from spool_case import MINUTE, NORTH, SOUTH, START, SpoolCase, envelope, outcome, recipient

from mta.address import Address
from mta.envelope import Envelope, Right
from mta.spool.values import Change, ChangeKind, Due, Next, PageKey, Selection


def by(sender: str) -> Envelope:
    return replace(envelope(Address(sender, "a.example")), rights=frozenset({Right.NETWORK}))


class TurnsContract(SpoolCase):
    """Senders take turns, priorities share, across claims."""

    def flood(self, count: int, sender: str = "flood", priority: int = 0, due: int = START - 1) -> None:
        for _ in range(count):
            self.accept(recipient(due=due, priority=priority), envelope=by(sender))

    def senders(self, limit: int) -> list[str]:
        """Those of whom a claim returned something, each once for each recipient."""
        return [
            lease.message.envelope.reverse_path.local for lease in self.claim(limit=limit) for _ in lease.recipients
        ]

    def test_one_who_comes_last_does_not_wait_for_a_flood(self) -> None:
        self.flood(300)
        self.accept(recipient(), envelope=by("quiet"))
        self.assertEqual(self.senders(40).count("quiet"), 1)

    def test_a_slice_is_full_whoever_waits(self) -> None:
        self.flood(100)
        self.flood(3, "some")
        claimed = self.senders(60)
        self.assertEqual((len(claimed), claimed.count("some")), (60, 3))
        self.assertEqual(len(self.senders(60)), 43)
        self.assertEqual(self.senders(60), [])

    def test_more_senders_than_a_slice_has_places(self) -> None:
        for number in range(30):
            self.flood(20, f"s{number}")
        first, second, third = (set(self.senders(100)) for _ in range(3))
        self.assertEqual([len(first), len(second), len(third)], [10, 10, 10])
        self.assertEqual(len(first | second | third), 30)

    def test_one_who_had_his_turn_is_behind_those_who_waited(self) -> None:
        for name in ("a", "b", "c"):
            self.flood(20, name)
        first = self.senders(10)
        second, third = self.senders(10), self.senders(10)
        self.assertEqual({*first, *second, *third}, {"a", "b", "c"})
        self.assertEqual(self.senders(10), first)

    def test_what_was_given_back_takes_its_turn_again(self) -> None:
        self.flood(5)
        self.now(self.spool.release(self.claim(limit=5)))
        self.accept(recipient(), envelope=by("quiet"))
        self.assertEqual(sorted(self.senders(50)), ["flood"] * 5 + ["quiet"])

    def test_an_eighth_is_for_lower_priorities(self) -> None:
        self.flood(300, "high", priority=6)
        self.flood(300, "usual")
        self.flood(300, "low", priority=-3)
        claimed = self.senders(160)
        self.assertEqual([claimed.count(name) for name in ("high", "usual", "low")], [140, 10, 10])

    def test_lower_priorities_have_what_a_higher_one_leaves(self) -> None:
        self.flood(5, "high", priority=6)
        self.flood(50, "low", priority=-3)
        claimed = self.senders(40)
        self.assertEqual([claimed.count(name) for name in ("high", "low")], [5, 35])

    def test_a_sender_with_later_mail_only_has_no_turn(self) -> None:
        self.flood(5, due=START + MINUTE)
        self.accept(recipient(), envelope=by("quiet"))
        self.assertEqual(self.senders(50), ["quiet"])
        self.assertEqual(self.now(self.spool.due(START, None, 9)), [Due(NORTH, START + MINUTE)])
        self.clock.at += MINUTE
        self.assertEqual(self.senders(50), ["flood"] * 5)

    def test_the_clock_is_set_back(self) -> None:
        self.clock.at += MINUTE
        self.flood(30, due=START + MINUTE)
        self.assertEqual(len(self.senders(10)), 10)
        self.clock.at -= MINUTE
        self.assertEqual(self.senders(10), [])
        self.clock.at += MINUTE
        self.assertEqual(len(self.senders(99)), 20)

    def test_many_recipients_of_one_message(self) -> None:
        self.accept(*[recipient(n) for n in range(1500)], envelope=by("list"))
        self.accept(recipient(), envelope=by("quiet"))
        self.assertEqual(self.senders(40).count("quiet"), 1)

    def test_after_a_crash_the_turns_go_on(self) -> None:
        self.flood(30)
        self.senders(10)
        self.spool = self.crash()
        self.now(self.spool.recover("queue"))
        self.accept(recipient(), envelope=by("quiet"))
        self.assertEqual(sorted(self.senders(99)), ["flood"] * 30 + ["quiet"])

    def test_changes_by_an_operator(self) -> None:
        self.flood(5)
        self.flood(5, "other")
        for change in (Change(ChangeKind.PRIORITY, 4), Change(ChangeKind.REROUTE, SOUTH)):
            self.now(self.spool.change(Selection(sender="flood@a.example"), change, "root"))
        self.assertEqual(self.senders(50), ["other"] * 5)
        self.assertEqual(self.now(self.spool.due(START, None, 9)), [Due(SOUTH, START - 1)])
        self.assertEqual(sum(len(lease.recipients) for lease in self.claim(SOUTH)), 5)
        self.assertEqual(self.now(self.spool.due(START, None, 9)), [])


class WaitingContract(SpoolCase):
    """``waiting`` and ``claim_some``."""

    def seen(self, after: PageKey | None = None, before: int | None = None, limit: int = 100) -> list[tuple[str, int]]:
        found, _ = self.now(self.spool.waiting(after, before, limit))
        return [(one.id, one.recipient.id) for one in found]

    def test_due_or_not_in_order_but_what_is_held_or_claimed(self) -> None:
        first = self.accept(recipient(0), recipient(1, due=START + MINUTE), recipient(2, hold="x"))
        self.accept_leased(recipient(0))
        second = self.accept(recipient(0, destination=SOUTH))
        self.assertEqual(self.seen(), [(first, 0), (first, 1), (second, 0)])
        self.assertEqual(self.seen(PageKey(first, 0)), [(first, 1), (second, 0)])

    def test_in_slices(self) -> None:
        ids = [self.accept(recipient(0), recipient(1)) for _ in range(3)]
        after: PageKey | None = None
        seen: list[tuple[str, int]] = []
        for _ in range(4):
            found, after = self.now(self.spool.waiting(after, None, 2))
            seen += [(one.id, one.recipient.id) for one in found]
        self.assertIsNone(after)
        self.assertEqual(seen, [(id, n) for id in ids for n in (0, 1)])

    def test_only_what_came_by_then(self) -> None:
        early = self.accept()
        self.clock.at += MINUTE
        self.accept()
        self.assertEqual(self.seen(before=START + MINUTE // 2), [(early, 0)])

    def test_some_are_claimed_as_far_as_they_are_free(self) -> None:
        id = self.accept(recipient(0), recipient(1, due=START + MINUTE), recipient(2, hold="x"), recipient(3))
        leased = self.accept_leased(recipient(0)).message.id
        keys = [PageKey(id, 1), PageKey(id, 2), PageKey(id, 0), PageKey(id, 9), PageKey(leased, 0)]
        (lease,) = self.now(self.spool.claim_some("queue", keys, START + MINUTE))
        self.assertEqual(sorted(one.id for one in lease.recipients), [0, 1])
        self.assertEqual(self.numbers(self.claim()), [(id, [3])])
        self.assertEqual(self.now(self.spool.due(START, None, 9)), [])
        self.finish(lease, outcomes=(outcome(0),), next={1: Next(START + 7, NORTH)})
        self.assertEqual(self.now(self.spool.due(START, None, 9)), [Due(NORTH, START + 7)])
        self.balanced()
