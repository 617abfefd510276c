"""AUTH (RFC 4954) as a client meets it: over TLS in memory, with accounts that are a dictionary."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from dataclasses import replace
from typing import Any

from fixed_accounts import FixedAccounts
from harness import Client, Server
from tls_harness import TlsClient, TlsServer
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mta.accounts.replies import BUSY, CANNOT_KNOW
from mta.accounts.values import Account, State
from mta.envelope import Right
from mta.reply import Reply, TemporaryFailure
from mta.sasl.client import Login as ClientLogin
from mta.sasl.client import ScramSha256, ScramSha256Plus
from mta.sasl.server import MECHANISMS, Offer

NAME, PASSWORD = "ann@ours.example", "secret"


def text(octets: bytes | str) -> str:
    return b64encode(octets.encode() if isinstance(octets, str) else octets).decode()


PLAIN = f"AUTH PLAIN {text(f'{chr(0)}{NAME}{chr(0)}{PASSWORD}')}"
REFUSED = "535 5.7.8 Authentication credentials invalid"
WELCOME = "235 2.7.0 Authentication succeeded"


class Case(SynchronousTestCase):
    without_tls = False
    limits: dict[str, Any] = {}

    def setUp(self) -> None:
        self.accounts = FixedAccounts({NAME: PASSWORD, "bob@ours.example": "x"}, tokens={"good": NAME})
        self.server = TlsServer(**self.limits)
        self.use(accounts=self.accounts, auth=self.offer())

    def offer(self, **more: Any) -> Offer:
        given = {"mechanisms": tuple(MECHANISMS), "without_tls": self.without_tls, "tries": 3, **more}
        return Offer(hostname="mail.ours.example", **given)

    def use(self, **more: Any) -> None:
        self.server.context = self.server.factory.context = replace(self.server.context, **more)

    def secured(self, client: str = "203.0.113.9") -> TlsClient:
        found = TlsClient(self.server, client)
        found.greet()
        found.say("STARTTLS")
        found.secure()
        self.hello = found.say("EHLO client.example")
        return found

    def told(self, code: str) -> list[str]:
        return [str(event) for _, event in self.server.events if event.code == code]


class Offered(Case):
    def line(self, hello: str) -> str:
        return next((line[4:] for line in hello.split("|") if line[4:].startswith("AUTH")), "")

    def test_over_tls_alone(self) -> None:
        # RFC 4954 3, 4: the list changes with STARTTLS
        client = TlsClient(self.server)
        client.seen()
        self.assertEqual(self.line(client.say("EHLO x.example")), "")
        self.secured()
        self.assertEqual(
            self.line(self.hello),
            "AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS SCRAM-SHA-256 SCRAM-SHA-1 OAUTHBEARER XOAUTH2 PLAIN LOGIN "
            "CRAM-MD5",
        )

    def test_where_nobody_logs_in(self) -> None:
        self.use(auth=None)
        client = self.secured()
        self.assertNotIn("AUTH", self.hello)
        self.assertEqual(client.say(PLAIN), "502 5.5.1 Command not implemented")
        # RFC 4954 5, RFC 5321 4.1.1.11
        self.assertEqual(client.say("MAIL FROM:<a@b.example> AUTH=<>")[:3], "555")

    def test_the_parameter_of_mail(self) -> None:
        # RFC 4954 5: also from those who have not logged in
        client = self.secured()
        self.assertEqual(client.say("MAIL FROM:<e=mc2@b.example> AUTH=e+3Dmc2@b.example")[:3], "250")

    def test_not_by_lmtp(self) -> None:
        client = Server(lmtp=True).connect()
        client.seen()
        client.say("LHLO x.example")
        self.assertEqual(client.say(PLAIN)[:3], "502")


class Plain(Case):
    def test_at_once(self) -> None:
        client = self.secured()
        self.assertEqual(client.say(PLAIN), WELCOME)
        self.assertEqual(
            self.told("logged-in"),
            ["203.0.113.9 logged in as ann@ours.example  by PLAIN   TLSv1.3 TLS_AES_256_GCM_SHA384"],
        )
        self.assertEqual(self.accounts.asked[0][1], "203.0.113.9")

    def test_on_an_empty_challenge(self) -> None:
        # RFC 4954 4.1, RFC 4422 5.1: "334 ", then the response
        client = self.secured()
        self.assertEqual(client.say("auth plain"), "334 ")
        self.assertEqual(client.say(PLAIN.split()[2]), WELCOME)

    def test_who_has_logged_in_may_send_anywhere(self) -> None:
        # RFC 4954 4: no security layer, so nothing is forgotten; RFC 4954 7, RFC 3848: ESMTPSA
        client = self.secured()
        client.say(PLAIN)
        self.assertEqual(client.message(NAME, "x@elsewhere.example")[:3], "250")
        ((lease, octets),) = self.server.messages()
        self.assertIn(b"with ESMTPSA", octets)
        origin = lease.message.envelope.origin
        self.assertEqual((origin.login, origin.protocol), (NAME, "ESMTPSA"))
        self.assertEqual(lease.message.envelope.rights, {Right.AUTHENTICATED})

    def test_it_may_be_the_last_of_a_group(self) -> None:
        # RFC 4954 4: PLAIN is over with its initial response
        client = self.secured()
        replies = client.say(f"{PLAIN}\r\nMAIL FROM:<{NAME}>\r\nRCPT TO:<x@elsewhere.example>").split("|")
        self.assertEqual([reply[:3] for reply in replies], ["235", "250", "250"])

    def test_unknown_wrong_and_disabled_are_one(self) -> None:
        # RFC 4954 6
        self.accounts.put(Account(name="gone@ours.example", state=State.DISABLED), "secret")
        self.use(auth=self.offer(tries=9))
        client = self.secured()
        for said in (f"\0{NAME}\0wrong", "\0nobody@ours.example\0secret", "\0gone@ours.example\0secret", "x"):
            self.assertEqual(client.say(f"AUTH PLAIN {text(said)}"), REFUSED)
        self.assertEqual(client.say(PLAIN), WELCOME)


class Exchanges(Case):
    def test_login(self) -> None:
        client = self.secured()
        self.assertEqual(client.say("AUTH LOGIN"), f"334 {text('Username:')}")
        self.assertEqual(client.say(text(NAME)), f"334 {text('Password:')}")
        self.assertEqual(client.say(text(PASSWORD)), WELCOME)
        self.assertIn("by LOGIN", self.told("logged-in")[0])

    def test_login_with_its_name(self) -> None:
        client = self.secured()
        self.assertEqual(client.say(f"AUTH LOGIN {text(NAME)}"), f"334 {text('Password:')}")
        self.assertEqual(client.say(text(PASSWORD)), WELCOME)

    def test_cram_md5(self) -> None:
        client = self.secured()
        challenge = b64decode(client.say("AUTH CRAM-MD5")[4:])
        digest = hmac.new(PASSWORD.encode(), challenge, hashlib.md5).hexdigest()
        self.assertEqual(client.say(text(f"{NAME} {digest}")), WELCOME)

    def test_scram(self) -> None:
        client = self.secured()
        # The client could have bound the channel, and says that it did not see that we can: RFC 5802 6.
        self.assertEqual(client.say(f"AUTH SCRAM-SHA-256 {text('y,,n=' + NAME + ',r=x')}"), REFUSED)
        scram = ScramSha256(ClientLogin(user=NAME, password=PASSWORD), "nonce")
        self.assertEqual(self.run_scram(client, scram), WELCOME)

    def run_scram(self, client: Client, scram: ScramSha256) -> str:
        first = client.say(f"AUTH {scram.name} {text(scram.start())}")
        last = client.say(text(scram.step(b64decode(first[4:]))))
        if not last.startswith("334"):
            return last
        # RFC 4954 4: a success carries no data, so the server's proof is a challenge
        return client.say(text(scram.step(b64decode(last[4:]))))

    def test_scram_with_channel_binding(self) -> None:
        # RFC 9266: what the two ends of the same connection know
        client = self.secured()
        binding = client.protocol.session.channel.bindings["tls-exporter"]
        scram = ScramSha256Plus(ClientLogin(user=NAME, password=PASSWORD), "nonce", binding)
        self.assertEqual(self.run_scram(client, scram), WELCOME)
        other = ScramSha256Plus(ClientLogin(user=NAME, password=PASSWORD), "nonce", binding)
        self.assertEqual(self.run_scram(self.secured(), other), REFUSED)

    def test_scram_with_a_wrong_password_or_name(self) -> None:
        client = self.secured()
        for user, password in ((NAME, "wrong"), ("nobody@ours.example", PASSWORD)):
            scram = ScramSha256(ClientLogin(user=user, password=password), "nonce")
            self.assertEqual(self.run_scram(client, scram), REFUSED)

    def test_a_disabled_account_gets_no_proof(self) -> None:
        self.accounts.put(Account(name=NAME, state=State.DISABLED))
        scram = ScramSha256(ClientLogin(user=NAME, password=PASSWORD), "nonce")
        self.assertEqual(self.run_scram(self.secured(), scram), REFUSED)

    def test_more_after_the_proof(self) -> None:
        client = self.secured()
        scram = ScramSha256(ClientLogin(user=NAME, password=PASSWORD), "nonce")
        first = client.say(f"AUTH {scram.name} {text(scram.start())}")
        client.say(text(scram.step(b64decode(first[4:]))))
        self.assertEqual(client.say(text("more")), REFUSED)
        self.assertEqual(client.protocol.session.rights, frozenset())

    def test_tokens(self) -> None:
        # RFC 7628 3.2.2, 3.2.3
        client = self.secured()
        said = text(f"n,a={NAME},\x01auth=Bearer bad\x01\x01")
        answer = client.say(f"AUTH OAUTHBEARER {said}")
        self.assertEqual(b64decode(answer[4:]), b'{"status": "invalid_token"}')
        self.assertEqual(client.say(text("\x01")), REFUSED)
        said = text(f"user={NAME}\x01auth=Bearer good\x01\x01")
        self.assertEqual(client.say(f"AUTH XOAUTH2 {said}"), WELCOME)


class Refused(Case):
    limits = {"idle_commands": 50, "errors": 40}

    def setUp(self) -> None:
        super().setUp()
        self.use(auth=self.offer(tries=40))

    def test_without_argument_or_with_a_strange_one(self) -> None:
        client = self.secured()
        self.assertEqual(client.say("AUTH")[:9], "501 5.5.4")
        # RFC 4422 3.1: how names of mechanisms are written
        self.assertEqual(client.say("AUTH KERBEROS_V4")[:9], "504 5.5.4")
        self.assertEqual(client.say("AUTH x,y")[:9], "501 5.5.4")
        self.assertEqual(client.say("AUTH \xfe")[:9], "501 5.5.4")

    def test_twice(self) -> None:
        # RFC 4954 4
        client = self.secured()
        client.say(PLAIN)
        self.assertEqual(client.say(PLAIN)[:9], "503 5.5.1")

    def test_before_a_greeting_and_in_a_transaction(self) -> None:
        # RFC 4954 4
        client = TlsClient(self.server)
        client.seen()
        self.assertEqual(client.say(PLAIN)[:9], "503 5.5.1")
        client = self.secured()
        client.say("MAIL FROM:<a@b.example>")
        self.assertEqual(client.say(PLAIN)[:9], "503 5.5.1")
        self.assertEqual(client.say("RCPT TO:<ann@ours.example>")[:3], "250")

    def test_without_tls(self) -> None:
        # RFC 4954 6; loopback is no exception
        for address in ("203.0.113.9", "127.0.0.1"):
            client = TlsClient(self.server, address)
            client.greet()
            self.assertEqual(client.say(PLAIN)[:10], "538 5.7.11")
        self.assertEqual(self.accounts.asked, [])

    def test_base64(self) -> None:
        # RFC 4954 4
        client = self.secured()
        for wrong in ("=AAA", "AAA=BBB", "AAA", "AA==AA==", "A", "AAAA AAAA", "AAA-", "====", "AAAA=", "\xe4"):
            self.assertEqual(client.say(f"AUTH PLAIN {wrong}")[:9], "501 5.5.2", wrong)
            client.say("AUTH PLAIN")
            self.assertEqual(client.say(wrong)[:9], "501 5.5.2", wrong)
        client.say("AUTH PLAIN")
        self.assertEqual(client.say(b"AA\0A")[:9], "501 5.5.2")
        client.say("AUTH PLAIN")
        self.assertEqual(client.say(b"AA\nAA")[:9], "500 5.5.2")

    def test_giving_up(self) -> None:
        # RFC 4954 4
        client = self.secured()
        client.say("AUTH LOGIN")
        self.assertEqual(client.say("*")[:3], "501")
        self.assertEqual(client.say("NOOP")[:3], "250")

    def test_an_empty_response(self) -> None:
        # RFC 4954 4: "=" with AUTH, an empty line later
        client = self.secured()
        self.assertEqual(client.say("AUTH PLAIN ="), REFUSED)
        client.say("AUTH PLAIN")
        self.assertEqual(client.say(""), REFUSED)

    def test_an_initial_response_where_the_server_speaks_first(self) -> None:
        # RFC 4954 4
        self.assertEqual(self.secured().say("AUTH CRAM-MD5 AAAA")[:9], "501 5.7.0")

    def test_long_lines(self) -> None:
        # RFC 4954 4: 12,288 octets with the CRLF
        client = self.secured()
        self.assertEqual(client.say("AUTH PLAIN " + "A" * 12_272), REFUSED)
        self.assertEqual(client.say("AUTH PLAIN " + "A" * 12_276)[:9], "500 5.5.2")
        client.say("AUTH PLAIN")
        self.assertEqual(client.say("A" * 12_284), REFUSED)
        client.say("AUTH PLAIN")
        self.assertEqual(client.say("A" * 12_288)[:9], "500 5.5.6")
        self.assertEqual(client.say("NOOP " + "A" * 600)[:9], "500 5.5.2")
        client.say("AUTH PLAIN")
        self.assertEqual(client.say("BDAT" * 4000)[:9], "500 5.5.6")
        self.assertEqual(client.say("NOOP")[:3], "250")

    def test_a_response_before_its_challenge(self) -> None:
        # RFC 4954 4: it would be the last of its group
        client = self.secured()
        said = client.say(f"AUTH LOGIN\r\n{text(NAME)}\r\n{text(PASSWORD)}")
        self.assertEqual(said, "421 4.7.0 You spoke before the challenge of AUTH")
        self.assertTrue(client.protocol.session.closing)

    def test_a_response_is_no_command(self) -> None:
        client = self.secured()
        client.say("AUTH PLAIN")
        self.assertEqual(client.say("QUIT"), REFUSED)  # it is base64
        self.assertFalse(client.protocol.session.closing)

    def test_failures_end_the_session(self) -> None:
        self.use(auth=self.offer(tries=2))
        client = self.secured()
        self.assertEqual(client.say("AUTH PLAIN AAAA"), REFUSED)
        self.assertEqual(client.say("AUTH PLAIN AAAA"), f"{REFUSED}|421 4.7.0 Too many errors")
        self.assertTrue(client.protocol.session.closing)

    def test_a_response_that_does_not_come(self) -> None:
        client = self.secured()
        client.say("AUTH PLAIN")
        self.server.clock.pump([10] * 31)
        self.assertEqual(client.seen()[:9], b"421 4.4.2")


class Trouble(Case):
    def test_accounts_that_cannot_be_asked(self) -> None:
        # RFC 4954 6
        self.accounts.failure = TemporaryFailure(CANNOT_KNOW, "the directory is away")
        client = self.secured()
        self.assertEqual(client.say(PLAIN), "454 4.7.0 Temporary authentication failure")
        self.accounts.failure = None
        self.assertEqual(client.say(PLAIN), WELCOME)

    def test_a_brake(self) -> None:
        self.accounts.failure = TemporaryFailure(Reply.of(421, "4.7.0", "Too many failed logins"))
        client = self.secured()
        self.assertEqual(client.say(PLAIN), "421 4.7.0 Too many failed logins")
        self.assertTrue(client.protocol.session.closing)

    def test_many_at_once(self) -> None:
        self.accounts.failure = TemporaryFailure(BUSY)
        self.assertEqual(self.secured().say(PLAIN)[:9], "454 4.7.0")

    def test_a_login_that_takes_its_time(self) -> None:
        waiting: Deferred[None] = Deferred()
        known = self.accounts.login

        async def slow(credentials: Any, client: str) -> Any:
            await waiting
            return await known(credentials, client)

        self.accounts.login = slow  # type: ignore[method-assign]
        client = self.secured()
        self.assertEqual(client.say(PLAIN), "")
        self.assertEqual(client.say("NOOP"), "")
        waiting.callback(None)
        self.assertEqual(client.seen(), f"{WELCOME}\r\n250 2.0.0 Ok\r\n".encode())

    def test_a_client_that_leaves_meanwhile(self) -> None:
        waiting: Deferred[Any] = Deferred()
        self.accounts.login = lambda credentials, client: waiting  # type: ignore[method-assign, assignment]
        client = self.secured()
        client.say(PLAIN)
        client.leave()
        self.assertTrue(waiting.called)
        self.assertEqual(self.told("logged-in"), [])

    def test_trouble_that_nobody_foresaw(self) -> None:
        def broken(name: str, hash_name: str) -> Any:
            raise ZeroDivisionError

        self.accounts.scram = broken  # type: ignore[method-assign]
        client = self.secured()
        self.assertEqual(client.say(f"AUTH SCRAM-SHA-256 {text('n,,n=ann,r=x')}")[:3], "451")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(client.say("NOOP")[:3], "250")


class AfterIt(Case):
    def test_an_account_that_is_disabled_meanwhile(self) -> None:
        # RFC 6409 6; hostile input: refused at the next MAIL
        client = self.secured()
        client.say(PLAIN)
        client.message(NAME, "x@elsewhere.example")
        self.accounts.put(Account(name=NAME, state=State.DISABLED))
        self.assertEqual(client.say(f"MAIL FROM:<{NAME}>")[0], "5")
        # From here on it is a stranger, and no login follows on the first: RFC 4954 4.
        client.say(f"MAIL FROM:<{NAME}>")
        self.assertEqual(client.say("RCPT TO:<x@elsewhere.example>")[:9], "550 5.7.1")
        client.say("RSET")
        self.assertEqual(client.say(PLAIN)[:3], "503")

    def test_what_it_logged_in_with_is_revoked(self) -> None:
        client = self.secured()
        client.say(PLAIN)
        self.accounts.revoked.add(NAME)
        self.assertEqual(client.say(f"MAIL FROM:<{NAME}>")[:9], "530 5.7.0")

    def test_accounts_that_go_with_a_reload(self) -> None:
        client = self.secured()
        client.say(PLAIN)
        self.use(accounts=None, auth=None)
        self.assertEqual(client.say(f"MAIL FROM:<{NAME}>")[:9], "530 5.7.0")

    def test_accounts_that_cannot_be_asked(self) -> None:
        client = self.secured()
        client.say(PLAIN)
        self.accounts.failure = TemporaryFailure(CANNOT_KNOW)
        self.assertEqual(client.say(f"MAIL FROM:<{NAME}>")[:9], "454 4.7.0")
        self.accounts.failure = None
        self.assertEqual(client.say(f"MAIL FROM:<{NAME}>")[:3], "250")

    def test_a_proxy_that_names_another(self) -> None:
        client = self.secured("198.51.100.7")
        client.say(PLAIN)
        self.assertEqual(client.say("XCLIENT ADDR=203.0.113.77")[:3], "220")
        self.assertEqual(client.protocol.session.rights, frozenset())
        client.say("EHLO x.example")
        self.assertEqual(client.say(PLAIN), WELCOME)

    def test_who_a_proxy_has_logged_in_does_not_log_in_again(self) -> None:
        client = self.secured("198.51.100.7")
        client.say("XCLIENT LOGIN=bob@ours.example")
        client.say("EHLO x.example")
        self.assertEqual(client.say(PLAIN)[:3], "503")


class InClear(Case):
    without_tls = True

    def test_where_the_configuration_says_so(self) -> None:
        client = TlsClient(self.server)
        client.greet()
        self.assertEqual(client.say(PLAIN), WELCOME)
        client.message(NAME, "x@elsewhere.example")
        self.assertIn(b"with ESMTPA ", self.server.messages()[0][1])

    def test_a_login_in_clear_is_forgotten_with_tls(self) -> None:
        # RFC 3207 4.2
        client = TlsClient(self.server)
        client.greet()
        client.say(PLAIN)
        client.say("STARTTLS")
        client.secure()
        self.assertEqual(client.protocol.session.rights, frozenset())
        client.say("EHLO x.example")
        self.assertEqual(client.say(PLAIN), WELCOME)

    def test_tokens_and_plus_not_even_then(self) -> None:
        client = TlsClient(self.server)
        client.greet()
        self.assertEqual(client.say("AUTH XOAUTH2 AAAA")[:3], "538")
        self.assertEqual(client.say("AUTH SCRAM-SHA-256-PLUS")[:3], "538")


class Told(Case):
    def test_why_an_exchange_came_to_nothing(self) -> None:
        client = self.secured()
        client.say(f"AUTH PLAIN {text('no NUL')}")
        client.say("AUTH LOGIN")
        client.say("*")
        self.assertEqual(
            self.told("login-broken"),
            [
                f"203.0.113.9: PLAIN: {REFUSED}   there are no two NUL in it",
                "203.0.113.9: LOGIN: 501 5.7.0 Authentication cancelled   the client gave up",
            ],
        )
        self.assertEqual(self.told("command-refused"), [])

    def test_no_secret_anywhere(self) -> None:
        client = self.secured()
        client.say(f"AUTH PLAIN {text(f'{chr(0)}{NAME}{chr(0)}hunter2')}")
        # A client that does not look at replies says its secrets as commands.
        client.say("AUTH NTLM")
        client.say(text("hunter2"))
        client.say("AUTH LOGIN")
        client.say(text(NAME))
        client.say(text("hunter2"))
        for code, event in self.server.events:
            for secret in ("hunter2", text("hunter2"), text("hunter2").upper()):
                self.assertNotIn(secret, f"{code} {event} {event.args}")
