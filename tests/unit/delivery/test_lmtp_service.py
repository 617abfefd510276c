"""The delivery service ``lmtp``: its ways to the server, and what it reports."""

from __future__ import annotations

from typing import Any

from delivery_contract import DeliveryContract, services
from smtp_harness import FarEnd, ServiceCase, Transport
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mta.delivery.lmtp import LmtpDelivery
from mta.delivery.lmtp_options import LmtpOptions
from mta.smtp.wire import CommandSplitter

LHLO = b"250-box.example\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n250 8BITMIME\r\n"
DELIVERED = ("delivered", 250, "recipient", "end of data")


class SocketEnd(FarEnd):
    """The server at the UNIX socket."""

    def __init__(self, reactor: Any, number: int) -> None:
        self.address, self._factory, self.timeout, self.check = reactor.unixClients[number]
        self.port = 0
        self.connector = reactor.connectors[number]

        self.transport = Transport()

    def greet(self, ehlo: bytes = LHLO) -> FarEnd:
        return super().greet(ehlo)


class LmtpCase(ServiceCase):
    service_type = LmtpDelivery
    options_type = LmtpOptions

    def make(self, **options: Any) -> Any:
        if "host" not in options:
            options.setdefault("path", "/run/box/lmtp")
        return super().make(**options)

    def far(self, number: int = -1) -> FarEnd:
        return SocketEnd(self.reactor, number) if self.reactor.unixClients else super().far(number)


class Socket(LmtpCase):
    def test_delivered(self) -> None:
        batch = self.batch()
        self.deliver(batch)
        far = self.far()
        self.assertEqual((far.address, far.timeout), ("/run/box/lmtp", 30.0))
        far.accept(b"220 box.example LMTP\r\n")
        self.assertEqual(far.heard(), b"LHLO out.a.example\r\n")
        far.say(LHLO).take()
        # RFC 5321 4.4: Return-Path is the server's, which makes the final delivery.
        self.assertEqual(
            far.heard(),
            b"MAIL FROM:<ann@a.example>\r\nRCPT TO:<bob@b.example>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\n",
        )
        self.assertEqual(self.told(batch), [DELIVERED])
        self.assertEqual(
            self.outcomes(batch)[0].attempt,
            {"host": "/run/box/lmtp", "stage": "end of data", "tls": "", "seconds": 0.0},
        )

    def test_one_connection_for_all_domains(self) -> None:
        self.deliver(self.batch())
        far = self.far().greet().take()
        far.heard()
        self.deliver(self.batch("bob@c.example", hop="c.example"))
        self.assertIn(b"RCPT TO:<bob@c.example>", far.heard())
        self.assertEqual(len(self.reactor.unixClients), 1)

    def test_what_is_said_of_one_concerns_one(self) -> None:
        batch = self.batch("a@b.example", "b@b.example", "c@b.example", "d@b.example")
        self.deliver(batch)
        far = self.far().greet()
        far.say(b"250 ok\r\n250 a\r\n550 5.1.1 b\r\n250 c\r\n250 d\r\n354 go\r\n")
        far.say(b"250 2.0.0 a\r\n452 4.2.2 c\r\n552 5.2.2 d\r\n")
        self.assertEqual(
            self.told(batch),
            [
                DELIVERED,
                ("failed", 550, "recipient", "RCPT"),
                ("deferred", 452, "recipient", "end of data"),
                ("failed", 552, "recipient", "end of data"),
            ],
        )

    def test_connection_lost_between_the_replies(self) -> None:
        # RFC 2033 5
        batch = self.batch("a@b.example", "b@b.example")
        self.deliver(batch)
        far = self.far().greet()
        far.say(b"250 ok\r\n250 a\r\n250 b\r\n354 go\r\n", b"250 2.0.0 a\r\n")
        far.close()
        self.assertEqual(self.told(batch), [DELIVERED, ("deferred", 421, "host", "end of data")])
        self.assertEqual([outcome.may_duplicate for outcome in self.outcomes(batch)], [False, True])

    def test_server_that_is_away(self) -> None:
        batch = self.batch()
        self.deliver(batch)
        far = self.far()
        far._factory.clientConnectionFailed(far.connector, Failure(ConnectError(2, "no such file")))
        self.assertEqual(self.told(batch), [("deferred", 421, "destination", "connect")])
        self.assertEqual(self.outcomes(batch)[0].reply.text, "No connection: No such file or directory")

    def test_server_that_does_not_want_us_never_fails_mail(self) -> None:
        for turns in ((b"554 5.3.2 no\r\n",), (b"220 x\r\n", b"502 5.5.1 LHLO?\r\n")):
            self.setUp()
            batch = self.batch()
            self.deliver(batch)
            self.far().accept(*turns)
            ((status, code, scope, _),) = self.told(batch)
            self.assertEqual((status, code, scope), ("deferred", 451, "destination"))

    def test_login(self) -> None:
        # Cyrus wants one from strangers; nobody listens in at a UNIX socket.
        for reply, expected in (
            (b"235 2.7.0 ok\r\n", DELIVERED),
            (b"535 5.7.8 no\r\n", ("deferred", 454, "destination", "AUTH")),
        ):
            self.setUp()
            self.service = self.make(user="mta", password="secret")
            batch = self.batch()
            self.deliver(batch)
            far = self.far().greet(b"250-box.example\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n")
            self.assertTrue(far.heard().startswith(b"AUTH PLAIN "))
            far.say(reply)
            if expected is DELIVERED:
                far.take()
            self.assertEqual(self.told(batch), [expected])

    def test_cancelled_while_it_connects(self) -> None:
        done = self.deliver(self.batch())
        done.addErrback(lambda failure: failure.trap(CancelledError))
        done.cancel()
        self.successResultOf(done)
        self.successResultOf(Deferred.fromCoroutine(self.service.stop(10.0)))

    def test_what_was_asked_for_the_way(self) -> None:
        # RFC 2852 4.1.1, RFC 8689 4.4: the way ends here, and nobody listens in at a UNIX socket.
        batch = self.batch(deliver_by=60_000, by_mode="R", requiretls=True)
        self.deliver(batch)
        self.far().greet().take()
        self.assertEqual(self.told(batch), [DELIVERED])

    def test_dsn_that_the_server_takes_over(self) -> None:
        for offered, taken_over in ((b"250 DSN\r\n", True), (b"250 8BITMIME\r\n", False)):
            self.setUp()
            batch = self.batch()
            self.deliver(batch)
            self.far().greet(b"250-box.example\r\n250-PIPELINING\r\n" + offered).take()
            self.assertEqual(self.outcomes(batch)[0].dsn_taken_over, taken_over)


