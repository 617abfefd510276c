"""``mta spool``: the spool as it lies on the disk."""

from __future__ import annotations

import json

import click

from mta.admin.setting import Setting, as_json, pass_setting
from mta.spool.backup import backup
from mta.spool.salvage import salvage
from mta.workers.spools import numbers


@click.group()
def spool() -> None:
    """The spool itself."""


@spool.command("backup")
@click.argument("folder", type=click.Path())
@pass_setting
def spool_backup(setting: Setting, folder: str) -> None:
    """Copy the spool, while the service runs or not, into a new folder."""
    try:
        count = backup(setting.state, folder, numbers(setting.state) or [0])
    except OSError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"the spool is copied to {folder}: {count:,} messages, ended ones too")


@spool.command("check")
@as_json
@pass_setting
def spool_check(setting: Setting, as_json: bool) -> None:
    """Read the whole spool, while the service runs or not; exit 1 if anything is damaged."""
    with setting.reader() as reader:
        damages = reader.check()
    if as_json:
        click.echo(json.dumps([damage._asdict() for damage in damages]))
    for damage in () if as_json else damages:
        click.echo(f"{damage.id or 'database'}: {damage.what}")
    if damages:
        if not as_json:
            click.echo("next: stop the service, keep a copy of its folder, then mta spool salvage NEW-FOLDER")
        raise click.exceptions.Exit(1)
    if not as_json:
        click.echo("the spool is in order")


@spool.command("salvage")
@click.argument("folder", type=click.Path())
@as_json
@pass_setting
def spool_salvage(setting: Setting, folder: str, as_json: bool) -> None:
    """Save what can be read of a damaged spool into a new folder, with the service stopped; lists what could not.

    The damaged spool is only read.  Exit 1 if anything is lost.
    """
    try:
        found = salvage(setting.state, folder, numbers(setting.state))
    except OSError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        lost = [damage._asdict() for damage in found.lost]
        click.echo(json.dumps({"messages": found.messages, "recipients": found.recipients, "lost": lost}))
    else:
        click.echo(f"saved in {folder}: {found.messages:,} messages, {found.recipients:,} recipients that wait")
        for damage in found.lost:
            click.echo(f"lost: {damage.id}: {damage.what}")
        click.echo(f'next: look at it with --set state="{folder}", then let state in {setting.path} name it, and start')
    if found.lost:
        raise click.exceptions.Exit(1)
