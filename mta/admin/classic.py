"""What ``mailq``, ``newaliases`` and ``sendmail -q`` do: our own commands by the names and in the form of sendmail.

Contract: exit statuses are those of sysexits.h.  ``mailq`` reads the spool, so it is for those who may: EX_NOPERM for
others.  ``newaliases`` has nothing to build: alias files are read as they are, and anew when they change; it looks
whether they are right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import groupby
from typing import Final

import click

from mta.admin.selection import to_wire
from mta.admin.setting import Setting, all_rows
from mta.admin.show import reason_of
from mta.events import escape
from mta.sendmail.arguments import ALIASES, FLUSH, QUEUE
from mta.sendmail.statuses import CONFIG, NOPERM, OK, UNAVAILABLE, Trouble
from mta.spool.values import ChangeKind, Row, Selection

_HEADING: Final = "-Queue ID-----  --Size-- ---Arrival Time--- -Sender/Recipient-------"
_INDENT: Final = " " * 45


def do(mode: str, selected: tuple[str, str], configuration: str) -> int:
    """``mode`` and ``selected`` are as in ``mta.sendmail.arguments``."""
    setting = Setting(configuration, ())
    try:
        if mode == QUEUE:
            return _list(setting)
        if mode == ALIASES:
            return _aliases(setting)
        assert mode == FLUSH
        return _flush(setting, _selection(*selected))
    except click.ClickException as error:
        raise Trouble(_status(error), error.format_message()) from error


def _status(error: click.ClickException) -> int:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, PermissionError):
            return NOPERM
        cause = cause.__cause__ or cause.__context__
    return UNAVAILABLE


def _list(setting: Setting) -> int:
    with setting.reader() as reader:
        rows = all_rows(reader, Selection())
    for line in listing(rows):
        click.echo(line)
    return OK


def listing(rows: Iterable[Row]) -> Iterator[str]:
    """The queue as mailq shows it: a message with its sender, each recipient with the reason why it waits before it.

    Behind the id "*" is being delivered, "!" is held; times are UTC."""
    size = messages = 0
    for id, group in groupby(rows, key=lambda row: row.id):
        found = list(group)
        first = found[0]
        yield _HEADING if not messages else ""
        mark = "*" if any(row.claimed for row in found) else "!" if all(row.recipient.hold for row in found) else " "
        arrived = datetime.fromtimestamp(first.arrived / 1000, UTC).strftime("%a %b %d %H:%M:%S")
        yield f"{id}{mark} {first.size:>8} {arrived}  {_shown(first.sender)}"
        for row in found:
            if reason := reason_of(row):
                yield f"     ({reason})"
            yield f"{_INDENT}{escape(str(row.recipient.address))}"
        size += first.size
        messages += 1
    if not messages:
        yield "Mail queue is empty"
        return
    yield ""
    yield f"-- {size >> 10} Kbytes in {messages} Request{'' if messages == 1 else 's'}."


def _shown(sender: str | None) -> str:
    return escape(sender) if sender else "MAILER-DAEMON"


def _aliases(setting: Setting) -> int:
    try:
        setting.configuration  # noqa: B018  # reads them all, and says what is wrong
    except click.ClickException as error:
        raise Trouble(CONFIG, error.format_message()) from error
    return OK


def _selection(letter: str, value: str) -> Selection:
    """-qI, -qR and -qS: an id, and recipients and senders by their address or ``@domain``."""
    if letter == "I":
        return Selection(ids=(value.upper(),))
    if letter == "R":
        return Selection(recipient=_whole(value))
    if letter == "S":
        return Selection(sender=_whole(value))
    return Selection()


def _whole(value: str) -> str:
    return value if "@" in value else f"@{value}"


def _flush(setting: Setting, selection: Selection) -> int:
    setting.have_done("change", selection=to_wire(selection), kind=ChangeKind.RETRY.value, argument=None)
    return OK
