"""From records as dnspython has them to those of ``Answer``.

Limits: ``MAX_RECORDS`` MX records, the best ones, and as many addresses of a family and names: who writes his own zone
decides how much of our memory the cache takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from mta.dns.cache import PARTIAL_TTL
from mta.dns.stub import Raw
from mta.routing.values import Found, MxRecord, SrvRecord

MAX_RECORDS: Final = 100


def host_text(name: Any) -> str:
    """A name in DNS as text: lower case, without the trailing dot; the root is "."."""
    return str(name.to_text(omit_final_dot=True)).lower()


def _mx(rdatas: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(sorted(MxRecord(rdata.preference, host_text(rdata.exchange)) for rdata in rdatas))[:MAX_RECORDS]


def _addresses(rdatas: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(rdata.address for rdata in rdatas[:MAX_RECORDS])


def _txt(rdatas: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(b"".join(rdata.strings) for rdata in rdatas)


def _tlsa(rdatas: Sequence[Any]) -> tuple[Any, ...]:
    return tuple((rdata.usage, rdata.selector, rdata.mtype, rdata.cert) for rdata in rdatas)


def _srv(rdatas: Sequence[Any]) -> tuple[Any, ...]:
    found = (SrvRecord(rdata.priority, rdata.weight, rdata.port, host_text(rdata.target)) for rdata in rdatas)
    return tuple(sorted(found))[:MAX_RECORDS]


def _ptr(rdatas: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(host_text(rdata.target) for rdata in rdatas[:MAX_RECORDS])


#: By type of record: what ``Answer.records`` holds.
READERS: Final[Mapping[str, Callable[[Sequence[Any]], tuple[Any, ...]]]] = {
    "MX": _mx,
    "A": _addresses,
    "AAAA": _addresses,
    "TXT": _txt,
    "TLSA": _tlsa,
    "SRV": _srv,
    "PTR": _ptr,
}


def join_addresses(six: Raw, four: Raw) -> Raw:
    """AAAA and A as one: IPv6 first.  Failed only where one failed and the other has none."""
    records = (*_addresses(six.rdatas), *_addresses(four.rdatas))
    if Found.FAILED in (six.found, four.found):
        failed, other = (six, four) if six.found is Found.FAILED else (four, six)
        if not records:
            return failed
        return Raw(Found.OK, records, min(other.ttl, PARTIAL_TTL), other.authentic, failed.error)
    ttl, authentic = min(six.ttl, four.ttl), six.authentic and four.authentic
    if records:
        return Raw(Found.OK, records, ttl, authentic)
    # A name that has no AAAA exists, whatever a broken server says to A.
    found = Found.NO_DOMAIN if six.found is four.found is Found.NO_DOMAIN else Found.NO_DATA
    return Raw(found, (), ttl, authentic)
