"""What a failure means for a person: what happened, whose side it is on, what to do.  Pure.

Contract: the answers are keys of the catalogs (``mta.bounce.catalog``), which have the words in each language; a
remote server's own words stand apart (``their_words``), so that nobody takes them for ours.  The meaning is that of
the enhanced status code (RFC 3463 3), or of the code where it has none.  Where a code only says "refused", the words
of the reply may tell a block list from spam: they choose among our own sentences, nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from ipaddress import ip_address
from typing import Final, NamedTuple

from mta.address import host_literal
from mta.envelope import Outcome, Recipient, Status
from mta.reply import LOCAL_ERROR

#: Stages of a delivery at which it is the remote host that speaks.
_SPOKEN: Final = frozenset({"greeting", "EHLO", "HELO", "LHLO", "MAIL", "RCPT", "DATA", "data", "end of data"})
#: At EHLO these are ours: what we found out from what the host offers.
_LACKING: Final = frozenset({"5.3.3", "5.3.4", "5.4.7", "5.6.3", "5.6.7", "5.6.9", "5.7.10", "5.7.30"})
#: Stages at which no host was spoken to.
_NOT_MET: Final = frozenset({"routing", "DNS", "connect"})
_ENHANCED = re.compile(r"[245]\.([0-9]{1,3})\.([0-9]{1,3})\Z")
#: How much of a reply is searched for words.
_MOST_SEARCHED: Final = 2000
_BLOCK_LIST = re.compile(
    r"(?:block|black|deny).?list|blocked (?:using|by|due|for)|\bip\b.{0,40}\bblocked|dns.?bl|\brbl\b|spamhaus|spamcop"
    r"|reputation|banned|\blisted (?:at|in|on|by)",
    re.IGNORECASE,
)
_SPAM = re.compile(r"spam|\bjunk|unsolicited|\bbulk|virus|malware|phish|infected", re.IGNORECASE)


class Side(StrEnum):
    """Who can change something."""

    YOURS = "yours"  # the sender's: the address or the message
    THEIRS = "theirs"  # those who run the recipient's mail
    BETWEEN = "between"  # their server or the network
    OURS = "ours"


class Explanation(NamedTuple):
    """``cause`` and ``advice`` are keys of the catalogs; ``expired``: it was the last of many tries."""

    cause: str
    side: Side
    advice: str
    expired: bool = False


#: Every cause there is: whose side it is on, and what to do.
CAUSES: Final[Mapping[str, tuple[Side, str]]] = {
    "no_mailbox": (Side.YOURS, "check_address"),
    "unconfirmed": (Side.THEIRS, "later"),
    "no_domain": (Side.YOURS, "check_address"),
    "null_mx": (Side.YOURS, "check_address"),
    "bad_address": (Side.YOURS, "check_address"),
    "moved": (Side.YOURS, "new_address"),
    "owner_changed": (Side.YOURS, "new_address"),
    "sender_refused": (Side.YOURS, "check_sender"),
    "disabled": (Side.THEIRS, "other_means"),
    "mailbox_full": (Side.THEIRS, "later"),
    "mailbox": (Side.THEIRS, "other_means"),
    "list": (Side.THEIRS, "other_means"),
    "too_large": (Side.YOURS, "smaller"),
    "system": (Side.THEIRS, "later"),
    "busy": (Side.THEIRS, "later"),
    "not_now": (Side.THEIRS, "later"),
    "misconfigured": (Side.BETWEEN, "show_admin"),
    "lacks": (Side.YOURS, "without_it"),
    "unreachable": (Side.BETWEEN, "later"),
    "lost": (Side.BETWEEN, "later"),
    "dns": (Side.BETWEEN, "later"),
    "loop": (Side.OURS, "show_admin"),
    "time_limit": (Side.YOURS, "later"),
    "protocol": (Side.BETWEEN, "show_admin"),
    "characters": (Side.YOURS, "encode"),
    "address_utf8": (Side.YOURS, "ascii_address"),
    "header_utf8": (Side.YOURS, "ascii_header"),
    "content": (Side.YOURS, "change"),
    "spam": (Side.YOURS, "reword"),
    "blocked": (Side.OURS, "show_admin"),
    "authentication": (Side.OURS, "show_admin"),
    "policy": (Side.THEIRS, "read_words"),
    "refused": (Side.THEIRS, "other_means"),
    "tls_required": (Side.YOURS, "without_tls"),
    "tls_whole_way": (Side.YOURS, "without_tls"),
    "tls_failed": (Side.BETWEEN, "later"),
    "login": (Side.OURS, "show_admin"),
    "our_trouble": (Side.OURS, "show_admin"),
    "given_up": (Side.OURS, "show_admin"),
}
# RFC 3463 3 and its registry (RFC 5248), by subject and detail; then by subject alone.
_MEANINGS: Final = {
    "1.1": "no_mailbox",
    "1.2": "no_domain",
    "1.6": "moved",
    "1.7": "sender_refused",
    "1.8": "sender_refused",
    "1.10": "null_mx",
    "1": "bad_address",
    "2.1": "disabled",
    "2.2": "mailbox_full",
    "2.3": "too_large",
    "2.4": "list",
    "2": "mailbox",
    "3.3": "lacks",
    "3.4": "too_large",
    "3.5": "misconfigured",
    "3": "system",
    "4.2": "lost",
    "4.3": "dns",
    "4.5": "busy",
    "4.6": "loop",
    "4.7": "time_limit",
    "4": "unreachable",
    "5": "protocol",
    "6.3": "characters",
    "6.7": "address_utf8",
    "6.9": "header_utf8",
    "6": "content",
    "7.2": "list",
    "7.4": "tls_failed",
    "7.5": "tls_failed",
    "7.8": "login",
    "7.9": "login",
    "7.10": "tls_required",
    "7.11": "login",
    "7.13": "disabled",
    "7.14": "login",
    "7.17": "owner_changed",
    "7.18": "owner_changed",
    **dict.fromkeys(("7.20", "7.21", "7.22", "7.23", "7.24", "7.26", "7.29"), "authentication"),
    "7.25": "blocked",
    "7.27": "sender_refused",
    "7.28": "busy",
    "7.30": "tls_whole_way",
    "7": "policy",
}
# Where the same means something else as long as it is temporary.
_TEMPORARY: Final = {
    "1.7": "sender_refused",
    "1.8": "sender_refused",
    "1": "unconfirmed",
    "2.2": "mailbox_full",
    "2": "not_now",
    "4.7": "lost",  # a single try that took too long
    "7.0": "not_now",
    "7.1": "not_now",
    "7.10": "tls_failed",
    "7.30": "tls_failed",
}
# Replies without an enhanced code, as common servers use them (RFC 5321 4.2.3).
_BY_CODE: Final = {452: "2.2", 550: "1.1", 551: "1.6", 552: "2.2", 553: "1.1", 556: "1.10"}
#: TLS that the message requires (RFC 8689).
_REQUIRED: Final = ("7.10", "7.30")
#: Our own words at these stages.
_BY_STAGE: Final = {"AUTH": "login", "TLS": "tls_failed", "STARTTLS": "tls_failed"}


def their_words(outcome: Outcome) -> bool:
    """The reply is the remote host's, not ours about it."""
    reply, stage = outcome.reply, outcome.attempt.get("stage", "")
    if not outcome.attempt.get("host") or stage not in _SPOKEN:
        return False
    if (stage in ("EHLO", "LHLO") and reply.enhanced in _LACKING) or reply == LOCAL_ERROR:
        return False
    return not (reply.code == 421 and reply.enhanced in ("4.4.2", "4.5.0", "4.3.2"))


