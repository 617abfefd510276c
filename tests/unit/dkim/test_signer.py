"""Who signs for whom: the author's domain, the one above it, nobody; and what the policy "dkim" makes of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dkim_signer import NOW, Pieces, signer, verified
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mta.address import Address
from mta.dkim.policy import DkimPolicy, DkimPolicyOptions
from mta.dkim.signer import Signer
from mta.envelope import Origin, Right
from mta.interfaces import IChunks, IMessagePolicy
from mta.message.edits import Edit, apply
from mta.message.header import scan
from mta.policy.values import MessageContext
from mta.reply import TemporaryFailure
from mta.verdict import Decision, Verdict
from mta.waiting import as_deferred

OCTETS = b"From: Ann <ann@example.org>\r\nTo: bob@b.example\r\nSubject: hi\r\n\r\nhello\r\n"


class Signing(SynchronousTestCase):
    def sign(self, signer: Signer, octets: bytes, **how: Any) -> Any:
        pieces = Pieces(octets, **how)
        signed = self.successResultOf(as_deferred(signer.sign(pieces, signer.author)))
        self.assertTrue(pieces.closed)
        return signed

    def test_both_keys(self) -> None:
        for waits in (False, True):
            signed = self.sign(signer(), OCTETS, waits=waits)
            self.assertEqual((signed.domain, signed.selectors), ("example.org", ("r", "e")))
            self.assertEqual(verified(signed.fields + OCTETS), [True, True])

    def test_rsa_waits_for_its_thread(self) -> None:
        works: list[tuple[Deferred[bytes], Any]] = []

        def in_thread(work: Any, *args: Any) -> Deferred[bytes]:
            works.append((Deferred(), lambda: work(*args)))
            return works[-1][0]

        one = signer(in_thread=in_thread)
        waiting = as_deferred(one.sign(Pieces(OCTETS), one.author))
        self.assertNoResult(waiting)
        ((deferred, work),) = works
        deferred.callback(work())
        self.assertEqual(verified(self.successResultOf(waiting).fields + OCTETS), [True, True])

    def test_the_author_decides(self) -> None:
        one = signer()
        for author, domain in {
            "ann@example.org": "example.org",
            "Ann <ann@EXAMPLE.org>": "example.org",
            "ann@elsewhere.example": "",
            "ann@sub.example.org": "",
            "ann@example.org, bob@example.org": "example.org",
            "ann@example.org, bob@b.example": "",
            "Ann": "",
            "ann@[192.0.2.1]": "",
        }.items():
            with self.subTest(author=author):
                self.assertEqual(one.author(scan(f"From: {author}\r\n\r\n".encode())), domain)
        self.assertEqual(one.author(scan(b"From: a@example.org\r\nFrom: b@example.org\r\n\r\n")), "")

    def test_the_domain_above(self) -> None:
        one = signer(parents=True)
        self.assertEqual(one.able("a.b.example.org"), "example.org")
        self.assertEqual(one.able("org"), "")
        self.assertEqual(one.able("notexample.org"), "")

    def test_an_international_domain(self) -> None:
        # RFC 8616 5: an A-label is right in any message.
        one = signer("xn--bcher-kva.example")
        octets = "From: Jörg <jörg@bücher.example>\r\n\r\nbüch\r\n".encode()
        signed = self.sign(one, octets)
        self.assertIn(b" d=xn--bcher-kva.example;", signed.fields)
        self.assertTrue(signed.fields.isascii())
        self.assertEqual(verified(signed.fields + octets), [True, True])

    def test_nothing_is_read_for_nobody(self) -> None:
        one = signer()
        pieces = Pieces(b"From: x@elsewhere.example\r\n\r\n" + b"x" * 1000)
        self.assertEqual(self.successResultOf(as_deferred(one.sign(pieces, one.author))).fields, b"")
        self.assertGreater(len(pieces.left), 40)
        self.assertTrue(pieces.closed)

    def test_a_message_that_is_all_header(self) -> None:
        octets = b"From: ann@example.org\r\nSubject: x\r\n"
        signed = self.sign(signer(), octets)
        self.assertEqual(verified(signed.fields + octets), [True, True])

    def test_keys_that_cannot_be_read(self) -> None:
        one = signer()
        os.chmod("dkim/example.org/r.pem", 0o644)
        failure = self.failureResultOf(as_deferred(one.sign(Pieces(OCTETS), one.author)), TemporaryFailure)
        self.assertEqual(str(failure.value.reply), "451 4.7.0 The message cannot be signed now")
        self.assertIn("chmod 600", failure.value.reason)


class Policy(SynchronousTestCase):
    def setUp(self) -> None:
        services: Any = type("Services", (), {"signer": signer()})()
        self.policy = DkimPolicy(DkimPolicyOptions(), services)

    def context(self, octets: bytes = OCTETS, edits: tuple[Edit, ...] = ()) -> MessageContext:
        def source(edits: Sequence[Edit]) -> IChunks:
            pieces: Any = Pieces(apply(octets, edits))
            return pieces  # type: ignore[no-any-return]

        return MessageContext(
            origin=Origin(listener="submission", protocol="ESMTPSA"),
            reverse_path=Address("ann", "example.org"),
            now=NOW,
            rights=frozenset({Right.AUTHENTICATED}),
            id="ID",
            recipients=(Address("bob", "b.example"),),
            header=scan(octets),
            edits=edits,
            source=source,
        )

    def check(self, context: MessageContext) -> Verdict:
        verdict: Verdict = self.successResultOf(as_deferred(self.policy.check(context)))
        return verdict

    def test_it_is_one(self) -> None:
        verifyObject(IMessagePolicy, self.policy)

    def test_the_edits_are_covered(self) -> None:
        trace = Edit(0, 0, b"Received: x\r\nDate: Tue, 24 Nov 2026 19:00:00 +0000\r\n")
        cut = Edit(OCTETS.index(b"Subject"), len(b"Subject: hi\r\n"), b"Subject: [x] hi\r\n")
        verdict = self.check(self.context(edits=(trace, cut)))
        self.assertEqual(verdict.decision, Decision.ACCEPT)
        self.assertEqual([str(reason) for reason in verdict.reasons], ["DKIM: example.org, r, e"])
        whole = apply(OCTETS, (*verdict.edits, trace, cut))
        self.assertIn(b"[x] hi", whole)
        self.assertEqual(verified(whole), [True, True])

    def test_never_for_strangers(self) -> None:
        context = replace(self.context(), rights=frozenset())
        self.assertEqual(self.check(context), Verdict.none())

    def test_why_not(self) -> None:
        verdict = self.check(self.context(b"From: x@elsewhere.example\r\n\r\n"))
        self.assertEqual(verdict.edits, ())
        self.assertEqual(
            [str(reason) for reason in verdict.reasons],
            ["no DKIM signature: there are no keys in use for elsewhere.example"],
        )
        verdict = self.check(self.context(b"From: nobody\r\n\r\n"))
        self.assertIn("names no domain", str(verdict.reasons[0]))
