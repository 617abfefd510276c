"""The properties of tests/fuzz with hypothesis, bounded and always the same; and every case that was ever found.

``make fuzz`` looks for more; what it finds is kept in ``found/TARGET/`` and tried here for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.cutting import MOST_CUTS
from tests.fuzz.targets import TARGETS, Target

FOUND = Path(__file__).parent / "found"


def octets(target: Target) -> st.SearchStrategy[bytes]:
    """Words that matter with anything between them, behind cuts where the target has them."""
    words = st.sampled_from(target.words)
    stream = st.lists(st.one_of(words, words, words, words, st.binary(max_size=3)), max_size=20).map(b"".join)
    start = st.sampled_from(target.starts or (b"",))
    if not target.cut:
        return st.tuples(start, stream).map(b"".join)
    cuts = st.lists(st.integers(0, 255), max_size=MOST_CUTS).map(lambda places: bytes([len(places), *places]))
    return st.tuples(cuts, start, stream).map(b"".join)


class Properties(SynchronousTestCase):
    """One test a target; made below."""


class Found(SynchronousTestCase):
    """One test a target with all that was found for it; made below."""

    def test_what_was_found_belongs_to_a_target(self) -> None:
        self.assertEqual({folder.name for folder in FOUND.iterdir() if folder.is_dir()} - set(TARGETS), set())


def _property(target: Target) -> Callable[[Properties], None]:
    # Derandomized: the same examples at each run, so that no run fails by chance; ``make fuzz`` is there to search.
    @settings(
        max_examples=target.examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(octets(target))
    def test(self: Properties, raw: bytes) -> None:
        target.check(raw)

    return test


def _found(name: str, target: Target) -> Callable[[Found], None]:
    def test(self: Found) -> None:
        for path in sorted((FOUND / name).glob("*")):
            try:
                target.check(path.read_bytes())
            except AssertionError as error:
                raise AssertionError(f"{path}: {error}") from error

    return test


for _name, _target in TARGETS.items():
    setattr(Properties, f"test_{_name}", _property(_target))
    setattr(Found, f"test_{_name}", _found(_name, _target))
