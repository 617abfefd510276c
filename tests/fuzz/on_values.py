"""What holds for the readers of commands, addresses and headers: each property takes raw octets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from ipaddress import ip_address

from mta.address import Address, AddressError, normal_domain, normal_ip, show_path
from mta.message.edits import apply
from mta.message.header import header_end, scan
from mta.reply import PermanentFailure, Reply
from mta.smtp import replies
from mta.smtp.client_parameters import deliver_by, mail_dsn, rcpt_dsn
from mta.smtp.grammar import (
    PathCommand,
    _parse_common,
    _parse_full,
    parse_bdat,
    parse_greeting,
    parse_mail,
    parse_rcpt,
)
from mta.smtp.parameters import MAX_ORCPT, Wishes, parse_size, read_mail, read_rcpt
from mta.smtp.proxy import MAX_V2, Header, HeaderReader, WrongHeader
from tests.fuzz.cutting import divide, octet_by_octet

Parse = Callable[[bytes], PathCommand]


def grammar(raw: bytes) -> None:
    """An argument is a value or a refusal, and a value goes out as an argument of the same value."""
    ways: tuple[tuple[Parse, str, Reply], ...] = (
        (parse_mail, "FROM", replies.MAIL_SYNTAX),
        (parse_rcpt, "TO", replies.RCPT_SYNTAX),
        (partial(parse_rcpt, utf8=True), "TO", replies.RCPT_SYNTAX),
    )
    for parse, word, syntax in ways:
        for argument in (raw, f"{word}:<".encode() + raw, f"{word}:".encode() + raw):
            command = _read(parse, argument)
            if command is None:
                continue
            again = _read(parse, _written(word, command))
            assert again == command, (argument, command, again)
            # The short way for common forms gives what the full grammar gives.
            if _parse_common(argument, word) is not None:
                assert _parse_full(argument, f"{word}:", syntax) == command
    try:
        name = parse_greeting(raw)
    except PermanentFailure as failure:
        assert failure.reply.code == 501
    else:
        # It stands in Received and in the log.
        assert name.isascii()
        assert name.isprintable()
        assert " " not in name


def _read(parse: Parse, argument: bytes) -> PathCommand | None:
    try:
        return parse(argument)
    except PermanentFailure as failure:
        assert failure.reply.code in {501, 550, 553, 555}, failure
        return None


def _written(word: str, command: PathCommand) -> bytes:
    words = [key if value is None else f"{key}={value}" for key, value in command.parameters.items()]
    return " ".join([f"{word}:{show_path(command.path)}", *words]).encode()


def sizes(raw: bytes) -> None:
    """SIZE is 1 to 20 digits and nothing else (RFC 1870 4), and so is the size of a chunk (RFC 3030 2)."""
    value = raw.decode("latin-1")
    try:
        size = parse_size(value)
    except PermanentFailure as failure:
        assert failure.reply.code == 501
    else:
        assert 0 <= size < 10**20
        assert all(letter in "0123456789" for letter in value)
    for argument in (raw, raw + b" LAST"):
        chunk = parse_bdat(argument)
        if chunk is not None:
            assert 0 <= chunk.size < 10**20
            assert chunk.size == int(argument.split()[0].decode("ascii"))


def parameters(raw: bytes) -> None:
    """What MAIL and RCPT wish for is a value or a refusal; what our client writes of a value is read as the same."""
    text = raw.decode("utf-8", "surrogateescape")
    for keyword in ("RET", "ENVID", "SMTPUTF8", "REQUIRETLS", "BY", "HOLDFOR", "HOLDUNTIL", "MT-PRIORITY", "X"):
        for value in (text, None):
            wishes = _wishes({keyword: value})
            if wishes is None:
                continue
            assert all(field.isprintable() for field in (wishes.ret, wishes.envid, wishes.by_mode))
            written = mail_dsn(wishes.ret, wishes.envid)
            if wishes.by is not None:
                written += deliver_by(wishes.by, wishes.by_mode)
            again = _wishes(parse_mail(f"FROM:<>{written}".encode("ascii")).parameters)
            assert again is not None
            assert (again.ret, again.envid) == (wishes.ret, wishes.envid)
            assert (again.by, again.by_mode) == (wishes.by, wishes.by_mode)
    for keyword in ("ORCPT", "NOTIFY"):
        try:
            orcpt, notify = read_rcpt({keyword: text})
        except PermanentFailure as failure:
            assert failure.reply.code == 501
            continue
        assert orcpt.isprintable()
        line = f"TO:<a@b.example>{rcpt_dsn(notify, orcpt)}"
        if len(line) <= MAX_ORCPT:
            assert read_rcpt(parse_rcpt(line.encode("ascii")).parameters) == (orcpt, notify)
    # Values from elsewhere, a plugin or another host, can neither end the line nor begin another parameter.
    for line in (
        rcpt_dsn(text, text),
        rcpt_dsn("", f"rfc822;{text}"),
        rcpt_dsn("", f"utf-8;{text}"),
        mail_dsn(text, text),
    ):
        assert line.isascii()
        assert line.isprintable()
        assert line.count(" ") == line.count("=") <= 2


def _wishes(found: Mapping[str, str | None]) -> Wishes | None:
    try:
        return read_mail(found)
    except PermanentFailure as failure:
        assert failure.reply.code in {501, 555}
        return None


def proxy(raw: bytes) -> None:
    """A PROXY header is read or refused, the same for every cut, and nothing is read beyond its longest."""
    stream, pieces = divide(raw)
    for start in (b"", b"PROXY ", b"PROXY TCP4 ", b"\r\n\r\n\0\r\nQUIT\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0"):
        expected = _proxied([start + stream])
        assert _proxied([start, *pieces]) == expected
        assert _proxied(octet_by_octet(start + stream)) == expected
        if isinstance(expected, tuple):
            header, rest = expected
            assert 0 <= header.port <= 65535
            assert normal_ip(header.client) == header.client
            assert not header.client or ip_address(header.client)
            assert (start + stream).endswith(rest)


def _proxied(pieces: list[bytes]) -> tuple[Header, bytes] | str | None:
    """The header and what came behind it; what is wrong; or None where it is not whole."""
    reader = HeaderReader()
    for number, piece in enumerate(pieces):
        try:
            header = reader.feed(piece)
        except WrongHeader:
            return "wrong"
        if header is not None:
            return header, b"".join([reader.rest, *pieces[number + 1 :]])
        assert len(reader._buffer) < MAX_V2
    return None


def addresses(raw: bytes) -> None:
    """Text is an address or an ``AddressError``; an address goes out as text of the same address (RFC 5321 4.1.2)."""
    text = raw.decode("utf-8", "surrogateescape")
    for utf8 in (False, True):
        try:
            address = Address.parse(text, utf8=utf8)
        except AddressError as error:
            assert str(error)
            continue
        shown = str(address)
        assert Address.parse(shown, utf8=True) == address, (text, shown)
        assert not any(ord(letter) < 32 or letter == "\x7f" for letter in shown), "a control character"
        assert utf8 or shown.isascii()
        assert address.domain.isascii()
        assert normal_domain(address.domain) == address.domain


def headers(raw: bytes) -> None:
    """Any octets scan; fields cover the section without a gap (RFC 5322 2.2); a cut takes out all of a name."""
    header = scan(raw)
    assert header.end == header_end(raw)
    assert 0 <= header.end <= len(raw)
    place = 0
    for field in header.fields:
        assert field.start == place
        assert field.start <= field.value_start <= field.end
        assert field.start < field.end
        place = field.end
        header.value(field)
    assert place == (header.end - 2 if header.complete else header.end)
    for name in {field.name for field in header.fields if field.name}:
        assert name == name.lower()
        assert header.count(name) == len(header.all(name)) > 0
        assert header.get(name) is not None
        left = scan(apply(raw, header.cuts(name)))
        assert left.count(name) == 0, name
        assert len(left.fields) == len(header.fields) - header.count(name)
