"""How fast mail goes out: ``[[pace]]``.

Contract: each rule says what it is for by one of ``to``, ``hosts`` and ``source``; what it does stands in
``mta.queue.pace``.
"""

from __future__ import annotations

from collections.abc import Iterator

from mta.config.option import DomainPattern, Name, Options, at_least, option
from mta.queue.pace import PaceRule


class Pace(Options):
    """How much goes to one place at once and a minute.

    A rule is for domains of recipients (`to`), for mail hosts (`hosts`) or for addresses of this machine (`source`).
    Of the rules of one such kind the first that matches counts; those of different kinds hold together.  One without
    limits is an exception from those that follow.
    """

    name: Name = option(doc="Stands in the log and in `mta queue stats`; unique.", example='"provider"')
    to: tuple[DomainPattern, ...] = option(
        (),
        doc='Recipient domains: "partner.example" alone, "*.partner.example" for all below it, "*" for all. Each '
        "counts by itself.",
    )
    hosts: tuple[DomainPattern, ...] = option(
        (),
        doc="Hosts that MX records or `delivery.X.host` name. All that match count together, so that the many domains "
        "at one provider share its limit.",
        example='["*.provider.example"]',
    )
    source: tuple[str, ...] = option((), doc="Addresses of `delivery.X.source`. Each counts by itself.")
    shared: bool | None = option(
        None,
        doc="true: all that matches counts together; false: each domain, host or address by itself. Left out: as said "
        "there.",
        example="true",
    )
    connections: int = option(
        0,
        doc="The most connections at once; with `to`, the most messages under way. 0: no such limit.",
        unit="connections",
        check=at_least(0),
    )
    messages_per_connection: int = option(
        0, doc="The most messages on one connection. 0: no such limit.", unit="messages", check=at_least(0)
    )
    messages_per_minute: int = option(
        0,
        doc="The most messages a minute, spread evenly. Where a host asks us to go slower it is halved, and grows back "
        "by a twentieth each minute. 0: no such limit.",
        unit="messages",
        check=at_least(0),
    )
    recipients_per_minute: int = option(
        0, doc="The most recipients a minute. 0: no such limit.", unit="recipients", check=at_least(0)
    )

    def contradictions(self) -> Iterator[tuple[str, str, str]]:
        """See ``Options``."""
        kinds = [key for key in ("to", "hosts", "source") if getattr(self, key)]
        if len(kinds) != 1:
            what = "says nothing of what it is for" if not kinds else f"is for {' and '.join(kinds)} at once"
            yield "name", f"the rule {what}", "write one of to, hosts and source, and a rule for each"

    @property
    def rule(self) -> PaceRule:
        """What the queue goes by."""
        return PaceRule(
            name=self.name,
            to=self.to,
            hosts=self.hosts,
            source=self.source,
            shared=bool(self.hosts) if self.shared is None else self.shared,
            connections=self.connections,
            messages_per_connection=self.messages_per_connection,
            messages_per_minute=self.messages_per_minute,
            recipients_per_minute=self.recipients_per_minute,
        )
