"""The commands that change what waits: ``mta queue hold``, ``release``, ``retry``, ``reroute``, ``bounce``, ``delete``,
``pause`` and ``resume``.

Contract: through the control socket, or with the service stopped in the spool itself; who did it is in the story of
each message.  What is being delivered at that moment is left alone, and the command says so.
"""

from __future__ import annotations

import click

from mta.admin import show
from mta.admin.selecting import Asked, changing, confirm
from mta.admin.selection import destination, to_wire
from mta.admin.setting import Setting, as_json, now_ms, output, pass_setting
from mta.events import escape
from mta.queue.paused import EVERYTHING
from mta.spool.values import ChangeKind, Selection


def _change(
    setting: Setting,
    selection: Selection,
    asked: Asked,
    kind: ChangeKind,
    done: str,
    argument: str | None = None,
    warning: str = "",
) -> None:
    count = confirm(setting, selection, kind.value.capitalize(), asked, warning)
    answer = setting.have_done("change", selection=to_wire(selection), kind=kind.value, argument=argument)
    changed = answer["changed"]

    def text() -> list[str]:
        lines = [f"{done} {show.many(changed, 'recipient')}{warning}"]
        if changed < count:
            lines.append(f"left alone: {count - changed:,} that are being delivered, have ended, or were so already")
        return lines

    output({"selected": count, "changed": changed}, asked.as_json, text)


@click.command()
@changing
@click.option("--because", metavar="TEXT", help="The reason, for the story and for those who come after.")
@pass_setting
def hold(setting: Setting, selection: Selection, because: str | None, asked: Asked) -> None:
    """Keep recipients back until somebody releases them."""
    _change(setting, selection, asked, ChangeKind.HOLD, "held", because)


@click.command()
@changing
@pass_setting
def release(setting: Setting, selection: Selection, asked: Asked) -> None:
    """Let go what is held."""
    _change(setting, selection, asked, ChangeKind.RELEASE, "released")


@click.command()
@changing
@pass_setting
def retry(setting: Setting, selection: Selection, asked: Asked) -> None:
    """Try now, though it is not yet time, or its destination rests; what is held stays held."""
    _change(setting, selection, asked, ChangeKind.RETRY, "to be tried now:")


@click.command()
@changing
@click.option("--via", metavar="SERVICE[:NEXTHOP]", help="A delivery service, and a host or domain if not its own.")
@click.option("--by-configuration", is_flag=True, help="Take an earlier reroute back.")
@pass_setting
def reroute(setting: Setting, selection: Selection, via: str | None, by_configuration: bool, asked: Asked) -> None:
    """Send by another delivery service, whatever the routes of the configuration say; it stays so at each try."""
    if bool(via) == by_configuration:
        raise click.UsageError("say --via SERVICE[:NEXTHOP], or --by-configuration")
    if via:
        services = setting.configuration.delivery
        if destination(via).service not in services:
            raise click.UsageError(f"there is no [delivery.{destination(via).service}]; known: {', '.join(services)}")
    _change(setting, selection, asked, ChangeKind.REROUTE, "rerouted", via or "")


@click.command()
@changing
@click.option("--because", metavar="TEXT", help="What the sender is told.")
@pass_setting
def bounce(setting: Setting, selection: Selection, because: str | None, asked: Asked) -> None:
    """Give recipients up: their senders get a report as for any failure."""
    _change(setting, selection, asked, ChangeKind.BOUNCE, "bounced", because, ": their senders are told")


@click.command()
@changing
@pass_setting
def delete(setting: Setting, selection: Selection, asked: Asked) -> None:
    """Throw recipients away.  Nobody is told: no report is sent.  (To tell the senders: bounce.)"""
    _change(setting, selection, asked, ChangeKind.DELETE, "deleted", warning=": nobody is told")


@click.command()
@click.argument("place", required=False)
@click.option("--all", "everything", is_flag=True, help="Everything.")
@click.option("--because", metavar="TEXT", default="", help="The reason, for those who come after.")
@as_json
@pass_setting
def pause(setting: Setting, place: str | None, everything: bool, because: str, as_json: bool) -> None:
    """Send nothing to a service, a next hop, or SERVICE:NEXTHOP.  Without one: what is paused.

    What waits is not held: its times stay as they are.  What is under way goes on.  It lasts over a restart.
    """
    if not place and not everything:
        pauses = setting.have_done("pauses")
        now = now_ms()
        rows = (
            (escape(one["place"]), show.age(now - one["since"]), escape(one["by"]), escape(one["reason"]))
            for one in pauses
        )
        heading = ("PLACE", "SINCE", "BY", "REASON")
        output(pauses, as_json, lambda: show.table(rows, heading) if pauses else "nothing is paused")
        return
    answer = setting.have_done("pause", place=place or EVERYTHING, reason=because)
    what = "everything" if answer["paused"] == EVERYTHING else escape(answer["paused"])
    output(answer, as_json, lambda: f"{what} is paused" if answer["new"] else f"{what} was paused already")


@click.command()
@click.argument("place", required=False)
@click.option("--all", "everything", is_flag=True, help="End all pauses.")
@as_json
@pass_setting
def resume(setting: Setting, place: str | None, everything: bool, as_json: bool) -> None:
    """End a pause, by the name that it was given."""
    if bool(place) == everything:
        raise click.UsageError("say what is to be resumed, or --all")
    answer = setting.have_done("resume", place=place or EVERYTHING)
    if not answer["resumed"] and not everything:
        raise click.ClickException(f"{escape(place or '')} is not paused under this name: see mta queue pause")
    output(
        answer,
        as_json,
        lambda: [f"{escape(one)} is sent to again" for one in answer["resumed"]] or "nothing was paused",
    )
