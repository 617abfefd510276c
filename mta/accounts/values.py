"""What is known of an account, and what becomes of a login.  Values only.

An account's name is prepared as a user name (RFC 8265 3.3: case-mapped) before it is compared or kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """Whether an account may send now.  Only one that is active logs in."""

    ACTIVE = "active"
    DISABLED = "disabled"  # by the administrator: no login, and what waits of it is held
    EXPIRED = "expired"  # its end date is past: as disabled
    HELD = "held"  # it logs in and its mail is taken in, and held (a brake closed, or the administrator did)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One who may send.

    ``addresses`` are its own (the first is its main one; subaddresses of them are its own too); ``delegated`` those it
    may also send as: an address, or ``@domain`` for all of a domain.  Limits of 0 are the listener's or policy's.
    """

    name: str
    state: State = State.ACTIVE
    why: str = ""  # it is not active, for people
    full_name: str = ""
    addresses: tuple[str, ...] = ()
    delegated: tuple[str, ...] = ()
    message_size: int = 0
    recipients: int = 0  # of one message
    per_hour: int = 0  # recipients
    per_day: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A login that succeeded: the account, and with what."""

    account: Account
    mechanism: str  # of SASL: PLAIN, SCRAM-SHA-256-PLUS, ...
    credential: str = ""  # "" is the password; else the name of an app password, or what a token or certificate says
    source: str = ""  # the [accounts.X] that knows it
    proof: str = ""  # tells one password or token from another, as that source does: see ``IAccounts.current``


class OtherKeys(NamedTuple):
    """Keys with the same salt and rounds as the others of the account; ``credential`` as in ``Login``."""

    credential: str
    stored_key: bytes
    server_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ScramKeys:
    """What SCRAM needs of an account (RFC 5802 3): never the password."""

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes
    others: tuple[OtherKeys, ...] = ()  # of its app passwords: any of them may be meant
