"""``mta explain``: the story of a message, or of the latest messages of an address, and what comes next."""

from __future__ import annotations

import json
from typing import Any, Final

import click

from mta.admin import show
from mta.admin.setting import Setting, all_rows, as_json, now_ms, pass_setting
from mta.admin.story import told, what_next
from mta.bounce.catalog import catalog
from mta.config.retry_rules import retry_rules
from mta.events import escape
from mta.queue.paused import Pauses
from mta.spool.reader import SpoolReader
from mta.spool.settle import mailbox
from mta.spool.values import Damaged, Selection

MOST: Final = 10


@click.command()
@click.argument("id_or_address")
@as_json
@pass_setting
def explain(setting: Setting, id_or_address: str, as_json: bool) -> None:
    """The story of a message, and what comes next.

    For an address: of its latest messages.
    """
    with setting.reader() as reader:
        ids = _ids_of(setting, reader, id_or_address) if "@" in id_or_address else [id_or_address.upper()]
        if not ids:
            raise click.ClickException(f"no message from or to {escape(id_or_address)} is known")
        told_ones = [_explain_one(setting, reader, id) for id in ids]
    if as_json:
        for values, _ in told_ones:
            click.echo(json.dumps(values))
        return
    click.echo("\n\n".join("\n".join(lines) for _, lines in told_ones))


def _ids_of(setting: Setting, reader: SpoolReader, address: str) -> list[str]:
    """The latest messages from or to an address, oldest first; the history may have it masked."""
    ids: set[str] = set()
    plain = mailbox(address)
    for history, forms in ((False, {plain}), (True, {plain, setting.mask()(plain)})):
        for form in forms:
            for selection in (Selection(recipient=form), Selection(sender=form)):
                ids.update(row.id for row in all_rows(reader, selection, history))
    return sorted(ids)[-MOST:]


def _explain_one(setting: Setting, reader: SpoolReader, id: str) -> tuple[dict[str, Any], list[str]]:
    """As JSON and as text."""
    try:
        story = reader.story(id)
    except KeyError:
        raise click.ClickException(f"there is no message {escape(id)}") from None
    now = now_ms()
    waiting = all_rows(reader, Selection(ids=(id,)))
    values = {
        "id": id,
        "story": [{"at": e.at, "code": e.code, "recipient": e.recipient, **e.args} for e in story],
        "waiting": [show.row_values(row, now) for row in waiting],
    }
    lines = [id, *told(story, now)]
    if not waiting:
        return values, [*lines, "NEXT         nothing: it has ended for all recipients"]
    configuration = setting.configuration_or_none()
    rules = None if configuration is None else retry_rules(configuration)
    try:
        envelope = reader.record(id).envelope
    except (KeyError, Damaged):
        envelope = None
    pauses = Pauses(setting.state)
    pauses.read()
    running = setting.ask_if_running("pauses") is not None
    for row in waiting:
        pause = pauses.find(row.recipient.destination)
        lines += what_next(row, envelope, rules, catalog("en"), pause, now, running=running)
    return values, lines
