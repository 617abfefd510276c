"""The client side of SASL mechanisms, for smart hosts.

What it is: a class for each mechanism, and ``choose``, which takes the strongest that both sides can do.
Contract: ``start`` gives the initial response (None: the server speaks first), ``step`` answers a challenge; octets
as they are before base64.  A success is to be believed only when ``done`` is true: with SCRAM that is when the server
has proved that it knows the password too (RFC 5802 3).
How it fails: ``SaslError`` for a challenge that the mechanism cannot have; the exchange is then to be cancelled.
Limits: a server may ask for ``FEWEST_ITERATIONS`` to ``MOST_ITERATIONS`` of PBKDF2: fewer would make the password
cheap to guess, more would stop this process for as long as the server likes.
"""

from __future__ import annotations

import hmac
import secrets
from abc import ABC, abstractmethod
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import pbkdf2_hmac, sha256
from typing import ClassVar, Final

from mta.sasl.prepare import saslprep

FEWEST_ITERATIONS: Final = 4096  # RFC 7677 4
MOST_ITERATIONS: Final = 600_000
_NONCE_OCTETS: Final = 18


class SaslError(Exception):
    """The server said what it cannot say; ``str()`` is for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Who we are at a host.  ``mechanisms``: the only ones that may be used, if there are any."""

    user: str
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)  # OAuth 2.0 bearer token
    mechanisms: tuple[str, ...] = ()


class ClientMechanism(ABC):
    """One exchange; see the module's text."""

    name: ClassVar[str]
    done = False

    @abstractmethod
    def start(self) -> bytes | None:
        """The initial response; None: the server speaks first."""

    def step(self, challenge: bytes) -> bytes:
        """The answer to a challenge."""
        raise SaslError(f"{self.name} has no further step")


class Plain(ClientMechanism):
    """RFC 4616."""

    name = "PLAIN"

    def __init__(self, login: Login) -> None:
        self._response = b"\0".join((b"", _prepared(login.user), _prepared(login.password)))

    def start(self) -> bytes:
        self.done = True
        return self._response


class LoginMechanism(ClientMechanism):
    """LOGIN (draft-murchison-sasl-login): the server asks for the name, then for the password."""

    name = "LOGIN"

    def __init__(self, login: Login) -> None:
        self._answers = [_prepared(login.password), _prepared(login.user)]

    def start(self) -> None:
        return None

    def step(self, challenge: bytes) -> bytes:
        """What the prompts say differs from server to server; only their order counts."""
        if not self._answers:
            return super().step(challenge)
        answer = self._answers.pop()
        self.done = not self._answers
        return answer


class XOAuth2(ClientMechanism):
    """XOAUTH2, as Google and Microsoft have it."""

    name = "XOAUTH2"

    def __init__(self, login: Login) -> None:
        self._response = f"user={login.user}\x01auth=Bearer {login.token}\x01\x01".encode()
        self.refusal = ""  # what the server said about the token

    def start(self) -> bytes:
        self.done = True
        return self._response

    def step(self, challenge: bytes) -> bytes:
        """A challenge tells why the token is not good; the refusal follows on our empty answer."""
        return self._refused(challenge, b"")

    def _refused(self, challenge: bytes, answer: bytes) -> bytes:
        if self.refusal:
            raise SaslError(f"{self.name} has no further step")
        self.done = False
        self.refusal = challenge.decode("utf-8", "replace") or "no reason"
        return answer


class OAuthBearer(XOAuth2):
    """RFC 7628."""

    name = "OAUTHBEARER"

    def __init__(self, login: Login, host: str, port: int) -> None:
        super().__init__(login)
        user = _escaped(login.user)
        text = f"n,a={user},\x01host={host}\x01port={port}\x01auth=Bearer {login.token}\x01\x01"
        self._response = text.encode()

    def step(self, challenge: bytes) -> bytes:
        """RFC 7628 3.2.3: the refusal follows on a lone %x01."""
        return self._refused(challenge, b"\x01")


