"""Keys on disk: written whole, read only where nobody else could, and seen again when they change."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from rfc8463 import ED25519, RSA, RSA_PEM
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.dkim.keys import Algorithm, WrongKey, make, read
from mta.dkim.ledger import Entry, Ledger, State
from mta.dkim.ring import LOOK, KeyRing
from mta.dkim.store import KeyFiles, Unusable

NOW = 1_795_546_800_000
DOMAIN = "example.org"


def entries(used: int = NOW) -> tuple[Entry, ...]:
    return (
        Entry(selector="r", algorithm=Algorithm.RSA, public=RSA.public, made=NOW, used=used),
        Entry(selector="e", algorithm=Algorithm.ED25519, public=ED25519.public, made=NOW, used=used),
    )


class FilesCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path("state/dkim")
        self.files = KeyFiles(os.path.abspath(self.folder))

    def put(self, used: int = NOW) -> None:
        with self.files.changing(DOMAIN):
            self.files.put(DOMAIN, Ledger(entries(used)), {"r": RSA, "e": ED25519})

    def mode(self, name: str) -> int:
        return stat.S_IMODE((self.folder / DOMAIN / name).stat().st_mode)


class Files(FilesCase):
    def test_none(self) -> None:
        self.assertEqual((self.files.domains(), self.files.signing(DOMAIN)), ([], ()))
        self.assertIsNone(self.files.stamp(DOMAIN))

    def test_what_was_put(self) -> None:
        self.put()
        self.assertEqual(self.files.domains(), [DOMAIN])
        self.assertEqual(self.files.ledger(DOMAIN), Ledger(entries()))
        found = self.files.signing(DOMAIN)
        self.assertEqual([(one.who.domain, one.who.selector, one.key.public) for one in found], [
            (DOMAIN, "r", RSA.public),
            (DOMAIN, "e", ED25519.public),
        ])  # fmt: skip
        self.assertEqual((self.mode("r.pem"), self.mode("e.pem")), (0o600, 0o600))
        self.assertEqual(stat.S_IMODE(self.folder.stat().st_mode), 0o700)

    def test_only_those_in_use_sign(self) -> None:
        self.put(used=0)
        self.assertEqual(self.files.signing(DOMAIN), ())
        self.assertEqual(len(self.files.ledger(DOMAIN).of(State.NEW)), 2)

    def test_a_key_that_is_not_named_goes(self) -> None:
        self.put()
        with self.files.changing(DOMAIN) as ledger:
            self.files.put(DOMAIN, ledger.without(entries()[:1]))
        self.assertEqual(
            sorted(path.name for path in (self.folder / DOMAIN).iterdir()), [".lock", "e.pem", "keys.toml"]
        )

    def test_open_to_others(self) -> None:
        self.put()
        for mode in (0o604, 0o602, 0o620):
            (self.folder / DOMAIN / "r.pem").chmod(mode)
            error = self.assertRaises(Unusable, self.files.signing, DOMAIN)
            self.assertIn("r.pem has mode", str(error))
        (self.folder / DOMAIN / "r.pem").chmod(0o640)
        self.files.signing(DOMAIN)

    def test_a_ledger_that_anybody_may_write(self) -> None:
        self.put()
        (self.folder / DOMAIN / "keys.toml").chmod(0o666)
        self.assertIn("anybody may write", str(self.assertRaises(Unusable, self.files.signing, DOMAIN)))

    def test_another_key(self) -> None:
        self.put()
        (self.folder / DOMAIN / "r.pem").write_bytes(ED25519.pem())
        self.assertIn("is not the key that", str(self.assertRaises(Unusable, self.files.signing, DOMAIN)))

    def test_no_key_at_all(self) -> None:
        self.put()
        for octets in (b"", b"\x00" * 100, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"):
            (self.folder / DOMAIN / "r.pem").write_bytes(octets)
            self.assertIn("no private key", str(self.assertRaises(Unusable, self.files.signing, DOMAIN)))
        (self.folder / DOMAIN / "r.pem").unlink()
        self.assertIn("No such file", str(self.assertRaises(Unusable, self.files.signing, DOMAIN)))

    def test_folders_that_are_no_domains(self) -> None:
        self.put()
        for name in ("Example.ORG", "..x", "not a domain"):
            (self.folder / name).mkdir()
            (self.folder / name / "keys.toml").write_text("")
        self.assertEqual(self.files.domains(), [DOMAIN])


class Keys(SynchronousTestCase):
    def test_what_other_programs_made(self) -> None:
        self.assertEqual(read(RSA_PEM).public, RSA.public)
        self.assertEqual(read(RSA.pem()).public, RSA.public)
        self.assertEqual(read(ED25519.pem()).public, ED25519.public)

    def test_sizes(self) -> None:
        # RFC 8301 3.2
        self.assertEqual(make(Algorithm.RSA).bits, 2048)
        self.assertIn("512 bits", str(self.assertRaises(WrongKey, read, SHORT)))

    def test_a_pass_phrase(self) -> None:
        locked = RSA_PEM.replace(
            b"KEY-----\nMII", b"KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMII", 1
        )
        self.assertRaises(WrongKey, read, locked)


#: openssl genrsa 512
SHORT = b"""-----BEGIN RSA PRIVATE KEY-----
MIIBOgIBAAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf9Cnzj4p4WGeKLs1Pt8Qu
KUpRKfFLfRYC9AIKjbJTWit+CqvjWYzvQwECAwEAAQJAIJLixBy2qpFoS4DSmoEm
o3qGy0t6z09AIJtH+5OeRV1be+N4cDYJKffGzDa88vQENZiRm0GRq6a+HPGQMd2k
TQIhAKMSvzIBnni7ot/OSie2TmJLY4SwTQAevXysE2RbFDYdAiEBCUEaRQnMnbp7
9mxDXDf6AU0cN/RPBjb9qSHDcWZHGzUCIG2Es59z8ugGrDY+pxLQnwfotadxd+Uy
v/Ow5T0q5gIJAiEAyS4RaI9YG8EWx/2w0T67ZUVAw8eOMB6BIUg0Xcu+3okCIBOs
/5OiPgoTdSy7bcF9IGpSE8ZgGKzgYQVZeN97YE00
-----END RSA PRIVATE KEY-----
"""


class Ring(FilesCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.ring = KeyRing(self.files, self.clock.seconds)

    def selectors(self) -> list[str]:
        return [one.who.selector for one in self.ring.signing(DOMAIN)]

    def test_new_keys_are_seen(self) -> None:
        self.assertEqual(self.selectors(), [])
        self.put()
        self.assertEqual(self.selectors(), ["r", "e"])

    def test_a_change_is_seen_in_time(self) -> None:
        self.put()
        self.selectors()
        with self.files.changing(DOMAIN) as ledger:
            self.files.put(DOMAIN, ledger.without(entries()[:1]))
        self.assertEqual(self.selectors(), ["r", "e"])
        self.clock.advance(LOOK)
        self.assertEqual(self.selectors(), ["e"])

    def test_what_can_no_longer_be_read_stays(self) -> None:
        self.put()
        self.selectors()
        file = self.folder / DOMAIN / "keys.toml"
        good = file.read_text()
        file.write_text("broken")
        self.clock.advance(LOOK)
        self.assertEqual(self.selectors(), ["r", "e"])
        self.clock.advance(LOOK)
        self.assertEqual(self.selectors(), ["r", "e"])
        file.write_text(good)
        self.clock.advance(LOOK)
        self.assertEqual(self.selectors(), ["r", "e"])

    def test_what_never_could_be(self) -> None:
        self.put()
        (self.folder / DOMAIN / "r.pem").chmod(0o644)
        self.assertRaises(Unusable, self.selectors)
        (self.folder / DOMAIN / "r.pem").chmod(0o600)
        self.clock.advance(LOOK)
        self.assertEqual(self.selectors(), ["r", "e"])

    def test_keys_that_are_gone(self) -> None:
        self.put()
        self.selectors()
        (self.folder / DOMAIN / "keys.toml").unlink()
        self.clock.advance(LOOK)
        self.assertEqual(self.selectors(), [])

    def test_no_domain(self) -> None:
        for domain in ("", "[192.0.2.1]"):
            self.assertEqual(self.ring.signing(domain), ())
