"""What the domain of a sender demands of those who bring its mail: SPF (RFC 7208) and DMARC (RFC 7489).  Pure.

What it is: not an evaluation, which needs the address of the client: the question is what a host after us will make of
the mail, where the client is us.  So of SPF only the end counts, and of DMARC whether it asks for anything.
Contract: each returns ``Needs`` until the facts suffice.  ``Said.text`` is for people.
How it fails: where DNS cannot say, ``demands`` is what does no harm: yes for SPF, no for DMARC.
Limits: the domain of an organisation is found by asking upwards, ``_UPWARDS`` labels at most, as there is no list of
public suffixes here; a ``redirect`` is not followed.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from mta.routing.values import Answer, CannotKnow, Facts, Found, Needs, TxtQuestion

#: From which number of labels on a policy of an organisation is looked for above a domain, and down to which.
_UPWARDS: Final = 4
_FEWEST: Final = 2


class Said(NamedTuple):
    """``demands``: mail of the domain that comes from us as it is will be held against it."""

    demands: bool
    text: str


def spf(domain: str, facts: Facts) -> Said | Needs:
    """Does the domain's SPF record leave us out?"""
    if domain.startswith("["):
        return Said(False, f"{domain} is no name and has no SPF")
    records = _texts(domain, facts)
    if isinstance(records, Needs):
        return records
    if records is None:
        return Said(True, f"the SPF of {domain} cannot be known")
    # RFC 7208 4.5
    found = [text for text in records if text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")]
    if not found:
        return Said(False, f"{domain} has no SPF")
    if len(found) > 1:
        return Said(True, f"{domain} has several SPF records")
    terms = found[0].split()[1:]
    # RFC 7208 5.1: what stands behind "all" never counts.
    end = next((term.lower() for term in terms if term.lower().lstrip("+-~?") == "all"), "")
    if end in ("all", "+all"):
        return Said(False, f"the SPF of {domain} ends with {end}: anybody may send for it")
    if end:
        return Said(True, f"{domain} has SPF {end}")
    # RFC 7208 6.1; 4.7: without either, neutral.
    redirect = next((term for term in terms if term.lower().startswith("redirect=")), "")
    return Said(True, f"{domain} has SPF {redirect[:80] or 'without all'}")


def dmarc(domain: str, facts: Facts) -> Said | Needs:
    """Does the policy for the author's domain have mail refused or set aside that proves nothing?"""
    if domain.startswith("["):
        return Said(False, f"{domain} is no name and has no DMARC")
    labels = domain.split(".")
    above = range(min(_UPWARDS, len(labels) - 1), _FEWEST - 1, -1)
    for name in (domain, *[".".join(labels[-count:]) for count in above]):
        records = _texts(f"_dmarc.{name}", facts)
        if isinstance(records, Needs):
            return records
        if records is None:
            return Said(False, f"the DMARC policy of {name} cannot be known")
        found = [tags for text in records if (tags := _tags(text)).get("v") == "DMARC1"]
        if found:
            policy = found[0].get("sp" if name != domain else "p") or found[0].get("p", "none")
            # RFC 7489 6.6.3: several are as good as none.
            demands = len(found) == 1 and policy.lower() in ("reject", "quarantine")
            return Said(demands, f"{name} has DMARC p={policy.lower()[:20]}")
    return Said(False, f"{domain} has no DMARC")


def _texts(name: str, facts: Facts) -> list[str] | Needs | None:
    """The TXT records of a name; None where DNS cannot say."""
    question = TxtQuestion(name)
    if question not in facts:
        return Needs((question,))
    answer: Any = facts[question]
    if isinstance(answer, CannotKnow) or not isinstance(answer, Answer) or answer.found is Found.FAILED:
        return None
    return [record.decode("ascii", "replace") for record in answer.records]


def _tags(text: str) -> dict[str, str]:
    """RFC 7489 6.4."""
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
