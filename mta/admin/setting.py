"""What all commands share: the configuration, the spool to read, and the way to have something changed.

Contract: reading works whether the service runs or not.  A change goes through the control socket; where no service
runs it is made in the spool itself, under the lock of the state.
How it fails: ``click.ClickException`` with what is wrong, and exit status 1.
"""

from __future__ import annotations

import json
import os
import time
import tomllib
from collections.abc import Callable
from typing import Any, Final

import click

from mta.admin.control import ControlError, NotRunning, request
from mta.admin.offline import do_offline
from mta.admin.privacy import mask_of
from mta.config.load import Configuration, ConfigurationError, load
from mta.reply import MailFailure
from mta.spool.masking import Mask
from mta.spool.reader import SpoolReader
from mta.spool.values import PageKey, Row, Selection

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
        try:
            with open(self.path, "rb") as file:
                state = tomllib.load(file).get("state")
        except (OSError, ValueError):
            return None
        return os.path.join(os.path.dirname(os.path.abspath(self.path)), state) if isinstance(state, str) else None

    def mask(self) -> Mask:
        """How addresses are written in the log, and in the history."""
        configuration = self.configuration_or_none()
        try:
            return mask_of("full" if configuration is None else configuration.privacy.addresses, self.state)
        except OSError as error:
            raise click.ClickException(f"the key of the hashes cannot be read: {error}") from error

    def reader(self) -> SpoolReader:
        """The spool, to read only."""
        try:
            return SpoolReader(self.state)
        except FileNotFoundError:
            raise click.ClickException(f"there is no spool in {self.state}: the service has not run yet") from None
        except OSError as error:
            raise click.ClickException(f"the spool cannot be read: {error}") from error

    def ask(self, command: str, **arguments: Any) -> Any:
        """Ask the running service."""
        try:
            return request(self.state, command, **arguments)
        except ControlError as error:
            raise click.ClickException(str(error)) from error

    def ask_if_running(self, command: str, **arguments: Any) -> Any:
        """The same; None where no service runs."""
        try:
            return request(self.state, command, **arguments)
        except NotRunning:
            return None
        except ControlError as error:
            raise click.ClickException(str(error)) from error

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


def all_rows(reader: SpoolReader, selection: Selection, history: bool = False, most: int = 0) -> list[Row]:
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
