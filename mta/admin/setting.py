"""What all commands share: the configuration, the spool to read, and the way to have something changed.

Contract: reading works whether the service runs or not.  A change goes through the control socket; where no service
runs it is made in the spool itself, under the lock of the state.
How it fails: ``click.ClickException`` with what is wrong, and exit status 1.
"""

from __future__ import annotations

import json
import os
import re
import time
import tomllib
from collections.abc import Callable
from typing import Any, Final

import click

from mta.admin.control import ANSWER_TIME, LOOK_TIME, ControlError, NotRunning, request
from mta.admin.offline import do_offline
from mta.admin.privacy import mask_of
from mta.config.load import Configuration, ConfigurationError, load
from mta.reply import MailFailure
from mta.spool.masking import Mask
from mta.spool.values import PageKey, Row, Selection
from mta.workers.spools import Spools

PLACES: Final = ("etc/mta.toml", "/etc/mta/mta.toml")
PAGE: Final = 500


def now_ms() -> int:
    """UTC milliseconds."""
    return time.time_ns() // 1_000_000


def find_configuration(given: str | None) -> str:
    """Where the configuration is; the first place that has one."""
    if given:
        return given
    if os.environ.get("MTA_CONFIG"):
        return os.environ["MTA_CONFIG"]
    return next((place for place in PLACES if os.path.exists(place)), PLACES[0])


def loose(path: str, key: str, table: str = "") -> str | None:
    """A text of a configuration that cannot be read as a whole: by TOML, or else by the line that it stands in."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return None
    try:
        found: Any = tomllib.loads(text)
        value = (found.get(table, {}) if table else found).get(key)
        return value if isinstance(value, str) else None
    except (ValueError, AttributeError, RecursionError):
        pass
    if table:
        text = text.partition(f"\n[{table}]")[2].partition("\n[")[0]
    line = re.search(rf"""^\s*{key}\s*=\s*(["'])([^"'\n]*)\1""", text, re.MULTILINE)
    return None if line is None else line[2]


class Setting:
    """See the module's text.  The configuration is read when it is first needed."""

    def __init__(self, path: str, overrides: tuple[str, ...]) -> None:
        self.path = path
        self.overrides = overrides
        self._configuration: Configuration | None = None
        self._state: str | None = None

    @property
    def configuration(self) -> Configuration:
        if self._configuration is None:
            try:
                self._configuration = load(self.path, self.overrides)
            except ConfigurationError as error:
                raise click.ClickException(f"the configuration is wrong:\n{error}") from error
        return self._configuration

    @property
    def state(self) -> str:
        """The state folder; from a configuration that is wrong elsewhere too, so that the queue can be looked at."""
        if self._state is None:
            configuration = self.configuration_or_none()
            self._state = configuration.state if configuration is not None else self._state_alone()
            if self._state is None:
                self._state = self.configuration.state  # says what is wrong
            elif configuration is None:
                click.echo("warning: the configuration is wrong: see mta check", err=True)
        return self._state

    def configuration_or_none(self) -> Configuration | None:
        """None where it is wrong."""
        if self._configuration is None:
            try:
                self._configuration = load(self.path, self.overrides)
            except ConfigurationError:
                return None
        return self._configuration

    def _state_alone(self) -> str | None:
        given = [text.partition("=")[2] for text in self.overrides if text.startswith("state=")]
        if given:
            return os.path.abspath(given[-1].strip("\"'"))
        state = loose(self.path, "state")
        return None if state is None else os.path.join(os.path.dirname(os.path.abspath(self.path)), state)

    def log_file(self) -> str | None:
        """The log; from a configuration that is wrong elsewhere too.  None: standard error."""
        configuration = self.configuration_or_none()
        if configuration is not None:
            return configuration.log.file
        file = loose(self.path, "file", "log")
        return None if file is None else os.path.join(os.path.dirname(os.path.abspath(self.path)), file)

    def mask(self) -> Mask:
        """How addresses are written in the log, and in the history."""
        configuration = self.configuration_or_none()
        try:
            if configuration is None:
                return mask_of(loose(self.path, "addresses", "privacy") or "full", self.state)
            return mask_of(configuration.privacy.addresses, self.state)
        except OSError as error:
            raise click.ClickException(f"the key of the hashes cannot be read: {error}") from error

    def reader(self) -> Spools:
        """The spools of all workers, to read only."""
        try:
            return Spools(self.state)
        except FileNotFoundError:
            raise click.ClickException(f"there is no spool in {self.state}: the service has not run yet") from None
        except OSError as error:
            raise click.ClickException(f"the spool cannot be read: {error}") from error

    def ask(self, command: str, wait: float = ANSWER_TIME, **arguments: Any) -> Any:
        """Ask the running service."""
        try:
            return request(self.state, command, wait, **arguments)
        except ControlError as error:
            raise click.ClickException(str(error)) from error

    def ask_if_running(self, command: str, **arguments: Any) -> Any:
        """The same, for commands that can do without: None where no service runs, {} where it does not answer."""
        try:
            return request(self.state, command, LOOK_TIME, **arguments)
        except NotRunning:
            return None
        except ControlError as error:
            click.echo(f"warning: {error}", err=True)
            return {}

    def runs(self) -> bool:
        """Does the service run?  It may be too busy to answer."""
        return self.ask_if_running("pauses") is not None

    def have_done(self, command: str, **arguments: Any) -> Any:
        """A change: by the running service, or in the spool of one that is stopped."""
        try:
            try:
                return request(self.state, command, **arguments)
            except NotRunning:
                return do_offline(self.state, command, arguments, now_ms)
        except (ControlError, MailFailure, OSError, ValueError) as error:
            raise click.ClickException(str(error)) from error


pass_setting = click.make_pass_decorator(Setting)
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")


def output(value: Any, as_json: bool, text: Callable[[], Any]) -> None:
    """Print ``value`` as JSON, or what ``text`` returns: a line or several."""
    if as_json:
        click.echo(json.dumps(value))
        return
    lines = text()
    for line in [lines] if isinstance(lines, str) else lines:
        click.echo(line)


def all_rows(reader: Spools, selection: Selection, history: bool = False, most: int = 0) -> list[Row]:
    """All rows of a selection, or the first ``most``, page by page."""
    rows: list[Row] = []
    after: PageKey | None = None
    while not most or len(rows) < most:
        page = reader.page(selection, after, min(PAGE, most - len(rows)) if most else PAGE, history)
        rows += page
        if not page:
            break
        after = PageKey(page[-1].id, page[-1].recipient.id)
    return rows