class ScramSha256(ClientMechanism):
    """RFC 5802 with SHA-256 (RFC 7677).

    ``binding``: the channel binding that we could use.  Without the PLUS form we say so, so that a server that
    does offer it sees that somebody took it out of its list (RFC 5802 6).
    """

    name = "SCRAM-SHA-256"

    def __init__(self, login: Login, nonce: str, binding: bytes = b"") -> None:
        self._password = login.password
        self._user = _escaped(_prepared(login.user).decode())
        self._nonce = nonce
        self._header, self._bound = ("y,,", b"") if binding else ("n,,", b"")
        self._steps = [self._verify, self._prove]

    def start(self) -> bytes:
        self._first = f"n={self._user},r={self._nonce}"
        return f"{self._header}{self._first}".encode()

    def step(self, challenge: bytes) -> bytes:
        if not self._steps:
            return super().step(challenge)
        try:
            text = challenge.decode("utf-8")
        except UnicodeDecodeError:
            raise SaslError(f"{self.name}: the challenge is not UTF-8") from None
        return self._steps.pop()(text)

    def _prove(self, challenge: str) -> bytes:
        nonce, salt, iterations = self._server_first(challenge)
        salted = _salted(_prepared(self._password), salt, iterations)
        bound = b64encode(self._header.encode() + self._bound).decode()
        without_proof = f"c={bound},r={nonce}"
        said = f"{self._first},{challenge},{without_proof}".encode()
        client_key = _hmac(salted, b"Client Key")
        signature = _hmac(sha256(client_key).digest(), said)
        proof = bytes(one ^ other for one, other in zip(client_key, signature, strict=True))
        self._expected = _hmac(_hmac(salted, b"Server Key"), said)
        return f"{without_proof},p={b64encode(proof).decode()}".encode()

    def _server_first(self, challenge: str) -> tuple[str, bytes, int]:
        """RFC 5802 5.1: ``r``, ``s``, ``i`` in this order; ``m`` anywhere is an extension that nobody knows."""
        parts = challenge.split(",")
        if [part[:2] for part in parts[:3]] != ["r=", "s=", "i="] or any(part[:2] == "m=" for part in parts):
            raise SaslError(f"{self.name}: the first challenge is not well formed")
        nonce, salt, iterations = (part[2:] for part in parts[:3])
        if not nonce.startswith(self._nonce) or len(nonce) == len(self._nonce):
            raise SaslError(f"{self.name}: the challenge answers somebody else")
        if not (iterations.isascii() and iterations.isdigit() and len(iterations) < 10):
            raise SaslError(f"{self.name}: the number of iterations is none")
        if not FEWEST_ITERATIONS <= int(iterations) <= MOST_ITERATIONS:
            raise SaslError(f"{self.name}: {iterations} iterations are out of bounds")
        return nonce, _from_base64(salt, self.name), int(iterations)

    def _verify(self, challenge: str) -> bytes:
        first = challenge.split(",")[0]
        if first.startswith("e="):
            raise SaslError(f"{self.name}: {first[2:]}")
        if not first.startswith("v=") or not hmac.compare_digest(_from_base64(first[2:], self.name), self._expected):
            raise SaslError(f"{self.name}: the server does not know the password")
        self.done = True
        return b""


class ScramSha256Plus(ScramSha256):
    """With the channel binding ``tls-exporter`` (RFC 9266): nobody can stand between."""

    name = "SCRAM-SHA-256-PLUS"

    def __init__(self, login: Login, nonce: str, binding: bytes) -> None:
        super().__init__(login, nonce)
        self._header, self._bound = "p=tls-exporter,,", binding


#: All that there are, the strongest first.
MECHANISMS: Final = (
    ScramSha256Plus.name,
    ScramSha256.name,
    OAuthBearer.name,
    XOAuth2.name,
    Plain.name,
    LoginMechanism.name,
)


def new_nonce() -> str:
    """Printable, without a comma (RFC 5802 5.1)."""
    return secrets.token_urlsafe(_NONCE_OCTETS)


def choose(
    login: Login,
    offered: Sequence[str],
    *,
    host: str,
    port: int,
    binding: bytes = b"",
    nonce: Callable[[], str] = new_nonce,
) -> ClientMechanism | None:
    """The strongest mechanism that is offered (in capitals), allowed, and that we have what it takes for.

    Raises ``SaslError`` for a name or password that no mechanism can carry.
    """
    able: list[tuple[str, Callable[[], ClientMechanism]]] = []
    allowed = [name for name in MECHANISMS if not login.mechanisms or name in login.mechanisms]
    if login.password:
        # The form without PLUS says whether we could have used the other: only where that is allowed.
        known = binding if ScramSha256Plus.name in allowed else b""
        if binding:
            able.append((ScramSha256Plus.name, lambda: ScramSha256Plus(login, nonce(), binding)))
        able.append((ScramSha256.name, lambda: ScramSha256(login, nonce(), known)))
    if login.token:
        able.append((OAuthBearer.name, lambda: OAuthBearer(login, host, port)))
        able.append((XOAuth2.name, lambda: XOAuth2(login)))
    if login.password:
        able.append((Plain.name, lambda: Plain(login)))
        able.append((LoginMechanism.name, lambda: LoginMechanism(login)))
    for name, make in able:
        if name in offered and name in allowed:
            return make()
    return None


def _prepared(text: str) -> bytes:
    try:
        return saslprep(text).encode()
    except ValueError as error:
        raise SaslError(f"the configured name or password cannot be used: {error}") from None


def _escaped(user: str) -> str:
    """RFC 5802 5.1: ``saslname``."""
    return user.replace("=", "=3D").replace(",", "=2C")


def _from_base64(text: str, name: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise SaslError(f"{name}: the challenge is not base64") from None


def _hmac(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")


@lru_cache(maxsize=32)
def _salted(password: bytes, salt: bytes, iterations: int) -> bytes:
    """``Hi`` of RFC 5802 2.2; remembered, since a smart host gives an account the same salt each time."""
    return pbkdf2_hmac("sha256", password, salt, iterations)
