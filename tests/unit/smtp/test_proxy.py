"""The PROXY protocol's header, as octets: every cut, every way to be wrong."""

from __future__ import annotations

import socket
import struct

from twisted.trial.unittest import SynchronousTestCase

from mta.smtp.proxy import MAX_V1, MAX_V2, Header, HeaderReader, WrongHeader, crc32c

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
FOUR = socket.inet_aton("192.0.2.7") + socket.inet_aton("198.51.100.1") + struct.pack("!HH", 56324, 25)
SIX = (
    socket.inet_pton(socket.AF_INET6, "2001:db8::7")
    + socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    + struct.pack("!HH", 56324, 25)
)


def v2(body: bytes, family: int = 0x11, command: int = 0x21) -> bytes:
    return SIGNATURE + bytes([command, family]) + len(body).to_bytes(2, "big") + body


def extension(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + len(value).to_bytes(2, "big") + value


def summed(addresses: bytes, extensions: bytes = b"", family: int = 0x11) -> bytes:
    """A header with the right checksum (PROXY 2.2.3)."""
    header = v2(addresses + extension(3, bytes(4)) + extensions, family)
    place = 16 + len(addresses) + 3
    return header[:place] + crc32c(header).to_bytes(4, "big") + header[place + 4 :]


class Case(SynchronousTestCase):
    def read(self, octets: bytes) -> tuple[Header | None, bytes]:
        reader = HeaderReader()
        return reader.feed(octets), reader.rest

    def same(self, octets: bytes, header: Header, rest: bytes = b"EHLO a\r\n") -> None:
        """Whole, with what follows, byte by byte and in every cut."""
        self.assertEqual(self.read(octets), (header, b""))
        self.assertEqual(self.read(octets + rest), (header, rest))
        reader = HeaderReader()
        for place in range(len(octets) - 1):
            self.assertIsNone(reader.feed(octets[place : place + 1]))
        self.assertEqual(reader.feed(octets[-1:]), header)
        for cut in range(1, len(octets)):
            reader = HeaderReader()
            self.assertIsNone(reader.feed(octets[:cut]))
            self.assertEqual(reader.feed(octets[cut:] + rest), header)
            self.assertEqual(reader.rest, rest)

    def wrong(self, octets: bytes) -> None:
        """In one piece, and at some octet of it."""
        self.assertRaises(WrongHeader, self.read, octets)
        reader = HeaderReader()
        with self.assertRaises(WrongHeader):
            for octet in octets:
                self.assertIsNone(reader.feed(bytes([octet])))


class Text(Case):
    def test_both_families(self) -> None:
        # PROXY 2.1
        self.same(b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 25\r\n", Header(client="192.0.2.7", port=56324))
        self.same(b"PROXY TCP6 2001:DB8:0::7 2001:db8::1 1 65535\r\n", Header(client="2001:db8::7", port=1))

    def test_mapped_client_is_an_ipv4_client(self) -> None:
        # RFC 4291 2.5.5.2
        self.same(b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 9 25\r\n", Header(client="192.0.2.7", port=9))

    def test_unknown_whatever_follows(self) -> None:
        # PROXY 2.1
        self.same(b"PROXY UNKNOWN\r\n", Header())
        self.same(b"PROXY UNKNOWN ffff::1 \xff\0 nonsense\r\n", Header())

    def test_longest_line(self) -> None:
        # PROXY 2.1: 107 octets, and no more
        start = b"PROXY UNKNOWN "
        self.same(start + b"x" * (MAX_V1 - len(start) - 2) + b"\r\n", Header())
        self.wrong(start + b"x" * (MAX_V1 - len(start) - 1) + b"\r\n")
        self.assertRaises(WrongHeader, self.read, start + b"x" * 100_000)
        self.assertIsNone(self.read(start + b"x" * (MAX_V1 - len(start) - 1))[0])

    def test_what_is_wrong(self) -> None:
        for line in (
            b"PROXY TCP4 192.0.2.7 198.51.100.1 56324",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 25 1",
            b"PROXY TCP4  192.0.2.7 198.51.100.1 56324 25",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 25 ",
            b"PROXY TCP4 192.0.2.07 198.51.100.1 56324 25",
            b"PROXY TCP4 192.0.2.256 198.51.100.1 56324 25",
            b"PROXY TCP4 192.0.2 198.51.100.1 56324 25",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 25",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 056324 25",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 -1 25",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 +1 25",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 1_0 25",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 ",
            b"PROXY TCP4 2001:db8::7 2001:db8::1 56324 25",
            b"PROXY TCP6 192.0.2.7 198.51.100.1 56324 25",
            b"PROXY TCP6 fe80::1%eth0 2001:db8::1 56324 25",
            b"PROXY TCP4 mail.example 198.51.100.1 56324 25",
            b"PROXY TCP4 192.0.2.7\t198.51.100.1 56324 25",
            b"PROXY TCP4 192.0.2.\xb2 198.51.100.1 56324 25",
            b"PROXY TCP5 192.0.2.7 198.51.100.1 56324 25",
            b"PROXY tcp4 192.0.2.7 198.51.100.1 56324 25",
            b"PROXY UDP4 192.0.2.7 198.51.100.1 56324 25",
            b"PROXY UNKNOWN\n",
            b"PROXY ",
            b"PROXY\t",
            b"proxy TCP4 192.0.2.7 198.51.100.1 56324 25",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 25\n",
            b"EHLO client.example",
        ):
            self.wrong(line + b"\r\n")

    def test_line_without_cr_never_ends(self) -> None:
        self.assertIsNone(self.read(b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 25\n")[0])


class Binary(Case):
    def test_both_families(self) -> None:
        # PROXY 2.2
        self.same(v2(FOUR), Header(client="192.0.2.7", port=56324))
        self.same(v2(SIX, 0x21), Header(client="2001:db8::7", port=56324))

    def test_mapped_client_is_an_ipv4_client(self) -> None:
        # RFC 4291 2.5.5.2
        mapped = socket.inet_pton(socket.AF_INET6, "::ffff:192.0.2.7") + SIX[16:]
        self.same(v2(mapped, 0x21), Header(client="192.0.2.7", port=56324))

    def test_local_is_the_proxy_itself_whatever_stands_there(self) -> None:
        # PROXY 2.2: health checks
        self.same(v2(b"", 0x00, 0x20), Header(local=True))
        self.same(v2(FOUR, 0x11, 0x20), Header(local=True))
        self.same(v2(b"\xff" * 20, 0xFF, 0x20), Header(local=True))

    def test_client_without_an_ip_address(self) -> None:
        # PROXY 2.2: UNSPEC, and UNIX sockets
        self.same(v2(b"", 0x00), Header())
        self.same(v2(b"\xff" * 20, 0x00), Header())
        self.same(v2(b"/run/x".ljust(108, b"\0") * 2, 0x31), Header())

    def test_extensions_are_skipped(self) -> None:
        extensions = extension(1, b"smtp") + extension(4, bytes(20)) + extension(0xEE, b"")
        self.same(v2(FOUR + extensions), Header(client="192.0.2.7", port=56324))

    def test_checksum(self) -> None:
        # PROXY 2.2.3; the value of RFC 3720 B.4
        self.assertEqual(crc32c(bytes(32)), 0x8A9136AA)
        self.assertEqual(crc32c(b"123456789"), 0xE3069283)
        self.same(summed(FOUR, extension(4, b"pad")), Header(client="192.0.2.7", port=56324))
        self.same(summed(SIX, family=0x21), Header(client="2001:db8::7", port=56324))
        good = summed(FOUR)
        for place in range(16, len(good) - 4):
            if place in (28, 29, 30):
                continue  # type and length of the extension: another one then, or none
            self.wrong(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])

    def test_what_is_wrong(self) -> None:
        for header in (
            v2(FOUR, command=0x11),
            v2(FOUR, command=0x31),
            v2(FOUR, command=0x22),
            v2(FOUR, command=0x2F),
            v2(FOUR, 0x12),  # a datagram
            v2(SIX, 0x22),
            v2(FOUR, 0x10),
            v2(FOUR, 0x01),
            v2(FOUR, 0x41),
            v2(FOUR[:-1]),
            v2(b""),
            v2(SIX[:-1], 0x21),
            v2(bytes(215), 0x31),
            v2(FOUR + b"\1"),
            v2(FOUR + b"\1\0"),
            v2(FOUR + b"\1\0\1"),
            v2(FOUR + extension(1, b"x") + b"\1\xff\xff"),
            v2(FOUR + extension(3, bytes(3))),
            v2(FOUR + extension(3, bytes(4))),
            v2(FOUR + extension(3, bytes(5))),
            SIGNATURE[:-1] + b"\r" + v2(FOUR)[12:],
            b"\r\n\r\nEHLO a\r\n",
        ):
            self.wrong(header)

    def test_two_checksums(self) -> None:
        good = summed(FOUR)
        self.wrong(v2(good[16:] + extension(3, bytes(4))))

    def test_too_long_is_known_before_it_has_come(self) -> None:
        room = MAX_V2 - 16 - len(FOUR) - 3
        self.assertIsNotNone(self.read(v2(FOUR + extension(4, bytes(room))))[0])
        self.assertRaises(WrongHeader, self.read, v2(FOUR + extension(4, bytes(room + 1)))[:16])
        self.assertRaises(WrongHeader, self.read, SIGNATURE + b"\x20\x00\xff\xff")

    def test_beginning_that_may_be_either(self) -> None:
        for octets in (b"", b"\r", b"\r\n\r\n", b"P", b"PROXY"):
            self.assertIsNone(self.read(octets)[0])
