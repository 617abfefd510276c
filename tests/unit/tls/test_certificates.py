"""Certificates and keys from files: what is taken, and what is refused with a sentence that says what to do."""

from __future__ import annotations

import os
import tempfile
import unittest
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import dsa
from twisted.trial.unittest import SynchronousTestCase

from mta.tls.certificates import CertificateError, NotReadable, Source, read, sources, stamp
from tests.certificates import Authority, put

AUTHORITY = Authority()
MAIL = AUTHORITY.issue("mail.ours.example", "*.Ours.example")


class Files(SynchronousTestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)

    def one(self, name: str = "mail.pem", octets: bytes = MAIL.both, mode: int = 0o600) -> Source:
        path = str(put(self.folder / name, octets, mode))
        return Source(path, path)

    def refused(self, source: Source, words: str, kind: type[Exception] = CertificateError) -> None:
        with self.assertRaises(kind) as caught:
            read(source)
        self.assertIn(words, str(caught.exception))
        self.assertIn(str(self.folder), str(caught.exception))


class Reading(Files):
    def test_key_and_chain_in_one_file(self) -> None:
        found = read(self.one(octets=MAIL.key + MAIL.certificate + AUTHORITY.pem))
        self.assertEqual(found.names, ("mail.ours.example", "*.ours.example"))  # RFC 6125 6.4
        self.assertEqual(len(found.chain), 1)
        self.assertLess(found.begins, found.expires)

    def test_key_of_its_own(self) -> None:
        certificate = put(self.folder / "a.crt", MAIL.certificate, 0o644)
        key = put(self.folder / "a.key", MAIL.key, 0o640)
        self.assertEqual(read(Source(str(certificate), str(key))).name, "mail.ours.example")

    def test_common_name_where_there_is_no_other(self) -> None:
        # RFC 6125 6.4.4
        issued = AUTHORITY.issue(common_name="old.ours.example")
        self.assertEqual(read(self.one(octets=issued.both)).names, ("old.ours.example",))

    def test_key_that_others_may_read(self) -> None:
        self.refused(self.one(mode=0o604), "others may read this key; run: chmod o-rwx")
        source = Source(self.one("a.crt", MAIL.certificate, 0o644).certificate, self.one("a.key", MAIL.key, 0o644).key)
        self.refused(source, "a.key: others may read this key")

    def test_certificate_that_anybody_may_write(self) -> None:
        source = Source(self.one("a.crt", MAIL.certificate, 0o646).certificate, self.one("a.key", MAIL.key).key)
        self.refused(source, "anybody may write to it")

    def test_folder_that_anybody_may_write(self) -> None:
        source = self.one()
        self.folder.chmod(0o777)
        self.refused(source, "anybody may write to its folder")

    def test_key_of_another(self) -> None:
        other = AUTHORITY.issue("other.example")
        self.refused(self.one(octets=other.key + MAIL.certificate), "is not the key of the first certificate")

    def test_chain_in_the_wrong_order(self) -> None:
        self.refused(
            self.one(octets=MAIL.key + AUTHORITY.pem + MAIL.certificate), "is not the key of the first certificate"
        )

    def test_key_with_a_password(self) -> None:
        self.refused(self.one(octets=AUTHORITY.issue("a.example", password=b"secret").both), "has a password")

    def test_what_is_no_pem(self) -> None:
        self.refused(self.one(octets=b"\x00\xff" * 100), "is no certificate in PEM")
        self.refused(self.one(octets=MAIL.certificate), "has no key")
        self.refused(self.one(octets=MAIL.certificate + b"-----BEGIN PRIVATE KEY-----\nAAAA\n"), "is no private key")

    def test_files_cut_anywhere(self) -> None:
        """Half-written files are refused and nothing else: whatever is cut off, no other exception comes."""
        whole = MAIL.both
        for cut in range(0, len(whole) - 30, 7):
            with self.assertRaises(CertificateError):
                read(self.one(octets=whole[:cut]))

    def test_what_is_not_there_or_no_file(self) -> None:
        self.refused(Source(str(self.folder / "no.pem"), str(self.folder / "no.pem")), "cannot be read: No such file")
        self.refused(Source(str(self.folder), str(self.folder)), "Is a directory")
        os.mkfifo(self.folder / "pipe.pem", 0o600)
        pipe = str(self.folder / "pipe.pem")
        self.refused(Source(pipe, pipe), "is no regular file")

    def test_size_is_bounded(self) -> None:
        self.refused(self.one(octets=MAIL.both + b"#" * (1 << 20)), "is larger than")

    def test_chain_is_bounded(self) -> None:
        self.refused(self.one(octets=MAIL.both + AUTHORITY.pem * 20), "more than 20 certificates")

    def test_kind_of_key(self) -> None:
        key = dsa.generate_private_key(1024)
        self.refused(self.one(octets=AUTHORITY.issue("a.example", key=key).both), "is no RSA, ECDSA or EdDSA key")

    def test_permission_alone_is_missing(self) -> None:
        if os.geteuid() == 0:
            raise unittest.SkipTest("root may read everything")
        self.refused(self.one(mode=0o000), "cannot be read", NotReadable)


