"""The options of the delivery service ``smtp`` that concern TLS and logins, and what contradicts what."""

from __future__ import annotations

import os

from config_cases import MINIMAL, Folder
from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import Authority


class Options(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Folder(self)

    def wrong(self, *lines: str) -> str:
        return "\n".join(self.folder.problems("\n".join((MINIMAL, *lines)))).replace("delivery.internet.", "")

    def test_what_is_right(self) -> None:
        authority = Authority()
        self.folder.write("ca.pem", authority.pem)
        self.folder.write("own.pem", authority.issue("mx1.site.com").both)
        for lines in (
            ('tls = "verify"', 'ca_file = "ca.pem"', 'certificate = "own.pem"', 'tls_names = ["mx.x.example"]'),
            ('tls_rules = { "x.example" = "none", "*.x.example" = "encrypt", "*" = "verify" }',),
            ('host = "x.example"', "port = 465", "tls_implicit = true", 'user = "ann"', 'password = "p"'),
            ('host = "127.0.0.1"', 'tls = "none"', 'user = "ann"', 'password = "p"', "auth_in_clear = true"),
            ('host = "x.example"', 'user = "ann"', 'token_file = "later"', 'mechanisms = "OAUTHBEARER"'),
        ):
            self.assertEqual(self.wrong(*lines), "")

    def test_what_is_wrong(self) -> None:
        self.folder.write("empty.pem")
        for lines, said in (
            (('tls = "yes"',), 'tls: "yes" is not one of its values'),
            (('tls_rules = { "x.example" = "yes" }',), 'tls_rules."x.example": "yes" is not one of its values'),
            (('tls_rules = { "x y" = "none" }',), "is not a pattern"),
            (('tls_names = ["a b"]',), "tls_names: "),
            (('mechanisms = ["CRAM-MD5"]',), "'CRAM-MD5' is no mechanism that we know"),
            (('happy_eyeballs = "1ms"',), 'happy_eyeballs: "1ms" is too small'),
            (('user = "ann"', 'password = "p"'), "user: we log in at a host that is named"),
            (('host = "x.example"', 'user = "ann"'), "user: it has neither a password nor a token"),
            (('host = "x.example"', 'password = "p"'), "password: there is no user"),
            (('host = "x.example"', 'user = "a"', 'password = "p"', 'tls = "none"'), "tls: we log in over verified"),
            (('tls = "none"', "tls_implicit = true"), "tls_implicit: there is no TLS to begin with"),
            (('key = "empty.pem"',), "key: there is no certificate"),
            (('ca_file = "empty.pem"',), "ca_file: empty.pem: holds no certificates"),
            (('certificate = "nowhere.pem"',), "certificate: nowhere.pem: is no certificate"),
        ):
            self.assertIn(said, self.wrong(*lines))

    def test_key_that_only_the_service_may_read(self) -> None:
        self.folder.write("own.pem")
        self.patch(os, "access", lambda path, mode: not path.endswith("own.pem"))
        self.assertEqual(self.wrong('certificate = "own.pem"'), "")

    def test_a_password_is_not_shown(self) -> None:
        self.assertNotIn("geheim", self.wrong('password = "geheim"', "user = 5"))
        found = self.folder.load(f'{MINIMAL}host = "x.example"\nuser = "ann"\npassword = "geheim"\n')
        self.assertNotIn("geheim", " ".join(map(str, found.items())))
