"""The options that say which recipients: the same for every command about the queue; and the question before a change.

Contract: a change of more than one recipient shows how many there are and a sample, and asks; ``--yes`` answers it, and
with ``--json`` there is nobody to ask.  Without any condition nothing is selected: ``--all`` says so in words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Final, NamedTuple

import click

from mta.admin import show
from mta.admin.setting import Setting, all_rows, as_json, now_ms
from mta.config.problems import Wrong
from mta.config.values import duration
from mta.events import escape
from mta.spool.values import Row, Selection, id_number

SAMPLE: Final = 5


def read_age(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """The callback of an option that is a duration as in the configuration: "90s", "2h", "3d"."""
    if value is None:
        return None
    try:
        return duration(value)
    except Wrong as wrong:
        raise click.BadParameter(f"{wrong}; {wrong.instead}") from wrong


def _check_id(text: str) -> None:
    try:
        id_number(text)
    except KeyError:
        instead = "for an address say --sender or --recipient" if "@" in text else "mta queue list shows them"
        raise click.UsageError(f"{escape(text)} is no queue id; {instead}") from None


_OPTIONS: Final = (
    click.argument("id", nargs=-1),
    click.option("--sender", metavar="ADDRESS", help='Of this sender; "" is that of reports, @DOMAIN all of a domain.'),
    click.option("--recipient", metavar="ADDRESS", help="To this recipient, or to @DOMAIN."),
    click.option("--destination", metavar="PLACE", help="Waiting for a service, a next hop, or SERVICE:NEXTHOP."),
    click.option(
        "--older-than", callback=read_age, metavar="AGE", help='Arrived longer ago than that, such as "2h" or "3d".'
    ),
    click.option("--reason", metavar="TEXT", help="With this in the last reply, or in why it is held."),
    click.option("--held/--not-held", default=None, help="Held by somebody or something; or not."),
)


def selecting(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options; it gets ``selection``."""

    @wraps(command)
    def selected(
        *args: Any,
        id: tuple[str, ...],
        sender: str | None,
        recipient: str | None,
        destination: str | None,
        older_than: float | None,
        reason: str | None,
        held: bool | None,
        **options: Any,
    ) -> Any:
        for one in id:
            _check_id(one)
        selection = Selection(
            ids=tuple(one.upper() for one in id),
            sender=sender,
            recipient=recipient,
            place=destination or "",
            reason=reason or "",
            held=held,
            arrived_before=0 if older_than is None else now_ms() - round(older_than * 1000),
        )
        return command(*args, selection=selection, **options)

    made: Callable[..., Any] = selected
    for option in reversed(_OPTIONS):
        made = option(made)
    return made


class Asked(NamedTuple):
    """How a change is to be made: of all that waits, without a question, told as JSON."""

    everything: bool
    yes: bool
    as_json: bool


def changing(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same for a command that changes what is selected; it gets ``asked`` too."""

    @wraps(command)
    def changes(*args: Any, everything: bool, yes: bool, as_json: bool, **options: Any) -> Any:
        return command(*args, asked=Asked(everything, yes, as_json), **options)

    made = as_json(selecting(changes))
    made = click.option("--yes", is_flag=True, help="Do not ask.")(made)
    return click.option("--all", "everything", is_flag=True, help="All that waits, if nothing else is said.")(made)


def confirm(setting: Setting, selection: Selection, what: str, asked: Asked, warning: str = "") -> int:
    """How many recipients are selected; asks before a change of many.  Ends the command where none is, or on no."""
    if selection == Selection() and not asked.everything:
        raise click.UsageError("say which: by ID, by an option, or --all")
    with setting.reader() as reader:
        count = reader.survey(selection, now_ms()).recipients
        if not count:
            raise click.ClickException("nothing that waits is meant by that")
        if count == 1 or asked.yes:
            return count
        if asked.as_json:
            raise click.UsageError(f"{count:,} recipients: with --json say --yes")
        for line in sample(all_rows(reader, selection, most=SAMPLE), now_ms()):
            click.echo(line, err=True)
    if count > SAMPLE:
        click.echo(f"... and {count - SAMPLE:,} more", err=True)
    click.confirm(f"{what} {count:,} recipients{warning}?", abort=True, err=True)
    return count


def sample(rows: Sequence[Row], now: int) -> list[str]:
    """Lines for recipients that wait."""
    return show.table((show.row_line(row, now) for row in rows), show.ROW_HEADING)
