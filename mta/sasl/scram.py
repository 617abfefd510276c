"""SCRAM (RFC 5802, RFC 7677), server side, with channel binding (RFC 5929, RFC 9266).

What it is: one exchange for SCRAM-SHA-1 and SCRAM-SHA-256 and their PLUS forms.  The client shows that it knows the
password, the server shows that it knows the keys; the password itself never comes here.
Contract: as ``mta.sasl.exchange``.  The proof is compared in constant time, and whether the name is known makes no
difference to anything here: unknown names have keys too (``IAccounts.scram``).  A wrong proof ends in ``Disproved``,
so that it counts; the server's proof is sent only to a client that is let in.
How it fails: ``Failed`` for what is not well formed, for an extension that is mandatory, for a channel binding that is
not that of this connection, and where somebody took the PLUS forms out of our list on its way to the client (RFC 5802
6).  The texts of ``e=`` (RFC 5802 7) are not sent: SMTP has its own reply, the same for all.
"""

from __future__ import annotations

import hmac
import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from hashlib import new
from typing import TYPE_CHECKING, Final, NamedTuple

from mta.accounts.credentials import Disproved, Proved
from mta.accounts.values import OtherKeys
from mta.sasl.exchange import Challenge, Done, Exchange, Failed, NeedsKeys, Step
from mta.sasl.passwords import MOST_NAME, same_name

if TYPE_CHECKING:
    from mta.accounts.values import ScramKeys

_NONCE_OCTETS: Final = 18
_MOST_NONCE: Final = 512
#: The GS2 header (RFC 5802 7): the flag with the binding's name, and who to act as.
_GS2 = re.compile(r"(?:([ny])|p=([A-Za-z0-9.-]{1,64})),(?:a=([^,]+))?,")
#: client-first-message-bare: an extension may follow, that nobody needs to know.
_FIRST = re.compile(r"n=([^,]+),r=([\x21-\x2b\x2d-\x7e]+)(?:,.*)?\Z", re.DOTALL)
#: client-final-message: the proof stands last.
_FINAL = re.compile(r"(c=([A-Za-z0-9+/=]+),r=([\x21-\x2b\x2d-\x7e]+)(?:,[A-Za-z]=[^,]+)*),p=([A-Za-z0-9+/=]+)\Z")
#: saslname: "=" stands only in these two.
_ESCAPE = re.compile(r"=(2C|3D)?")


class Hash(NamedTuple):
    """A hash function: as ``IAccounts.scram`` names it, and as hashlib does."""

    name: str
    function: str


SHA1: Final = Hash("sha-1", "sha1")
SHA256: Final = Hash("sha-256", "sha256")


class Scram(Exchange):
    """One exchange.  ``bindings``: what the channel has, by the name of the kind; with ``plus`` one must be used."""

    def __init__(
        self, hash_: Hash, *, plus: bool, bindings: Mapping[str, bytes], offers_plus: bool, nonce: Callable[[], str]
    ) -> None:
        self.name = f"SCRAM-{hash_.name.upper()}{'-PLUS' * plus}"
        self._hash = hash_
        self._plus = plus
        self._bindings = bindings
        self._offers_plus = offers_plus
        self._nonce = nonce()
        self._keys: ScramKeys | None = None
        self._header = self._bound = self._first = self._second = ""
        self._name = ""

    def step(self, response: bytes) -> Step:
        try:
            text = response.decode("utf-8")
        except UnicodeDecodeError:
            return Failed("it is not UTF-8")
        return self._final(text) if self._second else self._begin(text)

    def _begin(self, text: str) -> Step:
        header = _GS2.match(text)
        if header is None:
            return Failed("the first message is not well formed")
        flag, binding, authorization = header.groups()
        if self._second or self._first:
            return Failed("it has begun already")
        wrong = self._wrong_binding(flag or "p", binding)
        if wrong:
            return Failed(wrong)
        self._header, self._bound, self._first = header[0], binding or "", text[header.end() :]
        first = _FIRST.match(self._first)
        # RFC 5802 5.1: "m" at the beginning is an extension that must be known.
        if first is None or len(first[2]) > _MOST_NONCE:
            return Failed("the first message is not well formed")
        name = unescaped(first[1])
        other = name if authorization is None else unescaped(authorization)
        if name is None or other is None or len(name.encode()) > MOST_NAME:
            return Failed("the name is not well formed")
        if not same_name(other.encode(), name.encode()):
            return Failed("it asks to act as another")
        self._name, self._nonce = name, first[2] + self._nonce
        return NeedsKeys(name, self._hash.name)

    def _wrong_binding(self, flag: str, binding: str | None) -> str:
        if flag == "p":
            if not self._plus:
                return "channel binding belongs to the PLUS form"
            return "" if binding in self._bindings else f"the channel has no {binding}"
        if self._plus:
            return "the PLUS form wants channel binding"
        if flag == "y" and self._offers_plus:
            # RFC 5802 6: the client could have, and did not see that we can.
            return "channel binding was taken out of our offer"
        return ""

    def told(self, keys: ScramKeys) -> Step:
        if not self._name or self._second:
            return Failed("nothing was asked")
        self._keys = keys
        self._second = f"r={self._nonce},s={b64encode(keys.salt).decode()},i={keys.iterations}"
        return Challenge(self._second.encode())

    def _final(self, text: str) -> Step:
        keys, self._keys = self._keys, None
        final = _FINAL.match(text)
        if final is None or keys is None:
            return Failed("the last message is not well formed")
        without_proof, bound, nonce, said = final.groups()
        proof = _from_base64(said)
        wanted = self._header.encode() + self._bindings.get(self._bound, b"")
        if proof is None or len(proof) != len(keys.stored_key):
            return Failed("the proof is not well formed")
        if not hmac.compare_digest(nonce, self._nonce):
            return Failed("it answers somebody else")
        if not hmac.compare_digest(_from_base64(bound) or b"", wanted):
            # RFC 5802 5.1: the header of the first message, and what both ends know of the channel.
            return Failed("the channel binding is not that of this connection")
        return self._judge(keys, proof, f"{self._first},{self._second},{without_proof}".encode())

    def _judge(self, keys: ScramKeys, proof: bytes, said: bytes) -> Step:
        """RFC 5802 3.  An account may have several passwords with one salt: each is compared, whichever is right."""
        name, of = self._name.encode(), {"mechanism": self.name, "hash_name": self._hash.name}
        step: Step = Done(Disproved(username=name, **of))
        for known in (OtherKeys("", keys.stored_key, keys.server_key), *keys.others):
            if self._right(known, proof, said):
                signature = hmac.digest(known.server_key, said, self._hash.function)
                step = Done(Proved(username=name, credential=known.credential, **of), b"v=" + b64encode(signature))
        return step

    def _right(self, keys: OtherKeys, proof: bytes, said: bytes) -> bool:
        function = self._hash.function
        signature = hmac.digest(keys.stored_key, said, function)
        client_key = bytes(one ^ other for one, other in zip(proof, signature, strict=True))
        return hmac.compare_digest(new(function, client_key).digest(), keys.stored_key)


def scram_nonce() -> str:
    """Printable, without a comma (RFC 5802 5.1)."""
    return secrets.token_urlsafe(_NONCE_OCTETS)


def unescaped(text: str) -> str | None:
    """A saslname (RFC 5802 5.1): "=2C" and "=3D"; None where "=" stands in anything else, and for NUL."""
    if "\0" in text or any(found[1] is None for found in _ESCAPE.finditer(text)):
        return None
    return text.replace("=2C", ",").replace("=3D", "=")


def _from_base64(text: str) -> bytes | None:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        return None
