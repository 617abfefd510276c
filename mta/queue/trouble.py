"""Which class of trouble an outcome is: by it the retry rule is chosen, and waiting mail is counted.  Pure.

Contract: ``classify`` gives one class for every outcome that is no success; what it does not know is OTHER.  It goes by
what we know ourselves (stage, whose words they are), then by the codes (RFC 5321 4.2, RFC 3463), and by words only
where the codes say nothing: many servers say 451 4.7.1 both for greylisting and for rates.
Limits: ``MAX_TEXT`` characters of a reply are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from mta.envelope import Outcome, Scope
from mta.reply import LOCAL_ERROR, Reply

MAX_TEXT: Final = 1000


class Trouble(StrEnum):
    """Classes of trouble, as ``[[retry]]`` and the statistics name them."""

    UNREACHABLE = "unreachable"
    GREYLISTED = "greylisted"
    OVER_QUOTA = "over-quota"
    RATE_LIMITED = "rate-limited"
    TLS = "tls"
    DNS = "dns"
    DISK = "disk"
    INTERNAL = "internal"
    OTHER = "other"


#: Enhanced codes of our own words for a connection that was lost, silent or confused.
_LOST: Final = frozenset({"4.4.1", "4.4.2", "4.5.0"})
_GREY = re.compile(r"gr[ea]y[ -]?list|postgrey|sqlgrey|first (time|contact|attempt)|unknown triplet", re.IGNORECASE)
_RATE = re.compile(
    r"\brate\b|ratelimit|too (many|much|fast|frequent)|throttl|slow(ing)? down|\blimit|unusual|suspicious|reputation"
    r"|\bvolume\b",
    re.IGNORECASE,
)
_FULL = re.compile(
    r"over ?quota|quota|mailbox (is )?(full|exceeds?)|out of (storage|space)|storage (limit|exceeded)", re.IGNORECASE
)
_DISK = re.compile(r"disk|storage|space|resources", re.IGNORECASE)
_TLS_STAGES: Final = frozenset({"TLS", "STARTTLS"})


def classify(outcome: Outcome) -> Trouble:
    """The class of the trouble; see the module's text."""
    return classify_reply(outcome.reply, outcome.attempt, outcome.scope)


def classify_reply(reply: Reply, attempt: Mapping[str, Any], scope: Scope = Scope.RECIPIENT) -> Trouble:
    """The same, from what is kept of an attempt: ``attempt`` has host and stage."""
    stage = str(attempt.get("stage", ""))
    enhanced = reply.enhanced
    known = _by_stage(stage, enhanced)
    if known is not None:
        return known
    if reply == LOCAL_ERROR:
        return Trouble.INTERNAL
    if scope in (Scope.HOST, Scope.DESTINATION) and (enhanced in _LOST or (reply.code == 421 and not enhanced)):
        return Trouble.RATE_LIMITED if _RATE.search(reply.text[:MAX_TEXT]) else Trouble.UNREACHABLE
    if not attempt.get("host"):
        return _ours(reply)
    return _theirs(reply, stage)


def _by_stage(stage: str, enhanced: str) -> Trouble | None:
    """What we know without reading what anybody said."""
    if stage in _TLS_STAGES or enhanced in ("4.7.5", "5.7.5", "4.7.10", "5.7.10"):
        return Trouble.TLS
    if stage == "DNS" or enhanced in ("4.4.3", "5.4.3", "4.4.4", "5.4.4"):
        return Trouble.DNS
    if stage == "connect":
        return Trouble.UNREACHABLE
    return None


def _ours(reply: Reply) -> Trouble:
    """Our own words: nobody else was spoken to."""
    if reply.enhanced[2:] == "2.2":
        return Trouble.OVER_QUOTA  # RFC 3463 3.3: a mailbox here
    if reply.enhanced[2:] == "3.1":
        return Trouble.DISK  # RFC 3463 3.4
    return Trouble.INTERNAL if reply.enhanced in ("4.3.0", "4.3.5") else Trouble.OTHER


def _theirs(reply: Reply, stage: str) -> Trouble:
    """What a remote host said."""
    text, detail = reply.text[:MAX_TEXT], reply.enhanced[2:]
    if _GREY.search(text):
        return Trouble.GREYLISTED
    if detail in ("3.1", "5.3"):
        return Trouble.OTHER  # RFC 3463: their disk; too many recipients, which the next try has fewer of
    if detail in ("2.2", "2.3") or (reply.code in (452, 552) and _FULL.search(text)):
        return Trouble.OVER_QUOTA
    if _RATE.search(text) or detail == "7.28":
        return Trouble.RATE_LIMITED  # 4.7.28 is how large hosts say it
    if detail == "7.1" and reply.code in (450, 451) and stage in ("RCPT", "DATA", "end of data"):
        return Trouble.GREYLISTED  # postgrey and others: "451 4.7.1 please try again later"
    if reply.code == 421 or (detail.startswith("7.") and reply.temporary):
        return Trouble.RATE_LIMITED
    if _FULL.search(text) and not _DISK.search(text):
        return Trouble.OVER_QUOTA
    return Trouble.OTHER
