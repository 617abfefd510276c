"""MAIL while too much waits: the queue is asked where it has a limit, and only there."""

from __future__ import annotations

from dataclasses import replace

from harness import Server
from twisted.trial.unittest import SynchronousTestCase

from mta.reply import Reply

FULL = Reply.of(452, "4.3.1", "The queue is full, please try again later")


class Limited(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server()
        self.server.queue.refusal = FULL

    def limit(self) -> None:
        self.server.factory.context = replace(self.server.factory.context, queue_limited=True)

    def test_nobody_asks_without_a_limit(self) -> None:
        client = self.server.connect("192.0.2.1")
        client.greet()
        self.assertEqual(client.say("MAIL FROM:<a@b.example>")[:9], "250 2.1.0")

    def test_refused_for_now_and_taken_later(self) -> None:
        self.limit()
        client = self.server.connect("192.0.2.1")
        client.greet()
        self.assertEqual(client.say("MAIL FROM:<a@b.example>")[:9], "452 4.3.1")
        self.assertEqual(client.say("RCPT TO:<ann@ours.example>")[:3], "503")
        self.server.queue.refusal = None
        client.say("MAIL FROM:<a@b.example>")
        client.say("RCPT TO:<ann@ours.example>")
        client.say("RCPT TO:<bob@ours.example>")
        client.say("DATA")
        self.assertEqual(client.say("Subject: x\r\n\r\nhello\r\n.")[:3], "250")
        self.assertEqual(self.server.queue.accepted_by, [("192.0.2.1", 2)])
