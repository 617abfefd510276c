"""The command line ``mta``.

``mta`` finds its configuration by --config, then $MTA_CONFIG, then etc/mta.toml, then /etc/mta/mta.toml.
Reading works with the service stopped: the spool is opened read-only.  Changes go through the control socket.
Exit status: 0, or 1 for "no" (a wrong configuration, unaccounted mail, a service that cannot be reached).
"""

from __future__ import annotations

import json
import os
import time
import tomllib
from typing import Any, Final

import click

from mta import __version__
from mta.admin import show
from mta.admin.control import ControlError, request
from mta.config.load import Configuration, ConfigurationError, load
from mta.events import escape
from mta.spool.reader import SpoolReader
from mta.spool.values import PageKey, Row, Selection
from mta.tls.advice import advise

PLACES: Final = ("etc/mta.toml", "/etc/mta/mta.toml")
PAGE: Final = 500


def find_configuration(given: str | None) -> str:
    """Where the configuration is; the first place that has one."""
    if given:
        return given
    if os.environ.get("MTA_CONFIG"):
        return os.environ["MTA_CONFIG"]
    return next((place for place in PLACES if os.path.exists(place)), PLACES[0])


class Setting:
    """What all commands share: the configuration, read when it is first needed."""

    def __init__(self, path: str, overrides: tuple[str, ...]) -> None:
        self.path = path
        self.overrides = overrides
        self._configuration: Configuration | None = None
        self._state: str | None = None

    @property
    def configuration(self) -> Configuration:
        if self._configuration is None:
            try:
                self._configuration = load(self.path, self.overrides)
            except ConfigurationError as error:
                raise click.ClickException(f"the configuration is wrong:\n{error}") from error
        return self._configuration

    @property
    def state(self) -> str:
        """The state folder; from a configuration that is wrong elsewhere too, so that the queue can be looked at."""
        if self._state is None:
            try:
                self._state = load(self.path, self.overrides).state
            except ConfigurationError as error:
                self._state = self._state_alone()
                if self._state is None:
                    raise click.ClickException(f"the configuration is wrong:\n{error}") from error
                click.echo("warning: the configuration is wrong: see mta check", err=True)
        return self._state

    def _state_alone(self) -> str | None:
        try:
            with open(self.path, "rb") as file:
                state = tomllib.load(file).get("state")
        except (OSError, ValueError):
            return None
        return os.path.join(os.path.dirname(os.path.abspath(self.path)), state) if isinstance(state, str) else None

    def reader(self) -> SpoolReader:
        """The spool, to read only."""
        try:
            return SpoolReader(self.state)
        except FileNotFoundError:
            raise click.ClickException(f"there is no spool in {self.state}: the service has not run yet") from None
        except OSError as error:
            raise click.ClickException(f"the spool cannot be read: {error}") from error

    def ask(self, command: str, **arguments: Any) -> Any:
        """Ask the running service."""
        try:
            return request(self.state, command, **arguments)
        except ControlError as error:
            raise click.ClickException(str(error)) from error


pass_setting = click.make_pass_decorator(Setting)
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="txmta")
@click.option("--config", metavar="FILE", help="The configuration (else $MTA_CONFIG, etc/mta.toml, /etc/mta/mta.toml).")
@click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Override one option.")
@click.pass_context
def main(context: click.Context, config: str | None, overrides: tuple[str, ...]) -> None:
    """txmta: look at its configuration, its queue and its messages."""
    context.obj = Setting(find_configuration(config), overrides)


@main.command()
@pass_setting
def check(setting: Setting) -> None:
    """Read and cross-check the whole configuration; exit 1 if anything is wrong."""
    configuration = setting.configuration
    for warning in configuration.warnings:
        click.echo(f"warning: {warning}")
    advice = advise(configuration, now_ms())
    for line in advice.warnings:
        click.echo(f"warning: {line}")
    for hint in advice.hints:
        click.echo(f"hint: {hint}")
    if advice.errors:
        raise click.ClickException("\n".join(["the certificates are wrong:", *advice.errors]))
    click.echo(f"{setting.path} is in order")


@main.command()
@pass_setting
def reload(setting: Setting) -> None:
    """Let the running service read its configuration again."""
    click.echo(setting.ask("reload"))


