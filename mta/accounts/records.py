"""What the file of accounts holds: one JSON object a line, each an account.

What it is: ``Record`` is an account as it is kept; ``parse`` and ``written`` are the file's text and what it says.
Contract: what is read is as it was written: names and addresses are in the form in which they are compared, nothing
unknown stands in it.  A line that begins with ``#`` is a comment; the first one is kept by ``written``, no other.
How it fails: ``BadRecords`` names the line; it never shows a hash.
Limits: ``MOST_OCTETS`` of the file, which is some 100,000 accounts; more belong into a table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import date
from typing import Any, Final

from mta.accounts.hashes import scram_from
from mta.accounts.names import account_name
from mta.accounts.values import Account, State
from mta.address import Address, AddressError, normal_domain

MOST_OCTETS: Final = 64 << 20
MOST_APP_PASSWORDS: Final = 100
HEADING: Final = "# Accounts, one a line; written by `mta account`.  Whoever reads this can try passwords at leisure."
LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_APP_KEYS: Final = {"label", "hash", "scram_sha_1", "scram_sha_256", "created"}
_KEPT_STATES: Final = (State.ACTIVE, State.DISABLED, State.HELD)


class BadRecords(ValueError):
    """The text is no file of accounts; ``str()`` says where and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppPassword:
    """A password that a program of the account's owner has, for itself: made by us, so that a fast hash is enough."""

    label: str
    hash: str = field(repr=False)
    scram_sha_1: str = field(default="", repr=False)  # with the salt and rounds of the password's
    scram_sha_256: str = field(default="", repr=False)
    created: int = 0  # UTC milliseconds

    def scram(self, hash_name: str) -> str:
        """As ``Record.scram``."""
        return self.scram_sha_1 if hash_name == "sha-1" else self.scram_sha_256


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One account as it is kept; what is not told here is as in ``Account``."""

    name: str
    state: State = State.ACTIVE
    why: str = ""
    expires: str = ""  # the last day on which it is active, in UTC: 2026-12-31
    full_name: str = ""
    addresses: tuple[str, ...] = ()
    delegated: tuple[str, ...] = ()
    message_size: int = 0
    recipients: int = 0
    per_hour: int = 0
    per_day: int = 0
    password: str = field(default="", repr=False)  # "": no password logs in
    scram_sha_1: str = field(default="", repr=False)
    scram_sha_256: str = field(default="", repr=False)
    app_passwords: tuple[AppPassword, ...] = ()
    certificates: tuple[str, ...] = ()  # SHA-256 of those that log in without a password
    created: int = 0  # UTC milliseconds
    changed: int = 0  # when the password was set

    def account(self, today: str) -> Account:
        """What it is on a day (in UTC, as ISO 8601 writes it)."""
        state, why = self.state, self.why
        if state is not State.DISABLED and self.expires and today > self.expires:
            state, why = State.EXPIRED, f"since the end of {self.expires}"
        return Account(
            name=self.name,
            state=state,
            why=why,
            full_name=self.full_name,
            addresses=self.addresses,
            delegated=self.delegated,
            message_size=self.message_size,
            recipients=self.recipients,
            per_hour=self.per_hour,
            per_day=self.per_day,
        )

    def scram(self, hash_name: str) -> str:
        """The keys for SCRAM as text; "" where there are none."""
        return self.scram_sha_1 if hash_name == "sha-1" else self.scram_sha_256


# --- reading -------------------------------------------------------------------------------------------------------


def parse(text: str, path: str) -> dict[str, Record]:
    """The accounts by name, in the order of the file.  Raises ``BadRecords``; ``path`` is for its text."""
    found: dict[str, Record] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            record = _record(line)
        except ValueError as error:
            raise BadRecords(f"{path}:{number}: {error}") from None
        if record.name in found:
            raise BadRecords(f'{path}:{number}: "{record.name}" is there already')
        found[record.name] = record
    return found


def _record(line: str) -> Record:
    try:
        read = json.loads(line)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except ValueError:
        raise ValueError("is not JSON") from None
    if not isinstance(read, dict):
        raise ValueError("is no JSON object")
    return _from(read)


def _from(read: dict[str, Any]) -> Record:
    if unknown := sorted(set(read) - set(_READERS)):
        raise ValueError(f"{json.dumps(unknown[0])} is not known")
    if "name" not in read:
        raise ValueError("name is missing")
    values = {}
    for key, value in read.items():
        try:
            values[key] = _READERS[key](value)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{key}: {error}") from None
    return Record(**values)


def from_value(name: str, text: str) -> Record:
    """An account as a table has it under its name: a hash of its password alone, or a JSON object as a line of the
    file.  Raises ``ValueError``."""
    if not text.startswith('{"') and text != "{}":
        return Record(name=name, addresses=_own(name), password=text)
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    if not isinstance(read, dict):
        raise ValueError("is no JSON object")
    return _from({"addresses": list(_own(name)), **read, "name": name})


def _own(name: str) -> tuple[str, ...]:
    """A name that is an address is its account's own."""
    return (name,) if "@" in name else ()


