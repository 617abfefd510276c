"""How things look on a terminal: times, ages, sizes, rows.  Values in, lines out."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from mta.events import escape
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


def many(count: int, what: str) -> str:
    """A number with its word."""
    return f"{count:,} {what if count == 1 else what + 's'}"


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


def table(rows: Iterable[Sequence[str]], heading: Sequence[str], right: Container[int] = ()) -> list[str]:
    """Columns as wide as they need to be, those in ``right`` set to the right; the last one is not filled up."""
    lines = [tuple(heading), *(tuple(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heading) - 1)]
    return [
        "  ".join(
            [
                *(
                    cell.rjust(width) if column in right else cell.ljust(width)
                    for column, (cell, width) in enumerate(zip(line, widths, strict=False))
                ),
                line[-1],
            ]
        ).rstrip()
        for line in lines
    ]


def cut(text: str, most: int = 60) -> str:
    """So much of a text that a line stays readable."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def reason_of(row: Row) -> str:
    """Why it is where it is: what holds it, or the last reply."""
    return escape(row.recipient.hold or row.reply or str(row.recipient.progress.get("reply", "")))


ROW_HEADING: Final = ("ID", "AGE", "SIZE", "SENDER", "RECIPIENT", "STATE", "LAST REASON")


def row_line(row: Row, now: int) -> Sequence[str]:
    """One recipient that waits, below ``ROW_HEADING``."""
    return (
        row.id,
        age(now - row.arrived),
        octets(row.size),
        path(row.sender),
        path(str(row.recipient.address)),
        state_of(row, now),
        reason_of(row),
    )


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
