"""Which host a message reaches, over what: dead paths, TLS that is broken or missing, logins, kept connections."""

from __future__ import annotations

from typing import Any

from smtp_harness import EHLO, FarEnd, ServiceCase, Transport
from twisted.internet.defer import Deferred

from mta.config.option import Path
from mta.events import Event
from mta.tls.client import Negotiated, TlsSetupError

BOTH = """
two.example MX 10 mx.two.example
two.example MX 20 mx1.b.example
mx.two.example A 192.0.2.10
mx.two.example A 192.0.2.11
mx.two.example AAAA 2001:db8::10
"""
WITH_TLS = b"250-mx.b.example\r\n250-PIPELINING\r\n250 STARTTLS\r\n"
VERIFIED = Negotiated("TLSv1.3", "TLS_AES_256_GCM_SHA384")
UNVERIFIED = VERIFIED._replace(trouble="the certificate is not for mx1.b.example")
TAKEN = [("relayed", 250, "message", "end of data")]


class FakeHandshake:
    def __init__(self, negotiated: Negotiated) -> None:
        self._negotiated = negotiated

    def result(self) -> Negotiated:
        return self._negotiated

    def binding(self) -> bytes:
        return b""


class FakeTls:
    """TLS that always comes to the same."""

    def __init__(self) -> None:
        self.negotiated = VERIFIED
        self.names: list[str] = []
        self.trouble = ""

    def prepare(self) -> None:
        if self.trouble:
            raise TlsSetupError(self.trouble)

    def handshake(self, host: str) -> FakeHandshake:
        self.names.append(host)
        return FakeHandshake(self.negotiated)


class TlsTransport(Transport):
    tls = False

    def startTLS(self, handshake: Any, normal: bool = True) -> None:
        self.tls = True


