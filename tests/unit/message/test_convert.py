"""The 7-bit form of a message: what its parts hold stays the same, read by the standard library's parser."""

from __future__ import annotations

import tracemalloc
from base64 import b64decode
from collections.abc import Callable, Iterator
from email import message_from_bytes
from email.message import Message
from typing import Any, NamedTuple

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mta.interfaces import IChunks, Maybe
from mta.message.convert import CannotConvert, Conversion, convert, has_utf8_header
from mta.message.quoted import is_plain


@implementer(IChunks)
class Pieces:
    """Octets in pieces of a size, every second one only when it is awaited."""

    opened = 0

    def __init__(self, octets: bytes, size: int) -> None:
        self._pieces = [octets[at : at + size] for at in range(0, len(octets), size)]
        self._count = 0
        Pieces.opened += 1

    def next(self) -> Maybe[bytes]:
        self._count += 1
        piece = self._pieces.pop(0) if self._pieces else b""
        return piece if self._count % 2 else succeed(piece)

    def close(self) -> None:
        Pieces.opened -= 1


async def whole(open: Callable[[], IChunks]) -> bytes:
    chunks, found = open(), []
    try:
        while True:
            piece = chunks.next()
            octets = piece if isinstance(piece, bytes) else await piece
            if not octets:
                return b"".join(found)
            found.append(octets)
    finally:
        chunks.close()


def read(open: Callable[[], IChunks]) -> bytes:
    return SynchronousTestCase().successResultOf(Deferred.fromCoroutine(whole(open)))


def attempt(octets: bytes, size: int = 7) -> Conversion | CannotConvert:
    done = Deferred.fromCoroutine(convert(lambda: Pieces(octets, size)))
    return SynchronousTestCase().successResultOf(done)


def converted(octets: bytes, size: int = 7) -> bytes:
    conversion = attempt(octets, size)
    assert isinstance(conversion, Conversion), conversion
    result = read(conversion.open)
    assert len(result) <= conversion.size
    assert Pieces.opened == 0
    return result


def leaves(part: Message) -> Iterator[Message]:
    payload: Any = part.get_payload()
    if part.get_content_maintype() == "multipart" and part.is_multipart():
        for child in payload:
            yield from leaves(child)
    elif part.get_content_type() == "message/rfc822":
        yield from leaves(payload[0])
    else:
        yield part


def content(part: Message) -> bytes:
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload


TEXT = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
MIME = b"MIME-Version: 1.0\r\n"


