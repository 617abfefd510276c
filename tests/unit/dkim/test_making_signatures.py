"""DKIM-Signature fields: the vectors of RFC 8463, what is covered, and that another implementation takes them."""

from __future__ import annotations

import base64
import re
from typing import Any

import dkim
from hypothesis import given
from hypothesis import strategies as st
from rfc8463 import (
    ED25519,
    ED25519_SIGNATURE,
    ED25519_VALUE,
    MESSAGE,
    NAMES,
    RECORDS,
    RSA,
    RSA_SIGNATURE,
    RSA_VALUE,
)
from twisted.trial.unittest import SynchronousTestCase

from mta.dkim.canon import relaxed_field
from mta.dkim.fields import IF_THERE, OVERSIGNED, SIGNED, chosen, signed_octets
from mta.dkim.keys import Algorithm, PrivateKey, record
from mta.dkim.sign import Digest, Signatory
from mta.message.header import scan

KEYS = {Algorithm.RSA: RSA, Algorithm.ED25519: ED25519}
NOW = 1_795_546_800_000
DOMAIN = "example.org"


def digest(octets: bytes, size: int = 1 << 20) -> Digest:
    found = Digest()
    for at in range(0, len(octets), size):
        found.feed(octets[at : at + size])
    found.finish()
    return found


def sign(octets: bytes, key: PrivateKey, domain: str = DOMAIN, size: int = 1 << 20) -> bytes:
    (draft,) = digest(octets, size).drafts([Signatory(domain, "s1", key.algorithm)], NOW)
    return draft.field(key.sign(draft.octets))


def verifies(octets: bytes, key: PrivateKey) -> bool:
    def dns(name: bytes, timeout: float = 5) -> bytes:
        return record(key.algorithm, key.public).encode()

    return bool(dkim.verify(octets, dnsfunc=dns, minkey=1024))


def tags(field: bytes) -> dict[str, str]:
    text = re.sub(r"\s+", "", field.decode().partition(":")[2])
    return dict(tag.split("=", 1) for tag in text.split(";"))


class Vectors(SynchronousTestCase):
    """RFC 8463 A"""

    def signature(self, key: PrivateKey, value: bytes) -> str:
        octets = signed_octets(scan(MESSAGE), NAMES) + relaxed_field(b"DKIM-Signature", value)[:-2]
        return base64.b64encode(key.sign(octets)).decode()

    def test_records(self) -> None:
        # RFC 8463 4.2, A.2; RFC 6376 3.6.1
        for algorithm, key in KEYS.items():
            self.assertEqual(record(algorithm, key.public), RECORDS[algorithm])

    def test_ed25519(self) -> None:
        # RFC 8463 3, A.3
        self.assertEqual(self.signature(ED25519, ED25519_VALUE), ED25519_SIGNATURE)

    def test_rsa(self) -> None:
        # RFC 6376 3.7
        self.assertEqual(self.signature(RSA, RSA_VALUE), RSA_SIGNATURE)

    def test_the_body(self) -> None:
        (draft,) = digest(MESSAGE).drafts([Signatory(DOMAIN, "s", Algorithm.RSA)], 0)
        self.assertIn(b"bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;", draft.start)


class Covered(SynchronousTestCase):
    def names(self, header: bytes) -> list[str]:
        return [name.decode() for name in chosen(scan(header + b"\r\n"))]

    def test_once_more_than_there_are(self) -> None:
        # RFC 6376 8.15
        names = self.names(b"From: a\r\nTo: b\r\nTo: c\r\nSubject: s\r\n")
        for name, count in {"from": 2, "to": 3, "subject": 2, "date": 1, "cc": 1, "reply-to": 1}.items():
            self.assertEqual(names.count(name), count, name)

    def test_all_of_a_name(self) -> None:
        # RFC 6376 5.4.2
        names = self.names(b"List-Id: a\r\nResent-To: b\r\nResent-To: c\r\nList-Unsubscribe-Post: d\r\n")
        # RFC 8058 4
        self.assertIn("list-unsubscribe-post", names)
        self.assertEqual((names.count("list-id"), names.count("resent-to"), names.count("resent-from")), (1, 2, 0))

    def test_only_where_there_is_one(self) -> None:
        self.assertNotIn("sender", self.names(b"From: a\r\n"))
        self.assertEqual(self.names(b"Sender: a\r\n").count("sender"), 2)

    def test_trace_is_not(self) -> None:
        # RFC 6376 5.4.1
        names = self.names(b"Received: a\r\nReturn-Path: <b>\r\nDKIM-Signature: c\r\nComments: d\r\nX-Spam: e\r\n")
        self.assertEqual(set(names), {name.decode() for name in OVERSIGNED})

    def test_no_name_stands_twice(self) -> None:
        every = (*OVERSIGNED, *IF_THERE, *SIGNED)
        self.assertEqual(len(set(every)), len(every))

    def test_from_the_last_one_up(self) -> None:
        # RFC 6376 5.4.2
        header = scan(b"To: 1\r\nTo: 2\r\n\r\n")
        self.assertEqual(signed_octets(header, (b"to", b"to", b"to")), b"to:2\r\nto:1\r\n")


