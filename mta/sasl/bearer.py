"""OAUTHBEARER (RFC 7628) and XOAUTH2, server side: a token in place of a password (RFC 6750).

Contract: as ``mta.sasl.exchange``; whether the token is good is decided by who takes ``BearerToken``.  A client whose
token is refused is told so in JSON, as a challenge, before the reply: RFC 7628 3.2.2.
Limits: ``MOST_OCTETS`` a token and a name.
"""

from __future__ import annotations

import json
import re

from mta.accounts.credentials import MOST_OCTETS, BearerToken
from mta.sasl.exchange import Done, Exchange, Failed, Step
from mta.sasl.scram import unescaped

#: RFC 7628 3.1: the GS2 header, then pairs that each end in %x01, then one more.
_BEARER = re.compile(r"(?:[ny]|p=[^,]*),(?:a=([^,]+))?,\x01(.*)\x01\Z", re.DOTALL)
#: What Google and Microsoft have: the pairs alone.
_XOAUTH2 = re.compile(r"user=([^\x01]+)\x01(.*)\x01\Z", re.DOTALL)
#: RFC 6750 2.1: b64token; the scheme without regard to case (RFC 9110 11.1).
_AUTH = re.compile(r"Bearer +([A-Za-z0-9._~+/-]+=*) *\Z", re.IGNORECASE)


class Bearer(Exchange):
    """RFC 7628.  ``discovery``: where a client learns who gives tokens; ``scope``: of which one is wanted."""

    name = "OAUTHBEARER"
    form = _BEARER

    def __init__(self, scope: str = "", discovery: str = "") -> None:
        self._refusal = {"status": "invalid_token"}
        if scope:
            self._refusal["scope"] = scope
        if discovery:
            self._refusal["openid-configuration"] = discovery
        self._refused = False

    def step(self, response: bytes) -> Step:
        try:
            found = self.form.match(response.decode("utf-8"))
        except UnicodeDecodeError:
            return Failed("it is not UTF-8")
        if found is None:
            return Failed("the message is not well formed")
        name = self._name(found[1])
        if name is None:
            return Failed("the name is not well formed")
        pairs = [pair.partition("=") for pair in found[2].split("\x01") if pair]
        given = [_AUTH.match(value) for key, _, value in pairs if key == "auth"]
        if len(given) != 1 or given[0] is None:
            return Failed("there is no token in it, or several")
        token = given[0][1].encode("ascii")
        if len(token) > MOST_OCTETS or len(name.encode()) > MOST_OCTETS:
            return Failed("the token or the name is too long")
        return Done(BearerToken(token=token, username=name.encode(), mechanism=self.name))

    def refusal(self) -> bytes:
        return json.dumps(self._refusal).encode()

    def _name(self, said: str | None) -> str | None:
        # RFC 7628 3.1: it may be left out, and then the token says who it is.
        return "" if said is None else unescaped(said)


class XOAuth2(Bearer):
    """As Google and Microsoft have it."""

    name = "XOAUTH2"
    form = _XOAUTH2

    def refusal(self) -> bytes:
        # What Google's documentation shows, and what clients look for.
        return json.dumps({"status": "401", "schemes": "Bearer", **_without(self._refusal, "status")}).encode()

    def _name(self, said: str | None) -> str | None:
        return said if said and "\0" not in said else None


def _without(pairs: dict[str, str], key: str) -> dict[str, str]:
    return {name: value for name, value in pairs.items() if name != key}
