"""A session on a fake clock: what a client would see, without a socket."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_network
from typing import Any

from fixed_accounts import FixedAccounts
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport

from mta.accounts.values import Account
from mta.address import Address
from mta.config.load import Configuration, from_mapping
from mta.config.rules import domain_rules, list_rules
from mta.config.verify_options import disclosed
from mta.dns.fake import FakeResolver
from mta.envelope import Envelope
from mta.events import Event
from mta.policy.engine import Policies
from mta.reply import Reply
from mta.routing.ask import Answerer
from mta.routing.directory import Directory
from mta.routing.router import Router
from mta.routing.rules import DomainRule, RoutingRules
from mta.routing.tables import MemoryTable
from mta.routing.values import MembersQuestion, NameQuestion
from mta.smtp.context import Context, MemoryBudget
from mta.smtp.factory import Connections, SmtpFactory
from mta.spool.memory import MemorySpool
from mta.spool.values import Claim, Lease
from mta.submission.identity import Mode
from mta.submission.made import Listening, Submission
from tests.dialogues.reading import ADDRESSES


@cache
def configured() -> Configuration:
    """What tests/dialogues/addresses.toml says, in a configuration that is otherwise as small as may be."""
    base = {
        "format": 1,
        "hostname": "mail.ours.example",
        "postmaster": "olga@open.example",
        "state": "var",
        "listen": [{"name": "mx", "endpoint": "tcp:2525"}],
        "delivery": {"local": {"type": "discard"}, "internet": {"type": "smtp"}},
    }
    return from_mapping({**base, **tomllib.loads(ADDRESSES.read_text(encoding="utf-8"))}, ".")


@cache
def configured_domains() -> Mapping[str, DomainRule]:
    """The domains there."""
    return domain_rules(configured().domains, list_rules(configured().lists))


@cache
def configured_tables() -> Mapping[str, Any]:
    """The tables there, which never change."""
    services: Any = None
    sections = configured().tables.items()
    return {f"table:{name}": section.provider(section.options, services) for name, section in sections}


@dataclass(kw_only=True)
class Limits:
    """Limits for tests, small where a test would otherwise be long."""

    message_size: int = 100_000
    recipients: int = 5
    connections: int = 10
    connections_per_client: int = 3
    header: int = 4096
    data_line: int = 2000
    command_line: int = 512
    memory: int = 1_000_000
    errors: int = 10
    idle_commands: int = 20
    transactions: int = 50
    received_hops: int = 5
    proxy_timeout: float = 10.0
    greet_delay: float = 0.0
    slow_after: int = 10
    slow_most: float = 20.0
    deliver_by: float = 60.0
    future_release: float = 3600.0
    command_timeout: float = 300.0
    data_timeout: float = 180.0
    transaction_timeout: float = 1800.0
    session_timeout: float = 7200.0


class Queue:
    """Takes leases and keeps them."""

    def __init__(self) -> None:
        self.leases: list[Lease | None] = []
        self.flushed: list[tuple[str, bool]] = []
        self.waiting: dict[str, int] = {}  # recipients by domain, for ``flush``
        self.refusal: Reply | None = None
        self.accepted_by: list[tuple[str, int]] = []  # client, recipients

    def birth_claim(self, leads: object = None, envelope: object = None) -> Claim | None:
        return Claim("test", 1 << 60)

    def take(self, lease: Lease | None, leads: object = None) -> None:
        self.leases.append(lease)

    def refuses(self, envelope: Envelope) -> Reply | None:
        return self.refusal

    def accepted(self, envelope: Envelope, recipients: int) -> None:
        self.accepted_by.append((envelope.origin.client, recipients))

    async def flush(self, domain: str, subdomains: bool) -> int:
        self.flushed.append((domain, subdomains))
        return self.waiting.get(domain, 0)


class Server:
    """A listener's factory with everything it needs, in memory.

    ours.example has the mailboxes ann, bob and postmaster, and the alias info for bob; relayed.example is relayed
    for; 10.0.0.0/8 may relay.  Further domains are those of tests/dialogues/addresses.toml.  198.51.100.0/26 may say
    XCLIENT, that and 198.51.100.64/26 XFORWARD, and 198.51.100.128/25 are proxies.  With ``submission`` ann and bob
    have accounts of these names; ``identity`` is how strictly they are held to their addresses.
    """

    def __init__(
        self,
        tables: Mapping[str, Any] | None = None,
        lmtp: bool = False,
        submission: bool = False,
        identity: Mode = Mode.STRICT,
        **limits: Any,
    ) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.limits = Limits(**limits)
        self.spool = MemorySpool(now=self.now)
        self.queue = Queue()
        self.events: list[tuple[str, Event]] = []
        self.resolver = FakeResolver()
        self.tables: dict[str, Any] = {
            "boxes": MemoryTable({"ann": "", "bob": ""}),
            "aliases": MemoryTable(
                {"info": "bob@ours.example", "loop": "loop2@ours.example", "loop2": "loop@ours.example"}
            ),
            **configured_tables(),
            **(tables or {}),
        }
        rules = RoutingRules(
            postmaster=Address("ann", "ours.example"),
            services=frozenset({"local", "internet"}),
            final=frozenset({"local"}),
            domains={
                "ours.example": DomainRule(name="ours.example", mailboxes="boxes", aliases="aliases", deliver="local"),
                "relayed.example": DomainRule(name="relayed.example", relay=True),
                **configured_domains(),
            },
        )
        others: dict[type, Any] = {}
        directory = Directory(self.tables.__getitem__, rules, lambda work, *args: succeed(work(*args)))
        others[NameQuestion], others[MembersQuestion] = directory.people, directory.members
        self.memory = MemoryBudget()
        self.accounts = FixedAccounts()
        self.accounts.put(Account(name="ann", addresses=("ann@ours.example",), delegated=("office@foreign.example",)))
        self.accounts.put(Account(name="bob", addresses=("bob@ours.example",), message_size=2000, recipients=2))
        self.mode = identity
        self.context = Context(
            listener="mx",
            hostname="mail.ours.example",
            limits=self.limits,
            networks=() if lmtp or submission else (ip_network("10.0.0.0/8"), ip_network("2001:db8:1::/48")),
            lmtp=lmtp,
            submission=submission,
            accounts=self.accounts if submission else None,
            policies=self.submission_policies(rules, others) if submission else None,
            router=Router(rules),
            answerer=Answerer(self.tables, self.resolver, others),
            resolver=self.resolver,
            spool=self.spool,
            queue=self.queue,
            memory=self.memory,
            configuration="test",
            seconds=self.clock.seconds,
            sleep=self.sleep,
            now=self.now,
            emit=lambda event, id: self.events.append((id, event)),
            banner=Reply.of(220, "", "mail.ours.example ESMTP"),
            proxy=(ip_network("198.51.100.128/25"),),
            xclient=(ip_network("198.51.100.0/26"),),
            xforward=(ip_network("198.51.100.0/25"),),
            disclosure=disclosed(configured().verify, rules.domains),
        )
        self.connections = Connections()
        self.factory = SmtpFactory(self.context, self.connections, self.clock.callLater)

    def submission_policies(self, rules: RoutingRules, others: Mapping[type, Any]) -> Policies:
        submission = Submission(
            rules=rules,
            answerer=Answerer(self.tables, self.resolver, others),
            hostname="mail.ours.example",
            listeners={"mx": Listening(mode=self.mode, accounts=self.accounts)},
            accounts=None,
            brakes=None,
        )
        return Policies(submission.of_listener("mx"), self.clock.callLater, self.clock.seconds, self.now, self.tell)

    def tell(self, event: Event, id: str) -> None:
        self.events.append((id, event))

    def now(self) -> int:
        return 1_700_000_000_000 + round(self.clock.seconds() * 1000)

    def sleep(self, seconds: float) -> Deferred[None]:
        return deferLater(self.clock, seconds)

    def connect(self, client: str = "203.0.113.9", kind: str = "TCP") -> Client:
        return Client(self, client, kind)

    def messages(self) -> list[tuple[Lease, bytes]]:
        """What was accepted: leases with the messages' octets."""
        found = []
        for lease in self.queue.leases:
            assert lease is not None
            found.append((lease, read(lease.message)))
        return found


