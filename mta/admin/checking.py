"""``mta check``: the configuration read and cross-checked, its certificates, whether the service can write its folders,
and the tests beside it (``mta.trial``).

Contract: everything is told at once: errors, which a start would refuse, and warnings, each with its file and key path
and what to write instead.  Nothing is changed.  Folders are looked at for the owner of the state folder if root asks,
else for whoever asks.
"""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import click

from mta.admin import show
from mta.admin.control import too_long
from mta.admin.setting import Setting, as_json, now_ms, output, pass_setting
from mta.admin.trying import on_trial
from mta.config.account_check import doubtful_accounts, wrong_accounts
from mta.config.load import Configuration, ConfigurationError, load
from mta.config.problems import Problem
from mta.config.programs import wrong_programs, wrong_users
from mta.config.tree import key_path
from mta.config.trusted import doubtful
from mta.config.values import show_size
from mta.delivery.maildir import MaildirOptions
from mta.tls.advice import advise
from mta.trial.cases import files_of
from mta.trial.prove import Proof, prove

_UNIX: Final = "unix:"


@click.command()
@as_json
@pass_setting
def check(setting: Setting, as_json: bool) -> None:
    """Check the whole configuration.

    Says everything that is wrong at once, and then exits with 1.
    """
    found = _look(setting)
    values = {
        "file": setting.path,
        "errors": [_values(one) for one in found.errors],
        "warnings": [_values(one) for one in found.warnings],
        "hints": found.hints,
        "tests": found.tests,
    }
    if as_json:
        output(values, True, list)
        if found.errors:
            raise click.exceptions.Exit(1)
        return
    for warning in found.warnings:
        click.echo(f"warning: {warning}")
    for hint in found.hints:
        click.echo(f"hint: {hint}")
    if found.errors:
        raise click.ClickException("\n".join(["the configuration is wrong:", *map(str, found.errors)]))
    tests = f"; {show.many(found.tests, 'test')} passed" if found.tests else ""
    click.echo(f"{setting.path} is in order{tests}")


class Found(NamedTuple):
    """What there is to say."""

    errors: list[Problem]
    warnings: list[Problem]
    hints: list[str]
    tests: int = 0  # so many there are beside the configuration


def _look(setting: Setting) -> Found:
    try:
        configuration = load(setting.path, setting.overrides)
    except ConfigurationError as error:
        return Found(list(error.problems), [], [])
    advice = advise(configuration, now_ms())
    errors = [_of_key(setting, "tls", text) for text in advice.errors]
    if why := too_long(configuration.state):
        errors.append(Problem(setting.path, "state", why, 'write a shorter path, such as "/var/lib/mta"'))
    if configuration.log.file is not None and not os.path.isdir(folder := os.path.dirname(configuration.log.file)):
        errors.append(Problem(setting.path, "log.file", f"there is no folder {folder}", f"make it: mkdir {folder}"))
    programs = (
        *wrong_users(configuration, os.geteuid()),
        *wrong_programs(configuration),
        *wrong_accounts(configuration),
    )
    errors += [Problem(setting.path, *told) for told in programs]
    warnings = [
        *configuration.warnings,
        *(_of_key(setting, "tls", text) for text in advice.warnings),
        *(Problem(setting.path, *told) for told in _folders(configuration)),
        *(Problem(setting.path, *told) for told in doubtful_accounts(configuration)),
        *(Problem(setting.path, *told) for told in doubtful(configuration, _service_user(configuration.state))),
    ]
    tests = _tests(configuration)
    return Found(errors + tests.problems, warnings, advice.hints, tests.cases)


def _tests(configuration: Configuration) -> Proof:
    if not files_of(configuration) and not configuration.policy:
        return Proof(0, [])
    try:
        decides = on_trial(configuration)
    except Exception as error:  # also of a plugin
        what = f"what decides on mail cannot be made: {type(error).__name__}: {error}"
        return Proof(0, [Problem(configuration.files[0], "", what)])
    try:
        return prove(decides, now_ms, time.monotonic)
    finally:
        decides.policies.close()
        decides.tables.close()


def _of_key(setting: Setting, key: str, text: str) -> Problem:
    return Problem(setting.path, key, text.removeprefix(f"{key}: "))


def _values(problem: Problem) -> dict[str, Any]:
    return {**problem._asdict(), "text": str(problem)}


# --- where the service has to write ----------------------------------------------------------------------------


def _folders(configuration: Configuration) -> Iterator[tuple[str, str, str]]:
    """The folders that the service could not write: key path, what is wrong, what to do."""
    user = _service_user(configuration.state)
    for path, folder in _places(configuration):
        if why := unwritable(folder, user):
            yield path, why, f"chown {_name(user)} {_nearest(folder)}, or name another place"
    if not unwritable(configuration.state, user):
        free = os.statvfs(_nearest(configuration.state))
        if free.f_bavail * free.f_frsize < configuration.queue.reserve:
            what = f"the disk has less than queue.reserve ({show_size(configuration.queue.reserve)}) left"
            yield "state", f"{what}: MAIL gets 452 4.3.1", "make room"


def _places(configuration: Configuration) -> Iterator[tuple[str, str]]:
    yield "state", configuration.state
    if configuration.log.file is not None and os.path.isdir(os.path.dirname(configuration.log.file)):
        yield "log.file", os.path.dirname(configuration.log.file)
    for index, listener in enumerate(configuration.listen):
        if listener.endpoint.startswith(_UNIX):
            path = listener.endpoint.removeprefix(_UNIX).partition(":")[0]
            yield f"listen[{index}].endpoint", os.path.dirname(path)
    if configuration.local.folder is not None:
        yield "local.folder", os.path.dirname(configuration.local.folder)
    for name, section in configuration.delivery.items():
        if isinstance(section.options, MaildirOptions):
            # The folder above the first part that depends on the mailbox.
            yield f"{key_path('delivery', name)}.path", os.path.dirname(section.options.path.partition("{")[0])


def _service_user(state: str) -> int:
    """Whose user id the service has: root may ask for another."""
    if os.geteuid() == 0 and os.path.isdir(state):
        return os.stat(state).st_uid
    return os.geteuid()


def unwritable(folder: str, user: int) -> str:
    """Why nothing can be made in a folder, or the folder not be made, by a user; "" if it can."""
    there = _nearest(folder)
    if not os.path.isdir(there):
        return f"{there} is no folder"
    if not os.access(there, os.W_OK | os.X_OK) or not _allows(there, user):
        what = f"{folder} cannot be made, since {there}" if there != folder else folder
        return f"{what} cannot be written by {_name(user)}"
    return ""


def _nearest(path: str) -> str:
    """The path, or the nearest thing above it that there is."""
    path = os.path.abspath(path)
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def _allows(folder: str, user: int) -> bool:
    """Do the mode bits let a user make files there?  For ourselves the system has been asked."""
    if user in (0, os.geteuid()):
        return True
    found = os.stat(folder)
    try:
        entry = pwd.getpwuid(user)
        groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    except KeyError:
        groups = []
    shift = 6 if found.st_uid == user else 3 if found.st_gid in groups else 0
    return found.st_mode >> shift & 0o3 == 0o3


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"uid {user}"
