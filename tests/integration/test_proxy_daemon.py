"""The daemon behind a proxy: PROXY headers over real sockets, before TLS and before the greeting."""

from __future__ import annotations

import socket
import ssl
import unittest
from typing import ClassVar

from tests.integration.test_dialogues_daemon import unverified
from tests.integration.tools import DEADLINE, Daemon, free_port, wait_for

PROXY = "127.0.3.1"
TEXT = b"PROXY TCP4 10.1.2.3 127.0.0.1 4711 25\r\n"
BINARY = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x0a\x01\x02\x03\x7f\0\0\1\x12\x67\0\x19"
IMPLICIT = """
[[listen]]
name = "implicit"
endpoint = "tcp:{port}:interface=127.0.0.1"
tls = "implicit"
proxy = ["127.0.3.0/24"]

[relay]
networks = ["10.0.0.0/8"]

[queue]
active = 0
"""


class Proxied(unittest.TestCase):
    daemon: ClassVar[Daemon]
    implicit: ClassVar[int]

    @classmethod
    def setUpClass(cls) -> None:
        cls.implicit = free_port()
        cls.daemon = cls.enterClassContext(Daemon(IMPLICIT.format(port=cls.implicit), start=False))
        cls.daemon.change('service = "mx"\n', 'service = "mx"\nproxy = ["127.0.3.0/24"]\n')
        cls.daemon.start()

    def connect(self, port: int = 0, source: str = PROXY) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", port or self.daemon.port), DEADLINE, source_address=(source, 0))
        self.addCleanup(sock.close)
        return sock

    def relays(self, sock: socket.socket) -> None:
        """The client may relay: it is who the header names."""
        before = len(self.daemon.queue())
        file = sock.makefile("rb")
        self.addCleanup(file.close)
        self.assertEqual(file.readline()[:4], b"220 ")
        for line, code in (
            (b"HELO client.example", b"250 "),
            (b"MAIL FROM:<a@b.example>", b"250 "),
            (b"RCPT TO:<x@foreign.example>", b"250 "),
            (b"DATA", b"354 "),
            (b"Subject: x\r\n\r\nhello\r\n.", b"250 "),
        ):
            sock.sendall(line + b"\r\n")
            reply = file.readline()
            self.assertEqual(reply[:4], code, reply)
        self.assertEqual(len(self.daemon.queue()), before + 1)
        wait_for(lambda: "from 10.1.2.3 (" in self.daemon.log(), lambda: f"its address:\n{self.daemon.log()}")

    def test_text_and_binary(self) -> None:
        for header in (TEXT, BINARY):
            sock = self.connect()
            sock.sendall(header)
            self.relays(sock)

    def test_starttls_behind_it(self) -> None:
        sock = self.connect()
        sock.sendall(TEXT)
        for expected, line in ((b"220 ", b"STARTTLS\r\n"), (b"220 ", b"")):
            self.assertEqual(sock.recv(1000)[:4], expected)
            sock.sendall(line)
        encrypted = unverified().wrap_socket(sock)
        self.addCleanup(encrypted.close)
        encrypted.sendall(b"EHLO client.example\r\n")
        self.assertEqual(encrypted.recv(1000)[:4], b"250-")
        encrypted.sendall(b"QUIT\r\n")
        self.assertEqual(encrypted.recv(1000)[:4], b"221 ")

    def test_implicit_tls_in_the_same_segment(self) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = unverified().wrap_bio(incoming, outgoing)
        sock = self.connect(self.implicit)
        before = TEXT
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(before + outgoing.read())
                before = b""
                octets = sock.recv(100_000)
                self.assertTrue(octets, "the server has closed")
                incoming.write(octets)
        sock.sendall(outgoing.read())
        greeting = b""
        while not greeting:
            try:
                greeting = tls.read(1000)
            except ssl.SSLWantReadError:
                octets = sock.recv(100_000)
                self.assertTrue(octets, "the server has closed")
                incoming.write(octets)
        self.assertEqual(greeting[:4], b"220 ")

    def test_listed_peer_without_a_header(self) -> None:
        for octets in (b"EHLO client.example\r\n", b"\x16\x03\x01\x02\x00\x01\x00"):
            for port in (self.daemon.port, self.implicit):
                sock = self.connect(port)
                sock.sendall(octets)
                try:
                    self.assertEqual(sock.recv(1000), b"")
                except ConnectionResetError:
                    pass
        wait_for(lambda: self.daemon.log().count("proxy-refused") >= 4, lambda: f"four:\n{self.daemon.log()}")

    def test_header_of_a_peer_that_is_not_listed(self) -> None:
        for header in (TEXT, BINARY):
            sock = self.connect(source="127.0.2.1")
            sock.sendall(header)
            seen = b""
            try:
                while octets := sock.recv(1000):
                    seen += octets
            except ConnectionResetError:
                pass
            self.assertEqual(seen[:4], b"220 ")
            self.assertNotIn(b"250", seen)

    def test_client_of_our_own(self) -> None:
        sock = self.connect(source="127.0.2.1")
        self.assertEqual(sock.recv(1000)[:4], b"220 ")
