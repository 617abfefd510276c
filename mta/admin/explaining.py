"""``mta explain``: the story of a message, or of the latest messages of an address, and what comes next; and what was
refused from or to an address, or of a client.

Contract: reads the spool and ``refused/`` of the state, whether the service runs or not, also with a configuration that
is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import click

from mta.admin import show
from mta.admin.refusals import Asked, refused_events
from mta.admin.setting import Setting, all_rows, as_json, now_ms, pass_setting
from mta.admin.story import told, what_next
from mta.bounce.catalog import catalog
from mta.config.retry_rules import retry_rules
from mta.envelope import Envelope
from mta.events import Event, escape
from mta.queue.paused import Pauses
from mta.queue.retry import Retries
from mta.reply import MailFailure
from mta.spool.settle import mailbox
from mta.spool.values import Damaged, Row, Selection
from mta.workers.spools import Spools

#: Recipients of one message whose next step is told; queue list has them all.
MOST_NEXT: Final = 50


@click.command()
@click.argument("id_or_address")
@click.option(
    "--limit", type=click.IntRange(0), default=10, show_default=True, help="At most so many messages, and refusals."
)
@as_json
@pass_setting
def explain(setting: Setting, id_or_address: str, limit: int, as_json: bool) -> None:
    """The story of a message, and what comes next.

    For an ADDRESS, or @DOMAIN: of its latest messages; and what was refused from or to it.  For the IP address, or the
    network, of a client: what it was refused.

    Exits with 1 if nothing is known.
    """
    if "@" not in id_or_address and not _is_network(id_or_address):
        one = _explain_one(setting, id_or_address.upper())
        click.echo(json.dumps(one.values) if as_json else "\n".join(one.lines))
        return
    ids, refused, since = _about(setting, id_or_address)
    if not ids and not refused:
        raise click.ClickException(_nothing(id_or_address, since))
    shown = sorted(ids)[max(0, len(ids) - limit) :]
    ones = [_explain_one(setting, id) for id in shown]
    latest = refused[max(0, len(refused) - limit) :]
    if as_json:
        values = {"messages": [one.values for one in ones], "refused": [_event_values(event) for event in latest]}
        click.echo(json.dumps(values))
        return
    blocks = ["\n".join(one.lines) for one in ones]
    if refused:
        blocks.append("\n".join(_refused_lines(id_or_address, latest, len(refused))))
    if len(ids) > len(shown):
        blocks.append(f"... and {len(ids) - len(shown):,} earlier messages; --limit shows more")
    click.echo("\n\n".join(blocks))


def _is_network(text: str) -> bool:
    try:
        Asked(text, str)
    except ValueError:
        return False
    return True


def _about(setting: Setting, text: str) -> tuple[set[str], list[Event], int]:
    """The messages and the refusals that concern an address or a client, and since when those are kept."""
    mask = setting.mask()
    ids: set[str] = set()
    if "@" in text:
        plain = mailbox(text)
        with setting.reader() as reader:
            for history, forms in ((False, {plain}), (True, {plain, mask(plain)})):
                for form in forms:
                    for selection in (Selection(recipient=form), Selection(sender=form)):
                        ids.update(row.id for row in all_rows(reader, selection, history))
    asked = Asked(text, mask)
    try:
        kept = refused_events(setting.state)
    except OSError as error:
        click.echo(f"warning: what was refused cannot be read: {error}", err=True)
        return ids, [], 0
    return ids, [event for event in kept if asked.concerns(event)], kept[0].at if kept else 0


def _nothing(text: str, since: int) -> str:
    since_then = f" since {show.moment(since, now_ms())} UTC" if since else ""
    if "@" in text:
        return f"no message from or to {escape(text)} is known, and none was refused{since_then}"
    return f"nothing of {escape(text)} was refused{since_then}; what was taken from it: mta log"


def _refused_lines(text: str, events: list[Event], count: int) -> Iterator[str]:
    if not events:
        return
    which = f", the latest {len(events)} of {count:,}" if count > len(events) else ""
    yield f"REFUSED      {escape(text)}{which}: it never got a queue id"
    yield from told(events)


def _event_values(event: Event) -> dict[str, Any]:
    return {"at": event.at, "code": event.code, "recipient": event.recipient, **event.args}


class _One(NamedTuple):
    """One message, as JSON and as text."""

    values: Mapping[str, Any]
    lines: list[str]


def _explain_one(setting: Setting, id: str) -> _One:
    with setting.reader() as reader:
        return _told(setting, reader, id)


def _told(setting: Setting, reader: Spools, id: str) -> _One:
    try:
        story = reader.story(id)
    except (KeyError, ValueError):
        raise click.ClickException(f"there is no message {escape(id)}: ids have 13 characters") from None
    except MailFailure as failure:
        raise click.ClickException(str(failure)) from failure
    now = now_ms()
    waiting = all_rows(reader, Selection(ids=(id,)))
    ended = all_rows(reader, Selection(ids=(id,)), history=True)
    try:
        envelope = reader.record(id).envelope
    except (KeyError, Damaged):
        envelope = None
    values = {
        "id": id,
        "story": [_event_values(event) for event in story],
        "asked": {} if envelope is None else _asked(envelope),
        "waiting": [show.row_values(row, now) for row in waiting],
    }
    rows = sorted([*waiting, *ended], key=lambda row: row.recipient.id)
    lines = [id, *told(story, envelope, rows)]
    if not waiting:
        return _One(values, [*lines, "NEXT         nothing: it has ended for all recipients"])
    lines += _next(setting, waiting, envelope, now)
    return _One(values, lines)


def _asked(envelope: Envelope) -> dict[str, Any]:
    """What the sender asked for, as far as it did."""
    names = ("ret", "envid", "body", "requiretls", "tls_optional", "smtputf8", "deliver_by", "by_mode", "hold_until")
    return {name: value for name in names if (value := getattr(envelope, name))}


def _next(setting: Setting, waiting: list[Row], envelope: Envelope | None, now: int) -> Iterator[str]:
    configuration = setting.configuration_or_none()
    rules: Retries | None = None if configuration is None else retry_rules(configuration)
    pauses = Pauses(setting.state)
    try:
        pauses.read()
    except (OSError, ValueError) as error:
        yield f"warning: {error}"
    running = setting.runs()
    for row in waiting[:MOST_NEXT]:
        pause = pauses.find(row.recipient.destination)
        yield from what_next(row, envelope, rules, catalog("en"), pause, now, running=running)
    if len(waiting) > MOST_NEXT:
        yield f"... and {len(waiting) - MOST_NEXT:,} more recipients: mta queue list {waiting[0].id}"
