"""The life of keys: what comes next, and the file that remembers it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.dkim.keys import Algorithm
from mta.dkim.ledger import Entry, Ledger, State, Step, WrongLedger, dumps, loads, next_step

DAY = 86_400_000
NOW = 1_795_546_800_000
ROTATE, RETIRE = 180 * DAY, 14 * DAY


def entry(selector: str, algorithm: Algorithm = Algorithm.RSA, **times: int) -> Entry:
    return Entry(selector=selector, algorithm=algorithm, public="AAAA", made=NOW, **times)


class Steps(SynchronousTestCase):
    def step(self, ledger: Ledger, now: int) -> tuple[Step, tuple[str, ...], int]:
        plan = next_step(ledger, now, ROTATE, RETIRE)
        return plan.step, tuple(one.selector for one in plan.entries), plan.due

    def test_a_whole_life(self) -> None:
        # RFC 6376 3.1
        ledger = Ledger()
        self.assertEqual(self.step(ledger, NOW)[0], Step.MAKE)
        ledger = ledger.with_new([entry("a"), entry("b", Algorithm.ED25519)])
        self.assertEqual(self.step(ledger, NOW)[:2], (Step.USE, ("a", "b")))
        ledger = ledger.using(ledger.of(State.NEW), NOW)
        self.assertEqual(self.step(ledger, NOW), (Step.WAIT, ("a", "b"), NOW + ROTATE))
        later = NOW + ROTATE
        self.assertEqual(self.step(ledger, later)[0], Step.MAKE)
        ledger = ledger.with_new([entry("c"), entry("d", Algorithm.ED25519)])
        self.assertEqual(self.step(ledger, later)[:2], (Step.USE, ("c", "d")))
        ledger = ledger.using(ledger.of(State.NEW), later)
        self.assertEqual([one.state for one in ledger.entries], ["retired", "retired", "active", "active"])
        self.assertEqual(self.step(ledger, later), (Step.WAIT, ("a", "b"), later + RETIRE))
        self.assertEqual(self.step(ledger, later + RETIRE)[:2], (Step.FORGET, ("a", "b")))
        ledger = ledger.without(ledger.of(State.RETIRED))
        self.assertEqual(self.step(ledger, later + RETIRE), (Step.WAIT, ("c", "d"), later + ROTATE))

    def test_another_algorithm_retires_nobody(self) -> None:
        ledger = Ledger((entry("a", used=NOW), entry("b", Algorithm.ED25519)))
        ledger = ledger.using(ledger.of(State.NEW), NOW + 1)
        self.assertEqual([one.state for one in ledger.entries], ["active", "active"])

    def test_selectors_are_new(self) -> None:
        ledger = Ledger()
        names = []
        for _ in range(4):
            names.append(ledger.free_selector(Algorithm.RSA, NOW))
            ledger = ledger.with_new([entry(names[-1])])
        self.assertEqual(names, ["20261124r", "20261124r2", "20261124r3", "20261124r4"])
        self.assertEqual(ledger.free_selector(Algorithm.ED25519, NOW), "20261124e")


class File(SynchronousTestCase):
    @given(
        st.lists(
            st.builds(
                lambda number, algorithm, made, used: Entry(
                    selector=f"s{number}", algorithm=algorithm, public="AB+/", made=made * 1000, used=used * 1000
                ),
                st.integers(0, 10**6),
                st.sampled_from(Algorithm),
                st.integers(1, 2**31),
                st.integers(0, 2**31),
            ),
            unique_by=lambda one: one.selector,
            max_size=5,
        )
    )
    def test_as_it_was(self, entries: list[Entry]) -> None:
        ledger = Ledger(tuple(entries))
        self.assertEqual(loads(dumps(ledger)), ledger)

    def test_retired(self) -> None:
        ledger = Ledger((entry("a", used=NOW, retired=NOW + 1000),))
        self.assertEqual(loads(dumps(ledger)), ledger)

    def test_what_is_wrong(self) -> None:
        good = dumps(Ledger((entry("a"),)))
        for text, why in {
            "[": "it is not TOML",
            "key = 1": "key is no list",
            "key = [1]": "a key is no table",
            good + good.partition("\n\n")[2]: "a selector stands twice",
            good.replace('"a"', '"../a"'): "'../a' is no selector",
            # RFC 8301 3.1
            good.replace("rsa-sha256", "rsa-sha1"): "algorithm of a is none of rsa-sha256, ed25519-sha256",
            good.replace("AAAA", "A;A"): "public of a is not base64",
            good.replace("made = ", "made = 1 #"): "made of a is no date and time",
            good + "retired = 2027-01-01T00:00:00Z\n": "a is retired and was never used",
            good + "more = 1\n": "more is nothing that a key has",
        }.items():
            with self.subTest(why=why):
                error = self.assertRaises(WrongLedger, loads, text)
                self.assertIn(why, str(error))