class Single(SynchronousTestCase):
    def test_text_becomes_quoted_printable(self) -> None:
        # RFC 6152 3; RFC 2045 6.7
        octets = MIME + b"Subject: x\r\n" + TEXT + "Grüße an alle, die das hier lesen\r\n".encode()
        self.assertEqual(
            converted(octets),
            b"MIME-Version: 1.0\r\nSubject: x\r\nContent-Type: text/plain; charset=utf-8\r\n"
            b"Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe an alle, die das hier lesen\r\n",
        )

    def test_others_become_base64(self) -> None:
        # RFC 2045 6.8; RFC 3030 3
        body = bytes(range(256)) * 3
        octets = MIME + b"Content-Type: image/png\r\nContent-Transfer-Encoding: BINARY\r\n\r\n" + body
        result = converted(octets)
        head, _, rest = result.partition(b"\r\n\r\n")
        self.assertTrue(head.endswith(b"\r\nContent-Transfer-Encoding: base64"))
        self.assertEqual(b64decode(rest), body)
        self.assertTrue(all(len(line) <= 76 for line in rest.split(b"\r\n")))
        self.assertTrue(rest.endswith(b"\r\n"))

    def test_text_that_is_mostly_foreign_letters_too(self) -> None:
        octets = MIME + TEXT + "добрый день\r\n".encode() * 9
        self.assertIn(b"Encoding: base64\r\n", converted(octets))

    def test_a_message_from_before_mime(self) -> None:
        # RFC 1428 3; RFC 2045 4
        self.assertEqual(
            converted(b"Subject: x\r\n\r\nJ\xf6rg\r\nis my name\r\n"),
            b"Subject: x\r\nContent-Type: text/plain; charset=unknown-8bit\r\nMIME-Version: 1.0\r\n"
            b"Content-Transfer-Encoding: quoted-printable\r\n\r\nJ=F6rg\r\nis my name\r\n",
        )

    def test_without_a_header(self) -> None:
        self.assertTrue(
            converted(b"\r\nJ\xf6rg is my name, I said\r\n").startswith(b"Content-Type: text/plain; charset=unk")
        )

    def test_a_text_without_a_last_line_end_gets_none(self) -> None:
        # A binary message may end anywhere (RFC 3030 3); the soft line end says that there was none.
        self.assertTrue(
            converted(MIME + TEXT + "größer oder gleich".encode()).endswith(b"=C3=B6=C3=9Fer oder gleich=\r\n")
        )

    def test_what_is_seven_bit_stays_as_it_is(self) -> None:
        for octets in (
            MIME + TEXT + b"plain\r\n",
            b"",
            b"\r\n",
            b"Subject: x\r\n",
            b"no header\r\n\r\ntext\r\n",
            b"DKIM-Signature: x\r\n" + TEXT + b"a" * 2000 + b"\r\n",
            MIME + b"Content-Type: multipart/mixed\r\n\r\n--\r\n",
        ):
            conversion = attempt(octets)
            assert isinstance(conversion, Conversion)
            self.assertFalse(conversion.changed)
            self.assertEqual((read(conversion.open), conversion.size), (octets, len(octets)))

    def test_quoted_printable_with_stray_octets_is_repaired(self) -> None:
        octets = (
            MIME + b"Content-Transfer-Encoding: quoted-printable\r\n\r\na=3D\xe4 =\r\nb\r\n" + b"\xe4" * 80 + b"\r\n"
        )
        result = converted(octets)
        self.assertEqual(content(message_from_bytes(result)), b"a=\xe4 b\r\n" + b"\xe4" * 80 + b"\r\n")

    def test_lines_that_are_too_long_are_broken_where_that_may_be(self) -> None:
        # RFC 2045 2.7
        octets = MIME + b"Content-Type: text/html\r\n\r\n" + b"x" * 5000 + b"\r\n"
        self.assertTrue(is_plain(converted(octets)))
        for head in (b"DKIM-Signature: x\r\n", b"Content-Type: multipart/mixed\r\n"):
            self.assertEqual(converted(head + b"\r\n" + b"x" * 5000), head + b"\r\n" + b"x" * 5000)

    def test_a_very_long_line(self) -> None:
        body = b"-" * 70_000 + b"\xe4" + b"=" * 9_000 + b" \r"
        for size in (1000, 1 << 18):
            result = converted(MIME + TEXT + body, size)
            self.assertEqual(content(message_from_bytes(result)), body)
            lines = result.partition(b"\r\n\r\n")[2].split(b"\r\n")
            self.assertTrue(all(len(line) <= 76 for line in lines))
            self.assertFalse(any(line.startswith(b"-") for line in lines[1:]))