@main.command()
@as_json
@pass_setting
def status(setting: Setting, as_json: bool) -> None:
    """What the running service is doing."""
    answer = setting.ask("status")
    if as_json:
        click.echo(json.dumps(answer))
        return
    for key, value in answer.items():
        click.echo(f"{key:<16} {value}")


@main.group()
def queue() -> None:
    """What waits, and why."""


def _select(id: tuple[str, ...], sender: str | None, recipient: str | None) -> Selection:
    return Selection(ids=tuple(one.upper() for one in id), sender=sender, recipient=recipient)


def _rows(reader: SpoolReader, selection: Selection, history: bool = False, most: int = 0) -> list[Row]:
    """All rows of a selection, or the first ``most``, page by page."""
    rows: list[Row] = []
    after: PageKey | None = None
    while not most or len(rows) < most:
        page = reader.page(selection, after, min(PAGE, most - len(rows)) if most else PAGE, history)
        rows += page
        if not page:
            break
        after = PageKey(page[-1].id, page[-1].recipient.id)
    return rows


@queue.command("list")
@click.argument("id", nargs=-1)
@click.option("--sender", metavar="ADDRESS", help='Of this sender ("" for reports).')
@click.option("--recipient", metavar="ADDRESS", help="To this recipient.")
@click.option("--limit", default=1000, show_default=True, help="At most so many recipients (0: all).")
@as_json
@pass_setting
def queue_list(
    setting: Setting, id: tuple[str, ...], sender: str | None, recipient: str | None, limit: int, as_json: bool
) -> None:
    """One line for each recipient that waits, oldest first."""
    with setting.reader() as reader:
        rows = _rows(reader, _select(id, sender, recipient), most=limit)
    now = now_ms()
    if as_json:
        click.echo(json.dumps([show.row_values(row, now) for row in rows]))
        return
    if not rows:
        click.echo("nothing waits")
        return
    lines = (
        (
            row.id,
            show.age(now - row.arrived),
            show.octets(row.size),
            show.path(row.sender),
            show.path(str(row.recipient.address)),
            show.state_of(row, now),
            escape(str(row.recipient.hold or row.recipient.progress.get("reply", ""))),
        )
        for row in rows
    )
    for line in show.table(lines, ("ID", "AGE", "SIZE", "SENDER", "RECIPIENT", "STATE", "LAST REASON")):
        click.echo(line)
    if limit and len(rows) == limit:
        click.echo(f"... the first {limit}; --limit shows more")


@queue.command("show")
@click.argument("id")
@as_json
@pass_setting
def queue_show(setting: Setting, id: str, as_json: bool) -> None:
    """One message: its envelope and each of its recipients, waiting and ended."""
    with setting.reader() as reader:
        selection = Selection(ids=(id.upper(),))
        rows = _rows(reader, selection) + _rows(reader, selection, history=True)
    now = now_ms()
    if not rows:
        raise click.ClickException(f"there is no message {escape(id)}")
    rows.sort(key=lambda row: row.recipient.id)
    if as_json:
        click.echo(json.dumps([show.row_values(row, now) for row in rows]))
        return
    first = rows[0]
    click.echo(f"id        {first.id}")
    click.echo(f"sender    {show.path(first.sender)}")
    click.echo(f"arrived   {show.moment(first.arrived, now)} UTC, {show.age(now - first.arrived)} ago")
    click.echo(f"size      {show.octets(first.size)}")
    for row in rows:
        recipient = row.recipient
        click.echo(f"to        {show.path(str(recipient.address))}  {show.state_of(row, now)}")
        if recipient.original != recipient.address:
            click.echo(f"          sent to {show.path(str(recipient.original))}")
        click.echo(f"          by {escape(str(recipient.destination))}, tries: {recipient.attempts}")
        reason = recipient.hold or row.reply or str(recipient.progress.get("reply", ""))
        if reason:
            click.echo(f"          {escape(reason)}")


@main.command()
@click.argument("id_or_address")
@as_json
@pass_setting
def explain(setting: Setting, id_or_address: str, as_json: bool) -> None:
    """The story of a message, and its next step; for an address, of its latest messages."""
    with setting.reader() as reader:
        if "@" in id_or_address:
            ids = _ids_of(reader, id_or_address)
        else:
            ids = [id_or_address.upper()]
        if not ids:
            raise click.ClickException(f"no message from or to {escape(id_or_address)} is known")
        for number, id in enumerate(ids):
            if number:
                click.echo()
            _explain_one(setting, reader, id, as_json)


