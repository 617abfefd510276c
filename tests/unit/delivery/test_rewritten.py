"""A message that goes on in another name: envelope, size, header and octets agree, however they are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dkim_signer import signer, verified
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mta.address import Address
from mta.delivery.rewritten import Rewritten, rewritten
from mta.envelope import Envelope, Origin
from mta.events import REWRITE
from mta.interfaces import IMessage
from mta.message.edits import Edit, growth
from mta.message.header import scan
from mta.message.munge import munge
from mta.message.reading import read_whole
from mta.routing.values import Rewrite
from mta.spool.message import StoredMessage
from mta.waiting import as_deferred, step

ANN, INFO = Address("ann", "a.example"), Address("info", "example.org")
PATH = Address("SRS0=x", "example.org")
WHY = REWRITE(how="x", why="y")
OCTETS = b"Subject: s\r\nFrom: Ann <ann@a.example>\r\nBcc: x@b.example\r\n\r\nbody\r\n"
TRACE = Edit(0, 0, b"Received: x\r\n")
BCC = Edit(OCTETS.index(b"Bcc"), len(b"Bcc: x@b.example\r\n"), b"")
EXPECTED = (
    b'Received: x\r\nSubject: s\r\nFrom: "Ann via example.org"\r\n <info@example.org>\r\n'
    b"Reply-To: Ann <ann@a.example>\r\nX-Original-From: Ann <ann@a.example>\r\n\r\nbody\r\n"
)


class Later:
    """Bodies that come when they are let: ``open`` them all."""

    def __init__(self, octets: bytes, piece: int) -> None:
        self.octets, self.most = octets, piece
        self.waiting: list[tuple[Deferred[bytes], bytes]] = []

    def small(self, number: int) -> Deferred[bytes]:
        return self._later(self.octets)

    def piece(self, number: int, offset: int, size: int) -> Deferred[bytes]:
        return self._later(self.octets[offset : offset + (size if not offset else min(size, self.most))])

    def _later(self, octets: bytes) -> Deferred[bytes]:
        deferred: Deferred[bytes] = Deferred()
        self.waiting.append((deferred, octets))
        return deferred

    def open(self) -> None:
        while self.waiting:
            deferred, octets = self.waiting.pop(0)
            deferred.callback(octets)


class Rewriting(SynchronousTestCase):
    def stored(
        self, octets: bytes = OCTETS, edits: Sequence[Edit] = (TRACE, BCC), bodies: Any = None, external: bool = False
    ) -> StoredMessage:
        envelope = Envelope(origin=Origin(listener="mx", protocol="ESMTP"), reverse_path=ANN, arrived=0)
        data = octets if bodies is None else None
        return StoredMessage("ID", 1, envelope, tuple(edits), len(octets), external, bodies, data)

    def changed(self, message: StoredMessage) -> IMessage:
        return rewritten(message, Rewrite(PATH, INFO, WHY, growth(munge(scan(OCTETS), INFO, "example.org"))))

    def read(self, message: IMessage, bodies: Later | None = None) -> bytes:
        done, found = step(read_whole(message))
        self.assertIs(done, bodies is None)
        if isinstance(found, Deferred):
            assert bodies is not None
            bodies.open()
            return self.successResultOf(found)
        return found

    def test_the_author(self) -> None:
        stored = self.stored()
        message = self.changed(stored)
        verifyObject(IMessage, message)
        self.assertEqual(self.read(message), EXPECTED)
        self.assertEqual(message.size, len(EXPECTED))
        self.assertEqual(message.header(), EXPECTED.removesuffix(b"body\r\n"))
        self.assertEqual((message.id, message.envelope.reverse_path), ("ID", PATH))
        self.assertEqual(stored.envelope.reverse_path, ANN)

    def test_a_prefix_and_edits_of_a_service(self) -> None:
        message = self.changed(self.stored())
        chunks = message.open(b"Return-Path: <>\r\n", (Edit(0, len(b"Subject: s\r\n"), b"Subject: t\r\n"),))
        octets = chunks.next()
        assert isinstance(octets, bytes)
        self.assertEqual(octets, b"Return-Path: <>\r\n" + EXPECTED.replace(b"Subject: s", b"Subject: t"))
        self.assertEqual(chunks.next(), b"")
        chunks.close()
        self.assertEqual(chunks.next(), b"")

    def test_the_reverse_path_alone_leaves_the_octets_to_the_spool(self) -> None:
        stored = self.stored()
        message = rewritten(stored, Rewrite(PATH, None, WHY))
        self.assertEqual(self.read(message), self.read(stored))
        self.assertEqual(message.header(), stored.header())
        self.assertEqual((message.size, message.envelope.reverse_path), (stored.size, PATH))

    def test_nothing_changes_nothing(self) -> None:
        stored = self.stored()
        self.assertIs(rewritten(stored, None), stored)
        self.assertIs(rewritten(stored, Rewrite(ANN, None, WHY)), stored)

    @given(st.integers(1, 40), st.booleans())
    def test_octets_that_come_late_and_in_pieces(self, piece: int, external: bool) -> None:
        bodies = Later(OCTETS, piece)
        message = self.changed(self.stored(bodies=bodies, external=external))
        self.assertEqual(self.read(message, bodies), EXPECTED)
        header: Any = message.header()
        waiting = Deferred.fromCoroutine(header)
        bodies.open()
        self.assertEqual(self.successResultOf(waiting), EXPECTED.removesuffix(b"body\r\n"))


class Signed(SynchronousTestCase):
    """A message with a new author is signed in the name of his domain."""

    def test_both_keys(self) -> None:
        for octets, external in ((OCTETS, False), (OCTETS + b"long \r\n" * 60_000, True)):
            bodies = Later(octets, 1000)
            message = self.message(octets, bodies, external)
            signing = as_deferred(message.sign(signer()))
            while not signing.called:
                bodies.open()
            self.successResultOf(signing)
            data = self.read(message, bodies)
            self.assertTrue(data.startswith(b"DKIM-Signature: v=1;"))
            self.assertEqual(verified(data), [True, True])
            self.assertEqual(message.size, len(data))
            header = as_deferred(message.header())
            bodies.open()
            self.assertEqual(self.successResultOf(header), data[: data.index(b"\r\n\r\n") + 4])

    def test_where_only_the_return_path_changes(self) -> None:
        message = Rewritten(self.stored(OCTETS, Later(OCTETS, 1000), False), Rewrite(PATH, None, WHY))
        self.successResultOf(as_deferred(message.sign(signer())))
        self.assertEqual(message.size, len(OCTETS))

    def stored(self, octets: bytes, bodies: Any, external: bool) -> StoredMessage:
        envelope = Envelope(origin=Origin(listener="mx", protocol="ESMTP"), reverse_path=ANN, arrived=0)
        return StoredMessage("ID", 1, envelope, (), len(octets), external, bodies)

    def message(self, octets: bytes, bodies: Any, external: bool) -> Rewritten:
        edits = munge(scan(octets), INFO, INFO.domain)
        return Rewritten(self.stored(octets, bodies, external), Rewrite(PATH, INFO, WHY, growth(edits)))

    def read(self, message: IMessage, bodies: Any) -> bytes:
        reading = as_deferred(read_whole(message))
        while not reading.called:
            bodies.open()
        return self.successResultOf(reading)
