"""STARTTLS and implicit TLS, server side (RFC 3207, RFC 8314): what a client would see."""

from __future__ import annotations

import ssl

from harness import Server, read
from tls_harness import TlsClient, TlsServer
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mta import events

GREETING = b"220 mail.ours.example ESMTP\r\n"
READY = "220 2.0.0 Ready to start TLS"


def keywords(reply: str) -> set[str]:
    return {line[4:].partition(" ")[0] for line in reply.split("|")[1:]}


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = TlsServer()

    def client(self) -> TlsClient:
        return TlsClient(self.server).greet()  # type: ignore[return-value]

    def secured(self) -> TlsClient:
        client = self.client()
        self.assertEqual(client.say("STARTTLS"), READY)
        return client.secure()

    def codes(self) -> list[str]:
        return [event.code for _, event in self.server.events]


class Command(Case):
    def test_offered_before_tls_and_not_after_it(self) -> None:
        # RFC 3207 4.2
        client = TlsClient(self.server)
        client.seen()
        self.assertIn("STARTTLS", keywords(client.say("EHLO a.example")))
        client.say("STARTTLS")
        client.secure()
        after = keywords(client.say("EHLO a.example"))
        self.assertNotIn("STARTTLS", after)
        self.assertIn("PIPELINING", after)

    def test_with_an_argument(self) -> None:
        # RFC 3207 4
        self.assertEqual(self.client().say("STARTTLS now"), "501 5.5.4 The command takes no argument")

    def test_twice(self) -> None:
        client = self.secured()
        self.assertTrue(client.say("STARTTLS").startswith("503 5.5.1 "))
        self.assertTrue(client.say("EHLO a.example").startswith("250"))

    def test_not_offered(self) -> None:
        client = Server().connect().greet()
        self.assertTrue(client.say("STARTTLS").startswith("502 5.5.1 "))

    def test_in_any_case_of_letters_and_before_ehlo(self) -> None:
        client = TlsClient(self.server)
        client.seen()
        self.assertEqual(client.say("starttls"), READY)
        client.secure()
        self.assertEqual(client.seen(), b"", "no second greeting")


class State(Case):
    def test_nothing_said_before_counts_after(self) -> None:
        # RFC 3207 4.2: knowledge obtained from the client before it is discarded.
        client = self.client()
        client.say("MAIL FROM:<ann@ours.example>")
        client.say("RCPT TO:<bob@ours.example>")
        self.assertEqual(client.say("STARTTLS"), READY)
        client.secure()
        for command in ("DATA", "RCPT TO:<bob@ours.example>", "MAIL FROM:<ann@ours.example>"):
            self.assertTrue(client.say(command).startswith("503 "), command)
        self.assertTrue(client.say("EHLO other.example").startswith("250"))
        self.assertTrue(client.message("ann@ours.example", "bob@ours.example").startswith("250 2.0.0 Ok: queued"))
        ((_, octets),) = self.server.messages()
        self.assertIn(b"from other.example ", octets)
        self.assertNotIn(b"client.example", octets)

    def test_errors_made_before_still_count(self) -> None:
        server = self.server = TlsServer(errors=3)
        client = self.client()
        client.say("NONSENSE")
        client.say("NONSENSE")
        client.say("STARTTLS")
        client.secure()
        reply = client.say("NONSENSE")
        self.assertIn("421 4.7.0 Too many errors", reply)
        self.assertTrue(client.said_goodbye)
        client.leave()
        self.assertEqual(server.connections.total, 0)

    def test_what_was_negotiated_is_kept_with_the_message(self) -> None:
        client = self.secured().greet()
        client.message("ann@ours.example", "bob@ours.example")
        ((lease, octets),) = self.server.messages()
        origin = lease.message.envelope.origin
        self.assertEqual(origin.protocol, "ESMTPS")  # RFC 3848
        self.assertEqual(origin.tls, "TLSv1.3 TLS_AES_256_GCM_SHA384")
        self.assertIn(b" with ESMTPS\r\n\t(version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384) ", octets)
        story = [str(event) for _, event in self.server.events if event.code == events.ACCEPTED.code]
        self.assertIn("TLSv1.3 TLS_AES_256_GCM_SHA384", story[0])

    def test_nothing_of_it_is_kept_in_clear(self) -> None:
        client = self.client()
        client.message("ann@ours.example", "bob@ours.example")
        ((lease, octets),) = self.server.messages()
        self.assertEqual((lease.message.envelope.origin.protocol, lease.message.envelope.origin.tls), ("ESMTP", ""))
        self.assertNotIn(b"TLS", octets)

    def test_told_in_the_log(self) -> None:
        self.secured()
        self.assertIn("tls", self.codes())
        self.assertEqual((self.server.connections.tls, self.server.connections.tls_failed), (1, 0))