class Structure(SynchronousTestCase):
    def multipart(self, *parts: bytes, kind: bytes = b"mixed", boundary: bytes = b"b1") -> bytes:
        head = b'Content-Type: multipart/%s; boundary="%s"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n' % (
            kind,
            boundary,
        )
        body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
        return head + body + b"--" + boundary + b"--\r\n"

    def test_only_the_parts_that_need_it_change(self) -> None:
        plain = b"Content-Type: text/html\r\n\r\n<p>plain</p>"
        octets = MIME + self.multipart(plain, TEXT + "schön ist das".encode(), b"Content-Type: image/gif\r\n\r\n\xff\0")
        result = converted(octets)
        self.assertIn(b"--b1\r\n" + plain + b"\r\n--b1\r\n", result)
        # RFC 2045 6.2, 6.4: what is composed is called 7bit and not encoded
        self.assertIn(b'boundary="b1"\r\nContent-Transfer-Encoding: 7bit\r\n\r\n', result)
        found = list(leaves(message_from_bytes(result)))
        self.assertEqual([content(part) for part in found], [b"<p>plain</p>", "schön ist das".encode(), b"\xff\0"])
        self.assertEqual([part["Content-Transfer-Encoding"] for part in found], [None, "quoted-printable", "base64"])

    def test_a_message_inside(self) -> None:
        # RFC 2046 5.2.1
        inner = b"Subject: J\xc3\xb6rg\r\n\r\nJ\xf6rg sagt\r\n"
        octets = MIME + self.multipart(
            b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: binary\r\n\r\n" + inner
        )
        result = converted(octets)
        self.assertIn(
            b"message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\nSubject: =?utf-8?Q?J=C3=B6rg?=\r\n", result
        )
        (part,) = leaves(message_from_bytes(result))
        self.assertEqual((content(part), part["MIME-Version"]), (b"J\xf6rg sagt\r\n", "1.0"))

    def test_parts_of_a_digest_are_messages(self) -> None:
        # RFC 2046 5.1.5
        octets = MIME + self.multipart(b"\r\nSubject: x\r\n\r\nJ\xf6rg sagt", kind=b"digest")
        self.assertIn(
            b"--b1\r\n\r\nSubject: x\r\nContent-Type: text/plain; charset=unknown-8bit\r\n", converted(octets)
        )

    def test_a_part_that_ends_without_its_end(self) -> None:
        octets = MIME + self.multipart(TEXT + b"one")[:-4] + b"\r\nContent-Type: image/png\r\n\r\n\xff"
        self.assertTrue(converted(octets).endswith(b"/w==\r\n"))

    def test_what_nobody_reads_is_masked(self) -> None:
        # RFC 2046 5.1.1
        octets = (
            MIME + self.multipart(TEXT + b"one").replace(b"--b1", b"pre\xe4mble\r\n--b1", 1) + b"epi\xe4\r\nlog\0\r\n"
        )
        result = converted(octets)
        self.assertIn(b"pre?mble\r\n--b1", result)
        self.assertTrue(result.endswith(b"--b1--\r\nepi?\r\nlog?\r\n"))

    def test_a_mask_makes_no_boundary(self) -> None:
        octets = MIME + self.multipart(TEXT + b"one", boundary=b"b?").replace(b"--b?", b"--b\xe4\r\n--b?", 1)
        self.assertIn(b"\r\n--b#\r\n--b?\r\n", converted(octets))

    def test_a_broken_line_makes_no_boundary(self) -> None:
        # A soft break just before what reads like the delimiter.
        for width in range(68, 78):
            body = b"\xe4" + b"x" * width + b"--b1--" + b"y" * 400
            (part,) = leaves(message_from_bytes(converted(MIME + self.multipart(TEXT + body))))
            self.assertEqual(content(part), body)

    def test_parts_without_a_header_and_without_a_body(self) -> None:
        octets = MIME + self.multipart(b"", b"Content-Type: text/html", b"\r\nJ\xf6rg sagt es", b"X: y\r\n")
        found = list(leaves(message_from_bytes(converted(octets))))
        self.assertEqual([content(part) for part in found], [b"", b"", b"J\xf6rg sagt es", b""])


