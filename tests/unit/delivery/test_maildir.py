"""``maildir``: what a reader finds in the mailbox, and what the queue is told."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from delivery_contract import BOB, CAROL, DeliveryContract, recipient, services, stored
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.config.option import Path as ConfiguredPath
from mta.delivery import maildir_store
from mta.delivery.maildir import Maildir, MaildirOptions
from mta.delivery.values import Batch
from mta.envelope import Destination, Outcome, Recipient, Scope, Status
from mta.interfaces import IDeliveryService, IMessage
from mta.message.edits import Edit
from mta.reply import LOCAL_ERROR
from mta.routing.values import Route
from mta.spool.values import Damaged

ANN = Address("ann", "a.example")


class Threads:
    """Calls in threads, begun when the test says so."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def __call__(self, work: Callable[..., Any], *args: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()

        def run() -> None:
            try:
                result = work(*args)
            except Exception:
                if not done.called:
                    done.errback()
            else:
                if not done.called:
                    done.callback(result)

        self.calls.append(run)
        return done

    def run(self) -> int:
        """Run those that are there; how many they were."""
        calls, self.calls = self.calls, []
        for call in calls:
            call()
        return len(calls)


class MaildirCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.root = Path.cwd() / "mail"

    def service(self, line_ends: Any = "lf", template: str = "{domain}/{local_part}", **world: Any) -> Maildir:
        options = MaildirOptions(path=ConfiguredPath(f"{self.root}/{template}"), line_ends=line_ends)
        return Maildir(options, services("local", **world))

    def batch(self, message: IMessage, *recipients: Recipient, **facts: str) -> Batch:
        route = Route(destination=Destination("local", ""), facts=facts)
        return Batch(message, recipients or (recipient(0, BOB),), route, 300.0)

    def deliver(self, message: IMessage, *recipients: Recipient, **more: Any) -> list[Outcome]:
        batch = self.batch(message, *recipients)
        self.successResultOf(Deferred.fromCoroutine(self.service(**more).deliver(batch)))
        return batch.close(LOCAL_ERROR)

    def files(self, box: str = "example.org/bob") -> list[Path]:
        folder = self.root / box / "new"
        return sorted(folder.iterdir()) if folder.exists() else []

    def content(self, box: str = "example.org/bob") -> bytes:
        (path,) = self.files(box)
        return path.read_bytes()


class MaildirContract(DeliveryContract, SynchronousTestCase):
    def make_service(self) -> IDeliveryService:
        options = MaildirOptions(path=ConfiguredPath(f"{Path.cwd()}/mail/{{domain}}/{{local_part}}"))
        return Maildir(options, services())


