"""Tokens of OAuth 2.0 that are JWTs (RFC 7519): whose it is, if it is good.  Pure but for cryptography.

What it is: ``KeySet`` is what a JWKS (RFC 7517) says; ``claims_of`` checks the signature and gives the claims, and
``whose`` says what they come to, for the answers of introspection (RFC 7662) too.
Contract (RFC 8725): the algorithm is one of those allowed and belongs to the kind of the key, never the other way
round: "none" and the HMACs, which would take a public key for a secret, are none of them.  Issuer, audience and end
must stand in a token.
How it fails: ``BadToken``, with the reason for the log alone; ``UnknownKey`` where fresh keys might help.
Limits: ``MOST_OCTETS`` a token, ``MOST_KEYS`` of an issuer, RSA of 2048 bits at least.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mta.accounts.credentials import MOST_OCTETS
from mta.routing.tables.optional import package

MOST_KEYS: Final = 100
MOST_JWKS: Final = 1 << 20
_LEAST_RSA: Final = 2048
#: The kind of key for the first letters of an algorithm.
_KINDS: Final = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
_CURVES: Final = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}


class BadToken(Exception):
    """The token is good for nothing; ``str()`` says why."""


class UnknownKey(BadToken):
    """No key of those known has signed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRules:
    """Which tokens count; as ``OAuthOptions``.  ``leeway`` in seconds."""

    issuer: str
    audience: tuple[str, ...]
    scope: frozenset[str] = frozenset()
    name: str = "email"
    algorithms: tuple[str, ...] = ()
    leeway: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Whose:
    """A token is good: the name that it gives, and until when, in UTC seconds."""

    name: str
    until: float


class KeySet:
    """The keys of an issuer.  Raises ``ValueError`` for what is no JWKS; a key that is no use is passed over."""

    def __init__(self, text: bytes) -> None:
        try:
            found = json.loads(text[: MOST_JWKS + 1])
        except (ValueError, RecursionError):
            raise ValueError("is no JSON") from None
        keys = found.get("keys") if isinstance(found, dict) else None
        if not isinstance(keys, list) or len(text) > MOST_JWKS or len(keys) > MOST_KEYS:
            raise ValueError(f'is no JWKS: an object with "keys", {MOST_KEYS} at most (RFC 7517 5)')
        self._keys = [_Key(one) for one in keys if isinstance(one, dict) and _usable(one)]

    def suiting(self, algorithm: str, id: object) -> Any:
        """The key for a token with this header.  Raises ``UnknownKey``."""
        fit = [key for key in self._keys if key.fits(algorithm) and (id is None or key.id == id)]
        if len(fit) != 1:
            raise UnknownKey(f"{len(fit)} keys of the issuer suit {algorithm} and the token's kid")
        return fit[0].material()


def _usable(jwk: Mapping[str, Any]) -> bool:
    """RFC 7517 4.2, 4.3: for signatures, and public."""
    operations = jwk.get("key_ops")
    return (
        jwk.get("kty") in ("RSA", "EC", "OKP")
        and jwk.get("use", "sig") == "sig"
        and (operations is None or (isinstance(operations, list) and "verify" in operations))
    )


class _Key:
    """One key of a JWKS, made when a token wants it."""

    def __init__(self, jwk: Mapping[str, Any]) -> None:
        self.id = jwk.get("kid")
        self._jwk = jwk
        self._made: Any = None

    def fits(self, algorithm: str) -> bool:
        if self._jwk["kty"] != _KINDS.get(algorithm[:2]) or self._jwk.get("alg", algorithm) != algorithm:
            return False
        return self._jwk.get("crv") == _CURVES[algorithm] if algorithm in _CURVES else True

    def material(self) -> Any:
        """For the signature.  Raises ``UnknownKey``."""
        if self._made is None:
            public = {name: value for name, value in self._jwk.items() if name in ("kty", "n", "e", "crv", "x", "y")}
            algorithms: Any = package("jwt.algorithms")
            kind = {"RSA": "RSAAlgorithm", "EC": "ECAlgorithm", "OKP": "OKPAlgorithm"}[self._jwk["kty"]]
            try:
                self._made = getattr(algorithms, kind).from_jwk(public)
            except Exception as error:  # what others wrote into their keys
                raise UnknownKey(f"the issuer's key cannot be used: {error}") from None
            if self._jwk["kty"] == "RSA" and self._made.key_size < _LEAST_RSA:
                self._made = None
                raise UnknownKey(f"the issuer's key has fewer than {_LEAST_RSA} bits")
        return self._made


