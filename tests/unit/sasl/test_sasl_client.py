"""The client's mechanisms (RFC 4422), with the vectors of the RFCs and with servers that cheat."""

from __future__ import annotations

from base64 import b64decode, b64encode
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.sasl.client import (
    MECHANISMS,
    ClientMechanism,
    Login,
    LoginMechanism,
    OAuthBearer,
    Plain,
    SaslError,
    ScramSha256,
    ScramSha256Plus,
    XOAuth2,
    choose,
)

PENCIL = Login(user="user", password="pencil")
# RFC 7677 3
NONCE = "rOprNGfwEbeRWgbNEkqO"
FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
PROOF = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
SIGNATURE = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


class Simple(SynchronousTestCase):
    def test_plain(self) -> None:
        # RFC 4616 4
        mechanism = Plain(Login(user="tim", password="tanstaaftanstaaf"))
        self.assertEqual(mechanism.start(), b"\0tim\0tanstaaftanstaaf")
        self.assertTrue(mechanism.done)
        self.assertRaises(SaslError, mechanism.step, b"")

    def test_login(self) -> None:
        mechanism = LoginMechanism(PENCIL)
        mechanism.start()
        self.assertEqual(mechanism.step(b"Username:"), b"user")
        self.assertFalse(mechanism.done)
        self.assertEqual(mechanism.step(b"whatever it says"), b"pencil")
        self.assertTrue(mechanism.done)
        self.assertRaises(SaslError, mechanism.step, b"and your PIN?")

    def test_oauthbearer(self) -> None:
        # RFC 7628 4.1, 3.2.3
        mechanism = OAuthBearer(Login(user="u,s=r@example.com", token="vF9dft4qmT"), "server.example.com", 587)
        self.assertEqual(
            mechanism.start(),
            b"n,a=u=2Cs=3Dr@example.com,\x01host=server.example.com\x01port=587\x01auth=Bearer vF9dft4qmT\x01\x01",
        )
        self.assertEqual(mechanism.step(b'{"status":"invalid_token"}'), b"\x01")
        self.assertEqual(mechanism.refusal, '{"status":"invalid_token"}')
        self.assertFalse(mechanism.done)
        self.assertRaises(SaslError, mechanism.step, b"again")

    def test_xoauth2(self) -> None:
        mechanism = XOAuth2(Login(user="someuser@example.com", token="ya29.vF9"))
        self.assertEqual(mechanism.start(), b"user=someuser@example.com\x01auth=Bearer ya29.vF9\x01\x01")
        self.assertEqual(mechanism.step(b'{"status":"401"}'), b"")
        self.assertFalse(mechanism.done)

    def test_secrets_are_not_shown(self) -> None:
        login = Login(user="ann", password="geheim", token="auch")
        self.assertNotIn("geheim", repr(login))
        self.assertNotIn("auch", repr(login))


