"""What holds for the wire code whatever comes: each property takes raw octets and fails by ``AssertionError``.

What is expected is worked out line by line, the slow way that the wire code must not go.
"""

from __future__ import annotations

from mta.reply import Reply
from mta.smtp.wire import (
    BadReply,
    BareNewline,
    ChunkDecoder,
    CommandSplitter,
    DataDecoder,
    DotStuffer,
    LineTooLong,
    ReplyParser,
)
from tests.fuzz.cutting import divide, octet_by_octet

LIMIT = 24
TOO_LONG = b"too long\n"
BARE = b"bare\n"


def commands(raw: bytes) -> None:
    """Lines as RFC 5321 2.3.8 and 4.5.3.1.4 have them, the same for every cut, and never more kept than the limit."""
    stream, pieces = divide(raw)
    *lines, rest = stream.split(b"\n")
    expected = [_line(line) for line in lines]
    for way in (pieces, octet_by_octet(stream)):
        splitter = CommandSplitter(LIMIT)
        found = []
        for piece in way:
            splitter.feed(piece)
            while (line := _next(splitter)) is not None:
                found.append(line)
            assert splitter.waiting <= LIMIT, "more is kept than the limit"
        assert found == expected, (found, expected)
        assert splitter.take_rest() == rest or len(rest) > LIMIT


def _line(line: bytes) -> bytes:
    if len(line) + 1 > LIMIT:
        return TOO_LONG
    return line[:-1] if line.endswith(b"\r") else BARE


def _next(splitter: CommandSplitter) -> bytes | None:
    try:
        return splitter.next_line()
    except LineTooLong:
        return TOO_LONG
    except BareNewline:
        return BARE


def data(raw: bytes) -> None:
    """Only CRLF.CRLF ends data (RFC 5321 4.1.1.4), dots go (4.5.2), and what is wrong is told, for every cut."""
    stream, pieces = divide(raw)
    pieces = [*pieces, b"\r\n.\r\n"]
    wire = b"\r\n" + stream + b"\r\n.\r\n"
    end = wire.index(b"\r\n.\r\n")
    lines = [line.removeprefix(b".") for line in wire[2 : end + 2].split(b"\r\n")]
    message, rest = b"\r\n".join(lines), wire[end + 5 :]
    for way in (pieces, octet_by_octet(b"".join(pieces))):
        decoder, body, after = DataDecoder(LIMIT), b"", b""
        for piece in way:
            if decoder.done:
                after += piece
                continue
            given = decoder.feed(piece)
            body += given
            assert len(body) <= len(message), "octets that are not of the message"
            after += decoder.rest
        assert decoder.done
        assert (body, after, decoder.size) == (message, rest, len(message)), (body, message, after, rest)
        _told(decoder, message)


def _told(decoder: DataDecoder | ChunkDecoder, message: bytes) -> None:
    """What a decoder says of the octets is so."""
    alone = message.replace(b"\r\n", b"")
    assert decoder.bare == (b"\r" in alone or b"\n" in alone)
    assert decoder.nul == (b"\0" in message)
    assert decoder.eight_bit == (not message.isascii())
    if not decoder.bare:
        assert decoder.line_too_long == any(len(line) + 2 > LIMIT for line in message.split(b"\r\n"))


def chunks(raw: bytes) -> None:
    """A message in chunks (RFC 3030 2) is its octets, as they are; what is wrong is told whatever a chunk cuts."""
    stream, sizes = divide(raw)
    message, behind = stream, b"NOOP\r\n"
    for way in ([len(size) for size in sizes], [1] * len(message)):
        for binary in (False, True):
            decoder, wire, taken = ChunkDecoder(LIMIT, binary), message + behind, b""
            for size in way:
                decoder.begin(size)
                # Its octets in two pieces, the second with what follows it.
                for piece in (wire[: size // 2], wire[size // 2 :]):
                    taken += decoder.feed(piece)
                assert decoder.done
                assert decoder.rest == wire[size:]
                wire = wire[size:]
            decoder.end()
            assert (taken, wire, decoder.size) == (message, behind, len(message))
            assert decoder.eight_bit == (not message.isascii())
            if binary:
                assert not (decoder.bare or decoder.nul or decoder.line_too_long)
            else:
                _told(decoder, message)


def stuffing(raw: bytes) -> None:
    """A message goes out as it is, cut anywhere (RFC 5321 4.5.2), and nothing but our own end ends it."""
    message, pieces = divide(raw)
    stuffer = DotStuffer()
    wire = b"".join([*(stuffer.feed(piece) for piece in pieces), stuffer.end()])
    decoder = DataDecoder(1 << 30)
    arrived = decoder.feed(wire)
    assert decoder.done
    assert decoder.rest == b"", "a line of the message ended it"
    whole = message if message.endswith(b"\r\n") or not message else message + b"\r\n"
    alone = message.replace(b"\r\n", b"")
    if b"\r" not in alone and b"\n" not in alone:
        assert arrived == whole
    # CVE-2023-51764: nor does it for a server that takes a bare LF or CR for a line end.
    inside = wire[: -len(stuffer_end(message))]
    for end in (b"\n.\n", b"\n.\r", b"\r.\r", b"\r.\n"):
        assert end not in inside


def stuffer_end(message: bytes) -> bytes:
    """What ends the message on the wire."""
    return b".\r\n" if message.endswith(b"\r\n") or not message else b"\r\n.\r\n"


class SmallReplies(ReplyParser):
    """With limits that a few words reach; lines up to 80 octets go a short way that knows no limit."""

    MAX_LINE = 90  # type: ignore[misc]
    MAX_LINES = 3  # type: ignore[misc]


def replies(raw: bytes) -> None:
    """A server's octets: the same replies and the same complaint for every cut, within bounds (RFC 5321 4.2.1)."""
    stream, pieces = divide(raw)
    expected = _parse([stream])
    assert _parse(pieces) == expected
    assert _parse(octet_by_octet(stream)) == expected
    for reply in expected[0]:
        assert 200 <= reply.code < 600
        assert len(reply.lines) <= SmallReplies.MAX_LINES
        # Whatever it said, passed on it is one reply, with the same code.
        (again,) = ReplyParser().feed(reply.wire)
        assert (again.code, len(again.lines)) == (reply.code, len(reply.lines))


def _parse(pieces: list[bytes]) -> tuple[list[Reply], bool]:
    parser, found = SmallReplies(), []
    try:
        for piece in pieces:
            # What is good before something bad counts.
            for reply in parser.feed(piece):
                found.append(reply)
            assert len(parser._buffer) <= SmallReplies.MAX_LINE + 1
    except BadReply:
        return found, True
    return found, False
