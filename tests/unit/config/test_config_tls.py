"""[tls]: what contradicts itself or cannot be is told; the files themselves are for the service (mta/tls/)."""

from __future__ import annotations

from typing import Any

from config_cases import mapping, problems_of
from twisted.trial.unittest import SynchronousTestCase


class Tls(SynchronousTestCase):
    def problems(self, listen: dict[str, Any] | None = None, **tls: Any) -> list[str]:
        changed = mapping()
        changed["tls"] = tls
        changed["listen"][0].update(listen or {})
        return problems_of(changed)

    def test_right(self) -> None:
        for tls in (
            {},
            {"certificate": "no-such-file.pem"},  # who asks may not be who may read keys
            {"certificate": "a.pem", "key": "a.key", "certificates": "tls", "minimum": "TLSv1.3"},
            {"ciphers": "ECDHE+AESGCM"},
            {"self_signed": False},
        ):
            self.assertEqual(self.problems(**tls), [], tls)
        self.assertEqual(self.problems({"tls": "implicit"}), [])
        self.assertEqual(self.problems({"tls": "implicit"}, self_signed=False, certificates="tls"), [])

    def test_key_without_its_certificate(self) -> None:
        (problem,) = self.problems(key="a.key")
        self.assertIn("tls.key", problem)
        self.assertIn("no tls.certificate that it could be for", problem)

    def test_implicit_without_any(self) -> None:
        (problem,) = self.problems({"tls": "implicit"}, self_signed=False)
        self.assertIn("listen[0].tls", problem)
        self.assertIn("needs a certificate", problem)

    def test_values(self) -> None:
        for tls, words in (
            ({"minimum": "TLSv1.0"}, "TLSv1.2"),
            ({"ciphers": "nonsense"}, "no list of ciphers that OpenSSL knows"),
            ({"handshake_timeout": "0s"}, "tls.handshake_timeout"),
        ):
            (problem,) = self.problems(**tls)
            self.assertIn(words, problem)
        (problem,) = self.problems({"tls": "always"})
        self.assertIn("starttls", problem)
