"""``mta audit``, ``config``, ``table`` and ``erase``: the books, the configuration, and what is known."""

from __future__ import annotations

import os
import re
from typing import Any, Final

import click

from mta.admin import show
from mta.admin.logfile import lines_of, log_files, named
from mta.admin.privacy import known_hash
from mta.admin.setting import Setting, as_json, now_ms, output, pass_setting
from mta.admin.tables import look_up
from mta.config.values import nearest
from mta.events import escape
from mta.reply import MailFailure
from mta.spool.values import Selection
from mta.workers.spools import joined

_DEEPER: Final = re.compile(r"[.\[]")


@click.command()
@as_json
@pass_setting
def audit(setting: Setting, as_json: bool) -> None:
    """Is anything lost?  All recipients ever accepted.

    Exits with 1 if any is unaccounted for.
    """
    with setting.reader() as reader:
        spools = reader.audits()
    totals = joined(spools.values())
    wrong = {number: one for number, one in spools.items() if one.unaccounted or one.miscounted}
    values = {
        "accepted": totals.accepted,
        "queued": totals.queued,
        "held": totals.held,
        "ended": dict(totals.ended),
        "unaccounted": totals.unaccounted,
        "miscounted": totals.miscounted,
        "wrong_spools": list(wrong),
    }
    lines = (
        (totals.accepted, "accepted"),
        *((count, status) for status, count in sorted(totals.ended.items())),
        (totals.queued, "queued"),
        (totals.held, "held"),
        (totals.unaccounted, "unaccounted for"),
        *([(totals.miscounted, "held, more than was counted")] if totals.miscounted else ()),
        *((one.unaccounted or one.miscounted, f"of that in spool {n}") for n, one in wrong.items() if len(spools) > 1),
    )
    output(values, as_json, lambda: [f"{count:>12,}  {what}" for count, what in lines])
    if wrong:
        raise click.exceptions.Exit(1)


@click.group()
def config() -> None:
    """The configuration as it is understood."""


@config.command("show")
@click.argument("key", required=False)
@as_json
@pass_setting
def config_show(setting: Setting, key: str | None, as_json: bool) -> None:
    """All options with their values.

    With a key: that one, or all below it.
    """
    found = dict(setting.configuration.items())
    chosen = {
        name: value
        for name, value in found.items()
        if key is None or name == key or name.startswith((f"{key}.", f"{key}["))
    }
    if not chosen:
        known = {name[: found_at.start()] if (found_at := _DEEPER.search(name)) else name for name in found} | set(
            found
        )
        raise click.ClickException(f"there is no {escape(key or '')}: {nearest(key or '', known)}")
    output(chosen, as_json, lambda: [f"{name} = {value}" for name, value in chosen.items()])


@click.group()
def table() -> None:
    """The tables of the configuration."""


@table.command("get")
@click.argument("name")
@click.argument("key")
@as_json
@pass_setting
def table_get(setting: Setting, name: str, key: str, as_json: bool) -> None:
    """What a table has under a key, as the service would find it.

    NAME is that of a [tables.NAME], or file:PATH.  Exits with 1 if there is nothing.
    """
    try:
        found = look_up(setting.configuration, name, key, now_ms)
    except MailFailure as failure:
        raise click.ClickException(f"the table cannot say: {failure}") from failure
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    if found.value is None and not as_json:
        raise click.ClickException(f"{escape(name)} has nothing under {escape(key)}")
    output({"key": key, **found._asdict()}, as_json, lambda: escape(found.value or ""))
    if found.value is None:
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("address")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
@pass_setting
def erase(setting: Setting, address: str, yes: bool, as_json: bool) -> None:
    """Erase an address from the history of mail that has ended.

    Says what still names it: mail that waits, log files, and what is out of reach.
    """
    if "@" not in address:
        raise click.UsageError("what is to be erased is an address")
    if not yes:
        if as_json:
            raise click.UsageError("with --json say --yes")
        click.confirm(f"Erase {escape(address)} from the history?", abort=True, err=True)
    answer = setting.have_done("erase", address=address)
    values = {**answer, "waiting": _waiting(setting, address), "logs": _logs(setting, address)}
    output(values, as_json, lambda: _erased(address, values))


def _waiting(setting: Setting, address: str) -> int:
    with setting.reader() as reader:
        selections = (Selection(recipient=address), Selection(sender=address))
        return sum(reader.survey(selection, now_ms()).recipients for selection in selections)


def _logs(setting: Setting, address: str) -> dict[str, int]:
    """How many lines of each log file name the address."""
    path = setting.log_file()
    found: dict[str, int] = {}
    if path is None:
        return found
    forms = [address, known_hash(address, setting.state)]
    for file in log_files(path):
        count = sum(1 for line in lines_of(file) if any(form and named(form, line) for form in forms))
        if count:
            found[os.fspath(file)] = count
    return found


def _erased(address: str, values: dict[str, Any]) -> list[str]:
    lines = [f"{escape(address)} is erased from the history of {show.many(values['messages'], 'message')}"]
    if values.get("refused"):
        lines.append(f"and from {show.many(values['refused'], 'note')} of what was refused")
    if values["waiting"]:
        lines.append(
            f"not from what waits ({show.many(values['waiting'], 'recipient')}): deliver, bounce or delete them first"
        )
    for file, count in values["logs"].items():
        lines.append(f"not from {file}: named in {show.many(count, 'line')}; remove the file, or those lines")
    lines.append("not from mailboxes, backups of the spool, logs kept elsewhere, and hosts that the mail went to")
    return lines
