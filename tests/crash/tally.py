"""What came of a number of kills, and how it is told."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    """Counts, and what is wrong."""

    kills: Counter[str] = field(default_factory=Counter)  # by the step at which it was
    twice: Counter[str] = field(default_factory=Counter)  # copies that came once more, by the kill that found them so
    taken: int = 0  # messages that had their 250
    copies: int = 0  # that had to arrive of them, or to be there after a start
    lost: int = 0
    unknown: int = 0  # messages whose final dot had no reply
    came_unknown: int = 0  # copies of those
    audits: int = 0
    oldest: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.kills += other.kills
        self.twice += other.twice
        self.taken += other.taken
        self.copies += other.copies
        self.lost += other.lost
        self.unknown += other.unknown
        self.came_unknown += other.came_unknown
        self.audits += other.audits
        self.oldest = max(self.oldest, other.oldest)
        self.wrong += other.wrong

    def show(self) -> None:
        """The report."""
        print(f"\n{'kills':>7}  {'twice':>7}  where (twice: copies that came once more, met in flight by that kill)")
        for name, count in self.kills.most_common():
            print(f"{count:>7,}  {self.twice[name]:>7,}  {name}")
        lines = (
            ("kills", self.kills.total()),
            ("messages had their 250", self.taken),
            ("copies had to arrive of them", self.copies),
            ("of them are lost", self.lost),
            ("copies came once more, each in flight at a kill", self.twice.total()),
            ("messages had no reply to their final dot", self.unknown),
            ("copies of those came", self.came_unknown),
            ("audits", self.audits),
        )
        for what, count in lines:
            print(f"{count:>7,}  {what}")
        print(f"{self.oldest:>7.3f}  seconds before a kill the oldest of what was in flight had arrived")
        for line in self.wrong:
            print(f"WRONG: {line}")
        print("something is WRONG" if self.wrong else "all is as it must be", flush=True)
