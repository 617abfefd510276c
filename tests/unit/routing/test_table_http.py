"""The HTTP table against Twisted's own server, on a loopback port."""

from __future__ import annotations

import json
from typing import Any
from unittest import SkipTest
from urllib.parse import unquote

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate
from OpenSSL import SSL
from table_contract import ENTRIES, InFolder, TableContract
from twisted.internet.interfaces import IOpenSSLContextFactory
from twisted.protocols import tls
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer

from mta.config.option import Duration, Secret, Size
from mta.reply import TemporaryFailure
from mta.routing.tables.http import HttpTable, HttpTableOptions, _list_url_wrong
from mta.routing.tables.optional import missing
from tests.certificates import Authority


class Accounts(Resource):
    """Answers ``/mailbox/KEY``; ``odd`` are answers by key: status, type, body."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.odd: dict[str, tuple[int, str, bytes]] = {}
        self.asked: list[tuple[bytes, Any]] = []
        self.members: list[str] = []
        self.team: tuple[str, bytes] | None = None  # type and body, in place of the members

    def page(self, request: Any) -> bytes:
        """300 of the members."""
        kind, body = self.team or ("application/json", b"")
        request.setHeader("content-type", kind)
        if self.team is not None:
            return body
        start = int(request.args.get(b"page", [b""])[0].removeprefix(b"after ") or 0)
        following = f"after {start + 300}" if start + 300 < len(self.members) else None
        return json.dumps({"items": self.members[start : start + 300], "next": following}).encode()

    def render(self, request: Any) -> Any:
        self.asked.append((request.uri, request.getHeader("authorization")))
        if request.uri.startswith(b"/team"):
            return self.page(request)
        key = unquote(request.uri.decode().removeprefix("/mailbox/"))
        if key == "silent":
            return NOT_DONE_YET
        if key == "cut":
            request.setHeader("content-length", "1000")
            request.write(b"x")
            request.transport.abortConnection()
            return NOT_DONE_YET
        code, kind, body = self.odd.get(key, (200, "text/plain; charset=utf-8", b""))
        if key not in self.odd:
            if key not in ENTRIES:
                request.setResponseCode(404)
                return b"there is no such mailbox"
            body = ENTRIES[key].encode() + b"\n"
        request.setResponseCode(code)
        request.setHeader("content-type", kind)
        if code == 302:
            request.setHeader("location", "/mailbox/bob@example.org")
        return body


@implementer(IOpenSSLContextFactory)
class Contexts:
    """A server's."""

    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def getContext(self) -> SSL.Context:
        return self._context