class Arrives(MaildirCase):
    MESSAGE = b"Received: by x\r\nSubject: hello\r\n\r\n.body\r\n..\r\nend\r\n"

    def test_the_message_with_its_envelope_in_front(self) -> None:
        # RFC 5321 4.4
        (outcome,) = self.deliver(stored(self.MESSAGE, sender=ANN))
        self.assertEqual(outcome.status, Status.DELIVERED)
        self.assertEqual(
            self.content(),
            b"Return-Path: <ann@a.example>\nDelivered-To: bob@example.org\n"
            b"Received: by x\nSubject: hello\n\n.body\n..\nend\n",
        )

    def test_byte_for_byte_where_that_is_wanted(self) -> None:
        self.deliver(stored(self.MESSAGE, sender=ANN), line_ends="crlf")
        self.assertEqual(
            self.content(),
            b"Return-Path: <ann@a.example>\r\nDelivered-To: bob@example.org\r\n" + self.MESSAGE,
        )

    def test_lf_loses_nothing(self) -> None:
        octets = b"Subject: \xff\0\r\n\r\n" + bytes(range(14, 256)) + b"\r\n \r\n\r\n"
        self.deliver(stored(octets))
        self.assertTrue(self.content().replace(b"\n", b"\r\n").endswith(b"example.org\r\n" + octets))

    def test_stored_edits_are_there(self) -> None:
        self.deliver(stored(b"Subject: x\r\n\r\n", edits=(Edit(0, 0, b"Received: by us\r\n"),)))
        self.assertTrue(self.content().endswith(b"Received: by us\nSubject: x\n\n"))

    def test_the_null_sender(self) -> None:
        self.deliver(stored(self.MESSAGE))
        self.assertTrue(self.content().startswith(b"Return-Path: <>\n"))

    def test_a_foreign_return_path_goes(self) -> None:
        # RFC 5321 4.4
        octets = b"Return-Path: <forged@b.example>\r\nX: y\r\nreturn-path:\r\n <f@b.example>\r\n\r\nReturn-Path: no\r\n"
        (outcome,) = self.deliver(stored(octets, edits=(Edit(0, 0, b"Received: by us\r\n"),), sender=ANN))
        self.assertEqual(outcome.status, Status.DELIVERED)
        self.assertEqual(
            self.content(),
            b"Return-Path: <ann@a.example>\nDelivered-To: bob@example.org\nReceived: by us\nX: y\n\nReturn-Path: no\n",
        )

    def test_a_large_message_is_the_same(self) -> None:
        # Also where it is read and written in pieces.
        body = b"".join(b"%07d abcdefgh\r\n" % number for number in range(60_000))
        octets = b"Return-Path: <forged@b.example>\r\nSubject: x\r\n\r\n" + body
        message = stored(octets, edits=(Edit(0, 0, b"Received: by us\r\n"),), sender=ANN)
        (outcome,) = self.deliver(message)
        self.assertEqual(outcome.status, Status.DELIVERED)
        front = (
            b"Return-Path: <ann@a.example>\r\nDelivered-To: bob@example.org\r\nReceived: by us\r\nSubject: x\r\n\r\n"
        )
        self.assertEqual(self.content().replace(b"\n", b"\r\n"), front + body)
        (path,) = self.files()
        size = path.stat().st_size
        self.assertTrue(path.name.endswith(f",S={size},W={len(front + body)}"))

    def test_the_address_that_the_sender_wrote_to(self) -> None:
        self.deliver(stored(self.MESSAGE), recipient(0, BOB, Address("info", "example.org")))
        self.assertIn(b"Delivered-To: bob@example.org\nX-Original-To: info@example.org\n", self.content())

    def test_each_recipient_has_a_copy_and_sees_only_its_own_address(self) -> None:
        outcomes = self.deliver(stored(self.MESSAGE), recipient(0, BOB), recipient(1, CAROL))
        self.assertEqual([outcome.status for outcome in outcomes], [Status.DELIVERED] * 2)
        self.assertNotIn(b"carol", self.content())
        self.assertNotIn(b"bob", self.content("example.org/carol"))

    def test_names_are_unique_and_tell_the_size(self) -> None:
        message = stored(self.MESSAGE)
        service = self.service()
        for _ in range(3):
            self.successResultOf(Deferred.fromCoroutine(service.deliver(self.batch(message))))
        files = self.files()
        self.assertEqual(len(files), 3)
        for path in files:
            self.assertTrue(path.name.startswith("1700000000.M0P"))
            self.assertIn(f",S={path.stat().st_size},W=", path.name)

    def test_a_host_name_makes_no_folder(self) -> None:
        # https://cr.yp.to/proto/maildir.html
        batch = self.batch(stored(self.MESSAGE))
        self.successResultOf(Deferred.fromCoroutine(self.service(hostname="a/b:c").deliver(batch)))
        self.assertIn(".a\\057b\\072c,S=", self.files()[0].name)

    def test_what_has_been_here_before_is_in_a_loop(self) -> None:
        """RFC 5321 6.3."""
        for padding in (b"", b"x" * 300_000):  # a large one too
            message = stored(b"Subject: x\r\nDelivered-To: Bob@example.org\r\n\r\n" + padding)
            here, other = self.deliver(message, recipient(0, BOB), recipient(1, CAROL))
            self.assertEqual((here.status, here.reply.code, here.reply.enhanced), (Status.FAILED, 554, "5.4.6"))
            self.assertEqual(other.status, Status.DELIVERED)
        self.assertEqual(self.files(), [])

    def test_the_value_of_the_mailbox_table(self) -> None:
        batch = self.batch(stored(self.MESSAGE), mailbox="b0b")
        self.successResultOf(Deferred.fromCoroutine(self.service(template="{mailbox}").deliver(batch)))
        self.assertEqual(len(self.files("b0b")), 1)


