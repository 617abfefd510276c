"""``mta queue list``, ``show`` and ``stats``: what waits, and why.

Contract: they read the spool, whether the service runs or not.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import click

from mta.admin import show
from mta.admin.selecting import sample, selecting
from mta.admin.setting import Setting, all_rows, as_json, now_ms, output, pass_setting
from mta.envelope import Destination
from mta.events import escape
from mta.queue.paused import Pauses
from mta.queue.trouble import Trouble
from mta.spool.survey import HELD_BACK, UNTRIED, Survey, Waiting
from mta.spool.values import Row, Selection

#: Classes of trouble in plain words.
TROUBLES: Mapping[str, str] = {
    Trouble.UNREACHABLE: "no connection, or it was lost",
    Trouble.GREYLISTED: "greylisted",
    Trouble.OVER_QUOTA: "the mailbox is full",
    Trouble.RATE_LIMITED: "the host asks us to go slower",
    Trouble.TLS: "TLS",
    Trouble.DNS: "DNS",
    Trouble.DISK: "our own disk",
    Trouble.INTERNAL: "a part of this program failed",
    Trouble.OTHER: "other refusals",
    HELD_BACK: "held",
    UNTRIED: "not tried yet",
}


@click.command("list")
@selecting
@click.option(
    "--limit", type=click.IntRange(0), default=1000, show_default=True, help="At most so many recipients (0: all)."
)
@as_json
@pass_setting
def queue_list(setting: Setting, selection: Selection, limit: int, as_json: bool) -> None:
    """One line for each recipient that waits, oldest first."""
    with setting.reader() as reader:
        rows = all_rows(reader, selection, most=limit)
    now = now_ms()

    def text() -> list[str]:
        if not rows:
            return ["nothing waits" if selection == Selection() else "nothing that waits is meant by that"]
        more = [f"... the first {limit}; --limit shows more"] if limit and len(rows) == limit else []
        return sample(rows, now) + more

    output([show.row_values(row, now) for row in rows], as_json, text)


@click.command("show")
@click.argument("id")
@as_json
@pass_setting
def queue_show(setting: Setting, id: str, as_json: bool) -> None:
    """One message: its envelope and each of its recipients, waiting and ended."""
    with setting.reader() as reader:
        selection = Selection(ids=(id.upper(),))
        rows = all_rows(reader, selection) + all_rows(reader, selection, history=True)
    now = now_ms()
    if not rows:
        raise click.ClickException(f"there is no message {escape(id)}")
    rows.sort(key=lambda row: row.recipient.id)
    output([show.row_values(row, now) for row in rows], as_json, lambda: _message(rows, now))


def _message(rows: list[Row], now: int) -> Iterator[str]:
    first = rows[0]
    yield f"id        {first.id}"
    yield f"sender    {show.path(first.sender)}"
    yield f"arrived   {show.moment(first.arrived, now)} UTC, {show.age(now - first.arrived)} ago"
    yield f"size      {show.octets(first.size)}"
    for row in rows:
        recipient = row.recipient
        yield f"to        {show.path(str(recipient.address))}  {show.state_of(row, now)}"
        if recipient.original != recipient.address:
            yield f"          sent to {show.path(str(recipient.original))}"
        priority = f", priority {recipient.priority}" if recipient.priority else ""
        yield f"          by {escape(str(recipient.destination))}, tries: {recipient.attempts}{priority}"
        reason = show.reason_of(row)
        if reason:
            yield f"          {reason}"


@click.command("stats")
@selecting
@click.option(
    "--top", type=click.IntRange(0), default=20, show_default=True, help="At most so many destinations (0: all)."
)
@as_json
@pass_setting
def queue_stats(setting: Setting, selection: Selection, top: int, as_json: bool) -> None:
    """What waits by destination and by reason, and what limits each destination now."""
    now = now_ms()
    with setting.reader() as reader:
        found = reader.survey(selection, now)
    lanes = setting.ask_if_running("lanes")
    pauses = Pauses(setting.state)
    try:
        pauses.read()
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    places = sorted(found.places.items(), key=lambda item: (-item[1].recipients, item[0]))
    rows = [_place_values(place, waiting, lanes, pauses, now) for place, waiting in places]
    troubles = sum((waiting.troubles for waiting in found.places.values()), Counter[str]())
    used, total = _disk(setting.state)
    values = {
        "recipients": found.recipients,
        "messages": found.messages,
        "held": sum(waiting.held for waiting in found.places.values()),
        "oldest": min((waiting.oldest for waiting in found.places.values()), default=0),
        "disk": {"used": used, "size": total},
        "running": lanes is not None,
        "paused": [pause._asdict() for pause in pauses],
        "destinations": rows,
        "reasons": {HELD_BACK if key == HELD_BACK else key or "untried": count for key, count in troubles.items()},
    }
    output(values, as_json, lambda: _stats_text(found, values, troubles, top, now))


def _place_values(
    place: Destination, waiting: Waiting, lanes: Mapping[str, Any] | None, pauses: Pauses, now: int
) -> dict[str, Any]:
    lane = (lanes or {}).get(str(place), {})
    return {
        "destination": str(place),
        "waiting": waiting.recipients,
        "due": waiting.due,
        "held": waiting.held,
        "oldest": waiting.oldest,
        "next_due": waiting.next_due,
        "active": lane.get("active", 0),
        "window": lane.get("window", 0),
        "limited_by": _limited_by(place, waiting, lane, lanes is not None, pauses, now),
        "last_reason": waiting.last[1],
        "reasons": dict(waiting.troubles),
    }


def _limited_by(
    place: Destination, waiting: Waiting, lane: Mapping[str, Any], running: bool, pauses: Pauses, now: int
) -> str:
    """What keeps this mail from going now, in a few words."""
    pause = pauses.find(place)
    if pause is not None:
        return f"paused by {escape(pause.by)}" + (f": {escape(pause.reason)}" if pause.reason else "")
    if waiting.held == waiting.recipients:
        return "held"
    if not running:
        return "the service is stopped"
    if lane.get("limited_by"):
        until = f", {show.moment(now + lane['seconds'] * 1000, now)}" if lane["seconds"] else ""
        detail = f" {escape(lane['detail'])}" if lane["limited_by"] == "own pace" and lane["detail"] else ""
        return f"{lane['limited_by']}{detail}{until}"
    if not waiting.due and waiting.next_due:
        return f"retry, {show.moment(waiting.next_due, now)}"
    return "nothing"


def _stats_text(found: Survey, values: Mapping[str, Any], troubles: Counter[str], top: int, now: int) -> Iterator[str]:
    if not found.recipients:
        yield "nothing waits"
    else:
        disk = values["disk"]
        share = f"; disk {disk['used'] * 100 // disk['size']}% of {show.octets(disk['size'])}" if disk["size"] else ""
        yield (
            f"{show.many(found.recipients, 'recipient')} in {show.many(found.messages, 'message')}; "
            f"oldest {show.age(now - values['oldest'])}; held {values['held']:,}{share}; {show.moment(now, now)} UTC"
        )
    if not values["running"]:
        yield "the service is stopped"
    for pause in values["paused"]:
        reason = f": {escape(pause['reason'])}" if pause["reason"] else ""
        place = "everything" if pause["place"] == "*" else escape(pause["place"])
        yield f"paused: {place}, by {escape(pause['by'])} {show.age(now - pause['since'])} ago{reason}"
    rows = values["destinations"]
    if not rows:
        return
    yield ""
    shown = rows[:top] if top else rows
    yield from show.table(
        (
            (
                escape(row["destination"]),
                f"{row['waiting']:,}",
                f"{row['due']:,}",
                show.age(now - row["oldest"]),
                f"{row['active']}/{row['window']}" if row["window"] else "-",
                row["limited_by"],
                show.cut(escape(row["last_reason"])),
            )
            for row in shown
        ),
        ("DESTINATION", "WAIT", "DUE", "OLDEST", "CONN", "LIMITED BY", "LAST REASON"),
        right=(1, 2, 3, 4),
    )
    if len(shown) < len(rows):
        rest = rows[len(shown) :]
        yield f"... and {sum(row['waiting'] for row in rest):,} for {len(rest):,} others; --top shows more"
    yield ""
    reasons = ((TROUBLES.get(key, key), f"{count:,}") for key, count in troubles.most_common() if count)
    yield from show.table(((count, reason) for reason, count in reasons), ("WAIT", "REASON"), right=(0,))


def _disk(state: str) -> tuple[int, int]:
    """Octets used and in all, where the state lies."""
    found = os.statvfs(state)
    size = found.f_blocks * found.f_frsize
    return size - found.f_bfree * found.f_frsize, size
