"""Domains, tables and an account for tests of identity, and what is decided with them at once."""

from __future__ import annotations

from typing import Any

from mta.accounts.values import Account
from mta.address import Address
from mta.dns.fake import FakeResolver
from mta.message.header import scan
from mta.routing.ask import Answerer, resolve
from mta.routing.rules import DomainRule, RoutingRules
from mta.routing.tables import MemoryTable
from mta.submission.identity import Authors, Finding, Mode, authors, sender
from mta.submission.ownership import Ownership
from mta.submission.syntax import read_names

RULES = RoutingRules(
    postmaster=Address("ann", "ours.example"),
    services=frozenset({"local", "internet"}),
    final=frozenset({"local"}),
    domains={
        "ours.example": DomainRule(
            name="ours.example", mailboxes="boxes", aliases="aliases", deliver="local", separators="+-"
        ),
        "also.example": DomainRule(name="also.example", alias_of="ours.example"),
        "open.example": DomainRule(name="open.example", deliver="local", separators="+"),
        "caught.example": DomainRule(
            name="caught.example", mailboxes="none", deliver="local", catch_all=Address("ann", "ours.example")
        ),
        "silent.example": DomainRule(name="silent.example", null=True),
        "xn--bcher-kva.example": DomainRule(name="xn--bcher-kva.example", mailboxes="boxes", deliver="local"),
    },
)
TABLES: dict[str, Any] = {
    "boxes": MemoryTable({"ann": "", "bob": "", "ann-marie": "", "buch": ""}),
    "none": MemoryTable({}),
    "aliases": MemoryTable(
        {
            "sales": "ann@ours.example",
            "deep": "sales@ours.example",
            "team": "ann@ours.example, bob@ours.example",
            "boss": "bob@ours.example",
            "loop": "loop@ours.example",
            "away": "ann@elsewhere.example",
        }
    ),
}
OWNERSHIP = Ownership(RULES)
ANSWERER = Answerer(TABLES, FakeResolver())
ANN = Account(
    name="ann",
    addresses=("ann@ours.example", "a.example@open.example", "nonsense"),
    delegated=("office@foreign.example", "@shop.example", "@", "@bücher.example"),
)


def basis(address: str, account: Account = ANN) -> Any:
    """On what ground the account may send as the address."""
    parsed = Address.parse(address, utf8=True)
    return resolve(lambda facts: OWNERSHIP.basis(account, parsed, facts), {}, ANSWERER)


def at_mail(address: str, mode: Mode = Mode.STRICT, account: Account = ANN) -> Finding | None:
    path = Address.parse(address, utf8=True) if address else None
    found: Any = resolve(lambda facts: sender(OWNERSHIP, account, path, mode, facts), {}, ANSWERER)
    return found


def at_end(header: bytes | str, mode: Mode = Mode.STRICT, account: Account = ANN) -> Authors:
    """Raises ``PermanentFailure``."""
    octets = header.encode() if isinstance(header, str) else header
    names = read_names(scan(octets.replace(b"\n", b"\r\n") + b"\r\n\r\n"))
    found: Any = resolve(lambda facts: authors(OWNERSHIP, account, names, mode, facts), {}, ANSWERER)
    return found


def wrong(header: bytes | str, mode: Mode = Mode.STRICT) -> str:
    """The check that failed, and by what; "" where none did."""
    finding = at_end(header, mode).finding
    return "" if finding is None else f"{finding.check}: {finding.address}"
