"""Which DNS servers are asked, and what is said where there are none."""

from __future__ import annotations

import os
import shutil
import tempfile

from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mta.dns.resolver import Resolver
from mta.dns.servers import NoServers, Servers, parse_server
from mta.routing.values import Found


class Configured(SynchronousTestCase):
    def test_texts(self) -> None:
        for text, server in (
            ("127.0.0.1:53", ("127.0.0.1", 53)),
            ("127.0.0.1", ("127.0.0.1", 53)),
            ("[::1]:5353", ("::1", 5353)),
            ("[::1]", ("::1", 53)),
            ("::1", ("::1", 53)),
            ("fe80::1%eth0", ("fe80::1%eth0", 53)),
        ):
            self.assertEqual(parse_server(text), server)

    def test_wrong_texts_say_what_is_right(self) -> None:
        for text in (
            "dns.example",
            "127.0.0.1:",
            "127.0.0.1:0",
            "127.0.0.1:99999",
            "[::1",
            "[::1]x",
            "[::1]:x",
            "",
        ):
            error = self.assertRaises(ValueError, Resolver, Clock(), [text])
            self.assertIn('like "127.0.0.1:53"', str(error))


class Trusted(SynchronousTestCase):
    """RFC 4035 4.9.3: whose word on DNSSEC counts."""

    def trusted(self, *servers: str, trust_ad: bool = False) -> bool:
        return Servers(servers, Clock().seconds, trust_ad=trust_ad).trusted()

    def test_those_on_this_machine(self) -> None:
        for server in ("127.0.0.1:53", "127.0.0.53", "[::1]:53", "[::ffff:127.0.0.1]:53"):
            self.assertTrue(self.trusted(server), server)

    def test_others_only_where_the_operator_says_so(self) -> None:
        for servers in (("192.0.2.53",), ("[2001:db8::1]:53",), ("127.0.0.1", "192.0.2.53")):
            self.assertFalse(self.trusted(*servers), servers)
            self.assertTrue(self.trusted(*servers, trust_ad=True), servers)


class System(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        self.path = os.path.join(folder, "resolv.conf")
        self.servers = Servers((), self.clock.seconds, self.path)

    def write(self, text: str) -> None:
        with open(self.path, "w") as file:
            file.write(text)

    def current(self) -> list[str]:
        return [str(getattr(server, "address", server)) for server in self.servers.current()]

    def test_read_and_read_again_when_it_changes(self) -> None:
        self.write("options edns0\nnameserver 127.0.0.1\nnameserver ::1\nsearch example.org\n")
        self.assertEqual(self.current(), ["127.0.0.1", "::1"])
        self.write("nameserver 127.0.0.2\n")
        self.assertTrue(self.servers.trusted())
        self.assertEqual(self.current(), ["127.0.0.1", "::1"], "it is looked at every few seconds only")
        self.clock.advance(5)
        self.assertEqual(self.current(), ["127.0.0.2"])
        self.write("nameserver 192.0.2.53\n")
        self.clock.advance(5)
        self.assertFalse(self.servers.trusted())

    def test_missing_then_there(self) -> None:
        error = self.assertRaises(NoServers, self.servers.current)
        self.assertIn(self.path, str(error))
        self.write("nameserver 127.0.0.1\n")
        self.clock.advance(5)
        self.assertEqual(self.current(), ["127.0.0.1"])
        os.unlink(self.path)
        self.clock.advance(5)
        self.assertRaises(NoServers, self.servers.current)

    def test_without_a_server_or_not_text(self) -> None:
        for text in ("# nothing\n", "nameserver nonsense\n"):
            self.write(text)
            self.clock.advance(5)
            self.assertRaises(NoServers, self.servers.current)
        with open(self.path, "wb") as file:
            file.write(b"nameserver \xff\xfe\n")
        self.clock.advance(5)
        self.assertRaises(NoServers, self.servers.current)


class NoConfiguration(TestCase):
    def test_answers_that_failed(self) -> None:
        """A machine without resolv.conf: mail waits, nothing breaks."""
        resolver = Resolver(reactor, resolv_conf="/nonexistent/resolv.conf")
        for asking in (resolver.mx("a.example"), resolver.addresses("a.example"), resolver.ptr("192.0.2.1")):
            answer = self.successResultOf(asking)
            self.assertEqual(answer.found, Found.FAILED)
            self.assertIn("names no DNS server", answer.error)
