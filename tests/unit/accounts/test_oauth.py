"""Accounts that log in with tokens: keys from a file and from a URL, and an issuer that is asked (RFC 7662)."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.accounts.credentials import BearerToken
from mta.accounts.oauth import OAuthAccounts
from mta.accounts.source import Identity
from mta.accounts.values import Account, Login
from mta.config.oauth_options import OAuthOptions
from mta.reply import TemporaryFailure

NOW = 1_700_000_000
KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
GIVEN: dict[str, Any] = {"issuer": "https://id.example", "audience": ("mail",)}


def jwks(key: Any = KEY, kid: str = "k") -> bytes:
    return json.dumps({"keys": [{**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid}]}).encode()


def token(key: Any = KEY, kid: str = "k", **claims: Any) -> bytes:
    told = {"iss": "https://id.example", "aud": "mail", "exp": NOW + 600, "email": "Ann@ours.example", **claims}
    return jwt.encode(told, key, "ES256", {"kid": kid}).encode()


class Web:
    """An issuer: its answers, and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.answers: list[Any] = []

    def ask(self, method: str, url: str, **more: Any) -> Any:
        self.asked.append((method, url, more))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Deferred):
            return answer
        done: Deferred[Any] = Deferred()
        done.callback(answer)
        return done

    def close(self) -> None:
        """Nothing is open."""


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.events: list[Any] = []
        self.web = Web()

    def source(self, **options: Any) -> OAuthAccounts:
        services: Any = type("Services", (), {})()
        services.name, services.reactor = "tokens", self.clock
        services.now = lambda: (NOW + self.clock.seconds()) * 1000
        services.emit = lambda event, id: self.events.append(event)
        found = OAuthAccounts(OAuthOptions(**{**GIVEN, **options}), services)
        if found._web is not None:
            found.close()
            found._web = self.web
        return found

    def let_in(self, source: OAuthAccounts, octets: bytes, **more: Any) -> Identity:
        identity = self.successResultOf(source.requestAvatarId(BearerToken(token=octets, **more)))
        assert isinstance(identity, Identity)
        return identity

    def refused(self, source: OAuthAccounts, octets: bytes, why: str, **more: Any) -> None:
        failure = self.failureResultOf(source.requestAvatarId(BearerToken(token=octets, **more)), UnauthorizedLogin)
        self.assertIn(why, str(failure.value))

    def put_off(self, source: OAuthAccounts, octets: bytes, why: str) -> None:
        failure = self.failureResultOf(source.requestAvatarId(BearerToken(token=octets)), TemporaryFailure)
        self.assertIn(why, failure.value.reason)

    def login(self, identity: Identity) -> Login:
        return Login(
            account=Account(name=identity.decode()),
            mechanism="OAUTHBEARER",
            credential=identity.credential,
            proof=identity.proof,
        )


class KeysInAFile(Case):
    def setUp(self) -> None:
        super().setUp()
        self.path = Path(self.mktemp())
        self.put(jwks())

    def put(self, octets: bytes) -> None:
        self.path.write_bytes(octets)
        self.path.chmod(0o644)
        os.utime(self.path, ns=(1, self.path.stat().st_mtime_ns + 1))

    def test_a_token_names_the_account(self) -> None:
        source = self.source(keys=str(self.path))
        self.assertEqual(self.let_in(source, token()), b"ann@ours.example")
        self.assertEqual(self.let_in(source, token(), username=b"ANN@ours.example"), b"ann@ours.example")

    def test_acting_as_another(self) -> None:
        # RFC 7628 3.1
        self.refused(self.source(keys=str(self.path)), token(), "to be another", username=b"bob@ours.example")

    def test_what_is_refused(self) -> None:
        source = self.source(keys=str(self.path))
        self.refused(source, token(OTHER), "signature")
        self.refused(source, token(kid="x"), "0 keys")
        self.refused(source, token(aud="web"), "another service")
        self.refused(source, token(email="a b"), "a name that none has")

    def test_a_changed_file(self) -> None:
        source = self.source(keys=str(self.path))
        self.put(jwks(OTHER))
        self.refused(source, token(), "signature")
        self.assertEqual(self.let_in(source, token(OTHER)), b"ann@ours.example")
        self.put(b"broken")
        self.assertEqual(self.let_in(source, token(OTHER)), b"ann@ours.example")
        self.path.unlink()
        self.assertEqual(self.let_in(source, token(OTHER)), b"ann@ours.example")
        self.assertEqual([event.code for event in self.events], ["accounts-refused"] * 2)

    def test_a_file_that_is_wrong_at_the_start(self) -> None:
        self.put(b"{}")
        with self.assertRaisesRegex(ValueError, "is no JWKS"):
            self.source(keys=str(self.path))

    def test_it_counts_until_its_end(self) -> None:
        source = self.source(keys=str(self.path))
        login = self.login(self.let_in(source, token()))
        self.assertIs(source.still(login), True)
        self.clock.advance(631)
        self.assertIs(source.still(login), False)

    def test_whose_accounts(self) -> None:
        self.assertIsNone(self.source(keys=str(self.path)).find("ann@ours.example"))
        known = self.source(keys=str(self.path), accounts=True).find("ann@ours.example")
        self.assertEqual(known, Account(name="ann@ours.example", addresses=("ann@ours.example",)))


