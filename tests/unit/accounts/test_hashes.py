"""Hashes of passwords: ours, and those of other programs."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.accounts.hashes import (
    Cost,
    UnknownHash,
    made,
    nobodys_keys,
    outdated,
    plain,
    right,
    scram_from,
    scram_keys,
    scram_text,
    stored_keys,
)

CHEAP = Cost(8, 1, 1)


class Hashes(SynchronousTestCase):
    def test_ours(self) -> None:
        # RFC 9106 4
        stored = made(b"secret", CHEAP)
        self.assertTrue(stored.startswith("$argon2id$v=19$m=8,t=1,p=1$"))
        self.assertNotEqual(stored, made(b"secret", CHEAP))
        self.assertTrue(right(stored, b"secret"))
        self.assertFalse(right(stored, b"Secret"))
        self.assertFalse(outdated(stored, CHEAP))
        self.assertTrue(outdated(stored, Cost(16, 1, 1)))
        self.assertTrue(outdated("$6$salt$x", CHEAP))

    def test_those_of_other_programs(self) -> None:
        # RFC 2307 5.3
        for stored in (  # of openssl passwd
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
            "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
            "{SHA256-CRYPT}$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
        ):
            self.assertTrue(right(stored, b"Hello world!"), stored)
            self.assertFalse(right(stored, b"hello world!"))
        for stored in (  # of doveadm pw
            "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$BNNiVJxaDBUzowh6E4+5Mw$6xMWJ+GbnSUXyfaDLKyQ0fheRXZymrYK1chL8iizaAw",
            "{SCRAM-SHA-256}4096,1rh5jZNysFuuXIPNSlKEUA==,WbEcRr6ssfIoRogmF3VGStLC3jnUbK1yBjv/ksXtCYU=,"
            "ivlH+Y9A7mM6s4NQDNGUlS95tmE5Go6iATEFuvwe/zw=",
            "{SSHA512}ucg5nYjF4SUprDwrx/rWfz0sIe6pYtgIt58/KjPWjSXwKp/LtX+m30ggriSfnBdOQLrp4zamf3XjwEElsCsmSPesPCM=",
            "{BLF-CRYPT}$2y$05$xs7smWUBYhUInrptS0eJ0uahiL/hUnHuinuj.lz..2U.kpT5CJc/K",
        ):
            self.assertTrue(right(stored, b"secret"), stored)
            self.assertFalse(right(stored, b"Secret"))
        self.assertTrue(right("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", b"secret"))
        self.assertTrue(right("{ssha}g2Rw2y9zeQCcoUZwc4zGrqaAfiAPYUyJ", b"secret"))
        self.assertTrue(right("{PLAIN}secret", b"secret"))
        self.assertFalse(right("{PLAIN}secret", b"secret "))
        self.assertTrue(right(f"{{ARGON2ID}}{made(b'secret', CHEAP)}", b"secret"))
        self.assertEqual(plain("{PLAIN}secret"), b"secret")
        self.assertIsNone(plain("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="))

    def test_what_cannot_be_checked_is_not_wrong(self) -> None:
        for stored in (
            "",
            "secret",  # in clear by mistake: nobody logs in with it
            "*",
            "!",
            "{NOTHING}x",
            "{SHA}!",
            "{SSHA}AAAA",
            "$argon2id$v=19$m=8",
            "$argon2id$v=19$m=99999999,t=1,p=1$YWFhYWFhYWE$YWFhYWFhYWE",
            "$6$rounds=999999999$salt$x",
            "$2b$31$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "$zz$x",
            "{SCRAM-SHA-1}4096,x",
            "{SCRAM-SHA-1}999999999999,QQ==,QQ==,QQ==",
        ):
            error = self.assertRaises(UnknownHash, right, stored, b"secret")
            if stored:
                self.assertNotIn(stored, str(error))


class ScramKeysOf(SynchronousTestCase):
    def test_the_vectors_of_rfc_5802_and_7677(self) -> None:
        # RFC 5802 5, RFC 7677 3: by their proofs these are the stored keys.
        one = scram_keys(b"pencil", "sha-1", 4096, b"\x41\x25\xc2\x47\xe4\x3a\xb1\xe9\x3c\x6d\xff\x76")
        self.assertEqual(one.stored_key.hex(), "e9d94660c39d65c38fbad91c358f14da0eef2bd6")
        self.assertEqual(one.server_key.hex(), "0fe09258b3ac852ba502cc62ba903eaacdbf7d31")

    def test_they_are_kept_as_text(self) -> None:
        keys = scram_keys(b"secret", "sha-256", 4096)
        self.assertEqual(scram_from(scram_text(keys)), keys)
        stored = f"{{SCRAM-SHA-256}}{scram_text(keys)}"
        self.assertEqual(stored_keys(stored, "sha-256"), keys)
        self.assertIsNone(stored_keys(stored, "sha-1"))
        self.assertTrue(right(stored, b"secret"))
        self.assertFalse(right(stored, b"Secret"))

    def test_an_unknown_name_has_keys_always_the_same(self) -> None:
        # RFC 5802 9
        first = nobodys_keys(b"k", "bob", "sha-1", 4096)
        self.assertEqual(first, nobodys_keys(b"k", "bob", "sha-1", 4096))
        self.assertNotEqual(first.salt, nobodys_keys(b"k", "ann", "sha-1", 4096).salt)
        self.assertNotEqual(first.salt, nobodys_keys(b"l", "bob", "sha-1", 4096).salt)
        self.assertEqual((len(first.salt), len(first.stored_key)), (16, 20))