def remote_host(outcome: Outcome) -> str:
    """The host that had a part in it, by name or as an address literal, without its port; "" if none had.

    Before there is a connection there is no remote MTA (RFC 3464 2.3.5).
    """
    if outcome.attempt.get("stage") in _NOT_MET:
        return ""
    where = str(outcome.attempt.get("host", ""))
    if where.startswith("/"):
        return ""  # a socket of this machine, which is nobody's business
    if where.startswith("["):
        return where[: where.find("]") + 1]
    name = where.partition("[")[0]
    try:
        ip_address(name)
    except ValueError:
        return name
    return host_literal(name)


def status_code(outcome: Outcome) -> str:
    """The Status of RFC 3464 2.3.4: the enhanced code, else what is known without one."""
    reply = outcome.reply
    if _ENHANCED.match(reply.enhanced) and reply.enhanced.startswith("2") is reply.positive:
        return reply.enhanced
    if reply.positive:
        return "2.0.0"
    if outcome.status is Status.EXPIRED:
        return "4.4.7"
    return "4.0.0" if reply.temporary else "5.0.0"


def explain(recipient: Recipient, outcome: Outcome) -> Explanation:
    """What is said about one recipient."""
    cause = "given_up" if recipient.progress.get("bounce") is not None else _cause(outcome)
    side, advice = CAUSES[cause]
    if cause == "loop" and their_words(outcome):
        side = Side.BETWEEN  # somebody on the way; nobody can tell from here who
    return Explanation(cause, side, advice, outcome.status is Status.EXPIRED)