class TlsFarEnd(FarEnd):
    """A host that can do TLS."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.transport = TlsTransport()

    def encrypt(self) -> TlsFarEnd:
        """Up to the greeting under TLS."""
        self.greet(WITH_TLS)
        self.say(b"220 go ahead\r\n")
        self.protocol.handshakeCompleted()
        return self

    def ready(self, ehlo: bytes = EHLO) -> TlsFarEnd:
        self.encrypt().say(ehlo)
        self.heard()
        return self


class Case(ServiceCase):
    def setUp(self) -> None:
        super().setUp()
        for line in BOTH.strip().splitlines():
            self.resolver.add(*line.split(" ", 1))

    def make(self, **options: Any) -> Any:
        service = super().make(**options)
        self.tls = FakeTls()
        self.connector: Any = service._connector
        self.events: list[Event] = []
        object.__setattr__(self.connector.services, "emit", lambda event, id: self.events.append(event))
        self.connector.tls = self.tls
        return service

    def far(self, number: int = -1) -> TlsFarEnd:
        return TlsFarEnd(self.reactor, number)

    def addresses(self) -> list[str]:
        return [client[0] for client in self.reactor.tcpClients]

    def negotiated(self, batch: Any) -> str:
        return str(self.outcomes(batch)[0].attempt["tls"])


class BothFamilies(Case):
    """RFC 8305 4, 5."""

    def begin(self) -> Any:
        batch = self.batch(hop="two.example")
        self.work = self.deliver(batch)
        return batch

    def test_ipv6_first(self) -> None:
        batch = self.begin()
        self.assertEqual(self.addresses(), ["2001:db8::10"])
        self.reactor.advance(0.24)
        self.assertEqual(self.opened, 1)
        self.far().greet().take()
        self.reactor.advance(1)
        self.assertEqual((self.opened, self.told(batch)), (1, TAKEN))

    def test_dead_ipv6_path_costs_less_than_a_second(self) -> None:
        batch = self.begin()
        self.reactor.advance(0.25)
        self.assertEqual(self.addresses(), ["2001:db8::10", "192.0.2.10"])
        dead, alive = self.far(0), self.far(1)
        alive.greet().take()
        self.assertEqual(self.told(batch), TAKEN)
        self.assertLess(self.outcomes(batch)[0].attempt["seconds"], 1)
        self.assertTrue(dead.connector.stoppedConnecting)
        dead.refuse()  # what comes of it is nothing to anybody
        self.assertEqual(self.opened, 2)

    def test_loser_that_connects_all_the_same(self) -> None:
        self.begin()
        self.reactor.advance(0.25)
        slow = self.reactor.tcpClients[0][2]
        self.far(1).greet()
        self.assertIsNone(slow.buildProtocol(None))

    def test_ipv6_that_answers_late(self) -> None:
        batch = self.begin()
        self.reactor.advance(0.25)
        self.far(0).greet().take()
        self.assertTrue(self.far(1).connector.stoppedConnecting)
        self.assertEqual(self.told(batch), TAKEN)

    def test_refused_ipv6_is_not_waited_for(self) -> None:
        self.begin()
        self.far().refuse()
        self.assertEqual(self.addresses(), ["2001:db8::10", "192.0.2.10"])
        self.reactor.advance(1)
        self.assertEqual(self.opened, 2)

    def test_every_address_has_its_turn(self) -> None:
        batch = self.begin()
        self.far().refuse()
        self.far().refuse()
        self.far().refuse()
        self.far().greet().take()
        self.assertEqual(self.addresses(), ["2001:db8::10", "192.0.2.10", "192.0.2.11", "192.0.2.1"])
        self.assertEqual(self.told(batch), TAKEN)

    def test_one_fails_while_the_other_still_tries(self) -> None:
        batch = self.begin()
        self.reactor.advance(0.25)
        self.far(1).refuse()
        self.assertEqual(self.opened, 2)
        self.far(0).greet().take()
        self.assertEqual(self.told(batch), TAKEN)

    def test_host_that_does_not_want_is_asked_at_its_other_address(self) -> None:
        self.begin()
        self.far().accept(b"421 busy\r\n")
        self.assertEqual(self.addresses(), ["2001:db8::10", "192.0.2.10"])
        self.far().accept(b"421 busy\r\n")
        self.far().accept(b"421 busy\r\n")
        self.assertEqual(self.addresses()[2:], ["192.0.2.11", "192.0.2.1"])

    def test_path_that_was_slow_is_tried_last(self) -> None:
        self.begin()
        self.reactor.advance(0.25)
        self.far(1).accept(b"421 busy\r\n")
        # Not known to be dead: once more, beside what is left of IPv4.
        self.assertEqual(self.addresses()[2:], ["2001:db8::10"])
        self.reactor.advance(0.25)
        self.assertEqual(self.addresses()[3:], ["192.0.2.11"])

    def test_cancelled(self) -> None:
        for connections in (1, 2):
            self.setUp()
            self.begin()
            self.reactor.advance(0.25 * (connections - 1))
            self.work.cancel()
            self.failureResultOf(self.work)
            self.assertTrue(all(self.far(number).connector.stoppedConnecting for number in range(connections)))
            self.reactor.advance(1)
            self.assertEqual(self.opened, connections)
            self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_head_start_of_ones_own(self) -> None:
        self.service = self.make(happy_eyeballs=0.05)
        self.begin()
        self.reactor.advance(0.05)
        self.assertEqual(self.opened, 2)

    def test_most_addresses(self) -> None:
        for number in range(30):
            self.resolver.add("many.example", f"A 192.0.2.{100 + number}")
        batch = self.batch(hop="many.example")
        self.deliver(batch)
        while batch.pending:
            self.far().refuse()
        self.assertEqual(self.opened, 10)


class Tls(Case):
    def test_opportunistic(self) -> None:
        for negotiated, shown in ((VERIFIED, "verified"), (UNVERIFIED, "unverified")):
            self.setUp()
            self.tls.negotiated = negotiated
            batch = self.batch()
            self.deliver(batch)
            far = self.far().encrypt()
            self.assertTrue(far.transport.tls)
            far.say(EHLO).take()
            self.assertEqual(self.told(batch), TAKEN)
            self.assertEqual(self.negotiated(batch), f"TLSv1.3 TLS_AES_256_GCM_SHA384 {shown}")
            self.assertEqual(self.tls.names, ["mx1.b.example"])

    def test_opportunistic_without(self) -> None:
        batch = self.batch()
        self.deliver(batch)
        self.far().greet().take()
        self.assertEqual((self.told(batch), self.negotiated(batch)), (TAKEN, ""))

    def test_broken_tls_and_a_new_connection_in_clear(self) -> None:
        # RFC 7435 4.3
        batch = self.batch()
        self.deliver(batch)
        self.far().greet(WITH_TLS).say(b"220 go\r\n").close()
        self.assertEqual(self.addresses(), ["192.0.2.1", "192.0.2.1"])
        far = self.far().greet(WITH_TLS)
        self.assertIn(b"MAIL FROM", far.heard())
        far.take()
        self.assertEqual((self.told(batch), self.negotiated(batch)), (TAKEN, ""))
        self.assertEqual([event.code for event in self.events], ["tls-broken"])
        self.assertIn("on in clear", str(self.events[0]))

    def test_octets_behind_the_go_ahead_lead_to_the_next_host(self) -> None:
        # CVE-2021-38371
        self.deliver(self.batch())
        self.far().greet(WITH_TLS).say(b"220 go\r\n250 x\r\n")
        self.assertEqual(self.addresses(), ["192.0.2.1", "192.0.2.2"])

    def test_never_in_clear_where_it_is_required(self) -> None:
        # RFC 8461 5, RFC 7672 2.2
        for level, troubles, stage in (
            ("encrypt", (b"",), "STARTTLS"),
            ("verify", (b"",), "STARTTLS"),
            ("encrypt", (b"454 no\r\n",), "STARTTLS"),
            ("encrypt", (b"220 go\r\n", b""), "TLS"),
            ("verify", (b"220 go\r\n", b"unverified"), "TLS"),
        ):
            self.setUp()
            self.service = self.make(tls=level)
            self.tls.negotiated = UNVERIFIED
            batch = self.batch()
            self.deliver(batch)
            for number in range(2):
                far = self.far(number).greet(EHLO if troubles == (b"",) else WITH_TLS)
                if troubles[0]:
                    far.say(troubles[0])
                if troubles[1:] == (b"",):
                    far.close()
                elif troubles[1:]:
                    far.protocol.handshakeCompleted()
                self.assertNotIn(b"MAIL", far.heard())
            self.assertEqual(self.addresses(), ["192.0.2.1", "192.0.2.2"])
            self.assertEqual(self.told(batch), [("deferred", 451, "destination", stage)])
            self.assertTrue(self.outcomes(batch)[0].reply.enhanced.startswith("4.7."))

    def test_encrypt_takes_any_certificate(self) -> None:
        self.service = self.make(tls="encrypt")
        self.tls.negotiated = UNVERIFIED
        batch = self.batch()
        self.deliver(batch)
        self.far().ready().take()
        self.assertEqual(self.told(batch), TAKEN)

    def test_none(self) -> None:
        self.service = self.make(tls="none")
        batch = self.batch()
        self.deliver(batch)
        self.far().greet(WITH_TLS).take()
        self.assertEqual((self.told(batch), self.tls.names), (TAKEN, []))

    def test_rules(self) -> None:
        rules = {"b.example": "none", "*.b.example": "verify", "*.mx.b.example": "encrypt", "*": "none"}
        self.service = self.make(tls="verify", tls_rules=rules)
        self.assertEqual(
            [
                self.connector.need(hop, self.batch().message.envelope).level.name
                for hop in ("b.example", "x.b.example", "y.x.b.example", "x.mx.b.example", "c.example", "[192.0.2.1]")
            ],
            ["NONE", "VERIFY", "VERIFY", "ENCRYPT", "NONE", "NONE"],
        )

    def test_from_the_beginning(self) -> None:
        # RFC 8314 3
        self.service = self.make(host="smart.example", port=465, tls_implicit=True)
        self.resolver.add("smart.example", "A 192.0.2.9")
        batch = self.batch()
        self.deliver(batch)
        far = self.far().accept()
        self.assertTrue(far.transport.tls)
        far.protocol.handshakeCompleted()
        far.say(b"220 x\r\n", EHLO).take()
        self.assertEqual((self.told(batch), self.tls.names), (TAKEN, ["smart.example"]))
        batch = self.batch(hop="c.example")
        self.service = self.make(host="smart.example", port=465, tls_implicit=True)
        self.deliver(batch)
        self.far().accept().close()
        self.assertEqual(self.told(batch), [("deferred", 451, "destination", "TLS")])

    def test_hosts_without_a_name(self) -> None:
        for options, hop in (({}, "[192.0.2.7]"), ({"host": "192.0.2.7"}, "b.example")):
            self.service = self.make(**options)
            self.deliver(self.batch(hop=hop))
            self.far().encrypt()
            self.assertEqual(self.tls.names, ["192.0.2.7"])

    def test_file_that_went_away(self) -> None:
        self.tls.trouble = "ca.pem: is gone"
        batch = self.batch()
        self.deliver(batch)
        self.assertEqual(self.told(batch), [("deferred", 451, "destination", "TLS")])
        self.assertEqual(self.opened, 0)


class WishesOfTheSender(Case):
    def test_tls_optional(self) -> None:
        # RFC 8689 4.2.2
        self.service = self.make(tls="verify")
        self.tls.negotiated = UNVERIFIED
        batch = self.batch(tls_optional=True)
        self.deliver(batch)
        self.far().ready().take()
        self.assertEqual(self.told(batch), TAKEN)
        # and what demands TLS does not go over what it left behind
        self.deliver(self.batch())
        self.assertEqual(self.opened, 2)

    def test_requiretls_and_hosts_that_nothing_vouches_for(self) -> None:
        # RFC 8689 4.2.1
        batch = self.batch(requiretls=True)
        self.deliver(batch)
        self.assertEqual(self.told(batch), [("failed", 550, "message", "DNS")])
        self.assertEqual((self.opened, self.outcomes(batch)[0].reply.enhanced), (0, "5.7.10"))

    def smart(self) -> None:
        self.service = self.make(host="smart.example")
        self.resolver.add("smart.example", "A 192.0.2.9")

    def test_requiretls_and_a_host_without_tls(self) -> None:
        # RFC 8689 4.2.1: the sender hears of it at once
        for trouble in ("offer", "certificate"):
            self.setUp()
            self.smart()
            self.tls.negotiated = UNVERIFIED
            batch = self.batch(requiretls=True)
            self.deliver(batch)
            if trouble == "offer":
                self.far().greet()
            else:
                self.far().encrypt()
            ((status, code, scope, _),) = self.told(batch)
            self.assertEqual((status, code, scope), ("failed", 550, "message"))
            self.assertEqual(self.outcomes(batch)[0].reply.enhanced, "5.7.10")

    def test_requiretls_and_a_host_that_is_away(self) -> None:
        self.smart()
        batch = self.batch(requiretls=True)
        self.deliver(batch)
        self.far().refuse()
        self.assertEqual(self.told(batch)[0][0], "deferred")

    def test_requiretls(self) -> None:
        self.smart()
        batch = self.batch(requiretls=True)
        self.deliver(batch)
        far = self.far().encrypt().say(b"250-x\r\n250-PIPELINING\r\n250 REQUIRETLS\r\n")
        self.assertIn(b" REQUIRETLS\r\n", far.heard())
        far.take()
        self.assertEqual(self.told(batch), TAKEN)

    def test_a_report_on_it_goes_any_way(self) -> None:
        # RFC 8689 5
        batch = self.batch(sender="", requiretls=True)
        self.deliver(batch)
        self.far().greet().take()
        self.assertEqual(self.told(batch), TAKEN)


class Kept(Case):
    def test_one_in_clear_is_not_for_what_demands_tls(self) -> None:
        self.service = self.make(tls="encrypt", host="smart.example", tls_rules={"open.example": "opportunistic"})
        self.resolver.add("smart.example", "A 192.0.2.9")
        self.deliver(self.batch(hop="open.example"))
        self.far().greet().take()
        self.deliver(self.batch(hop="b.example"))
        self.assertEqual(self.opened, 2)
        self.far().ready().take()
        # The other way round it is good enough.
        self.deliver(self.batch(hop="open.example"))
        self.assertEqual(self.opened, 2)

    def test_one_to_anybody_is_not_for_what_demands_a_name(self) -> None:
        self.service = self.make(host="smart.example", tls_rules={"b.example": "verify"})
        self.resolver.add("smart.example", "A 192.0.2.9")
        self.tls.negotiated = UNVERIFIED
        self.deliver(self.batch(hop="c.example"))
        self.far().ready().take()
        self.tls.negotiated = VERIFIED
        self.deliver(self.batch(hop="b.example"))
        self.assertEqual(self.opened, 2)

    def test_smart_host_has_the_same_ones_for_all_domains(self) -> None:
        self.service = self.make(host="smart.example")
        self.resolver.add("smart.example", "A 192.0.2.9")
        for hop in ("b.example", "c.example"):
            batch = self.batch(hop=hop)
            self.deliver(batch)
            far = self.far()
            if hop == "b.example":
                kept = far.greet()
            kept.take()
            self.assertEqual(self.told(batch), TAKEN)
        self.assertEqual(self.opened, 1)


class Logins(Case):
    def setUp(self) -> None:
        super().setUp()
        self.resolver.add("smart.example", "A 192.0.2.9")
        self.resolver.add("here.example", "A 127.0.0.1")

    def log_in(self, host: str = "smart.example", **options: Any) -> Any:
        options.setdefault("password", "pencil")
        self.service = self.make(host=host, user="ann", **options)
        batch = self.batch()
        self.deliver(batch)
        return batch

    def test_over_verified_tls(self) -> None:
        batch = self.log_in()
        far = self.far().encrypt()
        far.heard()
        far.say(b"250-x\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n")
        self.assertIn(b"AUTH PLAIN", far.heard())
        far.say(b"235 ok\r\n").take()
        self.assertEqual(self.told(batch), TAKEN)

    def test_only_over_verified_tls(self) -> None:
        batch = self.log_in()
        far = self.far().greet(b"250-x\r\n250 AUTH PLAIN\r\n")
        self.assertNotIn(b"AUTH", far.heard())
        self.assertEqual(self.told(batch), [("deferred", 451, "destination", "STARTTLS")])
        batch = self.log_in()
        self.tls.negotiated = UNVERIFIED
        far = self.far().encrypt()
        self.assertNotIn(b"AUTH", far.heard())
        self.assertEqual(self.told(batch), [("deferred", 451, "destination", "TLS")])

    def test_refused_login_defers_and_is_logged(self) -> None:
        batch = self.log_in()
        self.far().encrypt().say(b"250-x\r\n250 AUTH PLAIN\r\n", b"535 5.7.8 no\r\n")
        self.assertEqual(self.told(batch), [("deferred", 454, "destination", "AUTH")])
        self.assertIn("535 5.7.8 no", str(self.outcomes(batch)[0].reply))
        ((code, arguments, *_),) = self.events
        self.assertEqual(code, "login-refused")
        self.assertEqual((arguments["user"], arguments["host"]), ("ann", "smart.example[192.0.2.9]"))
        self.assertNotIn("pencil", str(arguments))

    def test_in_clear_on_loopback_where_that_is_said(self) -> None:
        self.log_in("here.example", auth_in_clear=True)
        self.assertIn(b"AUTH PLAIN", self.far().accept(b"220 x\r\n", b"250-x\r\n250 AUTH PLAIN\r\n").heard())
        self.log_in("here.example")
        self.assertNotIn(b"AUTH", self.far().accept(b"220 x\r\n", b"250-x\r\n250 AUTH PLAIN\r\n").heard())
        self.log_in("smart.example", auth_in_clear=True)
        self.assertNotIn(b"AUTH", self.far().accept(b"220 x\r\n", b"250-x\r\n250 AUTH PLAIN\r\n").heard())

    def test_no_of_a_smart_host_is_no_reason_to_bounce(self) -> None:
        batch = self.log_in()
        self.far().accept(b"554 who are you?\r\n")
        self.assertEqual(self.told(batch), [("deferred", 451, "destination", "greeting")])
        self.assertIn("554 who are you?", self.outcomes(batch)[0].reply.text)

    def test_token_from_its_file(self) -> None:
        file = self.mktemp()
        with open(file, "w") as out:
            out.write("token-1\n")
        batch = self.log_in(password=None, token_file=Path(file))
        far = self.far().encrypt().say(b"250-x\r\n250-PIPELINING\r\n250 AUTH XOAUTH2\r\n", b"235 ok\r\n")
        self.assertIn(b"AUTH XOAUTH2 dXNlcj1hbm4BYXV0aD1CZWFyZXIgdG9rZW4tMQEB\r\n", far.heard())
        far.take()
        self.assertEqual(self.told(batch), TAKEN)

    def test_token_that_is_not_there(self) -> None:
        batch = self.log_in(password=None, token_file=Path("/nowhere/token"))
        self.assertEqual(self.told(batch), [("deferred", 454, "destination", "AUTH")])
        self.assertEqual(self.opened, 0)


class Stopping(Case):
    def test_stop_while_two_are_tried(self) -> None:
        work = self.deliver(self.batch(hop="two.example"))
        self.reactor.advance(0.25)
        stopped = Deferred.fromCoroutine(self.service.stop(10))
        self.wait(11)
        self.successResultOf(stopped)
        self.failureResultOf(work)
        self.assertTrue(self.far(0).connector.stoppedConnecting and self.far(1).connector.stoppedConnecting)


class Ourselves(ServiceCase):
    """RFC 5321 5.1: a host that turns out to be ourselves ends the list, also where nothing had said so before."""

    def test_it_greets_us_by_our_name(self) -> None:
        batch = self.batch()
        self.deliver(batch)
        far = self.far().greet(b"250-Out.A.example. Hello\r\n250 PIPELINING\r\n")
        self.assertEqual(far.heard(), b"QUIT\r\n")
        # The second host is no nearer than ourselves.
        self.assertEqual(self.opened, 1)
        self.assertEqual(self.told(batch), [("failed", 554, "destination", "connect")])

    def test_a_nearer_host_that_is_down_is_waited_for(self) -> None:
        batch = self.batch()
        self.deliver(batch)
        self.far().refuse()
        self.far().greet(b"250 out.a.example\r\n")
        self.assertEqual(self.told(batch), [("deferred", 451, "destination", "connect")])

    def test_its_address_is_ours(self) -> None:
        self.service = self.make(private_networks=(), is_own="192.0.2.1".__eq__)
        batch = self.batch()
        self.deliver(batch)
        self.assertEqual(self.opened, 0)
        self.assertEqual(self.told(batch), [("failed", 554, "destination", "DNS")])

    def test_another_server_of_this_machine(self) -> None:
        self.service = self.make(is_own="192.0.2.1".__eq__)  # the operator has named its network
        self.deliver(self.batch())
        self.assertEqual(self.far().address, "192.0.2.1")
