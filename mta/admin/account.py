"""``mta account``: the accounts of a file, and the brakes against guessing.

Contract: a change is in the file when the command returns, and counts from the next question of the service on: its
sessions ask at each MAIL.  A password is asked for at the terminal or read from standard input, never an argument: what
stands there is seen by everybody on the machine.  An app password is shown once, when it is made.
How it fails: 1, with nothing changed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

import click

from mta.accounts import editing, ways
from mta.accounts.file import cost_of, with_password
from mta.accounts.names import account_name, password
from mta.accounts.records import Record, checked_address, checked_day, checked_delegation, checked_fingerprint
from mta.accounts.values import State
from mta.admin import account_show
from mta.admin.setting import Setting, as_json, now_ms, output, pass_setting
from mta.config import values as _values
from mta.config.account_options import FileAccountsOptions
from mta.events import escape

C = TypeVar("C", bound=Callable[..., Any])
_NOTHING: Final = 'there are no accounts in a file: write [accounts.main], type = "file" and path = "..."'


@click.group("account")
def account() -> None:
    """Accounts: who may send with a login."""


# --- what the commands share ---------------------------------------------------------------------------------------


def in_source(command: C) -> C:
    """The option that says which file, where there are several."""
    return click.option("--in", "source", metavar="NAME", help="The [accounts.NAME], where there are several files.")(
        command
    )


def limits(command: C) -> C:
    """The options for limits of an account."""
    for name, what in (
        ("--per-day", "Recipients a day"),
        ("--per-hour", "Recipients an hour"),
        ("--recipients", "Recipients of one message"),
        ("--message-size", "The largest message, in octets or as 20MiB"),
    ):
        kind: Any = str if name == "--message-size" else click.IntRange(0)
        command = click.option(name, type=kind, help=f"{what}; 0: the listener's limit.")(command)
    return command


class File:
    """The file of accounts that is meant."""

    def __init__(self, setting: Setting, source: str | None) -> None:
        files = account_show.files_of(setting.configuration)
        if not files:
            raise click.ClickException(_NOTHING)
        if source is None and len(files) > 1:
            raise click.UsageError(f"there are several files: say --in {' or --in '.join(files)}")
        if source is not None and source not in files:
            raise click.UsageError(f"there is no file of accounts {source}: there is {', '.join(files)}")
        self.source = source or next(iter(files))
        self.options: FileAccountsOptions = files[self.source]
        self._state = setting.state

    def change(self, make: Callable[[ways.Records], ways.Records], *, create: bool = False) -> None:
        """Raises ``click.ClickException``."""
        try:
            editing.change(self.options.path, make, owner=self._owner(), create=create)
        except FileNotFoundError as error:
            raise click.ClickException(f"there is no {error.filename}: mta account add makes it") from error
        except (OSError, ValueError) as error:
            raise click.ClickException(str(error)) from error

    def _owner(self) -> tuple[int, int] | None:
        """Root makes a file that the service can read."""
        if os.geteuid() or not os.path.isdir(self._state):
            return None
        status = os.stat(self._state)
        return status.st_uid, status.st_gid

    def with_password(self, record: Record, given: str) -> Record:
        """Raises ``click.ClickException``."""
        if len(given) < ways.SHORTEST:
            raise click.ClickException(f"a password has {ways.SHORTEST} characters at least")
        try:
            octets = password(given)
        except ValueError as error:
            raise click.ClickException(str(error)) from error
        made = with_password(record, octets, cost_of(self.options), scram=self.options.scram)
        return replace(made, changed=now_ms())


def checked(read: Callable[[str], str], said: str) -> str:
    """What was said, in its form.  Raises ``click.BadParameter``."""
    try:
        return read(said)
    except ValueError as error:
        raise click.BadParameter(escape(str(error))) from error


def ask_password(name: str, from_stdin: bool) -> str:
    """A new password: one line of standard input, or twice at the terminal."""
    if from_stdin:
        return sys.stdin.readline(4096).rstrip("\r\n")
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask at: say --stdin and write the password there")
    given: str = click.prompt(f"Password of {escape(name)}", hide_input=True, confirmation_prompt=True, err=True)
    return given


def _set(record: Record, said: Mapping[str, Any]) -> Record:
    """The record with what options said; None: they said nothing."""
    found = {key: value for key, value in said.items() if value is not None}
    if "expires" in found:
        found["expires"] = checked(checked_day, found["expires"])
    if "message_size" in found:
        found["message_size"] = _octets(found["message_size"])
    if "full_name" in found and not found["full_name"].isprintable():
        raise click.BadParameter("a full name has no control characters")
    return replace(record, **found)


def _octets(text: str) -> int:
    try:
        return int(text) if text.isascii() and text.isdigit() else int(_values.size(text))
    except ValueError as error:
        raise click.BadParameter(f"{escape(text)} is no size") from error


# --- accounts ------------------------------------------------------------------------------------------------------


@account.command("add")
@click.argument("name")
@click.option(
    "--address", "addresses", multiple=True, metavar="ADDRESS", help="An own address; the first is the main one."
)
@click.option("--full-name", help="The name of a person.")
@click.option("--expires", metavar="DAY", help="The last day, as 2026-12-31.")
@limits
@click.option("--stdin", "from_stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--no-password", is_flag=True, help="App passwords and certificates alone.")
@in_source
@pass_setting
def add(
    setting: Setting,
    /,
    name: str,
    addresses: tuple[str, ...],
    from_stdin: bool,
    no_password: bool,
    source: str | None,
    **said: Any,
) -> None:
    """Add an account, and ask for its password.

    Without --address its name is its address, if it is one.
    """
    file, name = File(setting, source), checked(account_name, name)
    own = tuple(dict.fromkeys(checked(checked_address, one) for one in addresses)) or ((name,) if "@" in name else ())
    record = _set(Record(name=name, addresses=own, created=now_ms()), said)
    if not no_password:
        record = file.with_password(record, ask_password(name, from_stdin))
    file.change(ways.adding(record), create=True)
    click.echo(f"{escape(name)} is there; it sends as {escape(', '.join(own)) or 'nobody: give it an address'}")


@account.command("set")
@click.argument("name")
@click.option("--full-name", help="The name of a person.")
@click.option("--expires", metavar="DAY", help='The last day, as 2026-12-31; "" for none.')
@limits
@in_source
@pass_setting
def set_(setting: Setting, /, name: str, source: str | None, **said: Any) -> None:
    """Change what is known of an account."""
    if not any(value is not None for value in said.values()):
        raise click.UsageError("say what is to be changed")
    name = checked(account_name, name)
    File(setting, source).change(ways.changing(name, lambda record: _set(record, said)))
    click.echo(f"{escape(name)} is changed")


@account.command("passwd")
@click.argument("name")
@click.option("--stdin", "from_stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--remove", is_flag=True, help="Let it have none: app passwords and certificates alone log in.")
@in_source
@pass_setting
def passwd(setting: Setting, name: str, from_stdin: bool, remove: bool, source: str | None) -> None:
    """Set the password of an account.

    Connections that logged in with the old one end at their next message.
    """
    file, name = File(setting, source), checked(account_name, name)
    if remove:
        none: dict[str, Any] = {"password": "", "scram_sha_1": "", "scram_sha_256": ""}
        file.change(ways.changing(name, lambda record: replace(record, **none, changed=now_ms())))
        click.echo(f"{escape(name)} has no password any more")
        return
    given = ask_password(name, from_stdin)
    file.change(ways.changing(name, lambda record: file.with_password(record, given)))
    click.echo(f"{escape(name)} has a new password")


def _to(state: State, setting: Setting, name: str, why: str, source: str | None) -> str:
    name = checked(account_name, name)
    if not why.isprintable():
        raise click.BadParameter("a reason has no control characters")
    File(setting, source).change(ways.changing(name, lambda record: replace(record, state=state, why=why)))
    return escape(name)


@account.command("disable")
@click.argument("name")
@click.option("--why", default="", help="For those who ask later.")
@in_source
@pass_setting
def disable(setting: Setting, name: str, why: str, source: str | None) -> None:
    """Let an account send nothing more; its mail that waits is held."""
    name = _to(State.DISABLED, setting, name, why, source)
    click.echo(f"{name} is disabled: open connections end at their next message, what waits of it is held")


@account.command("hold")
@click.argument("name")
@click.option("--why", default="", help="For those who ask later.")
@in_source
@pass_setting
def hold(setting: Setting, name: str, why: str, source: str | None) -> None:
    """Take an account's mail in, and keep it."""
    click.echo(f"{_to(State.HELD, setting, name, why, source)} is held: what it sends is taken in and waits")


