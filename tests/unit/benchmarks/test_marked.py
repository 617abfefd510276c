"""Messages that prove themselves."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.marked import Found, Mark, look, stuffed, unstuffed

TRACE = b"Received: from client.example by mail.example with ESMTP id X;\r\n\tTue, 24 Nov 2026 12:00:00 +0000\r\n"


class Marks(SynchronousTestCase):
    def test_a_message_is_found_below_what_servers_put_before_it(self) -> None:
        self.assertEqual(look(TRACE * 2 + Mark("run", 7, 1024).octets()), Found("run", 7, True))

    def test_it_is_as_long_as_was_asked_for(self) -> None:
        for size in (1024, 10240, 102400, 3_000_000):
            with self.subTest(size=size):
                self.assertLess(abs(len(Mark("run", 7, size).octets()) - size), 60)

    def test_a_small_one_is_whole_too(self) -> None:
        for size in range(230, 400):
            self.assertEqual(look(Mark("run", 1, size).octets()), Found("run", 1, True))

    def test_neighbours_differ(self) -> None:
        bodies = {Mark("run", number, 1024).octets().partition(b"\r\n\r\n")[2] for number in range(30)}
        self.assertEqual(len(bodies), 30)

    def test_what_is_not_whole_is_seen(self) -> None:
        octets = Mark("run", 7, 1024).octets()
        at = octets.index(b"\r\n\r\n") + 40
        damages = {
            "one octet less at the end": octets[:-1],
            "a line more": octets + b"x\r\n",
            "an octet changed": octets[:at] + b"?" + octets[at + 1 :],
            "a line twice": octets + octets[-78:],
            "a dot less": octets.replace(b"\r\n..and", b"\r\n.and"),
            "bare line feeds": octets.replace(b"\r\n", b"\n").replace(b"\n\n", b"\r\n\r\n", 1),
            "no body": octets.partition(b"\r\n\r\n")[0] + b"\r\n",
        }
        for what, damaged in damages.items():
            with self.subTest(what):
                found = look(damaged)
                self.assertFalse(found is not None and found.whole)

    def test_another_message_has_no_mark(self) -> None:
        for octets in (
            b"",
            b"Subject: x\r\n\r\nX-Benchmark\r\n",
            b"X-Benchmark: nonsense\r\n\r\n",
            b"Y-X-Benchmark: a 1 2 3",
        ):
            self.assertIsNone(look(octets))


class Dots(SynchronousTestCase):
    # RFC 5321 4.5.2

    def test_lines_that_begin_with_dots_come_back(self) -> None:
        for body in (b".\r\n", b"..\r\n.a\r\nb\r\n", b"a\r\n.\r\n", b"a.b\r\n"):
            wire = stuffed(body)
            self.assertTrue(wire.endswith(b"\r\n.\r\n"))
            self.assertEqual(unstuffed(wire[:-3]), body)

    def test_every_body_holds_some(self) -> None:
        header, body = Mark("run", 7, 1024).wire()
        self.assertIn(b"\r\n...and", body)
        self.assertEqual(unstuffed(header + body[:-3]), Mark("run", 7, 1024).octets())
