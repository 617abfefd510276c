"""What holds for the exchanges of SASL and for tokens: each property takes raw octets."""

from __future__ import annotations

import json

from mta.accounts.credentials import ClientCertificate, Proved
from mta.accounts.values import ScramKeys
from mta.config.oauth_options import ALGORITHMS
from mta.sasl.exchange import Challenge, Done, Failed, NeedsKeys
from mta.sasl.server import MECHANISMS, Offer, begin
from mta.sasl.tokens import BadToken, KeySet, TokenRules, claims_of, whose

_KEYS = ScramKeys(salt=b"salt", iterations=4096, stored_key=b"s" * 32, server_key=b"k" * 32)
_EC = {
    "kty": "EC",
    "crv": "P-256",
    "kid": "k",
    "x": "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",
    "y": "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
}
_ISSUED = KeySet(json.dumps({"keys": [_EC]}).encode())
_RULES = TokenRules(issuer="https://id.example", audience=("mail",), algorithms=ALGORITHMS)


class _Channel:
    """Everything that a connection can have."""

    bindings = {"tls-exporter": b"x"}
    certificate = ClientCertificate(fingerprint="ab")


def exchanges(raw: bytes) -> None:
    """Whatever a client responds, an exchange says one of four things, and proves nothing that was not."""
    for name in MECHANISMS:
        exchange = begin(name, Offer(hostname="h"), tuple(MECHANISMS), _Channel())
        assert exchange is not None
        exchange.start()
        for response in raw.split(b"|"):
            step = exchange.step(response)
            if isinstance(step, NeedsKeys):
                step = exchange.told(_KEYS)
            assert isinstance(step, Challenge | Done | Failed), step
            if isinstance(step, Done):
                assert not isinstance(step.credentials, Proved), response
                assert not step.last
            if not isinstance(step, Challenge):
                break


def tokens(raw: bytes) -> None:
    """No octets are a token of an issuer whose key nobody has; nor is JSON a set of keys or claims by chance."""
    try:
        claims_of(raw, _ISSUED, ALGORITHMS)
    except BadToken:
        pass
    else:
        raise AssertionError("a signature was forged")
    try:
        claims = json.loads(raw)
        KeySet(raw)
    except (ValueError, RecursionError):
        return
    if isinstance(claims, dict):
        try:
            whose(claims, _RULES, 0.0)
        except BadToken:
            pass
