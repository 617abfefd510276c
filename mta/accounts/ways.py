"""What an operator does to the accounts of a file: pure functions from one record to another.

How it fails: ``ValueError`` says what is wrong, in words for people.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final

from mta.accounts.file import app_hash, scram_texts
from mta.accounts.hashes import Cost
from mta.accounts.records import LABEL, MOST_APP_PASSWORDS, AppPassword, Record
from mta.config.values import nearest

Records = dict[str, Record]
SHORTEST: Final = 8  # NIST SP 800-63B 3.1.1.2
#: Letters and digits that nobody takes for one another: five bits each.
_LETTERS: Final = "abcdefghijkmnpqrstuvwxyz23456789"
_GROUPS: Final = 5
_GROUP: Final = 4


def new_app_password() -> str:
    """A hundred bits by lot, in groups that people can copy."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(_GROUP)) for _ in range(_GROUPS))


def adding(record: Record) -> Callable[[Records], Records]:
    """A new account."""

    def make(records: Records) -> Records:
        if record.name in records:
            raise ValueError(f"there is an account {record.name} already")
        _free(records, record.name, record.addresses)
        return {**records, record.name: record}

    return make


def removing(name: str) -> Callable[[Records], Records]:
    """An account is no more."""

    def make(records: Records) -> Records:
        known(records, name)
        return {other: record for other, record in records.items() if other != name}

    return make


def changing(name: str, change: Callable[[Record], Record]) -> Callable[[Records], Records]:
    """An account as ``change`` makes it."""

    def make(records: Records) -> Records:
        before = known(records, name)
        after = change(before)
        _free(records, name, set(after.addresses) - set(before.addresses))
        return {**records, name: after}

    return make


def known(records: Mapping[str, Record], name: str) -> Record:
    """The account.  Raises ``ValueError`` with the nearest name there is."""
    if name in records:
        return records[name]
    raise ValueError(f"there is no account {name}: {nearest(name, records)}")


def _free(records: Records, name: str, addresses: Iterable[str]) -> None:
    for address in addresses:
        for other in records.values():
            if other.name != name and address in other.addresses:
                raise ValueError(
                    f"{address} is an address of {other.name}; mta account delegate lets {name} use it too"
                )


def listed(before: tuple[str, ...], add: Iterable[str], remove: Iterable[str], what: str) -> tuple[str, ...]:
    """A list with some added at its end and some removed."""
    gone = tuple(remove)
    for one in gone:
        if one not in before:
            raise ValueError(f"{one} is no {what} of it")
    return tuple(dict.fromkeys([*(one for one in before if one not in gone), *add]))


def with_app_password(record: Record, label: str, given: str, now: int, cost: Cost, *, scram: bool) -> Record:
    """With one app password more."""
    if not LABEL.match(label):
        raise ValueError("a label has letters, digits, dots, dashes and underscores, 64 at most")
    if any(one.label == label for one in record.app_passwords):
        raise ValueError(f"there is an app password {label} already; revoke it, or take another label")
    if len(record.app_passwords) >= MOST_APP_PASSWORDS:
        raise ValueError(f"an account has {MOST_APP_PASSWORDS} app passwords at most")
    octets = given.encode()
    one, other = scram_texts(record, octets, cost) if scram else ("", "")
    made = AppPassword(label=label, hash=app_hash(octets), scram_sha_1=one, scram_sha_256=other, created=now)
    return replace(record, app_passwords=(*record.app_passwords, made))


def without_app_password(record: Record, label: str) -> Record:
    """With one less."""
    left = tuple(one for one in record.app_passwords if one.label != label)
    if len(left) == len(record.app_passwords):
        raise ValueError(f"there is no app password {label}: {nearest(label, [one.label for one in left])}")
    return replace(record, app_passwords=left)