class Injection(Case):
    """CVE-2011-0411: what stands behind STARTTLS in clear is never run, however it is cut."""

    BEFORE = b"EHLO a.example\r\nSTARTTLS\r\n"
    INJECTED = b"EHLO evil.example\r\nMAIL FROM:<evil@ours.example>\r\nRCPT TO:<bob@ours.example>\r\nDATA\r\n"

    def in_pieces(self, *pieces: bytes) -> None:
        server = self.server = TlsServer()
        client = TlsClient(server)
        client.seen()
        for piece in pieces:
            client.send_clear(piece)
        answered = client.seen_clear()
        clear, _, rest = answered.partition(READY.encode() + b"\r\n")
        self.assertEqual(clear.count(b"\r\n250 "), 1, answered)
        self.assertNotIn(b"250", rest)
        self.assertFalse(any(event.code == events.COMMAND_REFUSED.code for _, event in server.events))
        session = client.protocol.session
        self.assertIsNone(session.transaction)
        self.assertEqual(session.tls, "")

    def test_every_split_point(self) -> None:
        octets = self.BEFORE + self.INJECTED
        self.in_pieces(octets)
        for cut in range(1, len(octets)):
            self.in_pieces(octets[:cut], octets[cut:])

    def test_octet_by_octet(self) -> None:
        octets = self.BEFORE + self.INJECTED
        self.in_pieces(*(octets[at : at + 1] for at in range(len(octets))))

    def test_tls_begins_clean_after_it(self) -> None:
        """In one segment with STARTTLS it is dropped: the handshake comes about and the session knows nothing of it."""
        client = TlsClient(self.server)
        client.seen()
        client.send_clear(self.BEFORE + self.INJECTED)
        self.assertTrue(client.seen_clear().endswith(READY.encode() + b"\r\n"))
        client.secure()
        self.assertEqual(client.seen(), b"")
        self.assertTrue(client.say("DATA").startswith("503 "))
        self.assertTrue(client.say("MAIL FROM:<a@b.example>").startswith("503 5.5.1 "))

    def test_in_segments_of_its_own_it_is_no_handshake(self) -> None:
        client = self.client()
        client.say("STARTTLS")
        client.send_clear(self.INJECTED)
        self.assertTrue(client.closed)
        client.leave()
        self.assertIn("tls-failed", self.codes())

    def test_while_a_lookup_waits(self) -> None:
        """Held back while RCPT waits, run when it is answered, up to STARTTLS and no further."""
        waits: Deferred[str] = Deferred()

        class Slow:
            def lookup(self, key: str) -> Deferred[str]:
                return waits

        self.server = TlsServer(tables={"boxes": Slow()})
        client = self.client()
        client.say("MAIL FROM:<a@b.example>")
        client.send_clear(b"RCPT TO:<bob@ours.example>\r\n")
        client.send_clear(b"STARTTLS\r\nRSET\r\n")
        client.send_clear(b"NOOP\r\n")
        self.assertEqual(client.seen_clear(), b"")
        self.assertEqual(client.transport.producerState, "paused")
        waits.callback("")
        self.assertEqual(client.seen_clear().decode(), f"250 2.1.5 Ok\r\n{READY}\r\n")
        self.assertEqual(client.transport.producerState, "producing")
        client.secure()
        self.assertTrue(client.say("RCPT TO:<bob@ours.example>").startswith("503 "))