class Together(MaildirCase):
    def test_what_waits_together_is_written_by_one_call(self) -> None:
        threads = Threads()
        service = self.service(in_thread=threads)
        message = stored(b"Subject: x\r\n\r\n")
        batches = [self.batch(message) for _ in range(40)]
        running = [Deferred.fromCoroutine(service.deliver(batch)) for batch in batches]
        # The first four went at once, each alone; the others collected meanwhile.
        self.assertEqual(threads.run(), 4)
        self.assertEqual(threads.run(), 1)
        for batch, done in zip(batches, running, strict=True):
            self.successResultOf(done)
            self.assertEqual(batch.close(LOCAL_ERROR)[0].status, Status.DELIVERED)
        self.assertEqual(len(self.files()), 40)

    def test_nothing_is_reported_before_it_is_on_disk(self) -> None:
        threads = Threads()
        batch = self.batch(stored(b"Subject: x\r\n\r\n"))
        done = Deferred.fromCoroutine(self.service(in_thread=threads).deliver(batch))
        self.assertEqual(len(batch.pending), 1)
        threads.run()
        self.successResultOf(done)
        self.assertEqual(batch.pending, ())


class Trouble(MaildirCase):
    def failing(self, number: int, octets: bytes = b"Subject: x\r\n\r\n") -> Outcome:
        def broken(descriptor: int) -> None:
            raise OSError(number, os.strerror(number))

        self.patch(maildir_store.os, "fsync", broken)
        (outcome,) = self.deliver(stored(octets))
        self.assertEqual(self.files(), [])
        self.assertEqual(outcome.status, Status.DEFERRED)
        return outcome

    def test_a_full_disk_concerns_the_host(self) -> None:
        outcome = self.failing(errno.ENOSPC)
        self.assertEqual((outcome.reply.code, outcome.reply.enhanced), (452, "4.3.1"))
        self.assertEqual(outcome.scope, Scope.HOST)
        self.assertIn("No space left", outcome.attempt["error"])

    def test_for_a_large_message_too(self) -> None:
        outcome = self.failing(errno.ENOSPC, b"Subject: x\r\n\r\n" + b"x" * 70 * 10_000 + b"\r\n")
        self.assertEqual((outcome.reply.code, outcome.scope), (452, Scope.HOST))

    def test_a_quota_concerns_its_mailbox(self) -> None:
        # RFC 3463 X.2.2.  A quota may be that of one folder: the others must not rest because of it.
        outcome = self.failing(errno.EDQUOT)
        self.assertEqual((outcome.reply.code, outcome.reply.enhanced), (452, "4.2.2"))
        self.assertEqual(outcome.scope, Scope.RECIPIENT)

    def test_a_disk_that_fails_or_is_read_only(self) -> None:
        for number in (errno.EIO, errno.EROFS):
            outcome = self.failing(number)
            self.assertEqual((outcome.reply.enhanced, outcome.scope), ("4.3.0", Scope.HOST))

    def test_one_mailbox_that_cannot_be_written_slows_no_other(self) -> None:
        (self.root / "example.org").mkdir(parents=True)
        (self.root / "example.org" / "bob").write_text("no folder")
        bob, carol = self.deliver(stored(b"Subject: x\r\n\r\n"), recipient(0, BOB), recipient(1, CAROL))
        self.assertEqual((bob.status, bob.scope, bob.reply.code), (Status.DEFERRED, Scope.RECIPIENT, 451))
        self.assertEqual(carol.status, Status.DELIVERED)

    def test_no_reply_tells_a_path(self) -> None:
        self.assertNotIn(str(self.root), str(self.failing(errno.EACCES).reply))

    def test_a_mailbox_without_a_folder_waits(self) -> None:
        batch = self.batch(stored(b"Subject: x\r\n\r\n"))
        self.successResultOf(Deferred.fromCoroutine(self.service(template="{mailbox}").deliver(batch)))
        (outcome,) = batch.close(LOCAL_ERROR)
        self.assertEqual((outcome.status, outcome.reply.enhanced), (Status.DEFERRED, "4.3.5"))
        self.assertIn("{mailbox}", outcome.attempt["error"])

    def test_a_message_that_cannot_be_read_slows_no_other(self) -> None:
        message: Any = stored(b"Subject: x\r\n\r\n")

        def damaged() -> Any:
            raise Damaged(message.id, "gone")

        class Broken:
            id, envelope, size = message.id, message.envelope, message.size
            open = staticmethod(damaged)

        broken: Any = Broken()
        (outcome,) = self.deliver(broken)
        self.assertEqual((outcome.status, outcome.scope), (Status.DEFERRED, Scope.MESSAGE))

    def test_a_call_that_fails_as_a_whole_is_deferred_and_logged(self) -> None:
        batch = self.batch(stored(b"Subject: x\r\n\r\n"))
        service = self.service(in_thread=lambda *_: fail(ValueError("a mistake of ours")))
        self.successResultOf(Deferred.fromCoroutine(service.deliver(batch)))
        (outcome,) = batch.close(LOCAL_ERROR)
        self.assertEqual((outcome.status, outcome.scope), (Status.DEFERRED, Scope.HOST))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_cancelled_in_the_middle_of_a_large_one_leaves_nothing(self) -> None:
        threads = Threads()
        octets = b"Subject: x\r\n\r\n" + b"0123456789abcd\r\n" * 40_000
        batch = self.batch(stored(octets))
        done = Deferred.fromCoroutine(self.service(in_thread=threads).deliver(batch))
        threads.run()
        threads.run()
        done.cancel()
        self.failureResultOf(done)
        while threads.run():
            pass
        box = self.root / "example.org" / "bob"
        self.assertEqual([*(box / "tmp").iterdir(), *(box / "new").iterdir()], [])
        self.assertEqual(len(batch.pending), 1)


