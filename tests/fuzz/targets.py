"""What is fuzzed: each target is a property, and the words that lead into the depths of what it reads.

The same properties run with hypothesis in the normal tests (``test_fuzz.py``) and with atheris (``run.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.fuzz import on_configuration, on_logins, on_sessions, on_the_wire, on_values


class Target(NamedTuple):
    """``check`` fails for octets for which the property does not hold; ``examples`` of them are tried by each run of
    the tests; ``cut`` says that the octets begin with cuts (``cutting.py``); ``starts`` are beginnings that lead to
    states which words in any order seldom reach."""

    check: Callable[[bytes], None]
    words: tuple[bytes, ...]
    examples: int = 200
    cut: bool = True
    starts: tuple[bytes, ...] = ()


def words(text: str) -> tuple[bytes, ...]:
    """The words of a text, each written as in a literal of Python."""
    return tuple(word.encode("ascii").decode("unicode_escape").encode("latin-1") for word in text.split())


_LINE_ENDS = words(r"\r\n \r \n \0 . \r\n.\r\n \n.\n \n.\r\n \r.\r")
_LINES = (*_LINE_ENDS, b"..", b"a", b"\xff", b"x" * 22, b"x" * 23, b"x" * 24)
_PATHS = words(
    r"""<> <a@b.example> <ann@ours.example> "a\\"b"@ @a,@b: [192.0.2.1] [IPv6:::1] < > @ " \\ % ! postmaster xn--
    xn--bcher-kva \xc3\xa9 \xe3\x80\x82 \x20"""
)
_PARAMETERS = words(
    r"""\x20SIZE=10 \x20BODY=8BITMIME \x20BODY=BINARYMIME \x20SMTPUTF8 \x20RET=HDRS \x20ENVID=a+2B \x20NOTIFY=NEVER
    \x20ORCPT=rfc822;a+40b \x20BY=120;R \x20HOLDFOR=60 \x20MT-PRIORITY=3 \x20REQUIRETLS = ; + ,"""
)
_ENVELOPE = b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<bob@ours.example>\r\n"
_OPENING = b"220 hi\r\n250-a\r\n250 "

TARGETS = {
    "wire": Target(on_the_wire.commands, (*_LINES, b"NOOP\r\n")),
    "data": Target(on_the_wire.data, _LINES),
    "chunks": Target(on_the_wire.chunks, _LINES),
    "stuffing": Target(on_the_wire.stuffing, _LINES),
    "replies": Target(on_the_wire.replies, (*words(r"250 550 \x20 - 5.1.1\x20 \r\n \n \r \xc3\xa9 \0"), b"x" * 40)),
    "grammar": Target(on_values.grammar, (*_PATHS, *_PARAMETERS), cut=False),
    "parameters": Target(
        on_values.parameters,
        words(
            r"""+ +2B +0D+0A +00 = \\x{ } 41 D800 rfc822; utf-8; NEVER SUCCESS FULL HDRS 120 ;R ;NT - \x20 , 9
            2030-01-01T00:00:00Z +01:00 \xc3\xa9"""
        ),
        cut=False,
    ),
    "proxy": Target(
        on_values.proxy,
        (
            *words(
                r"TCP4\x20 TCP6\x20 UNKNOWN 192.0.2.1 ::1 ::ffff:192.0.2.1 \x20 25 0 \r\n \x0c \x21 \x03\x00\x04 \xff"
            ),
            b"\0" * 36,
            b"x" * 90,
        ),
    ),
    "sizes": Target(on_values.sizes, (*words(r"0 + - \x20 _ \xb2"), b"9" * 20), 50, cut=False),
    "addresses": Target(on_values.addresses, _PATHS, 300, cut=False),
    "headers": Target(
        on_values.headers,
        words(r"Received To : \x20 \t \r\n \r\n\r\n \n \r x \0 \xff TO:x\r\n"),
        300,
        cut=False,
    ),
    "exchanges": Target(
        on_logins.exchanges,
        words(
            r"""| n,, y,, p=tls-exporter,, p=x,, a= n=ann r=abc , c=biws c=cD10bHMtZXhwb3J0ZXIsLHg= r=abc p= AAAA = =2C
            m=x \0 \x01 user=ann auth=Bearer\x20x host=h \xff ann\x20 00000000000000000000000000000000"""
        ),
        cut=False,
        starts=(b"", b"n,,n=ann,r=abc|", b"p=tls-exporter,,n=ann,r=abc|c=", b"ann|"),
    ),
    "tokens": Target(
        on_logins.tokens,
        (
            *words(
                r"""{ } [ ] : , " . keys kty RSA EC OKP oct kid alg none use sig n e crv P-256 x y iss aud
                exp email 1 -1"""
            ),
            *words(r"1e999 true null eyJhbGciOiJFUzI1NiIsImtpZCI6ImsifQ. eyJhbGciOiJub25lIn0. e30. A \xff"),
        ),
        cut=False,
        starts=(b"", b'{"keys": [{"kty": "RSA"', b'{"iss": "https://id.example", "aud": "mail", "exp": '),
    ),
    "config": Target(
        on_configuration.files,
        words(
            r"""[limits]\n [[listen]]\n [queue]\n [tls]\n [relay]\n [[route]]\n [dns]\n [delivery.x]\n [domains."a.b"]\n
            recipients message_size name endpoint include retry certificate to via type relay tables.x
            = " \n [ ] { } ' # 5m 1e400 -1 \xff 1979-05-27T07:32:00Z true 0x tcp:1 file:x table:x * smtp"""
        ),
        40,
        cut=False,
    ),
    "session": Target(
        on_sessions.sessions,
        (
            *_LINE_ENDS,
            *_PARAMETERS,
            *words(
                r"""EHLO\x20c.example\r\n HELO\x20c\r\n MAIL\x20FROM:<a@c.example> RCPT\x20TO:<ann@ours.example>\r\n
                RCPT\x20TO:<x@foreign.example>\r\n DATA\r\n RSET\r\n QUIT\r\n VRFY\x20x\r\n STARTTLS\r\n GET\x20/\r\n
                BDAT\x205\r\n BDAT\x203\x20LAST\r\n BDAT\x200\x20LAST\r\n BDAT\x20 LAST\r\n
                Subject:\x20x\r\n Received:\x20x\r\n \x20folded\r\n ..\r\n \xff"""
            ),
            b"x" * 61,
            b"x" * 81,
        ),
        150,
        starts=(
            b"EHLO c\r\n",
            b"EHLO c\r\nMAIL FROM:<>",
            _ENVELOPE,
            _ENVELOPE + b"DATA\r\n",
            _ENVELOPE + b"BDAT 9\r\n",
        ),
    ),
    "client": Target(
        on_sessions.clients,
        words(
            r"""220\x20hi\r\n 250\x20ok\r\n 250-a\r\n 250\x20PIPELINING\r\n 250\x20CHUNKING\r\n 250\x20STARTTLS\r\n
            250\x20SIZE\x2010\r\n 354\x20go\r\n 354\x20\r\n250\x20ok\r\n 450\x20no\r\n 550\x205.1.1\x20no\r\n
            421\x20bye\r\n \r\n \n 25"""
        ),
        150,
        starts=(
            b"220 hi\r\n",
            _OPENING + b"PIPELINING\r\n",
            _OPENING + b"CHUNKING\r\n",
            _OPENING + b"a\r\n250 b\r\n250 c\r\n250 d\r\n",
            _OPENING + b"a\r\n250 b\r\n250 c\r\n250 d\r\n354 go\r\n",
        ),
    ),
}