class Refusals(SynchronousTestCase):
    def assert_refused(self, octets: bytes, why: str) -> None:
        for size in (1, 13, 1 << 18):
            conversion = attempt(octets, size)
            assert isinstance(conversion, CannotConvert), read(conversion.open)
            self.assertIn(why, conversion.reason)
            # RFC 3463 3.7: X.6.3
            self.assertEqual((conversion.reply.code, conversion.reply.enhanced), (554, "5.6.3"))

    def test_what_is_signed_is_never_touched(self) -> None:
        # RFC 8551 3.2; RFC 6376 5.3
        for field in (
            b"DKIM-Signature: v=1; a=rsa-sha256",
            b"arc-seal: i=1",
            b"DomainKey-Signature: x",
            b'Content-Type: multipart/signed; boundary="x"',
            b"Content-Type: application/pkcs7-mime; smime-type=signed-data",
            b"Content-Type: Multipart/Encrypted; boundary=x",
        ):
            header = b"Subject: x\r\n" + field + b"\r\n\r\n"
            self.assertIsInstance(attempt(header + b"J\xf6rg\r\n"), CannotConvert, field)
        said = b"Subject: DKIM-Signature: x\r\nContent-Type: text/plain\r\n\r\nDKIM-Signature: x\r\n"
        self.assertIsInstance(attempt(said + b"J\xf6rg\r\n"), Conversion)
        self.assert_refused(b"DKIM-Signature: x\r\n\r\nJ\xf6rg\r\n", "signed")

    def test_a_signed_part_is_never_touched(self) -> None:
        # RFC 1847 2.1
        inner = b'Content-Type: multipart/signed; boundary="s"\r\n\r\n--s\r\n\r\nJ\xf6rg\r\n--s--'
        self.assert_refused(
            MIME + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + inner + b"\r\n--b--\r\n",
            "multipart/signed may not be encoded",
        )

    def test_what_may_not_be_encoded(self) -> None:
        # RFC 2045 6.4, RFC 2046 5.2.2, 5.2.3
        for kind in (b"message/partial; id=x", b"message/external-body", b"message/delivery-status"):
            self.assert_refused(MIME + b"Content-Type: " + kind + b"\r\n\r\nJ\xf6rg\r\n", "may not be encoded")
        self.assert_refused(MIME + b"Content-Transfer-Encoding: x-uue\r\n\r\nJ\xf6rg\r\n", "may not be encoded")
        self.assert_refused(MIME + b"Content-Transfer-Encoding: base64\r\n\r\nJ\xf6rg\r\n", "may not be encoded")

    def test_what_two_readers_might_see_differently(self) -> None:
        multipart = MIME + b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
        for octets, why in (
            (multipart + b"--bb\r\n\r\nJ\xf6rg\r\n--b--\r\n", "begins with a boundary"),
            (multipart + b"--b" + b" " * 2000 + b"\r\n\r\nJ\xf6rg\r\n--b--\r\n", "begins with a boundary"),
            (MIME + b"Content-Type: multipart/mixed\r\n\r\nJ\xf6rg\r\n", "no usable boundary"),
            (MIME + b"Content-Type: multipart/mixed; boundary=a; boundary=b\r\n\r\nJ\xf6rg\r\n", "cannot be read"),
            (MIME + b"Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\nJ\xf6rg\r\n", "stands twice"),
            (b"Subject: x\r\nno field\r\n\r\nJ\xf6rg\r\n", "not well formed"),
            (b"Subject: x\0\r\n\r\nx\r\n", "not well formed"),
            (b"Subject: x\ny\r\n\r\nx\r\n", "not well formed"),
        ):
            self.assert_refused(octets, why)

    def test_header_that_is_not_ascii_at_any_level(self) -> None:
        # RFC 6531 3.2; RFC 6532 3.7; what is not understood may have one
        multipart = MIME + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
        inner = b"\r\n\r\nSubject: gr\xc3\xbc\xc3\x9fe\r\n\r\nx\r\n"
        for octets, found in (
            (MIME + TEXT + b"J\xc3\xb6rg\r\n", False),
            (b"Subject: x\r\n\r\nx\r\n", False),
            (b"Subject: J\xc3\xb6rg\r\n\r\nx\r\n", True),
            (multipart + TEXT + b"J\xc3\xb6rg\r\n--b--\r\n", False),
            (multipart + b"X-Name: J\xc3\xb6rg\r\n\r\nx\r\n--b--\r\n", True),
            (MIME + b"Content-Type: message/global" + inner, True),
            (multipart + b"Content-Type: message/rfc822" + inner + b"--b--\r\n", True),
            (MIME + b"Content-Type: multipart/mixed\r\n\r\nJ\xc3\xb6rg\r\n", True),
        ):
            for size in (1, 7, 1000):
                done = Deferred.fromCoroutine(has_utf8_header(lambda: Pieces(octets, size)))  # noqa: B023
                self.assertEqual(self.successResultOf(done), found, octets)
        self.assertEqual(Pieces.opened, 0)

    def test_limits(self) -> None:
        nested = b"Content-Type: message/rfc822\r\n\r\n" * 30
        self.assert_refused(nested + b"\r\nJ\xf6rg\r\n", "too deep")
        head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
        self.assertIsInstance(attempt(head + b"--b\r\n\r\n\xe4\r\n" * 3000, 1 << 18), CannotConvert)
        self.assertIsInstance(attempt(b"X: y\r\n" * 200_000 + b"\r\n\xe4", 1 << 18), CannotConvert)

    def test_a_store_that_gives_less_the_second_time(self) -> None:
        octets = MIME + TEXT + b"\xe4" * 100
        given_octets = [octets, octets[:-9]]
        done = Deferred.fromCoroutine(convert(lambda: Pieces(given_octets.pop(0), 50)))
        conversion = self.successResultOf(done)
        assert isinstance(conversion, Conversion)
        self.failureResultOf(Deferred.fromCoroutine(whole(conversion.open)), ValueError)

    def test_memory_does_not_grow_with_the_message(self) -> None:
        head = MIME + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: image/png\r\n\r\n"

        class Endless:
            def __init__(self) -> None:
                self.left = [b"\r\n--b--\r\n", *(bytes(range(256)) * 256 for _ in range(128)), head]

            def next(self) -> bytes:
                return self.left.pop() if self.left else b""

            def close(self) -> None: ...

        tracemalloc.start()
        try:
            conversion = self.successResultOf(Deferred.fromCoroutine(convert(Endless)))  # type: ignore[arg-type]
            assert isinstance(conversion, Conversion)
            chunks, size = conversion.open(), 0
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            while octets := chunks.next():
                assert isinstance(octets, bytes)
                size += len(octets)
            self.assertGreater(size, 8 << 20)
            # The chunks themselves were there before.
            self.assertLess(tracemalloc.get_traced_memory()[1] - before, 1 << 20)
        finally:
            tracemalloc.stop()

    def test_the_interface(self) -> None:
        conversion = attempt(MIME + TEXT + b"\xe4")
        assert isinstance(conversion, Conversion)
        chunks = conversion.open()
        verifyObject(IChunks, chunks)
        chunks.close()


