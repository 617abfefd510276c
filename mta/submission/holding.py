"""Why mail is held because of its account: the words by which it is found again.  Pure."""

from __future__ import annotations

from mta import events
from mta.accounts.values import State
from mta.spool.values import Selection
from mta.verdict import Decision, Verdict


def held_reason(name: str, why: str, state: State = State.HELD) -> str:
    """For the recipients' hold; ``selection`` finds it."""
    return f"{_begins(name)}{state.value}: {why}"


def selection(name: str) -> Selection:
    """All that is held because of the account, for whatever reason."""
    return Selection(held=True, reason=_begins(name))


def _begins(name: str) -> str:
    # Names have no white space (RFC 8265 3.3), so no name is the end of another here.
    return f"account {name} is "


def held(reason: str) -> Verdict:
    """The verdict of a policy."""
    return Verdict(decision=Decision.HOLD, reasons=(events.SAID(text=reason),))
