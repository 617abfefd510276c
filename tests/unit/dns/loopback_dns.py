"""A real DNS server on loopback for tests: dnspython's messages on Twisted's UDP and TCP sockets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
from twisted.internet import reactor
from twisted.internet.defer import gatherResults, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol

Query = dns.message.QueryMessage
#: Fills in the response; may return octets to send instead, or None to stay silent.
Handler = Callable[[Query, Query], "Query | bytes | list | None"]


class Zone:
    """A handler that answers from text in the form of a zone file.  ``asked`` counts (name, type, transport)."""

    def __init__(self, text: str = "", authentic: bool = False) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.authentic = authentic
        self.special: dict[str, Handler] = {}
        self.asked: Counter[tuple[str, str, str]] = Counter()
        self.queries: list[Query] = []
        self.client: tuple[str, int] = ("", 0)  # who asked last over UDP
        for line in text.strip().split("\n"):
            if line.strip():
                name, kind, data = line.split(None, 2)
                self.records.setdefault((name, kind), []).append(data)

    def answer(self, query: Query, transport: str) -> Query | bytes | list | None:
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True)
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked[name, kind, transport] += 1
        self.queries.append(query)
        response = dns.message.make_response(query, recursion_available=True)
        if self.authentic:
            response.flags |= dns.flags.AD
        if name in self.special:
            special = self.special[name]
            return special(query, response, transport)
        return self.fill(name, kind, response)

    def fill(self, name: str, kind: str, response: Query) -> Query:
        while kind != "CNAME" and (name, "CNAME") in self.records:
            target = self.records[name, "CNAME"][0]
            response.answer.append(dns.rrset.from_text(f"{name}.", 300, "IN", "CNAME", target))
            name = target.rstrip(".")
        if (name, kind) in self.records:
            response.answer.append(dns.rrset.from_text(f"{name}.", 300, "IN", kind, *self.records[name, kind]))
            return response
        if not any(known == name for known, _ in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        soa = f"ns.{name}. root.{name}. 1 3600 600 86400 60"
        response.authority.append(dns.rrset.from_text(f"{name}.", 3600, "IN", "SOA", soa))
        return response


class _Udp(DatagramProtocol):
    noisy = False

    def __init__(self, zone: Zone) -> None:
        self.zone = zone

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        self.zone.client = addr
        answer = self.zone.answer(dns.message.from_wire(datagram), "udp")
        for part in answer if isinstance(answer, list) else [answer]:
            if part is not None:
                octets = part if isinstance(part, bytes) else part.to_wire()
                self.transport.write(octets, addr)


class _Tcp(Protocol):
    def connectionMade(self) -> None:
        self.buffer = b""
        self.factory.connections.add(self)

    def connectionLost(self, reason: object = None) -> None:
        self.factory.connections.discard(self)

    def dataReceived(self, data: bytes) -> None:
        self.buffer += data
        while len(self.buffer) >= 2 and len(self.buffer) >= 2 + int.from_bytes(self.buffer[:2], "big"):
            end = 2 + int.from_bytes(self.buffer[:2], "big")
            query, self.buffer = self.buffer[2:end], self.buffer[end:]
            answer = self.factory.zone.answer(dns.message.from_wire(query), "tcp")
            if answer is None:
                self.transport.loseConnection()
            else:
                octets = answer if isinstance(answer, bytes) else answer.to_wire(max_size=65535)
                octets = len(octets).to_bytes(2, "big") + octets
                self.transport.write(octets[:7])  # in two segments: the client must put them together
                reactor.callLater(0, self.transport.write, octets[7:])


class LoopbackDns:
    """Listens on one port of loopback, UDP and TCP."""

    def __init__(self, zone: Zone, host: str = "127.0.0.1") -> None:
        factory = Factory.forProtocol(_Tcp)
        factory.zone, factory.connections, factory.noisy = zone, set(), False
        self._factory = factory
        while True:
            self._tcp = reactor.listenTCP(0, factory, interface=host)
            self.port = self._tcp.getHost().port
            try:
                self._udp = reactor.listenUDP(self.port, _Udp(zone), interface=host)
                break
            except CannotListenError:  # another program has the UDP port of that number
                self._tcp.stopListening()
        self.server = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    def stop(self):
        for connection in list(self._factory.connections):
            connection.transport.abortConnection()
        return gatherResults([maybeDeferred(self._tcp.stopListening), maybeDeferred(self._udp.stopListening)])
