"""``mta account release``: mail that is held because of its account goes on, or is dropped; its brake opens.

Contract: through the control socket, or with the service stopped in the spool and the state themselves.  An account
that an operator holds (``mta account hold``) is active again; one that may not send is released by nobody but
``enable``.
How it fails: 1; what is being delivered at that moment is left alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from mta.accounts import editing, ways
from mta.accounts.names import account_name
from mta.accounts.records import Record
from mta.accounts.values import State
from mta.admin import account_show, show
from mta.admin.account import File
from mta.admin.setting import Setting, as_json, output, pass_setting
from mta.events import escape


@click.command("release")
@click.argument("name")
@click.option("--drop", is_flag=True, help="Delete what is held, without a report to anybody.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
@pass_setting
def release(setting: Setting, name: str, drop: bool, yes: bool, as_json: bool) -> None:
    """Let go what is held because its account sent too much, or drop it; the account counts anew."""
    try:
        name = account_name(name)
    except ValueError as error:
        raise click.BadParameter(escape(str(error))) from error
    if drop and not yes:
        if as_json:
            raise click.UsageError("with --json say --yes")
        click.confirm(f"Delete all mail of {escape(name)} that is held?", abort=True, err=True)
    _let_send(setting, name, drop)
    answer = setting.have_done("account-release", account=name, drop=drop)
    output(answer, as_json, lambda: _said(name, drop, answer))


def _said(name: str, drop: bool, answer: dict[str, Any]) -> list[str]:
    what = f"{'deleted' if drop else 'released'} {show.many(answer['changed'], 'recipient')} of {escape(name)}"
    return [f"{escape(name)} was held: {escape(answer['why'])}"] * bool(answer["why"]) + [what]


def _let_send(setting: Setting, name: str, drop: bool) -> None:
    """The account itself, where it is in a file."""
    for source, options in account_show.files_of(setting.configuration).items():
        try:
            record = editing.read(options.path).get(name)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise click.ClickException(str(error)) from error
        if record is None:
            continue
        if record.state is State.HELD:
            File(setting, source).change(ways.changing(name, _active))
        elif record.state is not State.ACTIVE and not drop:
            raise click.ClickException(f"{escape(name)} is {record.state.value}: mta account enable lets it send")


def _active(record: Record) -> Record:
    return replace(record, state=State.ACTIVE, why="")