class Fields(SynchronousTestCase):
    def test_tags(self) -> None:
        # RFC 6376 3.5
        found = tags(sign(MESSAGE, RSA))
        self.assertEqual(list(found), ["v", "a", "c", "d", "s", "t", "h", "bh", "b"])
        # RFC 6376 8.2: no l=
        self.assertEqual(found["c"], "relaxed/relaxed")
        self.assertEqual((found["d"], found["s"], found["t"]), (DOMAIN, "s1", str(NOW // 1000)))

    def test_lines_are_short(self) -> None:
        # RFC 5322 2.1.1
        field = sign(MESSAGE.replace(b"\r\n\r\n", b"\r\n" + b"To: x\r\n" * 40 + b"\r\n", 1), RSA)
        self.assertLessEqual(max(map(len, field.split(b"\r\n"))), 78)
        self.assertTrue(field.endswith(b"\r\n"))

    def test_dkimpy_takes_them(self) -> None:
        for key in KEYS.values():
            for octets in (
                MESSAGE,
                b"From: a@example.org\r\n\r\n",
                b"From: a@example.org\r\n",
                b"From: a@example.org\r\nTo: b,\r\n\tc\r\nTO: d\r\n\r\n  x \t y \r\n\r\n \r\n",
                "From: José <josé@example.org>\r\nSubject: grüße\r\n\r\nkörper\r\n".encode(),
            ):
                with self.subTest(octets=octets, key=key.algorithm):
                    self.assertTrue(verifies(sign(octets, key) + octets, key))

    def test_what_is_changed_is_noticed(self) -> None:
        signed = sign(MESSAGE, RSA) + MESSAGE
        self.assertTrue(verifies(signed, RSA))
        for changed in (
            signed.replace(b"\r\nTo:", b"\r\nCc: x@y.example\r\nTo:"),
            b"From: other@example.org\r\n" + signed,
            b"Content-Type: text/html\r\n" + signed,
            signed + b"More.\r\n",
            signed.replace(b"hungry", b"angry"),
        ):
            self.assertFalse(verifies(changed, RSA))
        for same in (b"Received: x\r\n" + signed, signed + b"\r\n\r\n", signed.replace(b"Subject: ", b"SUBJECT:\t ")):
            self.assertTrue(verifies(same, RSA))

    def test_both_keys(self) -> None:
        # RFC 8463 1: each counts without the other.
        who = [Signatory(DOMAIN, "s", algorithm) for algorithm in Algorithm]
        drafts = digest(MESSAGE).drafts(who, NOW)
        fields = [draft.field(KEYS[one.algorithm].sign(draft.octets)) for draft, one in zip(drafts, who, strict=True)]
        for field, one in zip(fields, who, strict=True):
            self.assertTrue(verifies(field + MESSAGE, KEYS[one.algorithm]))
            other = next(each for each in fields if each is not field)
            self.assertTrue(verifies(field + other + MESSAGE, KEYS[one.algorithm]))

    @given(
        st.lists(st.sampled_from([b"From: a@example.org\r\n", b"to: b\r\n", b"X: y\r\n", b"Subject:  c\r\n  d\r\n"])),
        st.lists(st.sampled_from([b" ", b"x", b"\r\n", b"\t", b"\r\n\r\n", b".\r\n"])),
        st.integers(1, 9),
    )
    def test_wherever_it_is_cut(self, fields: list[bytes], parts: list[bytes], size: int) -> None:
        # As SMTP has it, with a line's end at the end: of what has none dkimpy thinks otherwise.
        octets = b"".join([*fields, b"\r\n", *parts, b"\r\n"])
        whole = sign(octets, ED25519)
        self.assertEqual(sign(octets, ED25519, size=size), whole)
        if b"From: a@example.org\r\n" in fields:
            self.assertTrue(verifies(whole + octets, ED25519))

    def test_known_when_the_header_has_come(self) -> None:
        found: Any = Digest()
        found.feed(b"From: a\r\n\r")
        self.assertFalse(found.known)
        found.feed(b"\nbody")
        self.assertTrue(found.known)
        self.assertEqual(found.header.octets, b"From: a\r\n\r\n")
