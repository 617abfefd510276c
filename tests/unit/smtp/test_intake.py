"""What a message takes of memory while it comes in, and that it is charged (limits.memory)."""

from __future__ import annotations

import sys
from typing import Any

from harness import Client, Server
from twisted.trial.unittest import SynchronousTestCase

from mta.smtp.intake import LEAST_ROOM, MOST_ROOM
from mta.smtp.turns import AT_ONCE


class Memory(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server(header=200_000, message_size=1_000_000)
        self.client = self.server.connect().greet()

    def begin(self, *chunks: bytes) -> Client:
        self.client.send(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<ann@ours.example>\r\n")
        self.chunks(*chunks)
        return self.client

    def chunks(self, *chunks: bytes) -> None:
        self.client.send(b"".join(b"BDAT %d\r\n%s" % (len(chunk), chunk) for chunk in chunks))
        self.server.clock.pump([0.0] * (len(chunks) // AT_ONCE + 1))
        self.client.seen()

    @property
    def transaction(self) -> Any:
        return self.client.protocol.session.transaction

    def test_message_in_very_small_pieces_takes_no_more_than_in_large_ones(self) -> None:
        self.begin(b"\r\n\r\n", *[b"ab\r\n"] * 12_000)
        parts = self.transaction.incoming._parts
        self.assertEqual(sum(map(len, parts)), 48_004)
        self.assertLess(sum(map(sys.getsizeof, parts)) + sys.getsizeof(parts), 55_000)
        self.client.send(b"BDAT 2 LAST\r\n\r\n")
        self.assertEqual(self.client.seen()[:3], b"250")
        ((_, octets),) = self.server.messages()
        self.assertTrue(octets.endswith(b"\r\n\r\n\r\n" + b"ab\r\n" * 12_000 + b"\r\n"))

    def test_header_is_charged_while_it_is_kept(self) -> None:
        lines = b"X-Long: %s\r\n" % (b"y" * 900)
        self.begin(*[lines] * 150)
        self.assertGreater(len(self.transaction.header), LEAST_ROOM)
        self.assertEqual(self.server.memory.used, self.transaction.incoming.size)
        self.chunks(*[lines] * 100)  # over the limit of the header
        self.assertEqual(self.transaction, None)
        self.assertEqual(self.server.memory.used, 0)

    def test_header_over_its_limit_is_charged_no_more(self) -> None:
        self.client.send(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<ann@ours.example>\r\nDATA\r\n")
        for _ in range(300):
            self.client.send(b"X-Long: %s\r\n" % (b"y" * 900))
        self.assertEqual((self.transaction.header, self.server.memory.used), (b"", MOST_ROOM))
        self.client.leave()
        self.assertEqual(self.server.memory.used, 0)

    def test_room_is_promised_to_half_of_the_memory_and_given_back(self) -> None:
        server = Server(memory=4 * MOST_ROOM, message_size=1_000_000)
        clients = [server.connect().greet() for _ in range(3)]
        for client in clients:
            client.send(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<ann@ours.example>\r\nDATA\r\nX: y\r\n\r\n")
        self.assertEqual(server.memory.promised, 2 * MOST_ROOM)
        for client in clients:
            for _ in range(100):
                client.send(b"%s\r\n" % (b"y" * 998))
        external = [client.protocol.session.transaction.incoming.external for client in clients]
        self.assertEqual(external, [False, False, True])
        self.assertEqual(server.memory.used, 2 * 100_006 + LEAST_ROOM + 8)  # CRLF waits for the dot
        for client in clients:
            client.send(b".\r\n")
        self.assertEqual((server.memory.promised, server.memory.used, len(server.messages())), (0, 0, 3))

    def test_many_recipients_are_charged_and_stopped(self) -> None:
        server = Server(recipients=1000, memory=50_000)
        client = server.connect().greet()
        client.say("MAIL FROM:<a@b.example>")
        rcpt = b"RCPT TO:<ann@ours.example> ORCPT=rfc822;%s\r\n" % (b"a" * 297)
        client.send(rcpt * 49)
        self.assertEqual(server.memory.used, 0)
        client.send(rcpt * 51)
        self.assertEqual(server.memory.used, 100 * (200 + 3 + 304))
        client.seen()
        client.send(rcpt * 100)
        seen = client.seen().splitlines()
        self.assertEqual([line[:9] for line in seen[48:]], [b"250 2.1.5"] + [b"452 4.3.1"] * 51)
        server.memory.used -= 1000  # another session has gone
        self.assertTrue(client.say(rcpt[:-2]).startswith("250"))
        client.send(b"DATA\r\n")
        self.assertTrue(client.seen().startswith(b"452 4.3.1"))
        client.say("RSET")
        self.assertEqual(server.memory.used, -1000)

    def test_recipients_stay_charged_where_the_message_does_not(self) -> None:
        server = Server(recipients=1000)
        client = server.connect().greet()
        client.say("MAIL FROM:<a@b.example>")
        client.send(b"RCPT TO:<ann@ours.example>\r\n" * 50 + b"DATA\r\nSubject: x\r\n")
        self.assertEqual(server.memory.used, 50 * 203 + 10, "the last CRLF may yet begin the end")
        client.send(b"\0\r\n")
        self.assertEqual(server.memory.used, 50 * 203)
        client.send(b".\r\n")
        self.assertEqual(server.memory.used, 0)

    def test_nothing_is_kept_of_what_will_be_refused(self) -> None:
        self.client.send(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<ann@ours.example>\r\nDATA\r\n")
        self.client.send(b"Subject: x\r\nX-Nul: \0\r\n")
        for _ in range(20):
            self.client.send(b"X-Long: %s\r\n" % (b"y" * 900))
            self.assertEqual((self.transaction.header, self.server.memory.used), (b"", 0))
        self.client.seen()
        self.assertTrue(self.client.say(".").startswith("554 5.6.0"))