class Http(TableContract, InFolder):
    def setUp(self) -> None:
        if list(missing("treq", "http")):
            raise SkipTest("treq is not installed (the extra http)")
        super().setUp()
        self.accounts = Accounts()
        site = Site(self.accounts)
        self.port = self.world.reactor.listenTCP(0, site, interface="127.0.0.1")
        self.base = f"http://127.0.0.1:{self.port.getHost().port}"

    def make_table(self) -> HttpTable:
        return self.table()

    def table(self, url: str = "/mailbox/{key}", **more: Any) -> HttpTable:
        table = HttpTable(HttpTableOptions(url=self.base + url, **more), self.world.services())
        self.addCleanup(table.close)
        return table

    def make_failing(self) -> HttpTable:
        self.port.stopListening()
        return self.table()

    def make_listing(self, members: list[str]) -> HttpTable:
        self.accounts.members = members
        return self.table(list_url=self.base + "/team?page={page}")

    def test_the_host_is_that_of_the_configuration(self) -> None:
        for url, said in (
            ("https://{page}.example/x", "in the name of the host"),
            ("https://a.example/{key}", "is to have {page} or nothing"),
            ("ftp://a.example/x", "is to begin with"),
            ("https://a.example/x?page={page}", ""),
            ("https://a.example/x", ""),
            ("", ""),
        ):
            self.assertIn(said, _list_url_wrong(url) or "", url)
            self.assertEqual(_list_url_wrong(url) is None, not said, url)
        self.accounts.members = [f"u{number}@example.org" for number in range(301)]
        table = self.table(list_url=self.base + "/team?page={page}")
        self.listed(table)
        self.assertEqual([uri for uri, _ in self.accounts.asked], [b"/team?page=", b"/team?page=after%20300"])

    def test_members_in_other_forms(self) -> None:
        table = self.table(list_url=self.base + "/team")
        for kind, body in (
            ("text/plain", b"Ann@x.example\r\n\nbob\n"),
            ("application/json", b'["Ann@x.example", "bob"]'),
            ("application/json", b'{"Ann@x.example": "1", "bob": "2"}'),
            ("application/json", b'{"items": ["Ann@x.example", "bob"], "next": "more"}'),
        ):
            self.accounts.team = kind, body
            self.assertEqual(self.listed(table), [["ann@x.example", "bob"]], body)

    def test_members_that_make_no_sense(self) -> None:
        table = self.table(list_url=self.base + "/team?page={page}")
        for body in (b"{", b'{"a": 1}', b"[1]", b"null", b'{"items": [], "next": "x"}', b'{"items": ["a"], "next": 1}'):
            self.accounts.team = "application/json", body
            self.assertRaises(TemporaryFailure, self.listed, table)

    def test_the_key_adds_nothing_to_the_url(self) -> None:
        table = self.table("/mailbox/{domain}/{local}?who={key}")
        self.assertIsNone(self.answer(table, '"a/../b?c#d%41 e&f=é"@example.org'))
        (uri, _) = self.accounts.asked[0]
        self.assertEqual(
            uri,
            b"/mailbox/example.org/%22a%2F..%2Fb%3Fc%23d%2541%20e%26f%3D%C3%A9%22"
            b"?who=%22a%2F..%2Fb%3Fc%23d%2541%20e%26f%3D%C3%A9%22%40example.org",
        )
        self.assertIsNone(self.answer(table, "..@example.org"))
        self.assertIsNone(self.answer(table, "bob"))
        self.assertEqual(len(self.accounts.asked), 1, "what is no name in a path is not asked")

    def test_json(self) -> None:
        table = self.table()
        for number, (found, value) in enumerate(
            [("x", "x"), (["a", "b"], "a, b"), ({"value": "y"}, "y"), ({"value": ["a"]}, "a"), ([], None), (None, None)]
        ):
            self.accounts.odd[f"k{number}"] = (200, "application/json", json.dumps(found).encode())
            self.assertEqual(self.answer(table, f"k{number}"), value)

    def test_answers_that_say_nothing(self) -> None:
        self.accounts.odd.update(
            {
                "moved": (302, "text/plain", b""),
                "forbidden": (403, "text/plain", b""),
                "failed": (500, "text/plain", b""),
                "number": (200, "application/json", b"7"),
                "object": (200, "application/json", b"{}"),
                "broken": (200, "application/json", b"{"),
                "latin": (200, "text/plain", b"\xe9"),
                "lines": (200, "text/plain", b"a\nb\n"),
                "long": (200, "text/plain", b"x" * 70000),
            }
        )
        table = self.table(size=Size(64 << 10))
        for key in self.accounts.odd:
            failure = self.assertRaises(TemporaryFailure, self.answer, table, key)
            self.assertTrue(failure.reason, key)
        self.assertEqual(len(self.accounts.asked), len(self.accounts.odd), "no redirect was followed")
        self.assertEqual(self.answer(table, "bob@example.org"), "home=/srv/bob")

    def test_busy_hosts_rest(self) -> None:
        for code in (429, 502, 503, 504):  # RFC 6585 4, RFC 9110 15.6
            self.accounts.odd["busy"] = (code, "text/plain", b"")
            table = self.table()
            self.assertIn(str(code), self.assertRaises(TemporaryFailure, self.answer, table, "busy").reason)
            asked = len(self.accounts.asked)
            self.assertIn(str(code), self.assertRaises(TemporaryFailure, self.answer, table, "bob").reason)
            self.assertEqual(len(self.accounts.asked), asked)

    def test_an_answer_that_is_cut_off(self) -> None:
        self.assertRaises(TemporaryFailure, self.answer, self.table(), "cut")

    def test_a_host_that_is_silent(self) -> None:
        table = self.table(timeout=Duration(0.05), connections=1)
        for key in ("silent", "Silent"):
            failure = self.assertRaises(TemporaryFailure, self.answer, table, key)
            self.assertIn("no answer within", failure.reason)

    def test_token(self) -> None:
        self.answer(self.table(token=Secret("s3")), "bob@example.org")
        self.assertEqual(self.accounts.asked[0][1], "Bearer s3")
        self.answer(self.table(), "bob@example.org")
        self.assertIsNone(self.accounts.asked[1][1])

    def test_tls_is_verified(self) -> None:
        authority, other = Authority(), Authority()
        issued = authority.issue("127.0.0.1")
        # Twisted's TLS has its clock from the process's reactor.
        self.patch(tls, "_get_default_clock", lambda: self.world.reactor)
        context = SSL.Context(SSL.TLS_METHOD)
        context.use_certificate(load_pem_x509_certificate(issued.certificate))
        key: Any = load_pem_private_key(issued.key, None)
        context.use_privatekey(key)
        port = self.world.reactor.listenSSL(0, Site(self.accounts), Contexts(context), interface="127.0.0.1")
        self.base = f"https://127.0.0.1:{port.getHost().port}"
        table = self.table(ca=self.written(authority.pem.decode()))
        self.assertEqual(self.answer(table, "bob@example.org"), "home=/srv/bob")
        for ca in (self.written(other.pem.decode()), None):
            self.assertRaises(TemporaryFailure, self.answer, self.table(ca=ca), "bob@example.org")
        self.assertEqual(len(self.accounts.asked), 1)
        self.assertRaises(ValueError, self.table, ca=self.written("no certificate"))
