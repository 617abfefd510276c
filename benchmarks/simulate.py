"""What five days of retries cost: ``python -m benchmarks.simulate``, or ``make bench-simulate``.

The queue of a simulation is played forward with the real scheduler until everything has ended: a thousand messages to
one dead domain, a thousand to a thousand domains of which a quarter each is dead, greylists, is slow and works, and ten
thousand to ten domains of the same kinds.  One line a case: seconds of CPU for each thousand messages, and what was
done for them.  The jitter is that of the configuration, so no two times are the same but by rounding.
"""

from __future__ import annotations

import time
from typing import Final

from mta.address import Address
from mta.envelope import Destination, Envelope, Origin, Recipient, Right
from mta.queue.retry import USUAL, RetryRule, RetryRules, by_class
from mta.simulate.assume import Assumptions
from mta.simulate.engine import Simulation
from mta.simulate.rules import Rules

DAY: Final = 86_400.0
START: Final = 1_700_000_000_000
GRAIN: Final = 64
ASSUMED: Final = ("*.dead.example=down", "*.grey.example=greylisting:20m", "*.slow.example=slow:20s", "*=up")
KINDS: Final = ("dead", "grey", "slow", "up")
#: What it is called, messages, domains, kinds of them.
CASES: Final = (
    ("one dead domain", 1000, 1, ("dead",)),
    ("a thousand domains", 1000, 1000, KINDS),
    ("ten domains", 10_000, 10, KINDS),
)


def made(messages: int, domains: int, kinds: tuple[str, ...]) -> Simulation:
    """A queue in which everything is due."""
    usual = RetryRule(after=USUAL, jitter=0.1, expire_after=5 * DAY, warn_after=(DAY / 6,))
    retry = RetryRules(usual=usual, classes=by_class(usual))
    rules = Rules(retry=retry, active=20_000, postmaster=Address("postmaster", "ours.example"))
    simulation = Simulation(rules, Assumptions(ASSUMED), start=START, grain=GRAIN)
    envelope = Envelope(
        origin=Origin(listener="mx", protocol="ESMTP"),
        reverse_path=Address("ann", "ours.example"),
        arrived=START,
        rights=frozenset({Right.NETWORK}),
    )
    for number in range(messages):
        domain = number % domains
        address = Address(f"u{number}", f"d{domain}.{kinds[domain % len(kinds)]}.example")
        place = Destination("internet", address.domain)
        simulation.add(envelope, [Recipient(id=0, address=address, original=address, destination=place, due=START)])
    return simulation


def main() -> None:
    """Run all cases."""
    print(f"{'five days of':<20}{'MESSAGES':>10}{'CPU s/1000':>12}{'TRIES':>9}{'STEPS':>9}{'EXPIRED':>9}")
    for name, messages, domains, kinds in CASES:
        simulation = made(messages, domains, kinds)
        begun = time.process_time()
        total = simulation.run(5 * DAY + 3600).total
        cost = (time.process_time() - begun) * 1000 / messages
        steps = simulation.clock.steps
        print(f"{name:<20}{messages:>10,}{cost:>12.2f}{total.tries:>9,}{steps:>9,}{total.expired:>9,}")


if __name__ == "__main__":
    main()