def checked_address(text: str) -> str:
    """An address in the form in which it is compared.  Raises ``ValueError``."""
    _text(text)
    try:
        return str(Address.parse(text, utf8=True))
    except AddressError as error:
        raise ValueError(f'"{text}": {error}') from None


def checked_delegation(text: str) -> str:
    """An address, or ``@domain`` for all of a domain.  Raises ``ValueError``."""
    if not text.startswith("@"):
        return checked_address(text)
    try:
        return f"@{normal_domain(_text(text)[1:])}"
    except AddressError as error:
        raise ValueError(f'"{text}": {error}') from None


def checked_day(text: str) -> str:
    """A day as ISO 8601 writes it.  Raises ``ValueError``."""
    try:
        return date.fromisoformat(text).isoformat() if text else ""
    except ValueError:
        raise ValueError(f'"{text}" is no day; write one such as 2026-12-31') from None


def checked_fingerprint(text: str) -> str:
    """SHA-256 of a certificate, with or without colons.  Raises ``ValueError``."""
    plain = _text(text).replace(":", "").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", plain):
        raise ValueError("a certificate is named by its SHA-256, 64 hexadecimal digits")
    return plain


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("is to be text")
    if _CONTROL.search(value):
        raise ValueError("has control characters")
    return value


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise ValueError("is to be a number, 0 or more")
    return value


def _name(value: Any) -> str:
    if account_name(_text(value)) != value:
        raise ValueError(f"is to be written {json.dumps(account_name(value), ensure_ascii=False)}")
    return str(value)


def _state(value: Any) -> State:
    if value not in _KEPT_STATES:
        raise ValueError(f"is to be {', '.join(_KEPT_STATES)}")
    return State(value)


def _each(check: Callable[[str], str]) -> Callable[[Any], tuple[str, ...]]:
    def read(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise ValueError("is to be a list")
        return tuple(check(one) for one in map(_text, value))

    return read


def _keys(value: Any) -> str:
    if _text(value):
        scram_from(value)
    return str(value)


def _app_passwords(value: Any) -> tuple[AppPassword, ...]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ValueError("is to be a list of objects")
    if len(value) > MOST_APP_PASSWORDS:
        raise ValueError(f"are more than {MOST_APP_PASSWORDS}")
    made = tuple(
        AppPassword(
            label=_text(one["label"]),
            hash=_text(one["hash"]),
            scram_sha_1=_keys(one.get("scram_sha_1", "")),
            scram_sha_256=_keys(one.get("scram_sha_256", "")),
            created=_number(one.get("created", 0)),
        )
        for one in value
        if set(one) <= _APP_KEYS and {"label", "hash"} <= set(one)
    )
    if len(made) != len(value):
        raise ValueError("each has label, hash and created")
    if not all(LABEL.match(one.label) for one in made) or len({one.label for one in made}) != len(made):
        raise ValueError("each has a label of its own, of letters, digits, dots and dashes")
    return made


_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "name": _name,
    "state": _state,
    "why": _text,
    "expires": lambda value: checked_day(_text(value)),
    "full_name": _text,
    "addresses": _each(checked_address),
    "delegated": _each(checked_delegation),
    "message_size": _number,
    "recipients": _number,
    "per_hour": _number,
    "per_day": _number,
    "password": _text,
    "scram_sha_1": _keys,
    "scram_sha_256": _keys,
    "app_passwords": _app_passwords,
    "certificates": _each(checked_fingerprint),
    "created": _number,
    "changed": _number,
}


# --- writing -------------------------------------------------------------------------------------------------------


def written(records: Iterable[Record]) -> str:
    """The text of the file."""
    return "\n".join([HEADING, *(json.dumps(_told(record), ensure_ascii=False) for record in records), ""])


def _told(record: Record | AppPassword) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for one in fields(record):
        value = getattr(record, one.name)
        if value != one.default:
            told[one.name] = value
    if isinstance(record, Record) and record.app_passwords:
        told["app_passwords"] = [_told(one) for one in record.app_passwords]
    return told
