"""Tokens whose issuer is asked over HTTP: its keys fetched, and what it says of a token (RFC 7662)."""

from __future__ import annotations

import json
import smtplib
import ssl
import threading
import unittest
from base64 import b64decode, b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs

from tests.integration.test_logins import KEY, NAME, ECAlgorithm, token
from tests.integration.tools import Daemon, free_port

MORE = """
[[listen]]
name = "logins"
endpoint = "tcp:{port}:interface=127.0.0.1"
auth = true
[login]
refuse_after = "0s"
[accounts.keys]
type = "oauth"
issuer = "https://id.example"
audience = ["mail"]
keys_url = "http://127.0.0.1:{issuer}/keys"
[accounts.asked]
type = "oauth"
issuer = "https://other.example"
audience = ["mail"]
introspection = "http://127.0.0.1:{issuer}/ask"
client = "mail"
secret = "of ours"
recheck = "0s"
accounts = true
"""


class Issuer(BaseHTTPRequestHandler):
    """Has one key, and believes every token that is not "revoked"."""

    revoked: ClassVar[set[str]] = set()

    def do_GET(self) -> None:
        key = {**ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "k"}
        self.answer(200 if self.path == "/keys" else 404, {"keys": [key]})

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        who = b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
        said = form["token"][0]
        good = {"active": True, "aud": "mail", "email": "carl@ours.example"}
        known = said.startswith("opaque") and said not in self.revoked
        self.answer(200 if who == "mail:of+ours" else 401, good if known else {"active": False})

    def answer(self, code: int, said: Any) -> None:
        octets = json.dumps(said).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(octets)))
        self.end_headers()
        self.wfile.write(octets)

    def log_message(self, format: str, *args: Any) -> None:
        """The tests say what matters."""


class Tokens(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        issuer = ThreadingHTTPServer(("127.0.0.1", 0), Issuer)
        cls.addClassCleanup(issuer.server_close)
        cls.addClassCleanup(issuer.shutdown)
        threading.Thread(target=issuer.serve_forever, daemon=True).start()
        cls.port = free_port()
        cls.daemon = cls.enterClassContext(Daemon(MORE.format(port=cls.port, issuer=issuer.server_port)))

    def client(self) -> smtplib.SMTP:
        client = self.enterContext(smtplib.SMTP("127.0.0.1", self.port, timeout=30))
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client.starttls(context=context)
        client.ehlo()
        return client

    def log_in(self, client: smtplib.SMTP, octets: str, name: str) -> int:
        said = b64encode(f"user={name}\x01auth=Bearer {octets}\x01\x01".encode()).decode()
        code, _ = client.docmd("AUTH", f"XOAUTH2 {said}")
        return client.docmd("")[0] if code == 334 else code

    def test_keys_that_are_fetched(self) -> None:
        self.assertEqual(self.log_in(self.client(), token(), NAME), 235, self.daemon.log()[-2000:])
        self.assertEqual(self.log_in(self.client(), token(aud="web"), NAME), 535)

    def test_an_issuer_that_is_asked_again_at_each_message(self) -> None:
        client = self.client()
        self.assertEqual(self.log_in(client, "opaque1", "carl@ours.example"), 235, self.daemon.log()[-2000:])
        self.assertEqual(client.mail("carl@ours.example")[0], 250)
        client.rset()
        Issuer.revoked.add("opaque1")
        self.assertEqual(client.mail("carl@ours.example")[0], 530)
        self.assertEqual(self.log_in(self.client(), "opaque1", "carl@ours.example"), 535)
        self.assertEqual(self.log_in(self.client(), "unknown", "carl@ours.example"), 535)