class Tcp(LmtpCase):
    def make(self, **options: Any) -> Any:
        return super().make(host="192.0.2.24", **options)

    def test_delivered(self) -> None:
        batch = self.batch()
        self.deliver(batch)
        far = self.far()
        self.assertEqual((far.address, far.port), ("192.0.2.24", 24))
        far.greet(LHLO)
        far.take()
        self.assertEqual(self.told(batch), [DELIVERED])
        self.assertEqual(self.outcomes(batch)[0].attempt["host"], "192.0.2.24[192.0.2.24]:24")

    def test_server_that_does_not_want_us_never_fails_mail(self) -> None:
        batch = self.batch()
        self.deliver(batch)
        self.far().accept(b"554 5.3.2 no\r\n")
        ((status, code, scope, _),) = self.told(batch)
        self.assertEqual((status, code, scope), ("deferred", 451, "destination"))
        self.assertIn("554 5.3.2 no", self.outcomes(batch)[0].reply.text)

    def test_tls_that_the_message_demands(self) -> None:
        # RFC 8689 4.2.1: over a network the sender's wish holds.
        batch = self.batch(requiretls=True)
        self.deliver(batch)
        self.far().greet(LHLO)
        self.assertEqual(self.told(batch), [("failed", 550, "message", "STARTTLS")])


class Options(SynchronousTestCase):
    def said(self, **options: Any) -> list[str]:
        return [f"{key}: {what}" for key, what, _ in LmtpOptions(**options).contradictions()]

    def test_one_server(self) -> None:
        self.assertEqual(self.said(path="/x"), [])
        self.assertEqual(self.said(host="box.example"), [])
        self.assertEqual(self.said(), ["path: the server is missing"])
        self.assertEqual(self.said(path="/x", host="box.example"), ["host: the server is at path already"])

    def test_no_tls_at_a_socket(self) -> None:
        self.assertEqual(self.said(path="/x", tls="encrypt"), ["path: there is no TLS at a UNIX socket"])
        self.assertEqual(self.said(path="/x", user="x", password="y"), [])

    def test_it_ends_here(self) -> None:
        # docs/decisions/held-not-bounced.rst
        self.assertTrue(LmtpDelivery.final)


class Network:
    """Connects to a server that takes everything."""

    def __init__(self) -> None:
        self.ends: list[End] = []

    def seconds(self) -> float:
        return 0.0

    def callLater(self, delay: float, call: Any, *args: Any) -> Any:

        return Clock().callLater(delay, call, *args)

    def connectUNIX(self, path: str, factory: Any, **more: Any) -> None:
        self.ends.append(End(factory.buildProtocol(None)))

    def run(self) -> None:
        while sum(end.turn() for end in self.ends):
            pass


class End:
    def __init__(self, protocol: Any) -> None:

        self.transport = Transport()
        self.protocol = protocol
        self.splitter = CommandSplitter(1000)
        self.recipients = 0
        self.data = False
        protocol.makeConnection(self.transport)
        self.out = b"220 x\r\n"

    def turn(self) -> bool:
        out, self.out = self.out, b""
        if out:
            self.protocol.dataReceived(out)
        octets = self.transport.value()
        self.transport.clear()
        self.splitter.feed(octets)
        while (line := self.splitter.next_line()) is not None:
            self.line(line)
        return bool(out or octets)

    def line(self, line: bytes) -> None:
        if self.data:
            if line == b".":
                self.data = False
                self.out += b"250 2.0.0 saved\r\n" * self.recipients
                self.recipients = 0
            return
        verb = line[:4]
        self.recipients += verb == b"RCPT"
        self.data = verb == b"DATA"
        self.out += {b"LHLO": LHLO, b"DATA": b"354 go\r\n"}.get(verb, b"250 ok\r\n")


class LmtpContract(DeliveryContract, SynchronousTestCase):
    def make_service(self) -> Any:

        self.network = Network()
        return LmtpDelivery(LmtpOptions(path="/run/box/lmtp"), services(reactor=self.network))

    def done(self, awaitable: Any) -> Any:
        deferred = awaitable if isinstance(awaitable, Deferred) else Deferred.fromCoroutine(awaitable)
        self.network.run()
        return self.successResultOf(deferred)
