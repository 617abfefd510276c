"""The options of a domain: ``[domains.X]``.

Contract: what one key forbids to another is told by ``contradictions``; what concerns other sections, by
``mta.config.domain_check``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from mta.address import Address
from mta.config.option import DomainName, Name, Options, Path, TableName, option
from mta.routing.disclosure import Askers

#: Of what a local part may hold unquoted (RFC 5321 4.1.2): not the dot, and no sign of routing.
_SEPARATORS: Final = "+-=_#~"

#: Keys of domains that have mailboxes or aliases here.
_OF_MAILBOXES: Final = ("mailboxes", "aliases", "services", "catch_all", "moved", "dot_forward", "quota")


def _separators(value: str) -> str | None:
    if set(value) <= set(_SEPARATORS) and len(set(value)) == len(value):
        return None
    return f'is not made of separators; write some of "{_SEPARATORS}", each once, or "" for none'


def _home_file(value: str) -> str | None:
    if value.count("{local_part}") == 1 and not {"{", "}"} & set(value.replace("{local_part}", "")):
        return None
    return 'does not name the user; write such as "/home/{local_part}/.forward"'


class Domain(Options):
    """A domain that mail ends in, or one that we relay for."""

    mailboxes: TableName | None = option(
        None,
        doc='The mailboxes there are: "table:NAME", or "file:PATH", a file with one address or local part a line. '
        "Left out, every address of the domain exists.",
        example='"file:mailboxes"',
        shown=True,
    )
    aliases: TableName | None = option(
        None,
        doc="Addresses that lead to others, in the classic form: `name: target, target`. Commands and files may be "
        "targets only in a `[tables.X]` with `commands = true`.",
        example='"file:aliases"',
        shown=True,
    )
    deliver: Name | None = option(None, doc="The `[delivery.X]` that has the mailboxes.", example='"local"', shown=True)
    services: TableName | None = option(
        None,
        doc="Mailboxes that are with another `[delivery.X]` than `deliver`: the table's value is its name.",
        example='"file:services"',
    )
    separators: str = option(
        "+",
        doc="Letters that may divide a tag from the name of a mailbox or alias: mail for `ann+news` goes to `ann` "
        'where there is no `ann+news`. With several, "+-", each is tried, the last in the address first. "": no tags.',
        check=_separators,
        example='"+"',
    )
    catch_all: Address | None = option(
        None,
        doc="Where mail goes for what neither is a mailbox nor an alias. Left out: it is refused with 550 5.1.1, which "
        "is best: a catch-all gets all that is sent to guessed names.",
        example='"postmaster@example.org"',
    )
    names: TableName | None = option(
        None,
        doc="Full names, `address: Full Name`: VRFY tells them, and finds people by them. See docs/verify.rst.",
        example='"file:names"',
    )
    vrfy: Askers | None = option(
        None, doc="Who may know which mailboxes there are. Left out: as `verify.vrfy`.", example='"authenticated"'
    )
    expn: Askers | None = option(
        None, doc="Who may know where addresses lead. Left out: as `verify.expn`.", example='"nobody"'
    )
    moved: TableName | None = option(
        None,
        doc="Those who have moved or left, and what their senders are told: `ann: ann@new.example; reply=251; "
        "until=2027-03-31; then=550`. See docs/addresses.rst.",
        example='"file:moved"',
    )
    dot_forward: Path | None = option(
        None,
        doc="Where users of this machine say where their mail goes: a file of addresses that belongs to the user named "
        "as the mailbox. The user of the service has to be able to read it.",
        check=_home_file,
        example='"/home/{local_part}/.forward"',
    )
    quota: TableName | None = option(
        None,
        doc="What mailboxes may hold: the table's value is a size, such as `2GiB`, or `full`. With a size, the "
        "delivery service is asked what there is, at most once a minute; of those shipped, `maildir` knows.",
        example='"file:quota"',
    )
    over_quota: Literal["defer", "reject"] = option(
        "defer",
        doc='What senders are told of a full mailbox: "defer" is 452 4.2.2, and they try again; "reject" is 552 5.2.2.',
        example='"defer"',
    )
    alias_of: DomainName | None = option(
        None,
        doc="Another name of that domain: every address is that of the same name there. Nothing else is written then.",
        example='"example.org"',
    )
    null: bool = option(
        False,
        doc="The domain takes no mail at all: 556 5.1.10 to whoever sends to it. Nothing else is written then.",
        example="true",
    )
    relay: bool = option(
        False,
        doc="Not ours: mail from anybody is relayed to it, as a backup MX does.",
        example="true",
    )
    recipients: TableName | None = option(
        None,
        doc="With `relay`: the addresses there are. Left out, all are taken, and what does not exist comes "
        "back as a bounce.",
        example='"table:customers"',
    )
    call_ahead: bool = option(
        False,
        doc="With `relay`: the next host is asked at RCPT whether it takes the address, as `[call_ahead]` says; with "
        "`recipients`, for what is not among them.",
        example="false",
    )

    def contradictions(self) -> Iterator[tuple[str, str, str]]:
        """See ``Options``."""
        alone = "alias_of" if self.alias_of is not None else "null" if self.null else ""
        if alone:
            for key in (*_OF_MAILBOXES, "names", "deliver", "recipients"):
                if getattr(self, key) is not None:
                    yield key, f"a domain with {alone} has no mailboxes, aliases or recipients", "leave out one of them"
            for key in ("relay", "null", "call_ahead"):
                if getattr(self, key) and key != alone:
                    yield key, f"a domain with {alone} is nothing else", "leave out one of them"
            return
        if self.relay:
            for key in _OF_MAILBOXES:
                if getattr(self, key) is not None:
                    what = "a domain that is relayed has no mailboxes or aliases here"
                    yield key, what, "leave out this key or relay = true"
        elif self.recipients is not None:
            yield "recipients", "is for domains with relay = true", "write mailboxes = ... or add relay = true"
        elif self.call_ahead:
            yield "call_ahead", "is for domains with relay = true", "leave it out or add relay = true"
        elif self.catch_all is not None and self.mailboxes is None and self.deliver is not None:
            what = "every address of the domain exists, since no table says which mailboxes there are"
            yield "catch_all", what, "write mailboxes = ... or leave it out"