class Stop(MaildirCase):
    def test_it_waits_for_what_is_being_written(self) -> None:
        threads = Threads()
        service = self.service(in_thread=threads)
        batch = self.batch(stored(b"Subject: x\r\n\r\n"))
        delivery = Deferred.fromCoroutine(service.deliver(batch))
        stopped = Deferred.fromCoroutine(service.stop(10.0))
        self.assertNoResult(stopped)
        threads.run()
        self.successResultOf(stopped)
        self.successResultOf(delivery)
        self.assertEqual(batch.close(LOCAL_ERROR)[0].status, Status.DELIVERED)

    def test_but_not_for_ever(self) -> None:
        clock, threads = Clock(), Threads()
        service = self.service(in_thread=threads, reactor=clock)
        batches = [self.batch(stored(b"Subject: x\r\n\r\n")) for _ in range(6)]
        running = [Deferred.fromCoroutine(service.deliver(batch)) for batch in batches]
        stopped = Deferred.fromCoroutine(service.stop(10.0))
        clock.advance(10.0)
        self.successResultOf(stopped)
        # Four were being written, and end; two had not begun, and wait in the queue.
        for done in running[4:]:
            self.successResultOf(done)
        self.assertEqual(batches[5].close(LOCAL_ERROR)[0].status, Status.DEFERRED)
        threads.run()
        for done in running[:4]:
            self.successResultOf(done)
        self.assertEqual(len(self.files()), 4)