MOST_EXPLAINED: Final = 10


def _ids_of(reader: SpoolReader, address: str) -> list[str]:
    """The latest messages from or to an address, oldest first."""
    ids: set[str] = set()
    for history in (False, True):
        for selection in (Selection(recipient=address), Selection(sender=address)):
            ids.update(row.id for row in _rows(reader, selection, history))
    return sorted(ids)[-MOST_EXPLAINED:]


def _explain_one(setting: Setting, reader: SpoolReader, id: str, as_json: bool) -> None:
    try:
        story = reader.story(id)
    except KeyError:
        raise click.ClickException(f"there is no message {escape(id)}") from None
    now = now_ms()
    waiting = _rows(reader, Selection(ids=(id,)))
    if as_json:
        events = [{"at": e.at, "code": e.code, "recipient": e.recipient, **e.args} for e in story]
        click.echo(json.dumps({"id": id, "story": events, "waiting": [show.row_values(row, now) for row in waiting]}))
        return
    click.echo(id)
    for event in story:
        click.echo(show.story_line(event, now))
    for line in _next_steps(setting, waiting, now):
        click.echo(line)


def _next_steps(setting: Setting, waiting: list[Row], now: int) -> list[str]:
    """What comes next, for each recipient that waits."""
    if not waiting:
        return ["NEXT          nothing: it has ended for all recipients"]
    lines = []
    try:
        expire: float | None = load(setting.path, setting.overrides).queue.expire_after
    except ConfigurationError:
        expire = None
    for row in waiting:
        recipient = row.recipient
        who = escape(str(recipient.address))
        if recipient.hold:
            lines.append(f"NEXT          {who}: held until somebody releases it: {escape(recipient.hold)}")
            continue
        end = f"; expires {show.moment(row.arrived + round(expire * 1000), now)}" if expire is not None else ""
        if row.claimed:
            step = f"try {recipient.attempts + 1} is under way"
        elif recipient.due <= now:
            step = f"try {recipient.attempts + 1} as soon as its destination has room"
        else:
            step = f"try {recipient.attempts + 1} at {show.moment(recipient.due, now)}"
        lines.append(f"NEXT          {who}: {step}, by {escape(str(recipient.destination))}{end}")
    return lines


@main.command()
@as_json
@pass_setting
def audit(setting: Setting, as_json: bool) -> None:
    """The conservation figures; exit 1 if anything is unaccounted for."""
    with setting.reader() as reader:
        totals = reader.totals()
    if as_json:
        values = {"accepted": totals.accepted, "queued": totals.queued, "held": totals.held}
        click.echo(json.dumps({**values, "ended": dict(totals.ended), "unaccounted": totals.unaccounted}))
    else:
        click.echo(f"{totals.accepted:>12,}  accepted")
        for status, count in sorted(totals.ended.items()):
            click.echo(f"{count:>12,}  {status}")
        click.echo(f"{totals.queued:>12,}  queued")
        click.echo(f"{totals.held:>12,}  held")
        click.echo(f"{totals.unaccounted:>12,}  unaccounted for")
    if totals.unaccounted:
        raise click.exceptions.Exit(1)


@main.group()
def spool() -> None:
    """The spool itself."""


@spool.command("backup")
@click.argument("folder", type=click.Path())
@pass_setting
def spool_backup(setting: Setting, folder: str) -> None:
    """Copy the spool, while the service runs or not, into a new folder."""
    from mta.spool.backup import backup

    try:
        backup(setting.state, folder)
    except OSError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"the spool is copied to {folder}")


@main.group()
def config() -> None:
    """The configuration as it is understood."""


@config.command("show")
@click.argument("key", required=False)
@pass_setting
def config_show(setting: Setting, key: str | None) -> None:
    """All options with their values, or those below a key."""
    for name, value in setting.configuration.items():
        if key is None or name == key or name.startswith((f"{key}.", f"{key}[")):
            click.echo(f"{name} = {value}")


if __name__ == "__main__":
    main()
