"""One question to the DNS servers, by dnspython: over UDP, over TCP after truncation (RFC 7766 5), the next server
on trouble.

Contract: ``Stub.ask`` tells what DNS says as a ``Raw``, whatever it says; it raises only ``Cancelled``.  A
question has EDNS with 1232 octets (no fragments: DNS Flag Day 2020) and AD set, which asks a validating server
to say whether the answer is authentic (RFC 6840 5.7); DO would bring signatures that nobody here looks at.  What the
server says counts only if it is to be trusted in that (``Servers.trusted``) and says it of each alias on the way
(RFC 4035 3.2.3).
A server that does not know EDNS is asked without it (RFC 6891 7).
How it fails: ``Found.FAILED`` with the reason: servers silent or out of order, or an answer that is none (a
referral by a server that does not resolve).
Limits: ``CHAIN`` aliases (CNAME, RFC 1034 3.6.2) are followed beyond those that the server followed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.name
import dns.rcode
import dns.rdatatype
import dns.resolver

from mta.dns.backend import TwistedBackend
from mta.dns.servers import NoServers, Servers
from mta.routing.values import Found

EDNS_OCTETS: Final = 1232
CHAIN: Final = 8
#: How long one server gets before the next is asked.
TRY_SECONDS: Final = 3.0


class Raw(NamedTuple):
    """What DNS says to one question.  ``ttl`` is seconds; ``rdatas`` are dnspython's."""

    found: Found
    rdatas: Sequence[Any] = ()
    ttl: float = 0
    authentic: bool = False
    error: str = ""


class Stub:
    """Asks the servers; ``timeout`` bounds a question in seconds."""

    def __init__(self, reactor: Any, servers: Servers, timeout: float) -> None:
        self._servers = servers
        self._backend = TwistedBackend(reactor)
        self._timeout = timeout

    async def ask(self, name: str, kind: str) -> Raw:
        """The records of a type, e.g. ``"MX"``; see the module's text."""
        try:
            qname = dns.name.from_text(name, dns.name.root)
        except (dns.exception.DNSException, ValueError):
            return Raw(Found.NO_DOMAIN, error=f"{name} cannot be a name in DNS")
        record = dns.rdatatype.RdataType.make(kind)
        try:
            try:
                return await self._follow(qname, record)
            except dns.resolver.NoNameservers as error:
                if not _knows_no_edns(error):
                    raise
                return await self._follow(qname, record, edns=False)
        except dns.resolver.LifetimeTimeout:
            return Raw(Found.FAILED, error=f"no DNS server answered within {self._timeout:g} s")
        except dns.resolver.NoNameservers as error:
            return Raw(Found.FAILED, error=_server_errors(error))
        except (dns.exception.DNSException, NoServers) as error:
            return Raw(Found.FAILED, error=str(error) or type(error).__name__)

    async def _follow(self, qname: dns.name.Name, kind: dns.rdatatype.RdataType, edns: bool = True) -> Raw:
        resolver = self._resolver(edns)
        ttl, authentic = float("inf"), self._servers.trusted()
        for _ in range(CHAIN):
            try:
                answer = await resolver.resolve(
                    qname, kind, raise_on_no_answer=False, search=False, backend=self._backend
                )
            except dns.resolver.NXDOMAIN as error:
                return _no_domain(error, ttl, authentic)
            response = answer.response
            if response.flags & dns.flags.TC:
                # Over TCP: dnspython has asked again by now.  RFC 2181 9: what is missing cannot be known.
                return Raw(Found.FAILED, error="the DNS server truncates its answer over TCP too")
            authentic = authentic and bool(response.flags & dns.flags.AD)
            ttl = min(ttl, answer.chaining_result.minimum_ttl)
            if answer.rrset is not None:
                return Raw(Found.OK, tuple(answer.rrset), ttl, authentic)
            kinds = {rrset.rdtype for rrset in response.authority}
            if dns.rdatatype.SOA not in kinds:
                if answer.canonical_name != qname:
                    qname = answer.canonical_name  # the server did not follow the alias to its end
                    continue
                if dns.rdatatype.NS in kinds:
                    # RFC 2308 2.2: name servers without a SOA are a referral, which says nothing of the name.
                    return Raw(Found.FAILED, error="the DNS server refers to others instead of answering")
            return Raw(Found.NO_DATA, (), ttl, authentic)
        return Raw(Found.FAILED, error="the chain of aliases (CNAME) is too long")

    def _resolver(self, edns: bool) -> dns.asyncresolver.Resolver:
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers = self._servers.current()
        resolver.use_edns(0 if edns else -1, 0, EDNS_OCTETS)
        resolver.set_flags(dns.flags.RD | dns.flags.AD)
        resolver.timeout = min(TRY_SECONDS, self._timeout / 2)
        resolver.lifetime = self._timeout
        return resolver


def _no_domain(error: dns.resolver.NXDOMAIN, ttl: float, authentic: bool) -> Raw:
    """``ttl`` and ``authentic`` are those of the aliases that led there."""
    response = next(iter(error.responses().values()))  # type: ignore[no-untyped-call]
    ttl = min(ttl, response.resolve_chaining().minimum_ttl)
    return Raw(Found.NO_DOMAIN, (), ttl, authentic and bool(response.flags & dns.flags.AD))


def _knows_no_edns(error: dns.resolver.NoNameservers) -> bool:
    """RFC 6891 7: a server without EDNS answers FORMERR or NOTIMP, and that without EDNS."""
    return any(
        response is not None and response.edns < 0 and response.rcode() in (dns.rcode.FORMERR, dns.rcode.NOTIMP)
        for *_, response in error.kwargs.get("errors", ())
    )


def _server_errors(error: dns.resolver.NoNameservers) -> str:
    """What each server said, in short: "127.0.0.1: SERVFAIL"."""
    told = []
    for server, _tcp, _port, trouble, _response in error.kwargs.get("errors", ()):
        address = server.partition(":")[2].rpartition("@")[0] or server
        told.append(f"{address}: {trouble or type(trouble).__name__}")
    return "; ".join(told) or "no DNS server can be used"
