"""Does mail to the postmaster arrive?  Asked of the router itself, with the table files of the configuration.

Contract: ``undelivered`` returns "" for yes and for "cannot be told here" (a table that is no file), else why not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mta.address import Address
from mta.config.domain_options import Domain
from mta.config.rules import allowed_in, domain_rules
from mta.config.schema import Route
from mta.config.section import Section
from mta.reply import MailFailure
from mta.routing.expand import expand
from mta.routing.keys import table_key
from mta.routing.ours import has_mailbox
from mta.routing.patterns import DomainPatterns
from mta.routing.rules import RoutingRules
from mta.routing.tables import FileTableOptions, TableError, read_table
from mta.routing.values import Expansion, Needs, Question, TableQuestion

_ROUNDS: Final = 40


class _CannotTell(Exception):
    """A table that only the running service can ask."""


class _Files:
    """The tables that are files, read once."""

    def __init__(self, tables: Mapping[str, Section]) -> None:
        self._tables = tables
        self._entries: dict[str, Mapping[str, str]] = {}

    def answer(self, question: Question) -> str | None:
        if not isinstance(question, TableQuestion):
            raise _CannotTell
        if question.table not in self._entries:
            path = table_file(question.table, self._tables)
            if path is None:
                raise _CannotTell
            try:
                self._entries[question.table] = read_table(path).entries
            except (TableError, OSError) as error:  # it has changed since it was checked
                raise _CannotTell from error
        return self._entries[question.table].get(table_key(question.key))


def table_file(table: str | None, tables: Mapping[str, Section]) -> str | None:
    """The file of a table as options name it ("file:PATH", "table:NAME"); None where it is no file."""
    if table is None or table.startswith("file:"):
        return table and table.removeprefix("file:")
    section = tables.get(table.removeprefix("table:"))
    if section is None or not isinstance(section.options, FileTableOptions):
        return None
    return section.options.path


def undelivered(
    postmaster: Address, domains: Mapping[str, Domain], routes: Sequence[Route], tables: Mapping[str, Section]
) -> str:
    """Why mail to ``postmaster`` reaches no mailbox, or "".  The options have been checked."""
    if postmaster.domain not in domains:
        if any(DomainPatterns(route.to).names(postmaster.domain) for route in routes):
            return ""
        return f"{postmaster.domain} is none of [domains.X], and no [[route]] names it"
    rules = RoutingRules(
        postmaster=postmaster,
        services=frozenset(),
        domains=domain_rules(domains),
        allowed=allowed_in(tables, (domain.aliases for domain in domains.values())),
    )
    try:
        return _follow(rules, postmaster, _Files(tables))
    except _CannotTell:
        return ""
    except MailFailure as failure:
        return failure.reason or failure.reply.text


def _follow(rules: RoutingRules, postmaster: Address, files: _Files) -> str:
    facts: dict[Question, Any] = {}

    def answered(decide: Any) -> Any:
        for _ in range(_ROUNDS):
            result = decide()
            if not isinstance(result, Needs):
                return result
            facts.update({question: files.answer(question) for question in result.questions})
        raise _CannotTell

    expansion: Expansion = answered(lambda: expand(rules, postmaster, facts))
    missing = []
    for target, _, destination, _ in expansion.targets:
        if destination is not None:
            return ""
        rule = rules.domains.get(target.domain)
        if rule is None or rule.relay or answered(lambda target=target: has_mailbox(rules, target, facts)):
            return ""  # one that gets it is enough
        missing.append(f"{target} is not in {rule.mailboxes}")
    return "; ".join(missing)
