"""What DNS says of a key (RFC 6376 3.6.1).  Pure.

Contract: ``judge`` compares the answer for ``SELECTOR._domainkey.DOMAIN`` with the key that signs: would whoever
verifies find the right one?
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final, NamedTuple

from mta.dkim.keys import Algorithm
from mta.routing.values import Answer, Found

_SPACE: Final = re.compile(r"\s+")


class Seen(StrEnum):
    """How a record is found in DNS."""

    RIGHT = "right"
    MISSING = "missing"
    WRONG = "wrong"
    UNKNOWN = "unknown"  # DNS cannot say


class Judgement(NamedTuple):
    """``text`` says it to people."""

    seen: Seen
    text: str


def record_name(selector: str, domain: str) -> str:
    """Where the record of a key is."""
    return f"{selector}._domainkey.{domain}"


def judge(answer: Answer, algorithm: Algorithm, public: str) -> Judgement:
    """See the module's text."""
    if answer.found is Found.FAILED:
        return Judgement(Seen.UNKNOWN, f"DNS cannot say: {answer.error}")
    # RFC 6376 3.6.2.2: what several records mean is anybody's guess.
    if len(answer.records) > 1:
        return Judgement(Seen.WRONG, "there are several records, where one has to be")
    if not answer.records:
        return Judgement(Seen.MISSING, "not in DNS")
    tags = _tags(answer.records[0].decode("utf-8", "replace"))
    wrong = _wrong(tags, algorithm, public)
    return Judgement(Seen.WRONG, wrong) if wrong else Judgement(Seen.RIGHT, "in DNS")


def _wrong(tags: dict[str, str], algorithm: Algorithm, public: str) -> str:
    if tags.get("v", "DKIM1") != "DKIM1":
        return "its v= is not DKIM1"
    if not tags.get("p"):
        return "it says that the key was revoked (p= is empty)" if "p" in tags else "it has no p="
    if tags["p"] != public:
        return "it has another key"
    if tags.get("k", "rsa") != algorithm.family:
        return f"its k= is not {algorithm.family}"
    if "sha256" not in tags.get("h", "sha256").split(":"):
        return "its h= leaves sha256 out"
    if not {"*", "email"} & set(tags.get("s", "*").split(":")):
        return "its s= leaves email out"
    if "y" in tags.get("t", "").split(":"):
        return "its t= says that signatures are only a test; leave t=y out"
    return ""


def _tags(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip(): _SPACE.sub("", value) for name, equals, value in pairs if equals}
