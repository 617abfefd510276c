"""Names and passwords as they are compared, from what a client sent or a person wrote.

Contract: a name is prepared by RFC 8265 3.3; where it is an address, its domain is in the form in which domains are
compared, so that one account has one name.  A password is prepared by RFC 4013, as SCRAM needs it (RFC 5802 5.1).
How it fails: ``ValueError``; nobody has such a name, and no password is such.
Limits: ``precis.MOST`` characters of a name, ``MOST_PASSWORD`` octets of a password: hashing takes what comes.
"""

from __future__ import annotations

from typing import Final

from mta.address import Address, AddressError, normal_domain
from mta.sasl.precis import MOST, username
from mta.sasl.prepare import saslprep

MOST_PASSWORD: Final = 1024


def account_name(said: str | bytes) -> str:
    """The name of the account.  Raises ``ValueError``."""
    text = _text(said, MOST * 4, "name")
    name = username(text)
    local, at, domain = name.rpartition("@")
    if not at:
        return name
    if not local:
        raise ValueError("a name has something before its @")
    try:
        return f"{local}@{normal_domain(domain)}"
    except AddressError:
        return name


def name_of(said: str | bytes) -> str:
    """The same, "" for what no account can be called."""
    try:
        return account_name(said)
    except ValueError:
        return ""


def password(said: str | bytes) -> bytes:
    """The octets that are hashed and compared.  Raises ``ValueError``."""
    text = _text(said, MOST_PASSWORD, "password")
    if "\0" in text:
        raise ValueError("NUL may not stand in a password")
    prepared = saslprep(text)
    if not prepared:
        raise ValueError("the password is empty")
    return prepared.encode()


def is_address(name: str) -> bool:
    """Is the name a mail address?  What else a client gives as its name may be its password, typed too early."""
    try:
        return "." in Address.parse(name).domain
    except AddressError:
        return False


def _text(said: str | bytes, most: int, what: str) -> str:
    if len(said) > most:
        raise ValueError(f"a {what} has {most} octets at most")
    if isinstance(said, str):
        said.encode()  # halves of surrogate pairs
        return said
    return said.decode()
