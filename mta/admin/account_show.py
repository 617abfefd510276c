"""What ``mta account show`` and ``brakes`` print: accounts as they are kept, never what proves them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import click

from mta.accounts import editing
from mta.accounts.file import FileAccounts, today
from mta.accounts.names import name_of
from mta.accounts.records import Record
from mta.accounts.used import Which, last_used
from mta.admin.setting import Setting, now_ms, output
from mta.admin.show import age, moment, octets, table
from mta.config.account_options import FileAccountsOptions
from mta.config.load import Configuration
from mta.config.values import nearest
from mta.events import escape

_HEADING: Final = ("NAME", "STATE", "LAST LOGIN", "APP PASSWORDS", "ADDRESSES")


def files_of(configuration: Configuration) -> dict[str, FileAccountsOptions]:
    """The files of accounts, by the names of their sections."""
    return {
        name: section.options
        for name, section in configuration.accounts.items()
        if isinstance(section.options, FileAccountsOptions) and section.provider is FileAccounts
    }


def show(setting: Setting, name: str | None, source: str | None, as_json: bool) -> None:
    """All accounts, or one.  Raises ``click.ClickException``."""
    files = files_of(setting.configuration)
    found: list[tuple[str, Record]] = []
    try:
        for known, options in files.items():
            if source in (None, known):
                found += [(known, record) for record in editing.read(options.path).values()]
        used = last_used(setting.state)
    except FileNotFoundError as error:
        raise click.ClickException(f"there is no {error.filename}: mta account add makes it") from error
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    now = now_ms()
    if name is None:
        values = [_values(source, record, used, now) for source, record in found]
        output(values, as_json, lambda: table([_row(one, now) for one in values], _HEADING))
        return
    prepared = name_of(name)
    wanted = next(((source, record) for source, record in found if record.name == prepared), None)
    if wanted is None:
        raise click.ClickException(
            f"there is no account {escape(name)}: {nearest(prepared, [record.name for _, record in found])}"
        )
    one = _values(*wanted, used, now)
    output(one, as_json, lambda: list(_lines(one, now)))


def _values(source: str, record: Record, used: Mapping[Which, int], now: int) -> dict[str, Any]:
    account = record.account(today(now))
    return {
        "name": record.name,
        "in": source,
        "state": account.state.value,
        "why": account.why,
        "full_name": record.full_name,
        "addresses": list(record.addresses),
        "delegated": list(record.delegated),
        "expires": record.expires,
        "message_size": record.message_size,
        "recipients": record.recipients,
        "per_hour": record.per_hour,
        "per_day": record.per_day,
        "created": record.created,
        "password": bool(record.password),
        "scram": bool(record.scram_sha_256),
        "changed": record.changed,
        "last_login": max((at for which, at in used.items() if which[:2] == (source, record.name)), default=0),
        "password_used": used.get(Which(source, record.name, ""), 0),
        "app_passwords": [
            {"label": one.label, "created": one.created, "used": used.get(Which(source, record.name, one.label), 0)}
            for one in record.app_passwords
        ],
        "certificates": list(record.certificates),
    }


def _row(one: Mapping[str, Any], now: int) -> Sequence[str]:
    return (
        escape(one["name"]),
        one["state"],
        _when(one["last_login"], now),
        str(len(one["app_passwords"]) or ""),
        escape(", ".join(one["addresses"])),
    )


def _lines(one: Mapping[str, Any], now: int) -> Iterator[str]:
    told = {
        "name": one["name"],
        "state": f"{one['state']}  {one['why']}".strip(),
        "full name": one["full_name"],
        "addresses": ", ".join(one["addresses"]) or "none: it can send as nobody",
        "delegated": ", ".join(one["delegated"]),
        "expires": one["expires"],
        "largest message": octets(one["message_size"]) if one["message_size"] else "",
        "recipients": _limits(one),
        "password": _password(one, now),
    }
    for key, value in told.items():
        if value:
            yield f"{key:<16}{escape(value)}"
    for app in one["app_passwords"]:
        yield f"{'app password':<16}{app['label']}, made {moment(app['created'], now)}, used {_when(app['used'], now)}"
    for certificate in one["certificates"]:
        yield f"{'certificate':<16}{certificate}"


def _limits(one: Mapping[str, Any]) -> str:
    words = (("recipients", "a message"), ("per_hour", "an hour"), ("per_day", "a day"))
    return ", ".join(f"{one[key]:,} {word}" for key, word in words if one[key])


def _password(one: Mapping[str, Any], now: int) -> str:
    if not one["password"]:
        return "none"
    since = f"set {moment(one['changed'], now)}, " if one["changed"] else ""
    return f"{since}used {_when(one['password_used'], now)}{'' if one['scram'] else ', no keys for SCRAM'}"


def _when(ms: int, now: int) -> str:
    return f"{age(now - ms)} ago" if ms else "never"


def brake_lines(answer: Mapping[str, Any]) -> list[str]:
    """What ``brakes`` of the control socket answered, for people."""
    if not answer["brakes"]:
        return ["no failed logins count"]
    rows = [
        (
            one["kind"],
            escape(one["name"]) + (f" from {one['known']}" if one["known"] else ""),
            f"{one['failures']:.1f}",
            f"closed for {age(one['seconds'] * 1000)}" if one["seconds"] else "open",
        )
        for one in answer["brakes"]
    ]
    lines = table(rows, ("OF", "NAME", "FAILURES", "BRAKE"), right={2})
    return [*lines, f"and {answer['more']:,} more"] if answer["more"] else lines
