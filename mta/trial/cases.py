"""The tests of a configuration as they are written: ``tests.d/*.toml`` beside it, ``[[case]]`` each.

Contract: read as the configuration is: unknown keys, and values that are not what a key needs, are problems with their
file and key path, all of them at once; a file that anybody may write is refused.
Limits: ``MOST_CASES`` in all files together.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, Any, Final, NamedTuple

from mta.config.convert import converter, read_options
from mta.config.files import read
from mta.config.option import Options, Size, option
from mta.config.problems import ConfigurationError, Problem
from mta.config.providers import Providers
from mta.config.schema import Configuration
from mta.dns.fake import FakeResolver
from mta.trial.answers import read_reply
from mta.trial.values import CLIENT, HELO, SENDER

FOLDER: Final = "tests.d"
MOST_CASES: Final = 500
_ENDS: Final = "/"

Entries = Mapping[Annotated[str, str], str]


def matches(expected: str, came: str) -> bool:
    """Is it what was expected: whole words that it begins with, or a regular expression between slashes."""
    if len(expected) > 1 and expected.startswith(_ENDS) and expected.endswith(_ENDS):
        return re.search(expected[1:-1], came) is not None
    return f"{came} ".startswith(f"{expected} ") if expected else True


def _well_formed(value: str | Iterable[str]) -> str | None:
    for text in [value] if isinstance(value, str) else value:
        if text is not None and len(text) > 1 and text.startswith(_ENDS) and text.endswith(_ENDS):
            try:
                re.compile(text[1:-1])
            except re.error as error:
                return f"is no regular expression: {error}"
    return None


def _values_well_formed(value: Mapping[str, str]) -> str | None:
    return _well_formed(value.values())


def _day(value: str) -> str | None:
    try:
        return None if not value or date.fromisoformat(value).isoformat() == value else "is no day"
    except ValueError:
        return 'is no day; write one such as "2027-03-31"'


def _replies(value: Mapping[str, str]) -> str | None:
    for text in value.values():
        try:
            read_reply(text)
        except ValueError as error:
            return str(error)
    return None


def _some(value: tuple[object, ...]) -> str | None:
    return None if value else "is empty; write at least one"


class Expect(Options):
    """What is to come of a case.  A reply or header is what the text begins with, or a `/regular expression/`."""

    reply: tuple[str, ...] = option((), doc="What becomes of each of `to` in the end, or of all.", check=_well_formed)
    mail: str = option("", doc="The reply to MAIL.", check=_well_formed)
    rcpt: tuple[str, ...] = option((), doc="The replies to RCPT, for each of `to` or for all.", check=_well_formed)
    data: str = option("", doc="The reply to the message.", check=_well_formed)
    recipients: tuple[str, ...] | None = option(None, doc="All final recipients, in any order.")
    route: tuple[str, ...] = option(
        (), doc='"SERVICE" or "SERVICE:NEXT HOP" of all final recipients, or of each in the order of `recipients`.'
    )
    sender: str = option("", doc="The reverse-path with which it goes on to all of them.", check=_well_formed)
    held: bool = option(False, doc="Whether all of them would be held; else none may be.")
    hosts: tuple[str, ...] | None = option(None, doc="The mail hosts, in the order in which they would be tried.")
    tls: str = option("", doc="The level of TLS that is demanded there, as in the configuration.")
    header: Entries = option(factory=dict, doc="Fields of the stored header.", check=_values_well_formed)
    no_header: tuple[str, ...] = option((), doc="Fields that it does not have.")


class Case(Options):
    """One message, and what is to come of it."""

    name: str = option(doc="Stands in what is said of it.")
    client: IPv4Address | IPv6Address = option(ip_address(CLIENT), doc="Who connects.")
    helo: str = option(HELO, doc="The name in EHLO.")
    auth: str = option("", doc="Who has authenticated.")
    listener: str = option("", doc="The name of a listener.")
    from_: str = option(SENDER, doc="The address in MAIL.")
    to: tuple[str, ...] = option(doc="The addresses in RCPT.", check=_some)
    size: int = option(0, doc="SIZE in MAIL.")
    dns: Mapping[Annotated[str, str], tuple[str, ...]] = option(factory=dict, doc="Names and their records.")
    tables: Mapping[Annotated[str, str], Entries] = option(factory=dict, doc="Entries of tables.")
    day: str = option("", doc="The day that it is.", check=_day)
    used: Size = option(Size(0), doc="What each mailbox holds, where a quota is asked for.")
    calls: Entries = option(
        factory=dict,
        doc="What next hosts say of addresses, where a domain has `call_ahead`: replies to RCPT.",
        check=_replies,
    )
    header: str = option("", doc="The header of the message.")
    body: str = option("", doc="Its body.")
    expect: Expect = option(doc="What is to come of it.")

    def contradictions(self) -> Iterator[tuple[str, str, str]]:
        """See ``Options``."""
        for key in ("reply", "rcpt"):
            if len(getattr(self.expect, key)) not in (0, 1, len(self.to)):
                yield "expect", f"{key} has neither one text nor one for each of `to`", "write so many"
        routes, recipients = self.expect.route, self.expect.recipients
        if len(routes) > 1 and len(routes) != len(recipients or ()):
            yield "expect", "route has several texts, and not one for each of `recipients`", "write so many"
        nothing: Any = Expect
        if self.expect == nothing():
            yield "expect", "expects nothing", 'write reply = "250" or another'
        if self.size < 0:
            yield "size", "is less than nothing", "leave it out"
        for text in (self.helo, self.from_, *self.to):
            if any(letter in text for letter in "\r\n\0"):
                yield "to", f"{text!r} has a line break", "leave it out"
        try:
            self.resolver()
        except (KeyError, ValueError) as error:
            yield "dns", f"has a record that cannot be read: {error}", 'write such as "MX 10 mx.example.net"'

    def resolver(self) -> FakeResolver:
        """A DNS that knows what the case says of it."""
        return FakeResolver(self.dns)

    def message(self) -> bytes:
        """What is sent."""
        header = self.header or "Subject: test"
        text = header.rstrip("\r\n") + "\n\n" + (self.body or "test")
        lines = text.replace("\r\n", "\n").rstrip("\n").split("\n")
        return "".join(f"{line}\r\n" for line in lines).encode("utf-8", "surrogateescape")


class CaseFile(Options):
    """One file of tests."""

    case: tuple[Case, ...] = option((), doc="Cases.")


class Placed(NamedTuple):
    """A case, and where it stands."""

    case: Case
    file: str
    key: str

    def problem(self, what: str) -> Problem:
        """What is wrong with it, or with the configuration by it."""
        return Problem(self.file, f'{self.key} "{self.case.name}"', what)


class Cases(NamedTuple):
    """Those that could be read, and what is wrong with the others."""

    cases: list[Placed]
    problems: list[Problem]


def read_cases(configuration: Configuration) -> Cases:
    """The tests beside the configuration's first file; none where it was read from none."""
    found: list[Placed] = []
    problems: list[Problem] = []
    for file in files_of(configuration):
        try:
            one, wrong = _read_file(file)
            found += one
            problems += wrong
        except ConfigurationError as error:
            problems += error.problems
    cases = []
    for placed in found:
        unknown = list(_unknown(placed, configuration))
        problems += unknown
        if not unknown:
            cases.append(placed)
    if len(cases) > MOST_CASES:
        problems.append(Problem(cases[MOST_CASES].file, "case", f"over {MOST_CASES} cases", "leave some out"))
    return Cases(cases[:MOST_CASES], problems)


def files_of(configuration: Configuration) -> list[str]:
    """The files of its tests, in sorted order."""
    if not configuration.files:
        return []
    folder = os.path.join(os.path.dirname(configuration.files[0]), FOLDER)
    return sorted(glob.glob(os.path.join(glob.escape(folder), "*.toml")))


def _read_file(file: str) -> tuple[list[Placed], list[Problem]]:
    tree = read(file)
    if tree.problems:
        return [], list(tree.problems)
    # No section in it has a ``type``, and no value is secret.
    cases: Any = read_options(converter(Providers(), {}), CaseFile, tree.root)
    return [Placed(case, file, f"case[{index}]") for index, case in enumerate(cases.case)], []


def _unknown(placed: Placed, configuration: Configuration) -> Iterator[Problem]:
    """Names that the configuration does not have."""
    case = placed.case
    if case.listener and all(one.name != case.listener for one in configuration.listen):
        yield placed.problem(f"there is no listener {case.listener}")
    for name in case.tables:
        if not name.startswith("file:") and name.removeprefix("table:") not in configuration.tables:
            yield placed.problem(f"there is no [tables.{name}]")
