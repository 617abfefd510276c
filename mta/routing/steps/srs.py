"""Return paths that we made for mail that we forwarded (SRS): they lead back to its sender.

Contract: the address has been signed by a key of ours and is not too old; that alone lets a stranger's report pass to
a domain that is not ours (docs/forwarding.rst).
How it fails: ``SrsError`` (550) for what is forged, changed or too old; ``TemporaryFailure`` without a calendar.
"""

from __future__ import annotations

from datetime import date
from typing import Final

from mta.address import Address
from mta.routing.lookup import cannot_know
from mta.routing.rules import RoutingRules
from mta.routing.srs import is_srs
from mta.routing.steps.step import Step
from mta.routing.values import CannotKnow, DayQuestion, Facts, Needs

_TODAY: Final = DayQuestion()
_BEGIN: Final = date(1970, 1, 1).toordinal()


def srs(rules: RoutingRules, address: Address, facts: Facts) -> Step | Needs | None:
    """See the module's text."""
    known = rules.srs
    if known is None or address.domain != known.domain or not is_srs(address.local):
        return None
    if _TODAY not in facts:
        return Needs((_TODAY,))
    today = facts[_TODAY]
    if isinstance(today, CannotKnow):
        raise cannot_know("of days", today)
    return Step("srs", (known.reverse(address, date.fromisoformat(today).toordinal() - _BEGIN),))