def claims_of(token: bytes, keys: KeySet, algorithms: tuple[str, ...]) -> Mapping[str, Any]:
    """What a token says, its signature checked and nothing else.  Raises ``BadToken``."""
    if len(token) > MOST_OCTETS:
        raise BadToken("it is too long")
    jwt: Any = package("jwt")
    try:
        header = jwt.get_unverified_header(token)
    except Exception as error:
        raise BadToken(f"it is no JWT: {error}") from None
    algorithm = header.get("alg")
    if algorithm not in algorithms:
        # RFC 8725 3.1, 3.2
        raise BadToken("it is signed in a way that is not allowed")
    key = keys.suiting(algorithm, header.get("kid"))
    unchecked = dict.fromkeys(("verify_exp", "verify_nbf", "verify_iat", "verify_aud", "verify_iss"), False)
    try:
        claims = jwt.decode(token, key, algorithms=[algorithm], options={"verify_signature": True, **unchecked})
    except Exception as error:
        raise BadToken(f"its signature is not right: {error}") from None
    if not isinstance(claims, dict):
        raise BadToken("it says nothing")
    return claims


def whose(claims: Mapping[str, Any], rules: TokenRules, now: float, *, complete: bool = True) -> Whose:
    """What the claims of a token come to at this time, in UTC seconds (RFC 7519 4.1).  Raises ``BadToken``.

    ``complete``: issuer and end must stand there; in an answer of introspection they may be left out (RFC 7662 2.2).
    """
    issuer = claims.get("iss")
    if issuer != rules.issuer and (complete or issuer is not None):
        raise BadToken("it is of another issuer")
    audience = claims.get("aud")
    named = [audience] if isinstance(audience, str) else audience if isinstance(audience, list) else []
    if not any(one in rules.audience for one in named if isinstance(one, str)):
        # RFC 8725 3.9
        raise BadToken("it is for another service")
    until = _time(claims, "exp")
    if until is None and complete:
        raise BadToken("it has no end")
    if until is not None and now >= until + rules.leeway:
        raise BadToken("its time is over")
    begins = max(_time(claims, "nbf") or 0.0, _time(claims, "iat") or 0.0)
    if begins > now + rules.leeway:
        raise BadToken("its time has not begun")
    missing = rules.scope - _scopes(claims)
    if missing:
        raise BadToken(f"it is not good for {' '.join(sorted(missing))}")
    name = claims.get(rules.name)
    if not isinstance(name, str) or not name:
        raise BadToken(f"it has no {rules.name}")
    if rules.name == "email" and claims.get("email_verified", True) not in (True, "true"):
        raise BadToken("its issuer has not verified the address")
    return Whose(name=name, until=math.inf if until is None else until)


def _time(claims: Mapping[str, Any], key: str) -> float | None:
    """NumericDate (RFC 7519 2)."""
    value = claims.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        raise BadToken(f"its {key} is no time")
    return float(value)


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    """RFC 8693 4.2: words in one text; Microsoft and others have ``scp``, or a list."""
    found: set[str] = set()
    for key in ("scope", "scp"):
        value = claims.get(key)
        words = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
        found.update(word for word in words if isinstance(word, str))
    return frozenset(found)
