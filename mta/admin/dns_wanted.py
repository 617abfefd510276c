"""The DNS records that a configuration asks for.  Pure.

What it is: ``domain_records`` are those of a domain, ``host_records`` those of this host.
Contract: each ``Wanted`` is one record as a zone file has it, with what it is for; ``needed`` false: mail works without
it, and worse.  Where something is not known, such as an address of this host, ``data`` is "" and ``why`` says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import ip_address
from typing import NamedTuple

from dns.reversename import from_address

from mta.admin.zone import txt_data
from mta.dkim.keys import record
from mta.dkim.ledger import Entry
from mta.dkim.published import record_name


class Wanted(NamedTuple):
    """``name`` has no dot at its end; ``text`` is that of a TXT record, whole; ``entry`` the key of a DKIM record."""

    name: str
    kind: str
    data: str
    why: str
    needed: bool = True
    text: str = ""
    entry: Entry | None = None


class Service(NamedTuple):
    """What mail programs connect to: ``implicit`` is TLS from the start."""

    protocol: str  # "submission", "imap", "pop3"
    host: str
    port: int
    implicit: bool

    @property
    def srv(self) -> str:
        """Its name in SRV records (RFC 6186 3, RFC 8314 5.1)."""
        return f"_{self.protocol}{'s' * self.implicit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """This host.  ``addresses``: those under which it is known; ``sources``: others that mail leaves from;
    ``smart_host``: who sends for it; ``tlsa``: the digest of its public key, in hex; ``web``: who has the files."""

    hostname: str
    addresses: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    smart_host: str = ""
    tlsa: str = ""
    services: tuple[Service, ...] = ()
    web: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """A domain of ours.  ``backup``: it is only relayed; ``null``: it takes no mail; ``bare``: it has no people, only
    return paths."""

    name: str
    keys: Sequence[Entry] = field(default=())
    backup: bool = False
    null: bool = False
    bare: bool = False


def domain_records(site: Site, zone: Zone) -> Iterator[Wanted]:
    """All records of a domain."""
    name = zone.name
    if zone.null:
        # RFC 7505 3
        yield Wanted(name, "MX", "0 .", "it takes no mail")
        yield _txt(name, "v=spf1 -all", "and sends none")
        yield _txt(f"_dmarc.{name}", "v=DMARC1; p=reject", "whoever writes in its name is refused")
        return
    preference = 20 if zone.backup else 10
    yield Wanted(name, "MX", f"{preference} {site.hostname}.", "mail for it comes here")
    if zone.backup:
        return
    yield _txt(name, _spf(site), "who sends in its name (SPF)")
    for entry in zone.keys:
        why = f"its key for signatures, {entry.state}"
        yield _txt(record_name(entry.selector, name), record(entry.algorithm, entry.public), why)._replace(entry=entry)
    if zone.bare:
        return
    yield _txt(
        f"_dmarc.{name}",
        f"v=DMARC1; p=none; rua=mailto:postmaster@{name}",
        "what others do with mail that proves nothing (DMARC); p=reject when the reports show none of yours",
    )
    report = f"v=TLSRPTv1; rua=mailto:postmaster@{name}"
    yield _txt(f"_smtp._tls.{name}", report, "reports on TLS (RFC 8460 3)", needed=False)
    for service in site.services:
        data = f"0 1 {service.port} {service.host}."
        yield Wanted(f"{service.srv}._tcp.{name}", "SRV", data, "where mail programs find it (RFC 6186)", needed=False)
    if site.web:
        # RFC 8461 3.1: the id changes with the policy.
        digest = sha256(sts_policy(site).encode()).hexdigest()[:16]
        yield _txt(f"_mta-sts.{name}", f"v=STSv1; id={digest}", "others insist on TLS (MTA-STS)", needed=False)
        web = f"{site.web}."
        yield Wanted(f"mta-sts.{name}", "CNAME", web, "has the policy of MTA-STS", needed=False)
        yield Wanted(f"autoconfig.{name}", "CNAME", web, "has the file for Thunderbird", needed=False)
        yield Wanted(f"autodiscover.{name}", "CNAME", web, "has the file for Outlook", needed=False)
        data = f"0 0 443 {web}"
        yield Wanted(f"_autodiscover._tcp.{name}", "SRV", data, "has the file for Outlook", needed=False)


def host_records(site: Site) -> Iterator[Wanted]:
    """All records of this host."""
    for address in site.addresses:
        kind = "A" if ip_address(address).version == 4 else "AAAA"
        yield Wanted(site.hostname, kind, address, "this host")
    if not site.addresses:
        yield Wanted(site.hostname, "A", "", "this host; its address is not known here: say --address")
    for address in site.addresses:
        reverse = from_address(address).to_text(omit_final_dot=True)
        yield Wanted(reverse, "PTR", f"{site.hostname}.", f"the name of {address}; who gives you the address sets it")
    yield _txt(site.hostname, _spf_of_host(site), "who uses its name in HELO (RFC 7208 2.3)")
    if site.tlsa:
        yield Wanted(
            f"_25._tcp.{site.hostname}",
            "TLSA",
            f"3 1 1 {site.tlsa}",
            "its key for TLS (RFC 7672); only where the zone is signed by DNSSEC",
            needed=False,
        )


def sts_policy(site: Site) -> str:
    """What https://mta-sts.DOMAIN/.well-known/mta-sts.txt has (RFC 8461 3.2): enforced where there is a certificate."""
    mode = "enforce" if site.tlsa else "testing"
    return f"version: STSv1\r\nmode: {mode}\r\nmx: {site.hostname}\r\nmax_age: 604800\r\n"


def _txt(name: str, text: str, why: str, *, needed: bool = True) -> Wanted:
    return Wanted(name, "TXT", txt_data(text), why, needed, text)


def _spf(site: Site) -> str:
    terms = ["mx", *_addresses(site)]
    if site.smart_host:
        terms.append(f"a:{site.smart_host}")
    return f"v=spf1 {' '.join(terms)} -all"


def _spf_of_host(site: Site) -> str:
    return f"v=spf1 {' '.join(['a', *_addresses(site)])} -all"


def _addresses(site: Site) -> list[str]:
    others = [address for address in site.sources if address not in site.addresses]
    return [f"ip{ip_address(address).version}:{address}" for address in others]
