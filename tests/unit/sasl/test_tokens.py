"""JWTs (RFC 7519): those that count, and what attackers have sent to others (RFC 8725)."""

from __future__ import annotations

import json
import math
from base64 import urlsafe_b64encode
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from twisted.trial.unittest import SynchronousTestCase

from mta.config.oauth_options import ALGORITHMS
from mta.sasl.tokens import BadToken, KeySet, TokenRules, UnknownKey, Whose, claims_of, whose

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
NOW = 1_700_000_000
CLAIMS: dict[str, Any] = {
    "iss": "https://id.example",
    "aud": "mail",
    "exp": NOW + 300,
    "iat": NOW,
    "email": "ann@ours.example",
    "scope": "openid mail.send",
}
RULES = TokenRules(issuer="https://id.example", audience=("mail",), scope=frozenset({"mail.send"}), leeway=30)


def public(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    kinds: dict[type, Any] = {
        rsa.RSAPrivateKey: RSAAlgorithm,
        ec.EllipticCurvePrivateKey: ECAlgorithm,
        ed25519.Ed25519PrivateKey: OKPAlgorithm,
    }
    kind = next(made for base, made in kinds.items() if isinstance(key, base))
    return {**kind.to_jwk(key.public_key(), as_dict=True), "kid": kid, **more}


def jwks(*keys: dict[str, Any]) -> KeySet:
    return KeySet(json.dumps({"keys": keys}).encode())


VALUES = st.recursive(st.none() | st.text() | st.floats(), st.lists)
KEYS = jwks(public(RSA, "r"), public(EC, "e"), public(ED, "d"))


def signed(algorithm: str = "RS256", key: Any = RSA, kid: str | None = "r", **claims: Any) -> bytes:
    header = {} if kid is None else {"kid": kid}
    return jwt.encode({**CLAIMS, **claims}, key, algorithm=algorithm, headers=header).encode()


def by_hand(header: Any, payload: bytes = b"{}", signature: bytes = b"") -> bytes:
    parts = (json.dumps(header).encode(), payload, signature)
    return b".".join(urlsafe_b64encode(part).rstrip(b"=") for part in parts)


class Signatures(SynchronousTestCase):
    def bad(self, token: bytes, why: str, keys: KeySet = KEYS) -> None:
        with self.assertRaises(BadToken) as caught:
            claims_of(token, keys, ALGORITHMS)
        self.assertIn(why, str(caught.exception))

    def test_every_kind_of_key(self) -> None:
        for algorithm, key, kid in (("RS256", RSA, "r"), ("PS512", RSA, "r"), ("ES256", EC, "e"), ("EdDSA", ED, "d")):
            self.assertEqual(claims_of(signed(algorithm, key, kid), KEYS, ALGORITHMS), CLAIMS)

    def test_without_kid_there_must_be_one_that_suits(self) -> None:
        self.assertEqual(claims_of(signed("ES256", EC, None), KEYS, ALGORITHMS), CLAIMS)
        self.bad(signed(kid=None), "2 keys", jwks(public(RSA, "a"), public(RSA, "b")))

    def test_none_is_no_signature(self) -> None:
        # RFC 8725 3.1, 3.2
        for algorithm in ("none", "None", "nOnE", "", None, 5, ["RS256"]):
            self.bad(by_hand({"alg": algorithm, "kid": "r"}, json.dumps(CLAIMS).encode()), "")

    def test_a_public_key_is_no_secret(self) -> None:
        # RFC 8725 2.1: an HMAC by a server's public key
        pem = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        import hmac

        head = by_hand({"alg": "HS256", "kid": "r"}, json.dumps(CLAIMS).encode())[:-1]
        token = head + b"." + urlsafe_b64encode(hmac.digest(pem, head, "sha256")).rstrip(b"=")
        self.bad(token, "not allowed")
        with self.assertRaises(BadToken):
            claims_of(token, KEYS, ("HS256",))

    def test_a_secret_in_a_jwks_is_none(self) -> None:
        secret = {"kty": "oct", "k": "c2VjcmV0", "kid": "s"}
        self.bad(signed("HS256", "secret" * 10, "s"), "not allowed", jwks(secret))
        with self.assertRaises(UnknownKey):
            jwks(secret).suiting("HS256", "s")

    def test_another_key_or_a_changed_text(self) -> None:
        other = rsa.generate_private_key(65537, 2048)
        self.bad(signed(key=other), "signature")
        token = signed()
        head, payload, signature = token.split(b".")
        changed = urlsafe_b64encode(json.dumps({**CLAIMS, "email": "bob@ours.example"}).encode()).rstrip(b"=")
        self.bad(b".".join((head, changed, signature)), "signature")
        self.bad(b".".join((head, payload, b"")), "signature")

    def test_an_algorithm_of_another_kind_of_key(self) -> None:
        self.bad(signed("ES256", EC, "r"), "0 keys")
        with self.assertRaises(UnknownKey):
            jwks(public(RSA, "r", alg="RS512")).suiting("RS256", "r")

    def test_keys_that_are_no_use(self) -> None:
        # RFC 7517 4.2, 4.3
        self.bad(signed(), "0 keys", jwks(public(RSA, "r", use="enc")))
        self.bad(signed(), "0 keys", jwks(public(RSA, "r", key_ops=["sign"])))
        small = rsa.generate_private_key(65537, 1024)
        self.bad(signed(), "2048", jwks(public(small, "r")))
        self.bad(signed(), "cannot be used", jwks({"kty": "RSA", "kid": "r"}))

    def test_a_key_that_the_token_brings_along(self) -> None:
        # RFC 8725 3.10: jwk, jku and x5u of a header are not looked at
        other = rsa.generate_private_key(65537, 2048)
        token = jwt.encode(
            CLAIMS, other, "RS256", {"kid": "r", "jwk": public(other, "r"), "jku": "https://evil.example"}
        )
        self.bad(token.encode(), "signature")

    def test_what_is_no_jwt(self) -> None:
        for token in (b"", b"x", b"a.b", b"a.b.c", b"a.b.c.d", b"\xff.x.y", by_hand([]), b"x" * 9000):
            self.bad(token, "")
        self.bad(jwt.api_jws.encode(b"[1]", RSA, "RS256", {"kid": "r"}).encode(), "")

    def test_what_is_no_jwks(self) -> None:
        # RFC 7517 5
        for text in (
            b"",
            b"[]",
            b"{}",
            b'{"keys": 1}',
            b"[" * 100_000,
            b'{"keys": [' + b"{}," * 100 + b"{}]}",
            b"\xff",
        ):
            with self.assertRaises(ValueError):
                KeySet(text)
        KeySet(b'{"keys": [1, null, {}, {"kty": []}]}')

    @given(st.binary(max_size=300))
    def test_arbitrary_octets(self, token: bytes) -> None:
        with self.assertRaises(BadToken):
            claims_of(token, KEYS, ALGORITHMS)


class Claims(SynchronousTestCase):
    def bad(self, why: str, rules: TokenRules = RULES, **claims: Any) -> None:
        said = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
        with self.assertRaises(BadToken) as caught:
            whose(said, rules, NOW)
        self.assertIn(why, str(caught.exception))

    def test_one_that_is_good(self) -> None:
        self.assertEqual(whose(CLAIMS, RULES, NOW), Whose(name="ann@ours.example", until=NOW + 300))
        self.assertEqual(whose({**CLAIMS, "aud": ["x", "mail"]}, RULES, NOW).name, "ann@ours.example")
        self.assertEqual(whose({**CLAIMS, "scope": None, "scp": ["mail.send"]}, RULES, NOW).name, "ann@ours.example")

    def test_issuer_and_audience(self) -> None:
        # RFC 7519 4.1.1, 4.1.3; RFC 8725 3.9
        self.bad("another issuer", iss="https://evil.example")
        self.bad("another issuer", iss=None)
        for audience in (None, "web", [], ["web"], 5, [["mail"]]):
            self.bad("another service", aud=audience)

    def test_times(self) -> None:
        # RFC 7519 4.1.4 to 4.1.6, RFC 7519 2
        whose({**CLAIMS, "exp": NOW - 29}, RULES, NOW)
        self.bad("over", exp=NOW - 30)
        self.bad("no end", exp=None)
        self.bad("not begun", nbf=NOW + 31)
        self.bad("not begun", iat=NOW + 31)
        for value in ("soon", True, [], math.inf, math.nan, 10**400):
            self.bad("exp is no time", exp=value)

    def test_scope_and_name(self) -> None:
        # RFC 8693 4.2
        self.bad("mail.send", scope="openid")
        self.bad("mail.send", scope=5)
        self.bad("no email", email=None)
        self.bad("no email", email=["ann@ours.example"])
        self.bad("not verified", email_verified=False)

    def test_introspection_may_leave_things_out(self) -> None:
        # RFC 7662 2.2
        said = {"aud": "mail", "email": "ann@ours.example", "scope": "mail.send"}
        self.assertEqual(whose(said, RULES, NOW, complete=False).until, math.inf)
        with self.assertRaises(BadToken):
            whose({**said, "iss": "https://evil.example"}, RULES, NOW, complete=False)

    @given(
        st.dictionaries(st.sampled_from(sorted(CLAIMS)), st.recursive(st.none() | st.text() | st.floats(), st.lists))
    )
    def test_arbitrary_claims(self, claims: dict[str, Any]) -> None:
        try:
            whose({**CLAIMS, **claims}, RULES, NOW)
        except BadToken:
            pass