class Folders(Files):
    def found(self) -> list[str]:
        return [
            "+".join(dict.fromkeys(str(Path(path).relative_to(self.folder)) for path in source))
            for source in sources(str(self.folder))
        ]

    def test_all_forms(self) -> None:
        self.one("b.pem")
        self.one("c.crt", MAIL.certificate, 0o644)
        self.one("c.key", MAIL.key)
        self.one("d.pem", MAIL.certificate, 0o644)
        self.one("d.key", MAIL.key)
        self.one("a.example/fullchain.pem", MAIL.certificate, 0o644)
        self.one("a.example/privkey.pem", MAIL.key)
        self.one("a.example/chain.pem", AUTHORITY.pem, 0o644)
        self.one("README", b"certbot writes one")
        self.one(".hidden.pem")
        (self.folder / "empty").mkdir()
        self.assertEqual(
            self.found(), ["a.example/fullchain.pem+a.example/privkey.pem", "b.pem", "c.crt+c.key", "d.pem+d.key"]
        )
        for source in sources(str(self.folder)):
            self.assertEqual(read(source).name, "mail.ours.example")

    def test_links_as_certbot_makes_them(self) -> None:
        put(self.folder / "archive/fullchain1.pem", MAIL.certificate, 0o644)
        put(self.folder / "archive/privkey1.pem", MAIL.key)
        live = self.folder / "live/ours"
        live.mkdir(parents=True)
        (live / "fullchain.pem").symlink_to("../../archive/fullchain1.pem")
        (live / "privkey.pem").symlink_to("../../archive/privkey1.pem")
        (source,) = sources(str(self.folder / "live"))
        before = stamp(source)
        self.assertEqual(read(source).name, "mail.ours.example")
        put(self.folder / "archive/fullchain2.pem", MAIL.certificate, 0o644)
        (live / "fullchain.pem").unlink()
        (live / "fullchain.pem").symlink_to("../../archive/fullchain2.pem")
        self.assertNotEqual(stamp(source), before)

    def test_key_alone(self) -> None:
        self.one("a.key", MAIL.key)
        with self.assertRaises(CertificateError) as caught:
            self.found()
        self.assertIn("there is no certificate beside it", str(caught.exception))

    def test_certificate_alone(self) -> None:
        self.one("a.crt", MAIL.certificate, 0o644)
        (source,) = sources(str(self.folder))
        self.refused(source, "a.key: cannot be read")

    def test_folder_that_we_are_not_let_into_is_not_empty(self) -> None:
        """Once privileges are dropped: what cannot be seen must not count as deleted."""
        self.one("a.example/fullchain.pem", MAIL.certificate, 0o644)
        real = os.lstat

        def lstat(path: str) -> os.stat_result:
            if path.endswith("fullchain.pem"):
                raise PermissionError(13, "Permission denied")
            return real(path)

        self.patch(os, "lstat", lstat)
        self.assertEqual(self.found(), ["a.example/fullchain.pem+a.example/privkey.pem"])
