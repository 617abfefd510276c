"""What is fuzzed: each target is a property, and the words that lead into the depths of what it reads.

The same properties run with hypothesis in the normal tests (``test_fuzz.py``) and with atheris (``run.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.fuzz import on_configuration, on_sessions, on_values, on_the_wire


class Target(NamedTuple):
    """``check`` fails for octets for which the property does not hold; ``examples`` of them are tried by each run of
    the tests; ``cut`` says that the octets begin with cuts (``cutting.py``); ``starts`` are beginnings that lead to
    states which words in any order seldom reach."""

    check: Callable[[bytes], None]
    words: tuple[bytes, ...]
    examples: int = 200
    cut: bool = True
    starts: tuple[bytes, ...] = ()


_LINE_ENDS = (b"\r\n", b"\r", b"\n", b"\0", b".", b"\r\n.\r\n", b"\n.\n", b"\n.\r\n", b"\r.\r")
_PATHS = (
    b"<>", b"<a@b.example>", b"<ann@ours.example>", b'"a\\"b"@', b"@a,@b:", b"[192.0.2.1]", b"[IPv6:::1]", b"<", b">",
    b"@", b'"', b"\\", b"%", b"!", b"postmaster", b"xn--", b"xn--bcher-kva", b"\xc3\xa9", b"\xe3\x80\x82", b" ",
)  # fmt: skip
_PARAMETERS = (
    b" SIZE=10", b" BODY=8BITMIME", b" BODY=BINARYMIME", b" SMTPUTF8", b" RET=HDRS", b" ENVID=a+2B", b" NOTIFY=NEVER",
    b" ORCPT=rfc822;a+40b", b" BY=120;R", b" HOLDFOR=60", b" MT-PRIORITY=3", b" REQUIRETLS", b"=", b";", b"+", b",",
)  # fmt: skip
_ENVELOPE = b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<bob@ours.example>\r\n"
_MESSAGE = (b"Subject: x\r\n", b"Received: x\r\n", b"\r\n", b" folded\r\n", b"..\r\n", b"\xff", b"x" * 61)

TARGETS = {
    "wire": Target(on_the_wire.commands, (*_LINE_ENDS, b"x" * 23, b"x" * 24, b"NOOP\r\n")),
    "data": Target(on_the_wire.data, (*_LINE_ENDS, b"x" * 22, b"x" * 23, b"\xff", b"..")),
    "chunks": Target(on_the_wire.chunks, (*_LINE_ENDS, b"x" * 22, b"x" * 23, b"\xff")),
    "stuffing": Target(on_the_wire.stuffing, (*_LINE_ENDS, b"..", b"a")),
    "replies": Target(
        on_the_wire.replies, (b"250", b"550", b" ", b"-", b"5.1.1 ", b"\r\n", b"\n", b"\r", b"x" * 40, b"\xc3\xa9", b"\0")
    ),
    "grammar": Target(on_values.grammar, (*_PATHS, *_PARAMETERS), cut=False),
    "parameters": Target(
        on_values.parameters,
        (
            b"+", b"+2B", b"+0D+0A", b"+00", b"=", b"\\x{", b"}", b"41", b"D800", b"rfc822;", b"utf-8;", b"NEVER", b"SUCCESS",
            b"FULL", b"HDRS", b"120", b";R", b";NT", b"-", b"2030-01-01T00:00:00Z", b"+01:00", b"\xc3\xa9", b" ", b",", b"9",
        ),
        cut=False,
    ),
    "proxy": Target(
        on_values.proxy,
        (
            b"TCP4 ", b"TCP6 ", b"UNKNOWN", b"192.0.2.1", b"::1", b"::ffff:192.0.2.1", b" ", b"25", b"0", b"\r\n", b"\x0c",
            b"\xc0\x00\x02\x01" * 3, b"\x20", b"\x21", b"\x03\x00\x04", b"\x00" * 36, b"x" * 90, b"\xff",
        ),
    ),
    "sizes": Target(on_values.sizes, (b"0", b"9" * 20, b"+", b"-", b" ", b"_", b"\xb2"), 50, cut=False),
    "addresses": Target(on_values.addresses, _PATHS, 300, cut=False),
    "headers": Target(
        on_values.headers,
        (b"Received", b"To", b":", b" ", b"\t", b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"x", b"\0", b"\xff", b"TO:x\r\n"),
        300,
        cut=False,
    ),
    "config": Target(
        on_configuration.files,
        (
            b"[limits]\n", b"[[listen]]\n", b"[queue]\n", b"[tls]\n", b"[relay]\n", b"[[route]]\n", b"[dns]\n", b"=", b'"', b"\n", b"[", b"]", b"{", b"}", b"'",
            b"recipients", b"message_size", b"name", b"endpoint", b"include", b"retry", b"5m", b"1e400", b"-1", b"\xff",
            b"1979-05-27T07:32:00Z", b"true", b"0x", b"#", b'"""', b"tables.x", b"tcp:1",
        ),
        40,
        cut=False,
    ),
    "session": Target(
        on_sessions.sessions,
        (
            *_LINE_ENDS, *_PARAMETERS, *_MESSAGE, b"EHLO c.example\r\n", b"HELO c\r\n", b"MAIL FROM:<a@c.example>", b"\r\n",
            b"RCPT TO:<ann@ours.example>\r\n", b"RCPT TO:<x@foreign.example>\r\n", b"DATA\r\n", b"RSET\r\n", b"QUIT\r\n",
            b"BDAT 5\r\n", b"BDAT 3 LAST\r\n", b"BDAT 0 LAST\r\n", b"BDAT ", b"VRFY x\r\n", b"STARTTLS\r\n", b"GET / \r\n",
            b"x" * 81,
        ),
        150,
        starts=(b"EHLO c\r\n", b"EHLO c\r\nMAIL FROM:<>", _ENVELOPE, _ENVELOPE + b"DATA\r\n", _ENVELOPE + b"BDAT 9\r\n"),
    ),
    "client": Target(
        on_sessions.clients,
        (
            b"220 hi\r\n", b"250 ok\r\n", b"250-a\r\n", b"250 PIPELINING\r\n", b"250 CHUNKING\r\n", b"250 STARTTLS\r\n",
            b"354 go\r\n", b"354 \r\n250 ok\r\n", b"450 no\r\n", b"550 5.1.1 no\r\n", b"421 bye\r\n", b"\r\n", b"\n", b"25",
            b"250 SIZE 10\r\n",
        ),
        150,
        starts=(
            b"220 hi\r\n", b"220 hi\r\n250-a\r\n250 PIPELINING\r\n", b"220 hi\r\n250 a\r\n250 b\r\n250 c\r\n250 d\r\n",
            b"220 hi\r\n250-a\r\n250 CHUNKING\r\n", b"220 hi\r\n250 a\r\n250 b\r\n250 c\r\n250 d\r\n354 go\r\n",
        ),
    ),
}  # fmt: skip
