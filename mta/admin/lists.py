"""``mta list``: the mailing lists, and who their members are.

Contract: what is shown is what the service would do with a message now, by the configuration and the tables alone; the
service is not asked.  Members that are aliases are shown as they stand; lists within a list are followed, each once.
How it fails: what a table cannot say ends the command with 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import aclosing
from functools import partial
from typing import Any

import click

from mta.address import Address
from mta.admin import show
from mta.admin.setting import Setting, as_json, now_ms, output, pass_setting
from mta.admin.tables import opened, waited_for
from mta.config.rules import list_rules
from mta.config.values import nearest
from mta.events import escape
from mta.lists.roster import Wrong, roster
from mta.lists.values import ListRule
from mta.reply import MailFailure
from mta.routing.tables.listing import CannotTell
from mta.routing.tables.made import Tables


@click.group("list", invoke_without_command=True)
@click.pass_context
def list_group(context: click.Context) -> None:
    """The mailing lists; without more, all of them."""
    if context.invoked_subcommand is None:
        context.invoke(list_list)


@list_group.command("list")
@as_json
@pass_setting
def list_list(setting: Setting, as_json: bool) -> None:
    """All lists."""
    rules = list_rules(setting.configuration.lists)
    values = [_values(rule) for rule in rules]
    rows = [(str(rule.address), str(rule.owner), _posting(rule), escape(rule.description)) for rule in rules]
    output(values, as_json, lambda: show.table(rows, ("LIST", "OWNER", "POSTING", "DESCRIPTION")))


@list_group.command("show")
@click.argument("name")
@as_json
@pass_setting
def list_show(setting: Setting, name: str, as_json: bool) -> None:
    """One list: its address, or the name before the "@" where no other has it."""
    values = _values(_find(setting, name))
    width = max(map(len, values))

    def lines() -> Iterator[str]:
        for key, value in values.items():
            text = ", ".join(value) if isinstance(value, list) else str(value)
            yield f"{key:<{width}}  {escape(text)}".rstrip()

    output(values, as_json, lambda: list(lines()))


@list_group.command("members")
@click.argument("name")
@as_json
@pass_setting
def list_members(setting: Setting, name: str, as_json: bool) -> None:
    """The members, those of lists within it included.

    Exits with 1 if a table cannot say.
    """
    rule = _find(setting, name)
    try:
        found = _members(setting, rule)
    except (MailFailure, CannotTell, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    wrong = [one for one in found if isinstance(one[0], Wrong)]
    values = [{"member": str(one), "list": via} for one, via in found if isinstance(one, Address)]
    output(values, as_json, lambda: [escape(value["member"]) for value in values])
    for entry, via in wrong:
        click.echo(f"warning: {via}: {escape(entry.member)}: {escape(entry.why)}", err=True)


def _members(setting: Setting, first: ListRule) -> list[tuple[Any, str]]:
    """Members, and entries that are none, each with the list that has it."""
    rules = {str(rule.address): rule for rule in list_rules(setting.configuration.lists)}
    found: dict[Any, str] = {}
    todo, met = [first], {str(first.address)}
    with opened(setting.configuration, now_ms) as (tables, reactor):
        for rule in todo:
            for member in waited_for(partial(_roster, rule, tables, first.max_members + 1), reactor):
                within = rules.get(str(member).lower()) if isinstance(member, Address) else None
                if within is None:
                    found.setdefault(member, str(rule.address))
                elif str(within.address) not in met:
                    met.add(str(within.address))
                    todo.append(within)
    return list(found.items())


async def _roster(rule: ListRule, tables: Tables, limit: int) -> list[Any]:
    async with aclosing(roster(rule, tables.get, limit)) as pages:
        return [member async for page in pages for member in page]


def _find(setting: Setting, name: str) -> ListRule:
    rules = {str(rule.address): rule for rule in list_rules(setting.configuration.lists)}
    wanted = name.lower()
    if wanted in rules:
        return rules[wanted]
    alike = [rule for rule in rules.values() if rule.address.local == wanted]
    if len(alike) == 1:
        return alike[0]
    raise click.ClickException(f"there is no list {escape(name)}: {nearest(name, rules)}")


def _posting(rule: ListRule) -> str:
    return ", ".join([*sorted(rule.posting), *sorted(map(str, rule.senders)), *rule.domains])


def _values(rule: ListRule) -> dict[str, Any]:
    return {
        "list": str(rule.address),
        "owner": str(rule.owner),
        "description": rule.description,
        "sender": str(rule.bounces),
        "list_id": rule.id,
        "members": [str(member) for member in rule.members],
        "members_from": list(rule.tables),
        "posting": _posting(rule),
        "expn": rule.expn,
        "max_members": rule.max_members,
    }
