"""``mta simulate``: the queue as it is now, played forward with the real scheduler (``mta.simulate``).

Contract: reads the spool and the configuration, writes nothing, sends nothing, and asks no running service.
How it fails: a wrong ``--set`` or ``--assume`` is told, with exit status 1.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from math import ceil
from typing import Any, Final, NamedTuple

import click

from mta.admin import show
from mta.admin.setting import Setting, as_json, now_ms, pass_setting
from mta.config.load import Configuration, ConfigurationError, load
from mta.events import escape
from mta.simulate.assume import AssumptionError, Assumptions
from mta.simulate.engine import Simulation
from mta.simulate.load import Copied, copy_queue
from mta.simulate.rules import rules_of
from mta.simulate.tally import Count, Tally

#: Waits are rounded up by up to one part in so many: see docs/simulating.rst.
GRAIN: Final = 64
#: Rows of the table, unless --by says otherwise; destinations that are shown.
ROWS: Final = 24
DESTINATIONS: Final = 20
_STEPS: Final = (1, 2, 3, 4, 6, 8, 12, 24, 48, 96)
_MOST_HOURS: Final = 24 * 60
_COLUMNS: Final = ("tries", "delivered", "deferred", "failed", "expired", "held", "notices", "connections")


class Run(NamedTuple):
    """One course of things."""

    tally: Tally
    copied: Copied


@click.command()
@click.option("--hours", type=click.IntRange(1, _MOST_HOURS), help="How long [default: until all has expired].")
@click.option("--set", "sets", metavar="KEY=VALUE", multiple=True, help="A change to the configuration to be tried.")
@click.option(
    "--assume",
    metavar="DOMAIN=STATE",
    multiple=True,
    help="How a destination is: last (as it was at the last try), up, down, down:TIME, refusing:REPLY, "
    "greylisting:TIME, slow:TIME or limited:N (messages a minute); DOMAIN may be *.domain, a service, or *.",
)
@click.option("--limit", type=click.IntRange(min=1), default=50_000, show_default=True, help="Recipients at most.")
@click.option("--by", type=click.IntRange(1, 24), help="Hours in a row of the table.")
@as_json
@pass_setting
def simulate(
    setting: Setting,
    hours: int | None,
    sets: tuple[str, ...],
    assume: tuple[str, ...],
    limit: int,
    by: int | None,
    as_json: bool,
) -> None:
    """Play the queue forward, by the configuration or by one that is to be tried; nothing is sent or changed."""
    try:
        Assumptions(assume)
    except AssumptionError as error:
        raise click.ClickException(str(error)) from error
    changed = _changed(setting, sets) if sets else setting.configuration
    hours = min(hours or ceil(_longest(setting.configuration, changed) / 3600) + 1, _MOST_HOURS)
    start = now_ms()
    now = _play(setting, changed, assume, hours, limit, start)
    before = _play(setting, setting.configuration, assume, hours, limit, start) if sets else None
    if as_json:
        click.echo(json.dumps(_values(now, before, hours, start)))
        return
    for line in _text(now, before, Assumptions(assume), sets, hours, by):
        click.echo(line)


def _changed(setting: Setting, sets: tuple[str, ...]) -> Configuration:
    try:
        return load(setting.path, (*setting.overrides, *sets))
    except ConfigurationError as error:
        raise click.ClickException(f"with --set the configuration is wrong:\n{error}") from error


def _longest(*configurations: Configuration) -> float:
    """Seconds until everything that waits now has expired, by any of the rules."""
    return max(
        seconds
        for configuration in configurations
        for seconds in (configuration.queue.expire_after, *(rule.expire_after or 0 for rule in configuration.retry))
    )


def _play(
    setting: Setting, configuration: Configuration, assume: tuple[str, ...], hours: int, limit: int, start: int
) -> Run:
    simulation = Simulation(rules_of(configuration), Assumptions(assume), start=start, grain=GRAIN)
    with setting.reader() as reader:
        copied = copy_queue(reader, simulation, limit)
    return Run(simulation.run(hours * 3600.0), copied)


def _values(now: Run, before: Run | None, hours: int, start: int) -> dict[str, Any]:
    values: dict[str, Any] = {"start": start, "for_hours": hours, "copied": now.copied._asdict(), **now.tally.values()}
    if before is not None:
        values["before"] = before.tally.values()
    return values


def _text(
    now: Run, before: Run | None, assumptions: Assumptions, sets: Sequence[str], hours: int, by: int | None
) -> Iterator[str]:
    copied = now.copied
    if not copied.recipients:
        yield "nothing waits"
        return
    held = f", {copied.held:,} of them held" if copied.held else ""
    yield f"{copied.recipients:,} recipients of {copied.messages:,} messages wait{held}; played {hours} hours forward."
    if copied.capped:
        yield "There are more: these are the oldest; --limit takes more."
    if copied.unreadable:
        yield f"{copied.unreadable:,} messages cannot be read and are left out."
    if sets:
        yield f"Changed:  {escape(', '.join(sets))}"
    said = ", ".join(f"{pattern}={assumption}" for pattern, assumption in assumptions.rules)
    yield f"Assumed:  {escape(said) or 'of every destination, what was so at the last try'}"
    yield ""
    yield from _by_hour(now, hours, by or next((step for step in _STEPS if hours <= ROWS * step), _STEPS[-1]))
    yield ""
    yield from _totals(now.tally, None if before is None else before.tally)
    yield ""
    yield from _by_destination(now.tally, assumptions)


def _by_hour(run: Run, hours: int, step: int) -> Iterator[str]:
    rows = []
    waiting = run.copied.recipients - run.copied.held
    for first in range(0, hours, step):
        row = _sum([run.tally.hours[hour] for hour in range(first, first + step) if hour in run.tally.hours])
        waiting -= row.ended + row.held
        rows.append((f"{first} h", *_numbers(row), f"{waiting:,}"))
    # What is over is not drawn out: one line says that nothing more happens.
    while len(rows) > 1 and rows[-1][1:] == rows[-2][1:] and set(rows[-1][1:-1]) == {"0"}:
        rows.pop()
    yield from _right(rows, ("FROM", *(name.upper() for name in _COLUMNS), "WAITING"))


def _totals(now: Tally, before: Tally | None) -> Iterator[str]:
    names = (*_COLUMNS, "waiting")
    rows = [
        (name, f"{getattr(now.total, name):,}", *([f"{getattr(before.total, name):,}"] if before is not None else []))
        for name in names
    ]
    for kind in sorted({*now.notices, *(before.notices if before is not None else ())}):
        rows.append((kind, f"{now.notices[kind]:,}", *([f"{before.notices[kind]:,}"] if before is not None else [])))
    most = [f"{tally.most_connections:,}" for tally in (now, before) if tally is not None]
    rows.append(("most connections at once", *most))
    yield from _right(rows, ("IN ALL", "CHANGED", "AS IT IS") if before is not None else ("IN ALL", ""))


def _by_destination(tally: Tally, assumptions: Assumptions) -> Iterator[str]:
    places = sorted(tally.destinations.items(), key=lambda item: (-item[1].tries, str(item[0])))
    rows = []
    for place, count in places[:DESTINATIONS]:
        end = tally.last_end.get(place)
        last = "-" if end is None else show.age(round(end * 1000))
        numbers = (*_numbers(count), f"{count.waiting:,}", last)
        rows.append((escape(f"{place} ({assumptions.of(place)})"), *numbers))
    yield from _right(rows, ("DESTINATION", *(name.upper() for name in _COLUMNS), "WAITING", "LAST END"))
    if len(places) > DESTINATIONS:
        yield f"... and {len(places) - DESTINATIONS:,} destinations more; --json has them"


def _numbers(count: Count) -> list[str]:
    return [f"{getattr(count, name):,}" for name in _COLUMNS]


def _sum(counts: Sequence[Count]) -> Count:
    total = Count()
    for count in counts:
        for name in _COLUMNS:
            setattr(total, name, getattr(total, name) + getattr(count, name))
    return total


def _right(rows: Sequence[Sequence[str]], heading: Sequence[str]) -> list[str]:
    """A table whose columns but the first end in line."""
    lines = [tuple(heading), *(tuple(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heading))]
    return ["  ".join([first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])]).rstrip() for first, *rest in lines]
