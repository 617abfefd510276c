"""The server's exchanges (RFC 4422): the vectors of the RFCs, an independent client (scramp), and arbitrary octets."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from dataclasses import replace
from typing import Any

from fixed_accounts import FixedAccounts
from hypothesis import given
from hypothesis import strategies as st
from scramp import ScramClient
from twisted.cred.credentials import IUsernamePassword
from twisted.trial.unittest import SynchronousTestCase

from mta.accounts.credentials import (
    BearerToken,
    ClientCertificate,
    CramMd5,
    Disproved,
    IBearerToken,
    IClientCertificate,
    IProved,
    Proved,
)
from mta.accounts.values import OtherKeys, ScramKeys
from mta.sasl.bearer import Bearer, XOAuth2
from mta.sasl.exchange import Challenge, Done, Exchange, Failed, NeedsKeys
from mta.sasl.external import External
from mta.sasl.passwords import CramMd5Exchange, Login, Plain, cram_nonce, same_name
from mta.sasl.scram import SHA1, SHA256, Scram, scram_nonce
from mta.sasl.server import DEFAULT, MECHANISMS, Offer, begin, offered

ALL = FixedAccounts().takes()
CERTIFICATE = ClientCertificate(fingerprint="ab", subject="Ann", names=("ann@ours.example",))


def keys(password: bytes, salt: str, digest: str) -> ScramKeys:
    """RFC 5802 3."""
    salted = hashlib.pbkdf2_hmac(digest, password, b64decode(salt), 4096)
    return ScramKeys(
        salt=b64decode(salt),
        iterations=4096,
        stored_key=hashlib.new(digest, hmac.digest(salted, b"Client Key", digest)).digest(),
        server_key=hmac.digest(salted, b"Server Key", digest),
    )


def said(done: Any) -> tuple[bytes, bytes, str]:
    """Name, password and mechanism."""
    return done.credentials.username, done.credentials.password, done.credentials.mechanism


class Connection:
    """A ``Channel``."""

    def __init__(self, certificate: ClientCertificate | None = None, **bindings: bytes) -> None:
        self.bindings = {name.replace("_", "-"): octets for name, octets in bindings.items()}
        self.certificate = certificate


class Case(SynchronousTestCase):
    def failed(self, step: Any, why: str = "") -> None:
        self.assertIsInstance(step, Failed)
        self.assertIn(why, step.why)


class OfPlain(Case):
    def test_vectors(self) -> None:
        # RFC 4616 4
        done = Plain().step(b"\0tim\0tanstaaftanstaaf")
        assert isinstance(done, Done)
        self.assertTrue(IUsernamePassword.providedBy(done.credentials))
        self.assertEqual(said(done), (b"tim", b"tanstaaftanstaaf", "PLAIN"))
        self.assertEqual(Plain().start(), Challenge(b""))

    def test_acting_as_another(self) -> None:
        # RFC 4616 2, CVE-2023-27582
        self.failed(Plain().step(b"Ursel\0Kurt\0xipj3plmq"), "as another")
        self.assertIsInstance(Plain().step(b"kurt@X.example\0Kurt@x.example\0xipj3plmq"), Done)

    def test_what_is_not_well_formed(self) -> None:
        for octets in (b"", b"tim", b"tim\0x", b"\0\0x", b"\0tim\0", b"\0tim\0x\0", b"\0" + b"n" * 1025 + b"\0x"):
            self.failed(Plain().step(octets))
        self.failed(Plain().step(b"\0n\0" + b"p" * 1025), "too long")

    def test_names_that_are_one(self) -> None:
        self.assertTrue(same_name("ann\u00e9".encode(), "ANNE\u0301".encode()))
        self.assertFalse(same_name(b"ann", b"bob"))
        self.assertFalse(same_name(b"a b", b"b"))


class OfLogin(Case):
    def test_name_and_password(self) -> None:
        exchange = Login()
        self.assertEqual(exchange.start(), Challenge(b"Username:"))
        self.assertEqual(exchange.step(b"tim"), Challenge(b"Password:"))
        done = exchange.step(b"secret")
        assert isinstance(done, Done)
        self.assertEqual(said(done), (b"tim", b"secret", "LOGIN"))

    def test_empty_and_nul(self) -> None:
        for name, password in ((b"", b"x"), (b"x", b""), (b"a\0", b"x"), (b"a", b"x\0y")):
            exchange = Login()
            exchange.step(name)
            self.failed(exchange.step(password))


class OfCramMd5(Case):
    def test_vector(self) -> None:
        # RFC 2195 2
        exchange = CramMd5Exchange("postoffice.reston.mci.net", lambda: "1896.697170952")
        self.assertEqual(exchange.start(), Challenge(b"<1896.697170952@postoffice.reston.mci.net>"))
        done = exchange.step(b"tim b913a602c7eda7a495b4e6e7334d3890")
        assert isinstance(done, Done)
        assert isinstance(done.credentials, CramMd5)
        self.assertEqual(done.credentials.username, b"tim")
        self.assertTrue(done.credentials.checkPassword(b"tanstaaftanstaaf"))
        self.assertFalse(done.credentials.checkPassword(b"else"))

    def test_what_is_not_well_formed(self) -> None:
        for octets in (b"", b"tim", b"tim b913", b" " + b"0" * 32, b"n" * 2000 + b" " + b"0" * 32):
            self.failed(CramMd5Exchange("h", cram_nonce).step(octets))

    def test_no_challenge_twice(self) -> None:
        self.assertNotEqual(cram_nonce(), cram_nonce())


class OfScram(Case):
    def exchange(self, hash_: Any = SHA256, nonce: str = "3rfcNHYJY1ZVvWVs7j", **more: Any) -> Scram:
        given: dict[str, Any] = {"plus": False, "bindings": {}, "offers_plus": False, **more}
        return Scram(hash_, nonce=lambda: nonce, **given)

    def test_sha_1(self) -> None:
        # RFC 5802 5
        exchange = self.exchange(SHA1)
        self.assertEqual(exchange.step(b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL"), NeedsKeys("user", "sha-1"))
        self.assertEqual(
            exchange.told(keys(b"pencil", "QSXCR+Q6sek8bf92", "sha1")),
            Challenge(b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"),
        )
        final = b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="
        self.assertEqual(
            exchange.step(final),
            Done(
                Proved(username=b"user", mechanism="SCRAM-SHA-1", hash_name="sha-1"),
                b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
            ),
        )

    def test_sha_256(self) -> None:
        # RFC 7677 3
        exchange = self.exchange(nonce="%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
        self.assertEqual(exchange.step(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"), NeedsKeys("user", "sha-256"))
        self.assertEqual(
            exchange.told(keys(b"pencil", "W22ZaJ0SNY7soEsUEjb6gQ==", "sha256")),
            Challenge(b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"),
        )
        self.assertEqual(
            exchange.step(
                b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
            ),
            Done(
                Proved(username=b"user", mechanism="SCRAM-SHA-256", hash_name="sha-256"),
                b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            ),
        )
        self.failed(exchange.step(b"c=biws,r=x,p=eA=="))

    def run_scramp(self, mechanism: str, password: str, exchange: Scram, binding: Any = None) -> tuple[Any, Any]:
        client: Any = ScramClient([mechanism], "ann", password, channel_binding=binding)
        step: Any = exchange.step(client.get_client_first().encode())
        assert isinstance(step, NeedsKeys), step
        digest = step.hash_name.replace("-", "")
        step = exchange.told(keys(b"secret", "W22ZaJ0SNY7soEsUEjb6gQ==", digest))
        client.set_server_first(step.octets.decode())
        return client, exchange.step(client.get_client_final().encode())

    def test_an_independent_client(self) -> None:
        for mechanism, hash_ in (("SCRAM-SHA-1", SHA1), ("SCRAM-SHA-256", SHA256)):
            client, done = self.run_scramp(mechanism, "secret", self.exchange(hash_, nonce=scram_nonce()))
            self.assertEqual(
                done.credentials,
                Proved(username=b"ann", mechanism=mechanism, hash_name=hash_.name),
            )
            client.set_server_final(done.last.decode())

    def test_an_independent_client_with_channel_binding(self) -> None:
        # RFC 5802 6, RFC 5929 4
        bound = {"tls-server-end-point": b"hash", "tls-exporter": b"other"}
        mechanism = "SCRAM-SHA-256-PLUS"
        exchange = self.exchange(plus=True, bindings=bound, offers_plus=True)
        client, done = self.run_scramp(mechanism, "secret", exchange, ("tls-server-end-point", b"hash"))
        self.assertIsInstance(done.credentials, Proved)
        client.set_server_final(done.last.decode())
        exchange = self.exchange(plus=True, bindings=bound, offers_plus=True)
        _, done = self.run_scramp(mechanism, "secret", exchange, ("tls-server-end-point", b"somebody between"))
        self.failed(done, "not that of this connection")

    def test_a_wrong_password_counts_and_proves_nothing(self) -> None:
        _, done = self.run_scramp("SCRAM-SHA-256", "wrong", self.exchange())
        self.assertEqual(done, Done(Disproved(username=b"ann", mechanism="SCRAM-SHA-256", hash_name="sha-256")))

    def test_one_of_several_passwords(self) -> None:
        main, other = (keys(password, "W22ZaJ0SNY7soEsUEjb6gQ==", "sha256") for password in (b"main", b"app"))
        both = replace(main, others=(OtherKeys("phone", other.stored_key, other.server_key),))
        for password, credential in (("main", ""), ("app", "phone")):
            client: Any = ScramClient(["SCRAM-SHA-256"], "ann", password)
            exchange = self.exchange()
            exchange.step(client.get_client_first().encode())
            step: Any = exchange.told(both)
            client.set_server_first(step.octets.decode())
            done: Any = exchange.step(client.get_client_final().encode())
            self.assertEqual(done.credentials.credential, credential)
            client.set_server_final(done.last.decode())

    def test_channel_binding_taken_out_of_our_offer(self) -> None:
        # RFC 5802 6
        self.failed(self.exchange(offers_plus=True).step(b"y,,n=ann,r=x"), "taken out")
        self.assertIsInstance(self.exchange().step(b"y,,n=ann,r=x"), NeedsKeys)
        self.assertIsInstance(self.exchange(offers_plus=True).step(b"n,,n=ann,r=x"), NeedsKeys)

    def test_channel_binding_of_the_wrong_kind(self) -> None:
        plus: dict[str, Any] = {"plus": True, "offers_plus": True, "bindings": {"tls-exporter": b"x"}}
        self.failed(self.exchange(**plus).step(b"p=tls-unique,,n=ann,r=x"), "no tls-unique")
        self.failed(self.exchange(**plus).step(b"n,,n=ann,r=x"), "wants channel binding")
        self.failed(self.exchange().step(b"p=tls-exporter,,n=ann,r=x"), "PLUS")

    def test_names(self) -> None:
        # RFC 5802 5.1
        self.assertEqual(self.exchange().step(b"n,,n=a=2Cb=3Dc,r=x"), NeedsKeys("a,b=c", "sha-256"))
        self.assertIsInstance(self.exchange().step(b"n,a=ann,n=ann,r=x"), NeedsKeys)
        self.failed(self.exchange().step(b"n,a=bob,n=ann,r=x"), "as another")
        for name in (b"a=b", b"a=2c", b"a=", b"", b"a\0", b"n" * 1025, b"\xff"):
            self.failed(self.exchange().step(b"n,,n=" + name + b",r=x"))

    def test_what_is_not_well_formed(self) -> None:
        # RFC 5802 5.1: "m" must be known; RFC 5802 7: the rest of the syntax
        for first in (
            b"",
            b"n",
            b"n,,",
            b"n,,m=x,n=ann,r=x",
            b"n,,n=ann",
            b"n,,n=ann,r=",
            b"x,,n=ann,r=x",
            b"n,n=ann,r=x",
        ):
            self.failed(self.exchange().step(first))
        self.failed(self.exchange().step(b"n,,n=ann,r=" + b"x" * 513))

    def finals(self, final: bytes) -> Any:
        exchange = self.exchange(nonce="s")
        exchange.step(b"n,,n=ann,r=c")
        exchange.told(keys(b"secret", "W22ZaJ0SNY7soEsUEjb6gQ==", "sha256"))
        return exchange.step(final)

    def test_last_messages_that_are_not_well_formed(self) -> None:
        proof = b64encode(bytes(32))
        self.assertIsInstance(self.finals(b"c=biws,r=cs,p=" + proof), Done)
        self.failed(self.finals(b"c=biws,r=c,p=" + proof), "somebody else")
        self.failed(self.finals(b"c=eSws,r=cs,p=" + proof), "channel binding")
        for final in (
            b"",
            b"c=biws,r=cs",
            b"c=biws,r=cs,p=" + b64encode(bytes(31)),
            b"r=cs,c=biws,p=" + proof,
            b"\xff",
        ):
            self.failed(self.finals(final))
        self.failed(self.finals(b"c=biws,r=cs,p=A=="), "proof")
        self.failed(self.finals(b"c=biw,r=cs,p=" + proof), "channel binding")

    def test_order(self) -> None:
        self.failed(self.exchange().told(keys(b"x", "AAAA", "sha256")), "nothing was asked")
        exchange = self.exchange()
        exchange.step(b"n,,n=ann,r=x")
        self.failed(exchange.step(b"n,,n=ann,r=x"), "begun")


class OfTokens(Case):
    def test_oauthbearer(self) -> None:
        # RFC 7628 4.1
        said = b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer vF9dft4qmTc2Nvb\x01\x01"
        self.assertEqual(
            Bearer().step(said),
            Done(BearerToken(token=b"vF9dft4qmTc2Nvb", username=b"user@example.com")),
        )
        self.assertEqual(Bearer().step(b"n,,\x01auth=bearer t\x01\x01"), Done(BearerToken(token=b"t", username=b"")))

    def test_what_a_refused_client_is_told(self) -> None:
        # RFC 7628 3.2.2
        exchange = Bearer("mail", "https://id.example/.well-known/openid-configuration")
        self.assertEqual(
            exchange.refusal(),
            b'{"status": "invalid_token", "scope": "mail", '
            b'"openid-configuration": "https://id.example/.well-known/openid-configuration"}',
        )
        self.assertEqual(XOAuth2().refusal(), b'{"status": "401", "schemes": "Bearer"}')

    def test_xoauth2(self) -> None:
        # RFC 6750 2.1: the token; RFC 9110 11.1: its scheme without regard to case
        said = b"user=someuser@example.com\x01auth=Bearer ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg\x01\x01"
        self.assertEqual(
            XOAuth2().step(said),
            Done(
                BearerToken(
                    token=b"ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg",
                    username=b"someuser@example.com",
                    mechanism="XOAUTH2",
                )
            ),
        )

    def test_what_is_not_well_formed(self) -> None:
        for said in (
            b"",
            b"n,a=x,\x01\x01",
            b"n,,\x01auth=Basic x\x01\x01",
            b"n,,\x01auth=Bearer x\x01auth=Bearer y\x01\x01",
            b"n,,\x01auth=Bearer x",
            b"n,a=x=y,\x01auth=Bearer x\x01\x01",
            b"n,,\x01auth=Bearer x y\x01\x01",
            b"n,,\x01auth=Bearer " + b"x" * 8193 + b"\x01\x01",
            b"\xff",
        ):
            self.failed(Bearer().step(said))
        self.failed(XOAuth2().step(b"user=\x01auth=Bearer x\x01\x01"))
        self.failed(XOAuth2().step(b"user=a\0b\x01auth=Bearer x\x01\x01"))


class OfExternal(Case):
    def test_with_and_without_a_name(self) -> None:
        # RFC 4422 A.1
        self.assertEqual(External(CERTIFICATE).step(b""), Done(CERTIFICATE))
        done = External(CERTIFICATE).step(b"ann@ours.example")
        assert isinstance(done, Done)
        self.assertEqual(getattr(done.credentials, "username", b""), b"ann@ours.example")

    def test_what_is_not_well_formed(self) -> None:
        for octets in (b"a\0b", b"\xff", b"n" * 2000):
            self.failed(External(CERTIFICATE).step(octets))


class Offers(Case):
    offer = Offer(hostname="mail.ours.example")

    def test_over_tls(self) -> None:
        self.assertEqual(
            offered(self.offer, ALL, Connection(tls_exporter=b"x")),
            (
                "SCRAM-SHA-256-PLUS",
                "SCRAM-SHA-1-PLUS",
                "SCRAM-SHA-256",
                "SCRAM-SHA-1",
                "OAUTHBEARER",
                "XOAUTH2",
                "PLAIN",
                "LOGIN",
            ),
        )
        self.assertIn("EXTERNAL", offered(self.offer, ALL, Connection(CERTIFICATE)))
        self.assertNotIn("SCRAM-SHA-256-PLUS", offered(self.offer, ALL, Connection()))

    def test_in_clear(self) -> None:
        # RFC 4954 4, RFC 6750 5.3
        self.assertEqual(offered(self.offer, ALL, None), ())
        without = Offer(hostname="h", without_tls=True, mechanisms=tuple(MECHANISMS))
        self.assertEqual(offered(without, ALL, None), ("SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN", "CRAM-MD5"))

    def test_only_what_somebody_can_judge(self) -> None:
        for judge, wanted in (
            (IUsernamePassword, {"PLAIN", "LOGIN"}),
            (IBearerToken, {"OAUTHBEARER", "XOAUTH2"}),
            (IProved, {"SCRAM-SHA-256", "SCRAM-SHA-1"}),
            (IClientCertificate, {"EXTERNAL"}),
        ):
            self.assertEqual(set(offered(self.offer, frozenset({judge}), Connection(CERTIFICATE))), wanted)

    def test_cram_md5_only_if_turned_on(self) -> None:
        self.assertNotIn("CRAM-MD5", DEFAULT)
        self.assertIn("CRAM-MD5", offered(Offer(hostname="h", mechanisms=("CRAM-MD5",)), ALL, Connection()))

    def test_each_begins(self) -> None:
        channel = Connection(CERTIFICATE, tls_exporter=b"x")
        for name in MECHANISMS:
            exchange = begin(name, self.offer, tuple(MECHANISMS), channel)
            assert exchange is not None
            self.assertEqual(exchange.name, name)
            self.assertIsNone(begin(name, self.offer, (), channel))


def every_exchange() -> list[Exchange]:
    channel = Connection(CERTIFICATE, tls_exporter=b"x")
    found = [begin(name, Offer(hostname="h"), tuple(MECHANISMS), channel) for name in MECHANISMS]
    return [exchange for exchange in found if exchange is not None]


#: What makes some sense to one mechanism or another, in any order.
WORDS = st.sampled_from(
    b"n,,|y,,|p=tls-exporter,,|n=ann|,r=abc|c=biws|,p=|AAAA|=|,|\0|\x01|user=|auth=Bearer x|a=|m=|\xff".split(b"|")
)
OCTETS = st.one_of(st.binary(max_size=200), st.lists(WORDS, max_size=12).map(b"".join))


class ArbitraryOctets(SynchronousTestCase):
    """Nothing but what is stated comes out of an exchange, whatever a client sends."""

    @given(st.lists(OCTETS, max_size=4))
    def test_every_mechanism(self, responses: list[bytes]) -> None:
        for exchange in every_exchange():
            exchange.start()
            for response in responses:
                step = exchange.step(response)
                if isinstance(step, NeedsKeys):
                    step = exchange.told(keys(b"secret", "W22ZaJ0SNY7soEsUEjb6gQ==", step.hash_name.replace("-", "")))
                self.assertIsInstance(step, Challenge | Done | Failed)
                if isinstance(step, Done):
                    self.assertFalse(IProved.providedBy(step.credentials) and isinstance(step.credentials, Proved))
                if not isinstance(step, Challenge):
                    break
            exchange.refusal()