@account.command("enable")
@click.argument("name")
@in_source
@pass_setting
def enable(setting: Setting, name: str, source: str | None) -> None:
    """Let an account send again."""
    click.echo(f"{_to(State.ACTIVE, setting, name, '', source)} is active")


@account.command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@in_source
@pass_setting
def remove(setting: Setting, name: str, yes: bool, source: str | None) -> None:
    """Remove an account; disable keeps what is known of it."""
    file, name = File(setting, source), checked(account_name, name)
    if not yes:
        click.confirm(f"Remove {escape(name)}?", abort=True, err=True)
    file.change(ways.removing(name))
    click.echo(f"{escape(name)} is no more")


# --- what an account has -------------------------------------------------------------------------------------------


def _listing(key: str, read: Callable[[str], str], what: str) -> Callable[..., None]:
    """A command's body that adds to a list of the account, and removes from it."""

    def body(setting: Setting, name: str, adds: tuple[str, ...], removes: tuple[str, ...], source: str | None) -> None:
        name = checked(account_name, name)
        new, old = (tuple(checked(read, one) for one in some) for some in (adds, removes))
        if not new and not old:
            raise click.UsageError("say --add or --remove")

        def change(record: Record) -> Record:
            changed: dict[str, Any] = {key: ways.listed(getattr(record, key), new, old, what)}
            return replace(record, **changed)

        File(setting, source).change(ways.changing(name, change))
        click.echo(f"{escape(name)} is changed")

    return body


