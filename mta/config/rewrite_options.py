"""The options of ``[rewrite]``: canonical addresses and masquerading, at acceptance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Literal

from mta.address import AddressError, normal_domain
from mta.config.option import Options, TableName, option
from mta.routing.canonical import Canonical, Kind
from mta.routing.disclosure import Askers
from mta.routing.keys import fold
from mta.routing.rules import DomainRule

Places = Literal["envelope_sender", "envelope_recipient", "header_sender", "header_recipient"]
_ALL: Final[tuple[Places, ...]] = ("envelope_sender", "envelope_recipient", "header_sender", "header_recipient")
_HIDDEN: Final[tuple[Places, ...]] = ("envelope_sender", "header_sender", "header_recipient")


def _domains(values: tuple[str, ...]) -> str | None:
    for value in values:
        try:
            if value is not None and normal_domain(value.removeprefix("!")) != value.removeprefix("!"):
                return f'has "{value}"; write it as "{normal_domain(value.removeprefix("!"))}"'
        except AddressError as error:
            return f'has "{value}": {error}; write domains such as "example.org", or "!lab.example.org"'
    return None


class RewriteOptions(Options):
    """Addresses that get another form when mail is taken: canonical names, and hosts that hide behind their domain.
    See `docs/addresses.rst`."""

    canonical: TableName | None = option(
        None,
        doc="The form of addresses wherever they stand: `ann@old.example: ann.lee@example.org`; a local part alone is "
        "one of a domain of ours, `@old.example: @example.org` a whole domain.",
        example='"file:canonical"',
    )
    sender_canonical: TableName | None = option(
        None, doc="The same for senders alone; it comes before `canonical`.", example='"file:canonical-senders"'
    )
    recipient_canonical: TableName | None = option(
        None, doc="The same for recipients alone; it comes before `canonical`.", example='"file:canonical-recipients"'
    )
    canonical_in: tuple[Places, ...] = option(_ALL, doc="Where the tables count.")
    masquerade: tuple[str, ...] = option(
        (),
        doc="Domains that hide all below them: `ann@pc7.example.org` becomes `ann@example.org`. The first that matches "
        "counts; one with `!` stays as it is, with all below it.",
        check=_domains,
        example='["!lab.example.org", "example.org"]',
    )
    masquerade_in: tuple[Places, ...] = option(
        _HIDDEN, doc="Where they are hidden. With envelope_recipient too, mail for single hosts cannot be sent."
    )
    masquerade_except: tuple[str, ...] = option(
        (), doc="Local parts whose host stays to be seen.", example='["root", "postmaster"]'
    )
    who: Askers = option(
        "networks",
        doc='Whose mail: "networks" is that of clients that may send anywhere, by `relay.networks` or by login, '
        '"authenticated" that of those with a login alone, "anyone" all that comes, "nobody" none.',
    )
    signed: bool = option(
        False,
        doc="Change the header of mail too that has been signed or encrypted (DKIM, ARC, S/MIME, OpenPGP). Its "
        "signatures may not hold then.",
    )

    def contradictions(self) -> Iterator[tuple[str, str, str]]:
        """See ``Options``."""
        if self.masquerade_except and not self.masquerade:
            yield "masquerade_except", "there is no masquerade that they could be excepted from", "write that too"


def canonical_of(options: RewriteOptions, domains: Mapping[str, DomainRule]) -> Canonical | None:
    """What sessions go by; None where nothing is ever changed."""
    tables = (options.canonical, options.sender_canonical, options.recipient_canonical)
    if options.who == "nobody" or not (any(tables) or options.masquerade):
        return None
    return Canonical(
        table=options.canonical,
        senders=options.sender_canonical,
        recipients=options.recipient_canonical,
        canonical_in=frozenset(Kind(place) for place in options.canonical_in),
        masquerade=options.masquerade,
        masquerade_in=frozenset(Kind(place) for place in options.masquerade_in),
        keep=frozenset(fold(local) for local in options.masquerade_except),
        who=options.who,
        signed=options.signed,
        domains=domains,
    )
