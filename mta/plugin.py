"""What a plugin author imports: stable, documented.

A provider is a class that takes its options and the services it may use.  ``@provider(kind, type, options)``
registers it: it is found when it stands in a module of ``mta/plugins/`` of any installed distribution, and
used where the configuration names its type.  The built-in providers register in just this way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.plugin import IPlugin
from zope.interface import directlyProvides

from mta.config.option import Duration, Options, Path, Secret, Size, Table, TableName, Url, option
from mta.delivery.running import Program, Run
from mta.delivery.values import Batch, Limits
from mta.envelope import Outcome, Scope, Status
from mta.events import Event
from mta.interfaces import IProvider, IResolver, ITable
from mta.message.edits import Edit
from mta.message.header import Header, scan
from mta.message.reading import read_whole
from mta.policy.values import (
    ConnectionContext,
    DispatchContext,
    GreetingContext,
    MessageContext,
    RecipientContext,
    SenderContext,
)
from mta.reply import PermanentFailure, Reply, TemporaryFailure
from mta.verdict import Decision, Verdict

if TYPE_CHECKING:
    from mta.dkim.signer import Signer

__all__ = [
    "Batch",
    "ConnectionContext",
    "Decision",
    "DispatchContext",
    "Duration",
    "Edit",
    "GreetingContext",
    "Header",
    "Limits",
    "MessageContext",
    "Options",
    "Outcome",
    "Path",
    "PermanentFailure",
    "RecipientContext",
    "Reply",
    "Scope",
    "Secret",
    "SenderContext",
    "Services",
    "Size",
    "Status",
    "Table",
    "TableName",
    "TemporaryFailure",
    "Url",
    "Verdict",
    "option",
    "provider",
    "read_whole",
    "scan",
]

C = TypeVar("C", bound=type)


def _not_own(address: str) -> bool:
    return False


def _nothing(program: Program, run: Run) -> None:
    run.refused("no programs are started here")


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The outside world, handed in: time, chance, network, DNS, disk and the log.

    ``name`` is the section's name in the configuration.  ``reactor`` gives monotonic time (``seconds``,
    ``callLater``) and connections.  ``now`` is UTC milliseconds.  ``in_thread(work, *args)`` runs blocking
    disk work outside the reactor.  ``table(name)`` is a table of the configuration.  ``launch`` starts a program.
    ``is_own`` tells whether an IP address is one of this host's.
    """

    name: str
    hostname: str
    reactor: Any
    now: Callable[[], int]
    random: Random
    resolver: IResolver
    in_thread: Callable[..., Deferred[Any]]
    table: Callable[[str], ITable]
    emit: Callable[[Event, str], None]
    launch: Callable[[Program, Run], None] = _nothing
    is_own: Callable[[str], bool] = _not_own
    signer: Signer | None = None  # by the keys of [dkim]


def provider(kind: str, type_name: str, options: type[Options]) -> Callable[[C], C]:
    """Register a class as the provider of a seam under a type name; see the module's text.

    ``kind``: "delivery", "table", "policy.recipient", ...
    """

    def register(cls: C) -> C:
        named: Any = cls
        named.kind, named.type_name, named.options = kind, type_name, options
        directlyProvides(cls, IPlugin, IProvider)
        return cls

    return register