def _lists(name: str, metavar: str, help: str, body: Callable[..., None]) -> None:
    command = in_source(pass_setting(body))
    for option, kept in (("--remove", "removes"), ("--add", "adds")):
        command = click.option(option, kept, multiple=True, metavar=metavar)(command)
    account.command(name, help=help)(click.argument("name")(command))


_lists(
    "alias",
    "ADDRESS",
    "Give an account more addresses, or take some away.",
    _listing("addresses", checked_address, "address"),
)
_lists(
    "delegate",
    "ADDRESS|@DOMAIN",
    "Let an account send as an address of others, or as all of a domain.",
    _listing("delegated", checked_delegation, "delegation"),
)
_lists(
    "certificate",
    "SHA256",
    "Let a client certificate log in, named by its fingerprint.",
    _listing("certificates", checked_fingerprint, "certificate"),
)


@account.command("app-password")
@click.argument("name")
@click.argument("label")
@click.option("--revoke", is_flag=True, help="Let it no longer log in.")
@as_json
@in_source
@pass_setting
def app_password(setting: Setting, name: str, label: str, revoke: bool, as_json: bool, source: str | None) -> None:
    """Make a password for one program, called LABEL, and show it once.

    With --revoke: connections that logged in with it end at their next message.
    """
    file, name = File(setting, source), checked(account_name, name)
    if revoke:
        file.change(ways.changing(name, lambda record: ways.without_app_password(record, label)))
        output({"revoked": label}, as_json, lambda: f"{label} of {escape(name)} is revoked")
        return
    given = ways.new_app_password()
    cost, scram = cost_of(file.options), file.options.scram
    file.change(
        ways.changing(name, lambda record: ways.with_app_password(record, label, given, now_ms(), cost, scram=scram))
    )
    output({"app_password": given}, as_json, lambda: [given, "It is not shown again."])


@account.command("show")
@click.argument("name", required=False)
@as_json
@in_source
@pass_setting
def show(setting: Setting, name: str | None, as_json: bool, source: str | None) -> None:
    """All accounts of files; or one, with its app passwords and when they were last used."""
    account_show.show(setting, name, source, as_json)


# --- brakes --------------------------------------------------------------------------------------------------------


@account.command("brakes")
@as_json
@pass_setting
def brakes(setting: Setting, as_json: bool) -> None:
    """Failed logins that count at the moment, and what they have closed."""
    answer = setting.ask("brakes")
    output(answer, as_json, lambda: account_show.brake_lines(answer))


@account.command("lift")
@click.argument("which", required=False)
@click.option("--all", "everything", is_flag=True, help="All of them.")
@as_json
@pass_setting
def lift(setting: Setting, which: str | None, everything: bool, as_json: bool) -> None:
    """Forget the failed logins of an account, an address or a network."""
    if bool(which) == everything:
        raise click.UsageError("say which, or --all")
    answer = setting.ask("lift", which=which or "")
    output(answer, as_json, lambda: "nothing counted" if not answer["lifted"] else "lifted")