# --- any message ---------------------------------------------------------------------------------------------


class Made(NamedTuple):
    """A part and what its leaves hold, in order."""

    octets: bytes
    contents: tuple[bytes, ...]


bodies = st.lists(
    st.sampled_from(
        [
            *(
                b"\r\n",
                b"\r\n",
                b"\r",
                b"\n",
                b" ",
                b"\t",
                b"=",
                b"=20",
                b"\xe9",
                b"\xc3\xb6",
                b"\0",
                b"a",
                b"-",
                b"--",
            ),
            *(b"--x", b"z" * 77, b"y" * 999, b"From ", b"."),
        ]
    ),
    max_size=20,
).map(b"".join)
fields = st.sampled_from(
    [
        b"",
        b"Content-Type: text/plain\r\n",
        b"Content-type:text/html; charset=utf-8\r\n",
        b"Content-Type: image/png\r\n",
        b'CONTENT-TYPE: application/x-y;\r\n\tname="a b"\r\n',
    ]
)
encodings = st.sampled_from([b"", b"7bit", b"8bit", b"binary", b"8BIT (yes)"])


def label(encoding: bytes) -> bytes:
    return b"Content-Transfer-Encoding: " + encoding + b"\r\n" if encoding else b""


leaf = st.builds(
    lambda head, encoding, body: Made(head + label(encoding) + b"\r\n" + body, (body,)), fields, encodings, bodies
)


