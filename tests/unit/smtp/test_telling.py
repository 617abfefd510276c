"""What the log says of mail that was not taken: once, with the addresses, and nothing secret."""

from __future__ import annotations

from harness import Client, Server
from twisted.trial.unittest import SynchronousTestCase

from mta.events import Event


class Told(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server(recipients=30)
        self.client = self.greeted()

    def greeted(self, client: str = "203.0.113.9") -> Client:
        return self.server.connect(client).greet()

    def told(self) -> list[Event]:
        refusing = ("command-refused", "recipient-refused", "refused", "unfinished")
        return [event for _, event in self.server.events if event.code in refusing]

    def one(self) -> str:
        (event,) = self.told()
        return f"{event.code}: {event}"

    def test_a_recipient_once(self) -> None:
        self.client.say("MAIL FROM:<x@y.example>")
        reply = self.client.say("RCPT TO:<nobody@ours.example>")
        self.assertEqual(
            self.one(), f"recipient-refused: 203.0.113.9: from <x@y.example> to <nobody@ours.example>: {reply}"
        )

    def test_each_recipient(self) -> None:
        self.client.say("MAIL FROM:<x@y.example>")
        for _ in range(3):
            self.client.say("RCPT TO:<nobody@ours.example>")
        self.assertEqual([event.code for event in self.told()], ["recipient-refused"] * 3)

    def test_the_addresses_of_a_command_that_was_refused(self) -> None:
        reply = self.client.say("MAIL FROM:<big@y.example> SIZE=99999999")
        self.assertEqual(
            self.one(), f"command-refused: 203.0.113.9: MAIL: {reply}   FROM:<big@y.example> SIZE=99999999"
        )

    def test_the_sender_beside_a_recipient_that_was_refused_unseen(self) -> None:
        self.client.say("MAIL FROM:<x@y.example>")
        reply = self.client.say("RCPT TO:<bob@ours.example> FOO=BAR")
        self.assertEqual(
            self.one(),
            f"command-refused: 203.0.113.9: RCPT: {reply}   TO:<bob@ours.example> FOO=BAR   from <x@y.example>",
        )

    def test_secrets_are_not(self) -> None:
        self.client.say("AUTH PLAIN AGFubgBzZWNyZXQ=")
        self.client.say("AUTHPLAIN AGFubgBzZWNyZXQ=")
        self.assertNotIn("AGFubgBzZWNyZXQ", "".join(str(event) for event in self.told()))

    def test_long_ones_are_cut_and_odd_ones_escaped(self) -> None:
        self.client.say(b"MAIL FROM:<\xff\x1b" + b"x" * 450 + b"@y.example>")
        self.assertLess(len(self.one()), 600)
        self.assertNotIn("\x1b", self.one())

    def test_a_message_with_its_recipients(self) -> None:
        names = [f"u{number}@relayed.example" for number in range(25)]
        hops = b"Received: x\r\n" * 5 + b"\r\nhello\r\n"
        reply = self.client.message("x@y.example", *names, data=hops)
        self.assertEqual(
            self.one(),
            f"refused: message from 203.0.113.9, sender <x@y.example>, 25 recipients: {reply}      "
            + ", ".join(names[:20]),
        )

    def test_by_lmtp_each_recipient_once(self) -> None:
        self.server = Server(lmtp=True)
        client = self.server.connect()
        client.say("LHLO a.example")
        client.say("MAIL FROM:<x@y.example>")
        client.say("RCPT TO:<loop@ours.example>")
        client.say("RCPT TO:<bob@ours.example>")
        client.say("DATA")
        client.say(b"Subject: x\r\n\r\nhello\r\n.")
        self.assertEqual([event.args.get("address") for event in self.told()], ["loop@ours.example"])

    def test_a_message_that_was_cut_off(self) -> None:
        self.client.say("MAIL FROM:<x@y.example>")
        self.client.say("RCPT TO:<bob@ours.example>")
        self.client.say("DATA")
        self.client.send(b"Subject: x\r\n")
        self.client.leave()
        self.assertEqual(
            self.one(),
            "unfinished: message from 203.0.113.9, sender <x@y.example>, 1 recipients: cut off: the client went away   "
            "bob@ours.example",
        )

    def test_one_that_took_too_long(self) -> None:
        self.client.say("MAIL FROM:<x@y.example>")
        self.server.clock.advance(301)
        self.client.seen()
        self.assertIn(
            "unfinished: message from 203.0.113.9, sender <x@y.example>, 0 recipients: cut off: 421", self.one()
        )

    def test_leaving_in_order_is_no_trouble(self) -> None:
        self.client.say("MAIL FROM:<x@y.example>")
        self.client.say("QUIT")
        self.client.leave()
        self.greeted().leave()
        self.assertEqual(self.told(), [])