class Failing(Case):
    def failed(self, client: TlsClient, reason: Failure | None = None) -> str:
        client.transport.protocol.connectionLost(reason or Failure(ConnectionLost()))
        self.assertEqual(self.server.connections.total, 0)
        (text,) = [str(event) for _, event in self.server.events if event.code == events.TLS_FAILED.code]
        self.assertEqual((self.server.connections.tls, self.server.connections.tls_failed), (0, 1))
        return text

    def test_what_is_no_handshake(self) -> None:
        client = self.client()
        client.say("STARTTLS")
        client.send_clear(b"EHLO again\r\n")
        self.assertTrue(client.closed)
        self.assertIn("203.0.113.9 to mx: no TLS: ", self.failed(client))

    def test_client_that_does_not_trust_us(self) -> None:
        client = self.client()
        client.say("STARTTLS")
        with self.assertRaises(ssl.SSLCertVerificationError):
            client.secure("other.example")
        client._pump()
        self.assertIn("no TLS: ", self.failed(client))

    def test_client_that_leaves(self) -> None:
        client = self.client()
        client.say("STARTTLS")
        self.assertIn("the client closed the connection", self.failed(client))

    def test_deadline(self) -> None:
        self.server = TlsServer(handshake_timeout=10.0)
        client = self.client()
        client.say("STARTTLS")
        client.send_clear(b"\x16\x03\x01\x02\x00\x01")  # the head of a handshake, and no more
        self.server.clock.advance(9)
        self.assertFalse(client.transport.aborted)
        self.server.clock.advance(2)
        self.assertTrue(client.transport.aborted)
        self.assertEqual(client.seen_clear(), b"", "nothing can be said in a handshake")
        self.assertIn("it took too long", self.failed(client, Failure(ConnectionAborted())))

    def test_slow_handshake_is_not_helped_by_octets(self) -> None:
        """One octet at a time does not move the deadline."""
        self.server = TlsServer(handshake_timeout=10.0)
        client = self.client()
        client.say("STARTTLS")
        for octet in b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03":
            client.send_clear(bytes([octet]))
            self.server.clock.advance(1)
        self.assertTrue(client.transport.aborted)

    def test_service_stops_in_a_handshake(self) -> None:
        client = self.client()
        client.say("STARTTLS")
        self.server.factory.shut_down()
        self.assertTrue(client.transport.aborted)

    def test_broken_record_later(self) -> None:
        client = self.secured()
        client.send_clear(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        self.assertTrue(client.closed)
        client.leave()
        self.assertEqual(self.server.connections.total, 0)
        self.assertNotIn("tls-failed", self.codes())


class Ending(Case):
    def test_quit(self) -> None:
        client = self.secured()
        self.assertEqual(client.say("QUIT"), "221 2.0.0 Bye")
        self.assertTrue(client.said_goodbye)  # RFC 8446 6.1: close_notify
        client.leave()
        self.assertEqual(self.server.connections.total, 0)

    def test_client_that_does_not_close_is_cut_off(self) -> None:
        client = self.secured()
        client.say("QUIT")
        self.server.clock.pump([1.0] * 32)
        self.assertTrue(client.transport.aborted)

    def test_silent_client_is_told_421(self) -> None:
        client = self.secured()
        self.server.clock.pump([1.0] * 301)
        self.assertEqual(client.seen(), b"421 4.4.2 Timed out waiting for you\r\n")
        self.assertTrue(client.said_goodbye)

    def test_service_stops(self) -> None:
        client = self.secured()
        self.server.factory.shut_down()
        self.assertEqual(client.seen(), b"421 4.3.2 The service is stopping\r\n")
        self.assertTrue(client.said_goodbye)

    def test_service_stops_and_the_client_does_not_close(self) -> None:
        # RFC 8446 6.1: we need not wait for its close_notify; meanwhile nobody would be served
        closing, idle = self.secured(), self.secured()
        closing.send(b"QUIT\r\n")
        self.server.factory.shut_down()
        self.server.clock.pump([1.0] * 3)
        self.assertTrue(closing.transport.aborted)
        self.assertTrue(idle.transport.aborted)

    def test_client_that_closes_in_data(self) -> None:
        client = self.secured().greet()
        client.say("MAIL FROM:<a@b.example>")
        client.say("RCPT TO:<bob@ours.example>")
        client.say("DATA")
        client.send(b"Subject: x\r\n")
        client.leave()
        self.assertEqual((self.server.memory.used, self.server.queue.leases), (0, []))

    def test_client_that_does_not_read_its_replies(self) -> None:
        client = self.secured().greet()
        client.protocol.pauseProducing()
        client.send(b"NOOP\r\n" * 3)
        self.assertEqual(client.seen(), b"")
        client.protocol.resumeProducing()
        self.assertEqual(client.seen().count(b"250 "), 3)

    def test_client_that_did_not_read_its_replies_before_it(self) -> None:
        client = self.client()
        wait = client.protocol.pauseProducing
        client.protocol.session._write = lambda octets: (client.transport.write(octets), wait())
        self.assertEqual(client.say("STARTTLS"), READY)
        client.protocol.session._write = client.transport.write
        client.transport.producer.resumeProducing()  # as the connection does when its buffer is empty
        client.secure()
        self.assertEqual(client.say("NOOP"), "250 2.0.0 Ok")


class Implicit(Case):
    def setUp(self) -> None:
        self.server = TlsServer(implicit=True)

    def test_greeting_comes_after_the_handshake(self) -> None:
        # RFC 8314 3
        client = TlsClient(self.server)
        self.assertEqual(client.seen_clear(), b"")
        client.secure()
        self.assertEqual(client.seen(), GREETING)
        self.assertNotIn("STARTTLS", keywords(client.say("EHLO a.example")))
        self.assertTrue(client.say("STARTTLS").startswith("503 "))
        self.assertTrue(client.message("ann@ours.example", "bob@ours.example").startswith("250 "))
        ((lease, octets),) = self.server.messages()
        self.assertIn(b"with ESMTPS", octets)
        self.assertEqual(read(lease.message), octets)

    def test_client_that_speaks_in_clear(self) -> None:
        client = TlsClient(self.server)
        client.send_clear(b"EHLO a.example\r\n")
        self.assertNotIn(b"220", client.seen_clear())
        self.assertTrue(client.closed)
        client.leave()
        self.assertIn("tls-failed", self.codes())

    def test_over_a_limit_there_is_nothing_in_clear(self) -> None:
        server = self.server = TlsServer(implicit=True, connections=0)
        protocol = server.factory.buildProtocol(None)
        client = TlsClient(self.server)
        self.assertIsNotNone(protocol)
        self.assertEqual(client.seen_clear(), b"")
        self.assertTrue(client.closed)