def multipart(children: list[Made], encoding: bytes, preamble: bytes, number: int) -> Made:
    boundary = b"=_%d_%d" % (number, len(b"".join(child.octets for child in children)))
    head = b'Content-Type: multipart/mixed; boundary="' + boundary + b'"\r\n' + label(encoding) + b"\r\n"
    parts = b"".join(b"\r\n--" + boundary + b"\r\n" + child.octets for child in children)
    contents = tuple(content for child in children for content in child.contents)
    return Made(head + preamble + parts + b"\r\n--" + boundary + b"--\r\n" + preamble, contents)


def inside(child: Made, encoding: bytes) -> Made:
    return Made(b"Content-Type: message/rfc822\r\n" + label(encoding) + b"\r\n" + child.octets, child.contents)


parts = st.recursive(
    leaf,
    lambda children: st.one_of(
        st.builds(
            multipart,
            st.lists(children, min_size=1, max_size=3),
            encodings,
            st.sampled_from([b"", b"this is MIME", b"pre\xe4mble\n"]),
            st.integers(0, 10**9),
        ),
        st.builds(inside, children, encodings),
    ),
    max_leaves=6,
)


class Anything(SynchronousTestCase):
    @given(parts, st.sampled_from([1, 2, 3, 50, 1 << 18]))
    @example(Made(b"\r\n\r\n\xe9", (b"\r\n\xe9",)), 1)
    def test_decoding_gives_the_same(self, made: Made, size: int) -> None:
        conversion = attempt(made.octets, size)
        if isinstance(conversion, CannotConvert):
            # Boundaries were drawn such that one begins another.
            self.assertIn("begins with a boundary", conversion.reason)
            return
        result = read(conversion.open)
        if conversion.changed:
            # RFC 2045 2.7
            self.assertTrue(is_plain(result))
            self.assertTrue(len(result) <= conversion.size)
        found = [content(part) for part in leaves(message_from_bytes(result))]
        self.assertEqual(found, list(made.contents))

    @given(parts, st.integers(1, 300))
    def test_however_it_is_cut(self, made: Made, size: int) -> None:
        whole, cut = attempt(made.octets, 1 << 20), attempt(made.octets, size)
        if isinstance(whole, Conversion) and isinstance(cut, Conversion):
            # Where a very long line is broken is all that the pieces have a say in.
            one, other = message_from_bytes(read(whole.open)), message_from_bytes(read(cut.open))
            self.assertEqual([content(part) for part in leaves(one)], [content(part) for part in leaves(other)])
            self.assertEqual((whole.size, one.items()), (cut.size, other.items()))
        else:
            self.assertEqual(whole, cut)

    @given(st.binary(max_size=200), st.integers(1, 50))
    @example(b"!:\x01 \x80", 1)
    def test_octets_that_are_no_message(self, octets: bytes, size: int) -> None:
        conversion = attempt(octets, size)
        if isinstance(conversion, Conversion) and conversion.changed:
            # RFC 2045 2.7; a control character that stood in the header stays.
            self.assertTrue(read(conversion.open).isascii())

    @given(parts)
    def test_once_is_enough(self, made: Made) -> None:
        conversion = attempt(made.octets)
        if isinstance(conversion, Conversion):
            again = attempt(read(conversion.open))
            assert isinstance(again, Conversion)
            self.assertFalse(again.changed)
