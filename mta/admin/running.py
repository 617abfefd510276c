"""The commands about the service itself: ``mta status``, ``reload``, ``drain``, and ``log``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import click

from mta.admin import show
from mta.admin.control import LOOK_TIME
from mta.admin.logfile import Filter, LogReader
from mta.admin.selecting import read_age
from mta.admin.setting import Setting, as_json, output, pass_setting

#: Seconds between two looks at what is left, and at the log.
LOOK: Final = 1.0


@click.command()
@pass_setting
def reload(setting: Setting) -> None:
    """Let the running service read its configuration again."""
    click.echo(setting.ask("reload"))


@click.command()
@as_json
@pass_setting
def status(setting: Setting, as_json: bool) -> None:
    """What the running service is doing.

    Exits with 1 if one of several workers does not run.
    """
    answer = setting.ask("status", LOOK_TIME)
    shown = {key.replace("_", " "): _shown(key, value) for key, value in answer.items() if value not in ("", [])}
    shown.pop("workers", None)
    shown |= {f"worker {one['worker']}": _worker(one) for one in answer.get("workers", ())}
    output(answer, as_json, lambda: [f"{key:<16} {value}" for key, value in shown.items()])
    if answer.get("down"):
        raise click.exceptions.Exit(1)


def _worker(one: Mapping[str, Any]) -> str:
    """How one of several processes does."""
    again = f", started again {show.many(one['restarts'], 'time')}" if one["restarts"] else ""
    if one["state"] == "empty":
        return "ended: its spool has nothing any more"
    return f"runs, process {one['pid']}{again}" if one["state"] == "runs" else f"down: {one['trouble']}{again}"


def _shown(key: str, value: Any) -> str:
    if key == "up":
        return show.age(value * 1000)
    return f"{value:,}" if isinstance(value, int) and key != "pid" else str(value)


@click.command()
@click.option("--stop", is_flag=True, help="Stop the service when nothing can be delivered any more.")
@click.option(
    "--wait", callback=read_age, default="10m", show_default=True, metavar="AGE", help="How long to wait for that."
)
@click.option("--cancel", is_flag=True, help="Take mail in again.")
@as_json
@pass_setting
def drain(setting: Setting, stop: bool, wait: float, cancel: bool, as_json: bool) -> None:
    """Take no more mail, and deliver what can be.

    New connections get 421.  What waits for its next try, for a destination that rests or is paused, or is held, stays.
    Exits with 1 if not all that can go has gone in time; the service then goes on, and still takes no mail.
    """
    if cancel:
        answer = setting.ask("drain", on=False)
        output(answer, as_json, lambda: "mail is taken in again")
        return
    end = time.monotonic() + wait
    answer = setting.ask("drain", on=True)
    said = ""
    while not answer["done"] and time.monotonic() < end:
        if not as_json and (text := _left(answer)) != said:
            said = text
            click.echo(text, err=True)
        time.sleep(LOOK)
        answer = setting.ask("drain")
    if answer["done"] and stop:
        setting.ask("stop")
    output({**answer, "stopping": bool(answer["done"] and stop)}, as_json, lambda: _drained(answer, stop))
    if not answer["done"]:
        raise click.exceptions.Exit(1)


def _left(answer: Mapping[str, Any]) -> str:
    return (
        f"{answer['sessions']} sessions, {answer['in_memory']:,} recipients under way, "
        f"{answer['due']:,} destinations with something due"
    )


def _drained(answer: Mapping[str, Any], stop: bool) -> str:
    if not answer["done"]:
        return f"not done: {_left(answer)}; no mail is taken in (mta drain --cancel)"
    return "drained; the service stops" if stop else "drained; no mail is taken in (mta drain --cancel)"


@click.command("log")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
@click.option("--to", "to", metavar="ADDRESS", help="About mail to this address.")
@click.option("--from", "sender", metavar="ADDRESS", help='About mail from this address ("" for reports).')
@click.option("--id", default="", metavar="ID", help="About this message.")
@click.option("--file", "path", metavar="FILE", help="Another log than that of the configuration.")
@pass_setting
def log(setting: Setting, follow: bool, to: str | None, sender: str | None, id: str, path: str | None) -> None:
    """The log, or what it says about an address or a message.

    From the oldest rotated file on; with -f alone only what is written from now on.
    """
    path = path or setting.log_file()
    if path is None:
        raise click.ClickException("the log goes to standard error: see there (journalctl), or set log.file")
    chosen = Filter(to=to, sender=sender, id=id, mask=setting.mask())
    reader = LogReader(path)
    try:
        if follow and to is None and sender is None and not id:
            reader.skip()
        else:
            _show(chosen, reader.existing())
        while follow:
            time.sleep(LOOK / 4)
            _show(chosen, reader.more())
    except OSError as error:
        raise click.ClickException(f"the log cannot be read: {error}") from error


def _show(chosen: Filter, lines: Any) -> None:
    for line in lines:
        if chosen.shows(line):
            click.echo(line)
