"""Does DNS have a record that is wanted?  Pure.

Contract: ``questions`` says what to ask for a record, ``judged`` compares the answer.  What a person may have written
otherwise for good reasons is right: another preference, a stricter policy, SPF that names this host in another way.
Limits: SPF is read as it stands: ``include`` and ``redirect`` are not followed, and taken for right.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any, Final

from mta.admin.dns_asking import Asked
from mta.admin.dns_wanted import Site, Wanted
from mta.dkim.published import Judgement, Seen, judge
from mta.routing.values import Answer, Found

_METHODS: Final = {"MX": "mx", "A": "addresses", "AAAA": "addresses", "CNAME": "addresses", "TXT": "txt"}
_METHODS_BY_NAME: Final = {"TLSA": "tlsa", "SRV": "srv", "PTR": "ptr"}
_SHOWN: Final = 120


def question(wanted: Wanted, address: str = "") -> Asked:
    """What to ask; for a PTR record ``address``."""
    if wanted.kind == "PTR":
        return Asked("ptr", address)
    return Asked({**_METHODS, **_METHODS_BY_NAME}[wanted.kind], wanted.name)


def judged(wanted: Wanted, answer: Answer, site: Site) -> Judgement:
    """See the module's text."""
    if wanted.entry is not None:
        return judge(answer, wanted.entry.algorithm, wanted.entry.public)
    if answer.found is Found.FAILED:
        return Judgement(Seen.UNKNOWN, f"DNS cannot say: {answer.error}")
    if wanted.kind == "TXT":
        return _text(wanted, [record.decode("utf-8", "replace") for record in answer.records], site)
    if not answer.records:
        return Judgement(Seen.MISSING, "not in DNS")
    if wanted.kind == "CNAME" or not wanted.data:
        return Judgement(Seen.RIGHT, f"DNS has {_shown(answer.records)}")
    return _record(wanted, answer)


def _record(wanted: Wanted, answer: Answer) -> Judgement:
    words = wanted.data.split()
    found: list[str]
    if wanted.kind == "MX":
        found, wish = [record.host for record in answer.records], words[1].rstrip(".") or "."
    elif wanted.kind == "SRV":
        found = [f"{record.port} {record.host}" for record in answer.records]
        wish = f"{words[2]} {words[3].rstrip('.')}"
    elif wanted.kind == "TLSA":
        found = [f"{usage} {selector} {kind} {data.hex()}" for usage, selector, kind, data in answer.records]
        wish = wanted.data
    else:
        found, wish = list(answer.records), wanted.data.rstrip(".")
    if wish not in found:
        return Judgement(Seen.WRONG, f"DNS has {_shown(found)}")
    if wanted.kind == "TLSA" and not answer.authentic:
        return Judgement(Seen.WRONG, "in DNS, but not signed by DNSSEC: nobody will look at it")
    return Judgement(Seen.RIGHT, "in DNS")


def _text(wanted: Wanted, records: list[str], site: Site) -> Judgement:
    version = wanted.text.partition(" ")[0].rstrip(";")
    # RFC 7208 4.5, RFC 7489 6.6.3, RFC 8461 3.1, RFC 8460 3: by their beginning, and one only.
    found = [text for text in records if text.replace(" ", "").lower().startswith(version.lower())]
    if not found:
        return Judgement(Seen.MISSING, "not in DNS")
    if len(found) > 1:
        return Judgement(Seen.WRONG, f"there are {len(found)} of them, where one has to be")
    if found[0] == wanted.text:
        return Judgement(Seen.RIGHT, "in DNS")
    said = f"DNS has {_shown(found)}"
    if version == "v=spf1":
        return Judgement(Seen.RIGHT if _spf_names(found[0], wanted, site) else Seen.WRONG, said)
    tags = {
        name.strip().lower(): value.strip() for name, _, value in (part.partition("=") for part in found[0].split(";"))
    }
    needed = {"v=DMARC1": "p", "v=TLSRPTv1": "rua", "v=STSv1": "id"}[version]
    if not tags.get(needed):
        return Judgement(Seen.WRONG, f"{said}, without {needed}=")
    return Judgement(Seen.RIGHT, said)


def _spf_names(text: str, wanted: Wanted, site: Site) -> bool:
    """Does a record let this host send?"""
    if wanted.text == "v=spf1 -all":
        return False
    for term in text.lower().split()[1:]:
        name, _, value = term.lstrip("+").partition(":")
        if name in ("all", "mx", "include") or term.startswith("redirect="):
            return True
        if name == "a" and value in ("", site.hostname):
            return not value or value == site.hostname
        if name in ("ip4", "ip6") and _covers(value, site):
            return True
    return False


def _covers(network: str, site: Site) -> bool:
    try:
        known = ip_network(network, strict=False)
    except ValueError:
        return False
    return any(ip_address(address) in known for address in (*site.addresses, *site.sources))


def _shown(records: Any) -> str:
    text = ", ".join(map(str, records))
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
