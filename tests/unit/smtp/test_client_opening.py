"""How a connection begins: STARTTLS, TLS from the beginning, AUTH; and hosts that cheat or fail at each step."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

from client_harness import EHLO, ClientCase, Transport
from OpenSSL import SSL
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from mta.sasl.client import Login
from mta.smtp.client import SmtpClient
from mta.smtp.client_opening import MOST_STEPS, Terms
from mta.smtp.client_values import ClientFailure, Timeouts
from mta.smtp.extensions import Capabilities
from mta.smtp.ticker import Ticker
from mta.tls.client import Negotiated, TlsLevel

GREETING = b"220 mx.b.example\r\n"
WITH_TLS = b"250-mx.b.example\r\n250-PIPELINING\r\n250 STARTTLS\r\n"
GO_AHEAD = b"220 go ahead\r\n"
HELLO = b"EHLO out.a.example\r\n"
VERIFIED = Negotiated("TLSv1.3", "TLS_AES_256_GCM_SHA384")
UNVERIFIED = VERIFIED._replace(trouble="the certificate is not for mx.b.example")
ANN = Login(user="ann", password="pencil")


class FakeHandshake:
    """What TLS would have come to."""

    def __init__(self, negotiated: Negotiated = VERIFIED) -> None:
        self.negotiated = negotiated

    def result(self) -> Negotiated:
        return self.negotiated

    def binding(self) -> bytes:
        return b"x" * 32


class TlsTransport(Transport):
    tls: Any = None

    def startTLS(self, handshake: Any, normal: bool = True) -> None:
        self.tls = handshake


class OpeningCase(ClientCase):
    transport: TlsTransport

    def setUp(self) -> None:
        self.begin()

    def begin(self, level: TlsLevel = TlsLevel.OPPORTUNISTIC, negotiated: Negotiated = VERIFIED, **terms: Any) -> None:
        self.clock = Clock()  # so that the time of the one before stands still
        self.ticker = Ticker(self.clock.seconds, self.clock.callLater)
        handshake: Any = FakeHandshake(negotiated)
        self.client = SmtpClient(
            "out.a.example",
            Timeouts(),
            self.clock.seconds,
            self.ticker,
            Terms(host="mx.b.example", level=level, handshake=handshake, **terms),
        )
        self.transport = TlsTransport()
        self.client.makeConnection(self.transport)

    def starttls(self) -> None:
        """Up to where the host answered our greeting under TLS."""
        self.server(GREETING, WITH_TLS)
        self.assertEqual(self.seen(), HELLO + b"STARTTLS\r\n")
        self.server(GO_AHEAD)
        self.assertIsNotNone(self.transport.tls)
        self.assertEqual(self.seen(), b"")
        self.client.handshakeCompleted()

    def refused(self, stage: str, enhanced: str = "") -> str:
        failure = self.failureResultOf(self.client.ready, ClientFailure).value
        self.assertEqual(failure.stage, stage)
        if enhanced:
            self.assertTrue(failure.reply.temporary)
            self.assertEqual(failure.reply.enhanced, enhanced)
        return str(failure.reply)

    def is_ready(self) -> None:
        self.assertIs(self.successResultOf(self.client.ready), self.client)
        self.assertTrue(self.client.usable)


class Endless:
    """A mechanism that always has an answer."""

    name = "LOGIN"
    done = False

    def step(self, challenge: bytes) -> bytes:
        return b"more"


class StartTls(OpeningCase):
    def test_greeted_anew_under_tls(self) -> None:
        # RFC 3207 4.2: what was said before is forgotten
        self.starttls()
        self.assertEqual(self.seen(), HELLO)
        self.assertFalse(self.client.capabilities.pipelining)
        self.server(b"250-mx.b.example\r\n250 SIZE 10\r\n")
        self.is_ready()
        self.assertFalse(self.client.capabilities.pipelining)
        self.assertFalse(self.client.capabilities.starttls)
        self.assertEqual((self.client.capabilities.size, self.client.tls), (10, VERIFIED))

    def test_less_is_offered_under_tls(self) -> None:
        # RFC 3207 4.2: what was offered before is not made use of
        self.begin(TlsLevel.VERIFY)
        all_of_it = (
            b"250-x\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-SIZE 1\r\n250-DSN\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n"
        )
        self.server(GREETING, all_of_it, GO_AHEAD)
        self.client.handshakeCompleted()
        self.server(b"500 what\r\n", b"250 hello\r\n")
        self.assertEqual(self.seen(), HELLO + b"STARTTLS\r\n" + HELLO + b"HELO out.a.example\r\n")
        self.assertEqual(self.client.capabilities, Capabilities())
        self.is_ready()

    def test_starttls_offered_again_is_passed_over(self) -> None:
        self.starttls()
        self.seen()
        self.server(WITH_TLS)
        self.is_ready()
        self.assertEqual(self.seen(), b"")

    def test_octets_behind_the_go_ahead(self) -> None:
        # CVE-2021-38371: they would count as sent under TLS
        for more in (b"250 x\r\n", b"250-x\r\n", b"x", b"\r\n", b"\x16\x03\x03"):
            for level in (TlsLevel.OPPORTUNISTIC, TlsLevel.ENCRYPT):
                self.begin(level)
                self.server(GREETING, WITH_TLS, GO_AHEAD + more)
                self.refused("STARTTLS")
                self.assertTrue(self.transport.aborted)
                self.assertIsNone(self.transport.tls)

    def test_no_tls_where_none_is_wanted(self) -> None:
        self.begin(TlsLevel.NONE)
        self.server(GREETING, WITH_TLS)
        self.is_ready()
        self.assertEqual((self.seen(), self.client.level), (HELLO, TlsLevel.NONE))

    def test_not_offered(self) -> None:
        # RFC 8461 5, RFC 7672 2.2: never in clear where it is required
        for level in (TlsLevel.ENCRYPT, TlsLevel.VERIFY):
            for ehlo in ((EHLO,), (b"500 what?\r\n", b"250 old\r\n")):
                self.begin(level)
                self.server(GREETING, *ehlo)
                self.assertIn("offers no TLS", self.refused("STARTTLS", "4.7.10"))
                self.assertTrue(self.seen().endswith(b"QUIT\r\n"))
        self.begin(TlsLevel.OPPORTUNISTIC)
        self.server(GREETING, EHLO)
        self.is_ready()

    def test_refused(self) -> None:
        # RFC 3207 4
        for reply in (b"454 4.7.0 not now\r\n", b"501 syntax\r\n", b"250 what?\r\n"):
            self.begin(TlsLevel.ENCRYPT)
            self.server(GREETING, WITH_TLS, reply)
            self.refused("STARTTLS", "4.7.10")
            self.begin(TlsLevel.OPPORTUNISTIC)
            self.server(GREETING, WITH_TLS, reply)
            self.is_ready()
            self.assertEqual(self.client.level, TlsLevel.NONE)
        self.begin(TlsLevel.OPPORTUNISTIC)
        self.server(GREETING, WITH_TLS, b"421 bye\r\n")
        self.refused("STARTTLS")

    def test_certificate_that_proves_nothing(self) -> None:
        for level in (TlsLevel.OPPORTUNISTIC, TlsLevel.ENCRYPT):
            self.begin(level, UNVERIFIED)
            self.starttls()
            self.server(EHLO)
            self.is_ready()
            self.assertEqual(self.client.level, TlsLevel.ENCRYPT)
        self.begin(TlsLevel.VERIFY, UNVERIFIED)
        self.starttls()
        self.assertIn("is not for mx.b.example", self.refused("TLS", "4.7.5"))
        self.assertEqual((self.seen(), self.transport.aborted), (b"", True))
        self.server(EHLO)  # what TLS had more is nothing to anybody

    def test_handshake_that_fails(self) -> None:
        self.server(GREETING, WITH_TLS, GO_AHEAD)
        self.client.connectionLost(Failure(SSL.Error([("SSL routines", "", "wrong version number")])))
        self.assertIn("wrong version number", self.refused("TLS", "4.7.5"))

    def test_lost_in_the_handshake(self) -> None:
        self.server(GREETING, WITH_TLS, GO_AHEAD)
        self.lose()
        self.refused("TLS", "4.7.5")

    def test_silence_in_the_handshake(self) -> None:
        self.server(GREETING, WITH_TLS, GO_AHEAD)
        self.wait(302)
        self.refused("TLS")
        self.client.handshakeCompleted()  # too late
        self.assertEqual(self.client.level, TlsLevel.NONE)

    def test_refused_under_tls(self) -> None:
        self.starttls()
        self.server(b"421 too busy\r\n")
        self.refused("EHLO")


class ImplicitTls(OpeningCase):
    def setUp(self) -> None:
        self.begin(implicit=True)

    def test_tls_before_the_greeting(self) -> None:
        # RFC 8314 3
        self.assertIsNotNone(self.transport.tls)
        self.client.handshakeCompleted()
        self.assertEqual(self.seen(), b"")
        self.server(GREETING, WITH_TLS)
        self.is_ready()
        self.assertEqual((self.seen(), self.client.level), (HELLO, TlsLevel.VERIFY))

    def test_no_certificate_for_it(self) -> None:
        self.begin(TlsLevel.VERIFY, UNVERIFIED, implicit=True)
        self.client.handshakeCompleted()
        self.refused("TLS", "4.7.5")


def auth(*mechanisms: bytes) -> bytes:
    return b"250-mx.b.example\r\n250 AUTH " + b" ".join(mechanisms) + b"\r\n"


def challenge(text: bytes = b"") -> bytes:
    return b"334 " + b64encode(text) + b"\r\n"


class Auth(OpeningCase):
    def log_in(self, *mechanisms: bytes, login: Login = ANN) -> bytes:
        """Up to our AUTH, which is given back."""
        self.begin(TlsLevel.VERIFY, implicit=True, login=login)
        self.client.handshakeCompleted()
        self.server(GREETING)
        self.seen()
        self.server(auth(*mechanisms))
        self.assertNoResult(self.client.ready)
        return self.seen()

    def test_plain(self) -> None:
        # RFC 4954 4
        self.assertEqual(self.log_in(b"LOGIN", b"PLAIN"), b"AUTH PLAIN " + b64encode(b"\0ann\0pencil") + b"\r\n")
        self.server(b"235 2.7.0 welcome\r\n")
        self.is_ready()

    def test_login(self) -> None:
        self.assertEqual(self.log_in(b"LOGIN"), b"AUTH LOGIN\r\n")
        self.server(challenge(b"Username:"))
        self.assertEqual(self.seen(), b64encode(b"ann") + b"\r\n")
        self.server(challenge(b"Password:"))
        self.assertEqual(self.seen(), b64encode(b"pencil") + b"\r\n")
        self.server(b"235 welcome\r\n")
        self.is_ready()

    def test_scram_is_bound_to_the_channel(self) -> None:
        self.assertIn(b"AUTH SCRAM-SHA-256-PLUS ", self.log_in(b"PLAIN", b"SCRAM-SHA-256", b"SCRAM-SHA-256-PLUS"))

    def test_long_initial_response(self) -> None:
        # RFC 4954 4: over 512 octets it follows on an empty challenge
        self.assertEqual(self.log_in(b"XOAUTH2", login=Login(user="ann", token="x" * 500)), b"AUTH XOAUTH2\r\n")
        self.server(b"334 \r\n")
        self.assertIn(b"Bearer " + b"x" * 500, b64decode(self.seen()))
        self.server(b"235 welcome\r\n")
        self.is_ready()

    def test_refused(self) -> None:
        # configuration trouble is never permanent
        for reply in (b"535 5.7.8 wrong password\r\n", b"534 5.7.9 too weak\r\n", b"454 4.7.0 later\r\n"):
            self.log_in(b"PLAIN")
            self.server(reply)
            self.assertIn(reply.decode().strip(), self.refused("AUTH", "4.7.0"))
            self.assertEqual(self.seen(), b"QUIT\r\n")

    def test_token_that_has_expired(self) -> None:
        self.log_in(b"OAUTHBEARER", login=Login(user="ann", token="t"))
        self.server(challenge(b'{"status":"invalid_token"}'))
        self.assertEqual(self.seen(), b64encode(b"\x01") + b"\r\n")
        self.server(b"535 5.7.8 no\r\n")
        self.assertIn("invalid_token", self.refused("AUTH", "4.7.0"))

    def test_nothing_that_we_can(self) -> None:
        self.begin(TlsLevel.VERIFY, implicit=True, login=ANN)
        self.client.handshakeCompleted()
        for ehlo in (auth(b"GSSAPI"), EHLO):
            self.begin(TlsLevel.VERIFY, implicit=True, login=ANN)
            self.client.handshakeCompleted()
            self.server(GREETING, ehlo)
            self.refused("AUTH", "4.7.0")
            self.assertNotIn(b"AUTH", self.seen())

    def test_server_that_does_not_prove_itself(self) -> None:
        # RFC 5802 3
        self.log_in(b"SCRAM-SHA-256")
        self.server(b"235 come in\r\n")
        self.assertIn("before it proved", self.refused("AUTH", "4.7.0"))

    def test_challenges_that_are_wrong(self) -> None:
        # RFC 4954 4: "*" ends the exchange
        for wrong in (b"334 ???\r\n", challenge(b"r=another,s=AAAA,i=4096"), challenge(b"\xff")):
            self.log_in(b"SCRAM-SHA-256")
            self.server(wrong)
            self.assertEqual(self.seen(), b"*\r\n")
            self.server(b"501 cancelled\r\n")
            self.refused("AUTH", "4.7.0")
            self.log_in(b"SCRAM-SHA-256")
            self.server(wrong, b"235 all the same\r\n")
            self.refused("AUTH", "4.7.0")

    def test_challenges_without_end(self) -> None:
        # RFC 4954 4: "*" ends the exchange, in which QUIT would be one more answer
        self.log_in(b"LOGIN")
        self.client._opening._mechanism = Endless()  # type: ignore[assignment]
        for _ in range(MOST_STEPS):
            self.server(challenge(b"again"))
            self.assertEqual(self.seen(), b64encode(b"more") + b"\r\n")
        self.server(challenge(b"again"))
        self.assertEqual(self.seen(), b"*\r\n")
        self.server(challenge(b"again"))
        self.assertEqual(self.seen(), b"")
        self.assertTrue(self.transport.aborted)
        self.assertIn("do not end", self.refused("AUTH", "4.7.0"))

    def test_challenge_too_many(self) -> None:
        for mechanism, challenges in ((b"LOGIN", 3), (b"PLAIN", 1)):
            self.log_in(mechanism)
            self.server(*[challenge()] * challenges)
            self.assertTrue(self.seen().endswith(b"*\r\n"))
            self.server(challenge())
            self.assertTrue(self.transport.aborted)
            self.refused("AUTH", "4.7.0")

    def test_challenges_of_every_size(self) -> None:
        # RFC 4954 4: 12,288 octets are to be read; not more
        text = b"r=" + b"x" * 9000 + b",s=AAAA,i=4096"
        self.log_in(b"SCRAM-SHA-256")
        self.server(challenge(text))
        self.assertEqual(self.seen(), b"*\r\n")
        for octets in (b"334 " + b"A" * 1_000_000 + b"\r\n", b"334 " + b"A" * 1_000_000, b"334-AAAA\r\n" * 100_000):
            self.log_in(b"SCRAM-SHA-256")
            for start in range(0, len(octets), 4096):
                self.server(octets[start : start + 4096])
            self.assertTrue(self.transport.aborted)
            self.assertEqual(self.seen(), b"")
            self.refused("AUTH", "4.5.0")

    def test_challenges_that_are_not_base64(self) -> None:
        # RFC 4954 4: no other character, and "=" at the end alone
        for text in (b"=AAA", b"AAA=BBB", b"AA A", b"AAAAA", b"A", b"AA==AA==", b"\xff", b"AAA*", b"-", b"2.0.0 AAAA"):
            self.log_in(b"SCRAM-SHA-256")
            self.server(b"334 " + text + b"\r\n")
            self.assertEqual(self.seen(), b"*\r\n", text)

    def test_silence_and_ends_at_each_step(self) -> None:
        for done in range(3):
            for end in (self.lose, lambda: self.wait(301), lambda: self.server(b"421 going\r\n")):
                self.log_in(b"LOGIN")
                self.server(*[challenge()] * done)
                end()
                self.refused("AUTH")

    def test_password_is_not_given_to_just_anybody(self) -> None:
        # also if whoever made the terms was mistaken
        self.begin(TlsLevel.NONE, login=ANN)
        self.server(GREETING, auth(b"PLAIN"))
        self.refused("AUTH", "4.7.0")
        self.assertNotIn(b"AUTH", self.seen())
        self.begin(TlsLevel.ENCRYPT, UNVERIFIED, implicit=True, login=ANN)
        self.client.handshakeCompleted()
        self.server(GREETING, auth(b"PLAIN"))
        self.refused("AUTH", "4.7.0")
        self.assertNotIn(b"AUTH", self.seen())

    def test_in_clear_where_that_was_said(self) -> None:
        self.begin(TlsLevel.NONE, login=ANN, login_in_clear=True)
        self.server(GREETING, auth(b"PLAIN"))
        self.assertIn(b"AUTH PLAIN", self.seen())

    def test_password_that_cannot_be_sent(self) -> None:
        self.begin(TlsLevel.VERIFY, implicit=True, login=Login(user="ann", password="\x07"))
        self.client.handshakeCompleted()
        self.server(GREETING, auth(b"PLAIN"))
        self.refused("AUTH", "4.7.0")

    def test_what_is_offered_before_tls_does_not_count(self) -> None:
        # RFC 3207 4.2
        self.begin(TlsLevel.VERIFY, login=ANN)
        self.server(GREETING, b"250-mx.b.example\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n", GO_AHEAD)
        self.client.handshakeCompleted()
        self.server(auth(b"LOGIN"))
        self.assertTrue(self.seen().endswith(b"AUTH LOGIN\r\n"))


class OtherGreetings(OpeningCase):
    def test_lmtp(self) -> None:
        # RFC 2033 4.1: LHLO, and nothing in its place
        self.begin(verb=b"LHLO")
        self.server(GREETING)
        self.assertEqual(self.seen(), b"LHLO out.a.example\r\n")
        self.server(b"500 what?\r\n")
        self.refused("LHLO")
