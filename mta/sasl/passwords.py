"""PLAIN (RFC 4616), LOGIN (draft-murchison-sasl-login) and CRAM-MD5 (RFC 2195), server side.

Contract and failures: see ``mta.sasl.exchange``.
Limits: ``MOST_NAME`` octets a name, ``MOST_PASSWORD`` a password (RFC 4616 2 has 255 and as many as there are).
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from typing import Final

from mta.accounts.credentials import CramMd5, Password
from mta.accounts.names import account_name
from mta.sasl.exchange import Challenge, Done, Exchange, Failed, Step

MOST_NAME: Final = 1024
MOST_PASSWORD: Final = 1024
#: RFC 2195 2: a space and the digest in hexadecimal.
_CRAM = re.compile(rb"(.+) ([0-9A-Fa-f]{32})\Z", re.DOTALL)


class Plain(Exchange):
    """RFC 4616: who to act as, who it is, and the password, with NUL between them."""

    name = "PLAIN"

    def step(self, response: bytes) -> Step:
        parts = response.split(b"\0")
        if len(parts) != 3:
            return Failed("there are no two NUL in it")
        authorization, name, password = parts
        if authorization and not same_name(authorization, name):
            # RFC 4616 2: nobody here acts as another; CVE-2023-27582 is of a server that let everybody.
            return Failed("it asks to act as another")
        return _password(name, password, self.name)


class Login(Exchange):
    """LOGIN: the name, then the password, each on its own.

    The name may come with AUTH, though the server speaks first: the SmtpClient of .NET and some libraries send it so.
    """

    name = "LOGIN"

    def __init__(self) -> None:
        self._said: bytes | None = None

    def start(self) -> Step:
        # The draft lets clients ignore what the prompts say; some look for these.
        return Challenge(b"Username:")

    def step(self, response: bytes) -> Step:
        if self._said is None:
            self._said = response
            return Challenge(b"Password:")
        if b"\0" in self._said + response:
            return Failed("there is NUL in it")
        return _password(self._said, response, self.name)


class CramMd5Exchange(Exchange):
    """RFC 2195: the client shows that it knows the password.  A server has to keep that as it is, so this is off
    unless it is turned on."""

    name = "CRAM-MD5"
    initial = False

    def __init__(self, hostname: str, nonce: Callable[[], str]) -> None:
        # RFC 2195 2: in the form of a message's id, never twice the same.
        self._challenge = f"<{nonce()}@{hostname}>".encode()

    def start(self) -> Step:
        return Challenge(self._challenge)

    def step(self, response: bytes) -> Step:
        found = _CRAM.match(response)
        if found is None or len(found[1]) > MOST_NAME:
            return Failed("it is no name with a digest")
        return Done(CramMd5(username=found[1], challenge=self._challenge, digest=found[2]))


def cram_nonce() -> str:
    """Random digits and the time (RFC 2195 2)."""
    return f"{secrets.randbits(64)}.{time.time_ns() // 1_000_000_000}"


def same_name(one: bytes, other: bytes) -> bool:
    """Do both name the same account?"""
    if one == other:
        return True
    try:
        return account_name(one) == account_name(other)
    except ValueError:
        return False


def _password(name: bytes, password: bytes, mechanism: str) -> Step:
    # RFC 4616 2: neither may be empty.
    if not name or not password:
        return Failed("the name or the password is empty")
    if len(name) > MOST_NAME or len(password) > MOST_PASSWORD:
        return Failed("the name or the password is too long")
    return Done(Password(name, password, mechanism))