def read(message: Any) -> bytes:
    """All octets of a message that lies in memory."""
    chunks = message.open()
    parts = []
    while part := chunks.next():
        parts.append(part)
    return b"".join(parts)


class ClientTransport(StringTransport):
    """Keeps what the server did with the connection."""

    aborted = False
    protocol: Any = None

    def abortConnection(self) -> None:
        self.aborted = True
        self.loseConnection()


class Client:
    """A client's end of one connection."""

    def __init__(self, server: Server, client: str, kind: str) -> None:
        from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

        make = IPv6Address if ":" in client else IPv4Address
        address = UNIXAddress(None) if kind == "UNIX" else make("TCP", client, 40000)
        self.server = server
        self.transport = ClientTransport()
        self.transport.protocol = server.factory.buildProtocol(address)
        self.protocol.makeConnection(self.transport)

    @property
    def protocol(self) -> Any:
        """The one in force: what stands before a session gives way to it."""
        return self.transport.protocol

    @property
    def closed(self) -> bool:
        return self.transport.disconnecting

    def send(self, octets: bytes) -> None:
        self.protocol.dataReceived(octets)

    def seen(self) -> bytes:
        """What the server sent since the last call."""
        octets = self.transport.value()
        self.transport.clear()
        return octets

    def say(self, line: str | bytes) -> str:
        """One command; its reply as text, lines joined by "|"."""
        octets = line if isinstance(line, bytes) else line.encode("utf-8")
        self.send(octets + b"\r\n")
        return self.seen().decode("ascii").removesuffix("\r\n").replace("\r\n", "|")

    def greet(self) -> Client:
        self.seen()
        assert self.say("EHLO client.example").startswith("250")
        return self

    def message(self, sender: str, *recipients: str, data: bytes = b"Subject: x\r\n\r\nhello\r\n") -> str:
        """A whole transaction; the reply to the final dot."""
        assert self.say(f"MAIL FROM:<{sender}>").startswith("250"), "MAIL"
        for recipient in recipients:
            assert self.say(f"RCPT TO:<{recipient}>").startswith("250"), recipient
        assert self.say("DATA").startswith("354"), "DATA"
        return self.say(data + b".")

    def leave(self) -> None:
        """The connection is lost."""
        from twisted.internet.error import ConnectionDone
        from twisted.python.failure import Failure

        self.protocol.connectionLost(Failure(ConnectionDone()))