class Scram(SynchronousTestCase):
    def test_vector(self) -> None:
        # RFC 7677 3; RFC 5802 2.2, 5
        mechanism = ScramSha256(PENCIL, NONCE)
        self.assertEqual(mechanism.start(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO")
        self.assertEqual(mechanism.step(FIRST), PROOF)
        self.assertFalse(mechanism.done)
        self.assertEqual(mechanism.step(SIGNATURE), b"")
        self.assertTrue(mechanism.done)
        self.assertRaises(SaslError, mechanism.step, b"")

    def after_first(self) -> ScramSha256:
        mechanism = ScramSha256(PENCIL, NONCE)
        mechanism.start()
        mechanism.step(FIRST)
        return mechanism

    def test_server_that_does_not_know_the_password(self) -> None:
        # RFC 5802 3: the client must check it
        for final in (
            b"v=" + b64encode(bytes(32)),
            b"v=",
            b"v=?",
            b"v=\xc3\xa9",
            b"e=other-error",
            b"",
            b"\xff",
            b"x=1",
        ):
            mechanism = self.after_first()
            self.assertRaises(SaslError, mechanism.step, final)
            self.assertFalse(mechanism.done)

    def test_first_challenges_that_are_wrong(self) -> None:
        # RFC 5802 5.1, RFC 7677 4
        good = FIRST.decode()
        for first in (
            good.replace(NONCE, "another"),
            good.replace("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", ""),
            good.replace("4096", "4095"),
            good.replace("4096", "600001"),
            good.replace("4096", "9" * 30),
            good.replace("4096", "-1"),
            good.replace("4096", "\u0664\u0660\u0669\u0666"),
            good.replace("W22", "!!!"),
            "m=new," + good,
            good + ",m=new",
            good.partition(",i=")[0],
            "e=unknown-user",
            "",
        ):
            mechanism = ScramSha256(PENCIL, NONCE)
            mechanism.start()
            self.assertRaises(SaslError, mechanism.step, first.encode())

    def test_names_are_escaped_and_prepared(self) -> None:
        # RFC 5802 5.1
        self.assertEqual(ScramSha256(Login(user="a,b=\u00adc", password="x"), "n").start(), b"n,,n=a=2Cb=3Dc,r=n")
        self.assertRaises(SaslError, ScramSha256, Login(user="\u0007", password="x"), "n")

    def test_channel_binding(self) -> None:
        # RFC 5802 6, RFC 9266
        mechanism = ScramSha256Plus(PENCIL, NONCE, b"\x01\x02")
        self.assertEqual(mechanism.start(), b"p=tls-exporter,,n=user,r=rOprNGfwEbeRWgbNEkqO")
        bound = mechanism.step(FIRST).partition(b",")[0]
        self.assertEqual(b64decode(bound.removeprefix(b"c=")), b"p=tls-exporter,,\x01\x02")
        # The server sees that PLUS was taken out of its list.
        mechanism = ScramSha256(PENCIL, NONCE, b"\x01\x02")
        self.assertEqual(mechanism.start(), b"y,,n=user,r=rOprNGfwEbeRWgbNEkqO")
        self.assertTrue(mechanism.step(FIRST).startswith(b"c=eSws,"))

    @given(st.binary(max_size=200), st.binary(max_size=200))
    def test_any_challenges(self, first: bytes, second: bytes) -> None:
        for challenges in ((first, second), (FIRST, second)):
            mechanism = ScramSha256(PENCIL, NONCE)
            mechanism.start()
            try:
                for challenge in challenges:
                    mechanism.step(challenge)
            except SaslError:
                pass
            self.assertFalse(mechanism.done)


class Choice(SynchronousTestCase):
    def chosen(self, *offered: str, binding: bytes = b"", login: Login = PENCIL) -> str:
        found = choose(login, offered, host="h.example", port=25, binding=binding, nonce=lambda: "n")
        return "" if found is None else found.name

    def test_the_strongest(self) -> None:
        both = Login(user="u", password="p", token="t")
        order = list(MECHANISMS)
        while order:
            self.assertEqual(self.chosen(*reversed(order), binding=b"x", login=both), order.pop(0))

    def test_what_there_is_for_it(self) -> None:
        self.assertEqual(self.chosen("SCRAM-SHA-256-PLUS", "PLAIN"), "PLAIN")
        self.assertEqual(self.chosen("XOAUTH2", "LOGIN"), "LOGIN")
        self.assertEqual(self.chosen("XOAUTH2", "LOGIN", login=Login(user="u", token="t")), "XOAUTH2")
        self.assertEqual(self.chosen("GSSAPI", "CRAM-MD5"), "")
        self.assertEqual(self.chosen(), "")

    def test_only_what_is_allowed(self) -> None:
        login = Login(user="u", password="p", mechanisms=("SCRAM-SHA-256",))
        self.assertEqual(self.chosen("PLAIN", login=login), "")
        found = choose(login, ["SCRAM-SHA-256"], host="", port=25, binding=b"x", nonce=lambda: "n")
        assert isinstance(found, ClientMechanism)
        # RFC 5802 6: "n": we do not support it, as the operator wants.
        self.assertEqual(found.start(), b"n,,n=u,r=n")

    def test_nonces_differ(self) -> None:
        starts = set()
        for _ in range(10):
            found = choose(PENCIL, ["SCRAM-SHA-256"], host="", port=25)
            assert found is not None
            starts.add(sha256(found.start() or b"").digest())
        self.assertEqual(len(starts), 10)
