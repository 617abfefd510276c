"""Copies of lists are signed: in the list's name, in that of an author who may send here, never for a forged one."""

from __future__ import annotations

import os
from typing import Any

from dkim_signer import signer, verified
from list_cases import CARL, Lists, a_list
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.delivery.values import Batch
from mta.lists.signing import list_signer
from mta.message.header import scan
from mta.reply import TemporaryFailure
from mta.routing.values import Route

LIST = Address("team", "lists.example.org")


class Whose(SynchronousTestCase):
    def signed(self, author: str, *able: str, trusted: bool = False, munged: bool = False) -> str:
        header = scan(f"From: {author}\r\n\r\n".encode())
        return list_signer(header, LIST, trusted, munged, lambda name: name if name in able else "")

    def test_the_list(self) -> None:
        for trusted in (False, True):
            self.assertEqual(self.signed("x@far.example", LIST.domain, trusted=trusted), LIST.domain)

    def test_an_author_who_may_send_here(self) -> None:
        keys = (LIST.domain, "ours.example")
        self.assertEqual(self.signed("x@ours.example", *keys, trusted=True), "ours.example")
        self.assertEqual(self.signed("x@ours.example", *keys), LIST.domain)

    def test_a_forged_author_of_ours(self) -> None:
        # RFC 7489 3.1.1: such a signature would speak for the author.
        for author in (
            "x@lists.example.org",
            "x@example.org",
            "x@other.example.org",
            "nobody",
            "a@b.example, c@d.example",
        ):
            with self.subTest(author=author):
                self.assertEqual(self.signed(author, LIST.domain), "")
                self.assertEqual(self.signed(author, LIST.domain, trusted=True), LIST.domain)

    def test_an_author_who_is_the_list(self) -> None:
        self.assertEqual(self.signed(f"<{LIST}>", LIST.domain, munged=True), LIST.domain)

    def test_without_keys(self) -> None:
        self.assertEqual(self.signed("x@far.example"), "")


class Copies(Lists):
    def setUp(self) -> None:
        super().setUp()
        self.sign = signer()

    def copy(self, octets: bytes, **more: Any) -> bytes:
        self.begin(a_list("team", CARL, subject_tag="team", **more))
        self.spread._world = self.spread._world._replace(signer=self.sign)
        (row,) = self.send(octets=octets)
        self.told = self.story(row)
        return self.octets(row)

    def test_what_the_list_adds_is_covered(self) -> None:
        octets = self.copy(b"From: ann@far.example\r\nSubject: hello\r\n\r\nbody\r\n")
        self.assertTrue(octets.startswith(b"DKIM-Signature: v=1;"))
        self.assertIn(b"List-Id:", octets)
        self.assertEqual(verified(octets), [True, True])
        self.assertIn("DKIM: example.org, r, e", self.told)

    def test_a_large_body(self) -> None:
        octets = self.copy(b"From: a@far.example\r\n\r\n" + b"0123456789abcdef \r\n" * 30_000)
        self.assertEqual(verified(octets), [True, True])

    def test_keys_that_cannot_be_used(self) -> None:
        os.chmod("dkim/example.org/r.pem", 0o666)
        self.begin(a_list("team", CARL))
        self.spread._world = self.spread._world._replace(signer=self.sign)
        lease = self.take(octets=b"From: ann@example.org\r\n\r\nbody\r\n")
        batch = Batch(lease.message, lease.recipients, Route(destination=lease.recipients[0].destination), 1e9)
        self.failureResultOf(Deferred.fromCoroutine(self.spread.deliver(batch)), TemporaryFailure)