class FetchedKeys(Case):
    def test_they_are_kept(self) -> None:
        source = self.source(keys_url="https://id.example/keys")
        self.web.answers = [(200, jwks())]
        for _ in range(3):
            self.let_in(source, token())
        self.assertEqual([asked[:2] for asked in self.web.asked], [("GET", "https://id.example/keys")])
        self.clock.advance(3601)
        self.web.answers = [(200, jwks(OTHER))]
        self.refused(source, token(exp=NOW + 9999), "signature")

    def test_those_who_come_together_wait_for_one_answer(self) -> None:
        source = self.source(keys_url="https://id.example/keys")
        waiting: Deferred[Any] = Deferred()
        self.web.answers = [waiting]
        asked = [source.requestAvatarId(BearerToken(token=token())) for _ in range(3)]
        waiting.callback((200, jwks()))
        self.assertEqual([self.successResultOf(one) for one in asked], [b"ann@ours.example"] * 3)
        self.assertEqual(len(self.web.asked), 1)

    def test_a_key_that_is_new(self) -> None:
        source = self.source(keys_url="https://id.example/keys")
        self.web.answers = [(200, jwks()), (200, jwks(OTHER, "new"))]
        self.let_in(source, token())
        # Once a minute at most: whoever sends tokens with a made-up kid has us fetch nothing.
        self.refused(source, token(OTHER, "new"), "0 keys")
        self.clock.advance(61)
        self.let_in(source, token(OTHER, "new"))
        self.assertEqual(len(self.web.asked), 2)

    def test_an_issuer_that_is_away(self) -> None:
        source = self.source(keys_url="https://id.example/keys")
        self.web.answers = [OSError("connection refused"), (503, b""), (200, b"<html>"), (200, jwks())]
        for why in ("connection refused", "HTTP 503", "no JSON"):
            self.put_off(source, token(), why)
        self.let_in(source, token())
        self.clock.advance(3601)
        # What it gave before stays in use.
        self.web.answers = [OSError("connection refused")]
        self.let_in(source, token(exp=NOW + 9999))
        self.assertEqual([event.code for event in self.events], ["accounts-refused"])


class Introspection(Case):
    options: dict[str, Any] = {"introspection": "https://id.example/ask", "client": "mail box", "secret": "s:1"}
    good: dict[str, Any] = {"active": True, "aud": "mail", "email": "ann@ours.example"}

    def answer(self, **said: Any) -> tuple[int, bytes]:
        return 200, json.dumps({**self.good, **said}).encode()

    def test_the_question(self) -> None:
        # RFC 7662 2.1, RFC 6749 2.3.1
        source = self.source(**self.options)
        self.web.answers = [self.answer()]
        self.assertEqual(self.let_in(source, b"opaque+/="), b"ann@ours.example")
        ((method, url, more),) = self.web.asked
        self.assertEqual((method, url), ("POST", "https://id.example/ask"))
        self.assertEqual(parse_qs(more["data"].decode())["token"], ["opaque+/="])
        self.assertEqual(more["headers"]["Authorization"], f"Basic {b64encode(b'mail+box:s%3A1').decode()}")

    def test_what_is_refused(self) -> None:
        source = self.source(**self.options)
        self.web.answers = [(200, b'{"active": false}'), self.answer(aud="web"), self.answer(exp=NOW - 31)]
        for why in ("does not count", "another service", "is over"):
            self.refused(source, b"t", why)

    def test_answers_that_are_none(self) -> None:
        # RFC 7662 2.3
        source = self.source(**self.options)
        self.web.answers = [(401, b""), (200, b"[]"), (200, b'{"active": "yes"}'), OSError("away")]
        for why in ("HTTP 401", "RFC 7662", "RFC 7662", "away"):
            self.put_off(source, b"t", why)

    def test_a_token_that_is_revoked_meanwhile(self) -> None:
        source = self.source(**self.options)
        self.web.answers = [self.answer()]
        login = self.login(self.let_in(source, b"t"))
        self.assertIs(source.still(login), True)
        self.clock.advance(61)
        self.web.answers = [self.answer(), (200, b'{"active": false}')]
        again: Any = source.still(login)
        self.assertIs(self.successResultOf(Deferred.fromCoroutine(again)), True)
        self.assertIs(source.still(login), True)
        self.clock.advance(61)
        again = source.still(login)
        self.assertIs(self.successResultOf(Deferred.fromCoroutine(again)), False)
        self.assertIs(source.still(login), False)

    def test_an_issuer_that_is_away_meanwhile(self) -> None:
        source = self.source(**self.options)
        self.web.answers = [self.answer(), OSError("away")]
        login = self.login(self.let_in(source, b"t"))
        self.clock.advance(61)
        again: Any = source.still(login)
        self.failureResultOf(Deferred.fromCoroutine(again), TemporaryFailure)

    def test_a_login_of_which_nothing_is_known(self) -> None:
        source = self.source(**self.options)
        self.web.answers = [self.answer()]
        login = self.login(self.let_in(source, b"t"))
        self.assertIs(source.still(replace(login, proof=f"{NOW + 9999} other")), False)


class Options(SynchronousTestCase):
    def wrong(self, **options: Any) -> list[str]:
        return [key for key, _, _ in OAuthOptions(**{**GIVEN, **options}).contradictions()]

    def test_one_way_to_know(self) -> None:
        self.assertEqual(self.wrong(), ["keys"])
        self.assertEqual(self.wrong(keys="a", keys_url="https://b.example"), ["keys"])
        self.assertEqual(self.wrong(introspection="https://b.example"), ["introspection"])
        self.assertEqual(self.wrong(keys="a", audience=()), ["audience"])
        self.assertEqual(self.wrong(keys="a"), [])