def _cause(outcome: Outcome) -> str:
    reply, stage = outcome.reply, str(outcome.attempt.get("stage", ""))
    theirs = their_words(outcome)
    match = _ENHANCED.match(reply.enhanced)
    key = f"{match[1]}.{match[2]}" if match else ""
    if theirs and _is_vague(key) and (said := _from_words(reply.text, stage)):
        return said
    if not match and theirs and stage == "RCPT":
        key = _BY_CODE.get(reply.code, "")
    if not theirs and (ours := _ours(outcome, key, stage)):
        return ours
    if theirs and key == "7.10":
        return "tls_failed"  # they want TLS; the message does not
    subject = key.partition(".")[0]
    tables = (_TEMPORARY, _MEANINGS) if reply.temporary else (_MEANINGS,)
    for table in tables:
        if found := table.get(key) or table.get(subject):
            return found
    return "not_now" if reply.temporary else "refused"


def _ours(outcome: Outcome, key: str, stage: str) -> str:
    """The cause, where it lies with us; "" where what we say is about the message or the other side."""
    if not outcome.attempt.get("host"):
        plain = key.startswith(("1.", "2.", "4.")) and not (key == "4.7" and outcome.reply.temporary)
        return "" if plain or key in _REQUIRED else "our_trouble"
    if key.startswith("3.") and key not in ("3.3", "3.4"):
        return "our_trouble"
    return "" if key in _REQUIRED and outcome.reply.permanent else _BY_STAGE.get(stage, "")


def _is_vague(key: str) -> bool:
    """It says no more than that something was refused."""
    return key in ("", "0.0", "6.0") or (key.startswith("7.") and key not in _MEANINGS)


def _from_words(text: str, stage: str) -> str:
    """What is refused for its content is refused when it is there; before, it is for whom it comes from."""
    text = text[:_MOST_SEARCHED]
    if stage in ("data", "end of data") and _SPAM.search(text):
        return "spam"
    return "blocked" if _BLOCK_LIST.search(text) or (stage != "RCPT" and _SPAM.search(text)) else ""


def good_news(outcome: Outcome) -> tuple[str, str]:
    """What is said of a recipient for whom it went well: what happened, and what to do, as keys."""
    if outcome.status is Status.DELIVERED:
        return "delivered", "nothing"
    if outcome.status is Status.EXPANDED:
        return "expanded", "failures_follow"
    if outcome.dsn_taken_over:
        return "relayed_told", "nothing"
    return "relayed_silent", "ask"
