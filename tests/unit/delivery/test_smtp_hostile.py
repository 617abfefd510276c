"""Hosts that lie, fall silent or go away at every single step: the message waits, and nobody counts as served."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from smtp_harness import FarEnd, ServiceCase
from twisted.internet.defer import Deferred

from mta.delivery.values import Batch

HEAD = b"Subject: x\r\n\r\n"
SMALL = (HEAD + b"x\r\n",)
#: The second is over what goes out in one chunk of BDAT.
LARGE = (HEAD, b"x" * 77 + b"\r\n", b"." * 40_000, b"y" * 40_000, b"z\r\n")


class Way(NamedTuple):
    """One way to send a message: what the host offers, the message in pieces, the replies to all that we say, in
    order, and what is the last that we send of it."""

    offer: bytes
    pieces: tuple[bytes, ...]
    replies: tuple[bytes, ...]
    end: bytes
    body: str = ""


OK = b"250 2.0.0 ok\r\n"
GO = b"354 go\r\n"
WAYS = {
    "pipelined": Way(b"PIPELINING", SMALL, (OK, OK, GO, OK), b"x\r\n.\r\n"),
    "step by step": Way(b"HELP", SMALL, (OK, OK, GO, OK), b"x\r\n.\r\n"),
    "long": Way(b"PIPELINING", LARGE, (OK, OK, GO, OK), b"z\r\n.\r\n"),
    "one chunk": Way(b"PIPELINING\r\n250-CHUNKING", SMALL, (OK, OK, OK), b"LAST\r\n" + SMALL[0]),
    "chunks": Way(b"PIPELINING\r\n250-CHUNKING", LARGE, (OK,) * 5, b"z\r\n"),
    "chunk by chunk": Way(b"CHUNKING\r\n250-BINARYMIME", LARGE, (OK,) * 5, b"z\r\n", "BINARYMIME"),
}
#: A reply that is none, or that has no place at any step.
JUNK = (
    b"hello\r\n",
    b"\0\xff\r\n",
    b"\r\n",
    b"199 x\r\n",
    b"999 x\r\n",
    b"250-a\r\n550 b\r\n",
    b"421-a\r\n250 b\r\n",
    b"300 x\r\n",
    b"250 " + b"x" * 20_000,
    b"250-" + b"x" * 20_000 + b"\r\n",
    b"250-x\r\n" * 300,
)


class Pieces:
    def __init__(self, pieces: tuple[bytes, ...]) -> None:
        self._pieces = list(pieces)

    def next(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    def close(self) -> None:
        pass


class HostileCase(ServiceCase):
    def begin(self, way: Way, good: int) -> FarEnd:
        """A message under way, to a host that has given so many good replies: greeting and EHLO first."""
        self.setUp()
        self.mail: Batch = self.batch(octets=b"".join(way.pieces), body=way.body)
        self.mail.message.open = lambda *_: Pieces(way.pieces)  # type: ignore[method-assign,assignment,misc]
        self.done: Deferred[None] = self.deliver(self.mail)
        far = self.far(0).accept()
        for reply in self.replies(way)[:good]:
            far.say(reply)
        return far

    @staticmethod
    def replies(way: Way) -> tuple[bytes, ...]:
        return (b"220 mx.b.example\r\n", b"250-mx.b.example\r\n250-" + way.offer + b"\r\n250 X\r\n", *way.replies)

    def each_step(self, do: Callable[[FarEnd], object]) -> None:
        """At each step of each way, what ``do`` does makes the message wait."""
        for name, way in WAYS.items():
            for good in range(len(self.replies(way))):
                far = self.begin(way, good)
                sent = far.transport.value().endswith(way.end)
                do(far)
                if self.opened > 1:  # it may be tried at the other host
                    self.far(1).refuse()
                self.assert_waits((name, good), sent)

    def assert_waits(self, case: object, sent: bool) -> None:
        self.assertEqual(self.mail.pending, (), case)
        (outcome,) = self.outcomes(self.mail)
        self.assertEqual(outcome.status.value, "deferred", case)
        self.assertIn(outcome.scope.value, ("host", "destination"), case)
        if outcome.may_duplicate:
            self.assertTrue(sent, case)
        self.successResultOf(self.done)


class AtEachStep(HostileCase):
    def test_it_goes_well(self) -> None:
        for name, way in WAYS.items():
            far = self.begin(way, len(self.replies(way)))
            self.assertEqual(self.told(self.mail)[0][:2], ("relayed", 250), name)
            self.assertTrue(far.transport.value().endswith(way.end), name)

    def test_closed(self) -> None:
        # RFC 5321 3.8
        self.each_step(FarEnd.close)

    def test_421(self) -> None:
        # RFC 5321 3.8, 4.2.4.2: it may come at any time, with the end of the connection or without
        def going(far: FarEnd) -> None:
            far.say(b"421 4.3.2 going\r\n")
            far.close()

        def staying(far: FarEnd) -> None:
            far.say(b"421 4.3.2 going\r\n")
            self.wait_long()

        self.each_step(going)
        self.each_step(staying)

    def test_silence(self) -> None:
        # RFC 5321 4.5.3.2
        self.each_step(lambda far: self.wait_long())

    def test_octet_by_octet_without_end(self) -> None:
        # RFC 5321 4.5.3.2: the time is that of the reply, not of its octets
        def trickle(far: FarEnd) -> None:
            for octet in (b"250 " + b"x" * 70).ljust(80, b"x"):
                if far.transport.aborted:
                    return
                far.say(bytes((octet,)))
                self.reactor.pump([30.0])

        self.each_step(trickle)

    def test_junk(self) -> None:
        # RFC 5321 4.2, 4.2.1
        for junk in JUNK:
            self.each_step(lambda far, junk=junk: far.say(junk))  # type: ignore[misc]

    def wait_long(self) -> None:
        self.reactor.pump([30.0] * 30)


class YesTooEarly(HostileCase):
    def test_all_that_is_to_come_at_once(self) -> None:
        # RFC 5321 4.1.1.4, RFC 2920 3.2: a yes counts that came when all of the message had been sent
        for name, way in WAYS.items():
            replies = self.replies(way)
            for good in range(len(replies)):
                far = self.begin(way, good)
                sent = far.transport.value().endswith(way.end)
                far.say(b"".join(replies[good:]))
                if self.opened > 1:
                    self.far(1).refuse()
                (outcome,) = self.outcomes(self.mail)
                self.assertEqual(outcome.status.value, "relayed" if sent else "deferred", (name, good))

    def test_yes_to_each_chunk_before_it_is_there(self) -> None:
        way = WAYS["chunk by chunk"]
        far = self.begin(way, 4)
        far.say(OK + OK)
        self.assert_waits("chunks", sent=False)
        self.assertTrue(far.transport.aborted)


class WhatItOffers(ServiceCase):
    def test_limits_that_are_none(self) -> None:
        # RFC 1870 3, RFC 9422 4, RFC 2852 2
        for offer in (
            b"LIMITS RCPTMAX=0 MAILMAX=0 RCPTDOMAINMAX=0",
            b"LIMITS RCPTMAX=-1 MAILMAX RCPTDOMAINMAX=9999999 =1 = RCPTMAX=\xff",
            b"LIMITS",
            b"SIZE 0",
            b"SIZE",
            b"SIZE -5",
            b"SIZE 1e2",
            b"SIZE 99999999999999999999999999999999",
            b"SIZE \xb2",
            b"DELIVERBY -1",
            b"AUTH",
            b"\xff\xfe",
            b" ",
            b"",
        ):
            self.setUp()
            batch = self.batch("a@b.example", "b@c.example")
            self.deliver(batch)
            far = self.far().greet(b"250-x\r\n250-" + offer + b"\r\n250 PIPELINING\r\n")
            far.say(OK + OK + OK + GO, OK)
            self.assertEqual([told[0] for told in self.told(batch)], ["relayed"] * 2, offer)

    def test_size_of_one(self) -> None:
        batch = self.batch()
        self.deliver(batch)
        self.far().greet(b"250-x\r\n250 SIZE 1\r\n")
        self.assertEqual(self.told(batch), [("failed", 552, "message", "EHLO")])

    def test_thousands_of_keywords(self) -> None:
        batch = self.batch()
        self.deliver(batch)
        self.far().greet(b"".join(b"250-X%d\r\n" % number for number in range(5000)))
        self.far().refuse()
        self.assertEqual(self.told(batch)[0][0], "deferred")


class WhileItIsConverted(ServiceCase):
    """A connection that is held while the message is read once more."""

    EIGHT = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\ngr\xfc\xdfe\r\n".encode()
    PLAIN = b"250-mx.b.example\r\n250 PIPELINING\r\n"

    def convert(self) -> None:
        """Deliver a message whose conversion waits for ``reading``."""
        self.reading: Deferred[bytes] = Deferred()
        self.mail = self.batch(octets=self.EIGHT, eight_bit=True)
        pieces = [self.reading, b"", self.EIGHT]
        self.mail.message.open = lambda *_: Slow(pieces)  # type: ignore[method-assign,assignment,misc]
        self.done = self.deliver(self.mail)

    def test_host_that_goes_away(self) -> None:
        self.convert()
        self.far().greet(self.PLAIN).close()
        self.reading.callback(self.EIGHT)
        self.assertEqual(self.told(self.mail), [("deferred", 421, "host", "MAIL")])
        self.successResultOf(self.done)

    def test_kept_connection_that_ends_is_replaced(self) -> None:
        self.deliver(self.batch())
        far = self.far().greet(self.PLAIN).take()
        self.convert()
        far.close()
        self.reading.callback(self.EIGHT)
        self.far().greet(self.PLAIN).take()
        self.assertEqual(self.told(self.mail)[0][:2], ("relayed", 250))

    def test_longer_than_a_connection_is_kept(self) -> None:
        self.deliver(self.batch())
        far = self.far().greet(self.PLAIN).take()
        far.heard()
        self.convert()
        self.wait(1000)
        self.assertEqual(far.heard(), b"")
        self.reading.callback(self.EIGHT)
        far.take()
        self.assertEqual(self.told(self.mail)[0][:2], ("relayed", 250))

    def test_stopped(self) -> None:
        self.convert()
        far = self.far().greet(self.PLAIN)
        self.done.cancel()
        self.failureResultOf(self.done)
        far.heard()
        self.deliver(self.batch())
        self.assertEqual(self.opened, 1)  # it is kept for the next one
        self.assertTrue(far.heard().startswith(b"MAIL"))


class Slow:
    """One reading of a message: pieces up to an empty one."""

    def __init__(self, pieces: list[bytes | Deferred[bytes]]) -> None:
        self._pieces = pieces

    def next(self) -> bytes | Deferred[bytes]:
        return self._pieces.pop(0) if self._pieces else b""

    def close(self) -> None:
        pass
