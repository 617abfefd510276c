"""How things look on a terminal: times, ages, sizes, rows.  Values in, lines out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from mta.events import Event, escape
from mta.spool.values import Row


def moment(ms: int, now: int) -> str:
    """A time of day for today, with the date for others; UTC, like all times that are stored."""
    then = datetime.fromtimestamp(ms / 1000, UTC)
    today = datetime.fromtimestamp(now / 1000, UTC).date()
    return then.strftime("%H:%M:%S" if then.date() == today else "%d %b %H:%M")


def age(ms: int) -> str:
    """A span of time in its two greatest units: 2d03h, 3h12m, 45s."""
    seconds = max(0, ms // 1000)
    if seconds < 60:
        return f"{seconds}s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes}m{seconds:02d}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h{minutes:02d}m"
    days, hours = divmod(hours, 24)
    return f"{days}d{hours:02d}h"


def octets(size: int) -> str:
    """A size in the unit that leaves few digits."""
    if size < 1024:
        return f"{size} B"
    number = float(size)
    for unit in ("KiB", "MiB", "GiB"):
        number /= 1024
        if number < 1024 or unit == "GiB":
            break
    return f"{number:.1f} {unit}"


def path(sender: str | None) -> str:
    """A reverse-path for people."""
    return f"<{escape(sender or '')}>"


def table(rows: Iterable[Sequence[str]], heading: Sequence[str]) -> list[str]:
    """Columns as wide as they need to be; the last one is not filled up."""
    lines = [tuple(heading), *(tuple(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heading) - 1)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]) for line in lines
    ]


def state_of(row: Row, now: int) -> str:
    """Where a recipient stands, in a few words."""
    if row.status:
        return row.status
    if row.recipient.hold:
        return "held"
    if row.claimed:
        return "under way"
    if row.recipient.due <= now:
        return "due"
    return f"try {row.recipient.attempts + 1} in {age(row.recipient.due - now)}"


def row_values(row: Row, now: int) -> dict[str, Any]:
    """One recipient for ``--json``."""
    recipient = row.recipient
    return {
        "id": row.id,
        "recipient": str(recipient.address),
        "original": str(recipient.original),
        "sender": row.sender or "",
        "size": row.size,
        "arrived": row.arrived,
        "state": row.status or ("held" if recipient.hold else "claimed" if row.claimed else "waiting"),
        "destination": str(recipient.destination),
        "due": recipient.due,
        "attempts": recipient.attempts,
        "hold": recipient.hold,
        "reply": row.reply or str(recipient.progress.get("reply", "")),
        "ended": row.ended,
    }


def story_line(event: Event, now: int) -> str:
    """One event of a story, with its time."""
    return f"{moment(event.at, now):>12}  {event.code:<10} {event}"
