"""``|command`` and ``/file`` targets: what is let, what is written, and what never."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any
from unittest import skipUnless

from delivery_contract import BOB, NOW, recipient, services, stored
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.config.command_options import CommandOptions
from mta.config.option import Path as ConfiguredPath
from mta.delivery import mbox_store, places
from mta.delivery.mbox_store import MboxFile
from mta.delivery.places import LOCK_TRIES, Commands, Files
from mta.delivery.running import Program, Run
from mta.delivery.values import Batch
from mta.envelope import Destination, Outcome, Scope, Status
from mta.interfaces import IMessage
from mta.reply import LOCAL_ERROR
from mta.routing.values import COMMAND, FILE, Route

ANN = Address("ann", "a.example")
MESSAGE = b"Subject: hello\r\n\r\nFrom here on\r\nend\r\n"
IN_FILE = (
    b"From ann@a.example Tue Nov 14 22:13:20 2023\nReturn-Path: <ann@a.example>\nDelivered-To: bob@example.org\n"
    b"Subject: hello\n\n>From here on\nend\n\n"
)


def batch_for(service: str, place: str, message: IMessage | None = None) -> Batch:
    route = Route(destination=Destination(service, place))
    return Batch(message or stored(MESSAGE, sender=ANN), (recipient(0, BOB),), route, 300.0)


class CommandCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.started: list[tuple[Program, Run]] = []

    def deliver(self, command: str) -> tuple[Batch, Deferred[None]]:
        options = CommandOptions(user="nobody", programs=("/usr/bin/procmail",))
        commands = Commands(options, services(launch=lambda *started: self.started.append(started)))
        batch = batch_for(COMMAND, command)
        return batch, Deferred.fromCoroutine(commands.deliver(batch))

    def test_a_program_of_the_list_with_the_arguments_as_they_are(self) -> None:
        argv = ["/usr/bin/procmail", "-a", "{recipient} $(x)", "; true"]
        batch, done = self.deliver(shlex.join(argv))
        ((program, run),) = self.started
        self.assertEqual((list(program.argv), program.user), (argv, "nobody"))
        run.output_ended()
        run.exited(0)
        self.successResultOf(done)
        self.assertEqual(batch.outcomes[0].status, Status.DELIVERED)

    def test_no_other(self) -> None:
        for command in ("/bin/sh -c x", "/usr/bin/../bin/procmail", "procmail", "", "'/usr/bin/procmail"):
            batch, done = self.deliver(command)
            self.successResultOf(done)
            (outcome,) = batch.close(LOCAL_ERROR)
            self.assertEqual((outcome.status, outcome.scope), (Status.DEFERRED, Scope.RECIPIENT), command)
            self.assertEqual(outcome.reply.enhanced, "4.3.5")
        self.assertEqual(self.started, [])

    def test_the_section_contradicts_itself(self) -> None:
        wrong = [key for key, _, _ in CommandOptions(programs=("/bin/x",), user=None).contradictions()]
        self.assertEqual(wrong, ["programs"])
        self.assertEqual([key for key, _, _ in CommandOptions(user="root").contradictions()], ["user"])


class FileCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path.cwd() / "mail"
        self.folder.mkdir(mode=0o755)
        self.clock = Clock()

    def begin(
        self, path: str, message: IMessage | None = None, euid: int = os.geteuid() or 1000
    ) -> tuple[Batch, Deferred[None]]:
        options = CommandOptions(folders=(ConfiguredPath(str(self.folder)),))
        files = Files(options, services(reactor=self.clock), lambda: euid)
        batch = batch_for(FILE, path, message)
        return batch, Deferred.fromCoroutine(files.deliver(batch))

    def deliver(self, path: str, **more: Any) -> Outcome:
        batch, done = self.begin(path, **more)
        self.successResultOf(done)
        (outcome,) = batch.close(LOCAL_ERROR)
        return outcome


class Written(FileCase):
    def test_at_the_end_of_the_file(self) -> None:
        path = self.folder / "archive"
        for _ in range(2):
            self.assertEqual(self.deliver(str(path)).status, Status.DELIVERED)
        self.assertEqual(path.read_bytes(), IN_FILE * 2)
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(os.listdir(self.folder), ["archive"])

    def test_behind_what_a_crash_left(self) -> None:
        path = self.folder / "archive"
        path.write_bytes(b"From x\nhalf a l")
        self.deliver(str(path))
        self.assertEqual(path.read_bytes(), b"From x\nhalf a l\n\n" + IN_FILE)

    def test_a_message_without_a_last_line_end_is_ended(self) -> None:
        self.deliver(str(self.folder / "archive"), message=stored(b"Subject: x\r\n\r\nend"))
        self.assertTrue((self.folder / "archive").read_bytes().endswith(b"\nend\n\n"))

    def test_a_path_with_a_slash_behind_it_is_a_maildir(self) -> None:
        outcome = self.deliver(f"{self.folder}/box/")
        self.assertEqual(outcome.status, Status.DELIVERED)
        self.assertEqual(len(list((self.folder / "box" / "new").iterdir())), 1)

    def test_dev_null_takes_everything(self) -> None:
        self.assertEqual(self.deliver("/dev/null").status, Status.DISCARDED)

    def test_a_full_disk_leaves_it_as_it_was(self) -> None:
        path = self.folder / "archive"
        path.write_bytes(b"before\n")
        real = os.fsync
        calls: list[int] = []

        def full(descriptor: int) -> None:
            calls.append(descriptor)
            if len(calls) == 1:
                raise OSError(28, "No space left on device")
            real(descriptor)

        self.patch(mbox_store.os, "fsync", full)
        outcome = self.deliver(str(path))
        self.assertEqual((outcome.status, outcome.reply.enhanced), (Status.DEFERRED, "4.3.1"))
        self.assertEqual(path.read_bytes(), b"before\n")
        self.assertEqual(os.listdir(self.folder), ["archive"])

    def test_a_folder_that_cannot_be_synced_leaves_nothing(self) -> None:
        def broken(folder: str) -> None:
            raise OSError(5, "Input/output error")

        self.patch(mbox_store, "sync_folder", broken)
        path = self.folder / "archive"
        self.assertEqual(self.deliver(str(path)).status, Status.DEFERRED)
        self.assertEqual(path.read_bytes(), b"")

    def test_a_lock_that_is_gone_when_it_is_over_is_no_failure(self) -> None:
        file = MboxFile(str(self.folder / "archive"), 0.0)
        file.begin(b"From x\n")
        (self.folder / "archive.lock").unlink()
        file.finish()
        self.assertEqual((self.folder / "archive").read_bytes(), b"From x\n\n")

    def test_nobody_begins_before_what_is_given_up_is_cut_off(self) -> None:
        path = self.folder / "archive"
        path.write_bytes(b"before\n\n")
        held: list[tuple[Deferred[None], Any]] = []

        def in_thread(work: Any, *args: Any) -> Deferred[Any]:
            if not held and work.__name__ == "finish":
                return fail(OSError(5, "Input/output error"))
            if work.__name__ == "abandon":  # a slow disk
                held.append((Deferred(), work))
                return held[0][0]
            return succeed(work(*args))

        # As in a folder that is not ours: only fcntl locks, and that excludes other processes alone.
        self.patch(MboxFile, "_lock", lambda file: None)
        options = CommandOptions(folders=(ConfiguredPath(str(self.folder)),))
        files = Files(options, services(reactor=self.clock, in_thread=in_thread), lambda: 1000)
        batches = [batch_for(FILE, str(path)) for _ in range(3)]
        running = [Deferred.fromCoroutine(files.deliver(batch)) for batch in batches]
        self.successResultOf(running[0])
        self.assertNoResult(running[1])
        done, work = held[0]
        work()
        done.callback(None)
        for one in running[1:]:
            self.successResultOf(one)
        found = [batch.outcomes[0].status for batch in batches]
        self.assertEqual(found, [Status.DEFERRED, Status.DELIVERED, Status.DELIVERED])
        self.assertEqual(path.read_bytes(), b"before\n\n" + IN_FILE * 2)


class NotWritten(FileCase):
    def refused(self, path: str, **more: Any) -> None:
        outcome = self.deliver(path, **more)
        self.assertEqual((outcome.status, outcome.scope), (Status.DEFERRED, Scope.RECIPIENT), path)
        self.assertNotIn(str(self.folder), str(outcome.reply))

    def test_outside_of_the_folders(self) -> None:
        (self.folder / "out").symlink_to("/tmp")
        for path in (
            "/etc/passwd",
            f"{self.folder}x/y",
            f"{self.folder}/../y",
            f"{self.folder}/out/y",
            str(self.folder),
        ):
            self.refused(path)
        self.assertEqual(os.listdir(self.folder), ["out"])

    def test_as_root(self) -> None:
        self.refused(str(self.folder / "archive"), euid=0)
        self.assertEqual(os.listdir(self.folder), [])

    def test_what_is_no_plain_file_of_ours(self) -> None:
        (self.folder / "target").write_bytes(b"x")
        (self.folder / "link").symlink_to("target")
        os.link(self.folder / "target", self.folder / "twice")
        os.mkfifo(self.folder / "fifo")
        (self.folder / "folder").mkdir()
        for name in ("link", "twice", "fifo", "folder"):
            self.refused(str(self.folder / name))
        self.assertEqual((self.folder / "target").read_bytes(), b"x")
        self.assertEqual([name for name in os.listdir(self.folder) if name.endswith(".lock")], [])

    def test_while_another_program_writes(self) -> None:
        path = self.folder / "archive"
        lock = Path(f"{path}.lock")
        lock.touch()
        os.utime(lock, (NOW / 1000, NOW / 1000))
        batch, done = self.begin(str(path))
        self.clock.pump([1.0] * (LOCK_TRIES - 2))
        self.assertNoResult(done)
        lock.unlink()
        self.clock.advance(1.0)
        self.successResultOf(done)
        self.assertEqual(batch.outcomes[0].status, Status.DELIVERED)

    def test_not_for_ever(self) -> None:
        path = self.folder / "archive"
        lock = Path(f"{path}.lock")
        lock.touch()
        os.utime(lock, (NOW / 1000, NOW / 1000))
        batch, done = self.begin(str(path))
        self.clock.pump([1.0] * LOCK_TRIES)
        self.successResultOf(done)
        self.assertEqual(batch.outcomes[0].reply.enhanced, "4.2.0")
        self.assertTrue(lock.exists())

    def test_a_lock_that_was_left_goes(self) -> None:
        lock = self.folder / "archive.lock"
        lock.touch()
        os.utime(lock, (0, 0))
        batch, done = self.begin(str(self.folder / "archive"))
        self.clock.advance(1.0)
        self.successResultOf(done)
        self.assertEqual(batch.outcomes[0].status, Status.DELIVERED)

    def test_a_link_in_place_of_the_folder_that_was_checked(self) -> None:
        elsewhere = Path.cwd() / "elsewhere"
        elsewhere.mkdir()
        (self.folder / "bob").mkdir()
        path = self.folder / "bob" / "mail"
        file = MboxFile(str(path), 0.0, str(path.parent))
        path.parent.rename(self.folder / "old")
        path.parent.symlink_to(elsewhere)
        self.assertRaises(PermissionError, file.begin, b"From x\n")
        file.abandon()
        self.assertEqual(os.listdir(elsewhere), [])

    def test_a_maildir_that_is_a_link(self) -> None:
        elsewhere = Path.cwd() / "elsewhere"
        elsewhere.mkdir()
        (self.folder / "box").symlink_to(elsewhere)
        self.refused(f"{self.folder}/box/")
        self.assertEqual(os.listdir(elsewhere), [])

    def test_a_maildir_where_others_could_put_a_link_in_its_place(self) -> None:
        above = self.folder / "lists"
        box = above / "box"
        (box / "tmp").mkdir(parents=True)
        for folder in (self.folder, above, box, box / "tmp"):
            for mode in (0o775, 0o757, 0o1777):
                folder.chmod(mode)
                self.refused(f"{box}/")
                self.refused(f"{box}//")
            folder.chmod(0o755)
        self.assertEqual(os.listdir(box), ["tmp"])
        self.assertEqual(self.deliver(f"{box}/").status, Status.DELIVERED)

    @skipUnless(os.geteuid() == 0, "only root can give folders away")
    def test_a_maildir_in_a_folder_of_somebody_else(self) -> None:
        (self.folder / "bob").mkdir(mode=0o755)
        os.chown(self.folder / "bob", 1001, -1)
        self.refused(f"{self.folder}/bob/box/")
        os.chown(self.folder / "bob", 1000, -1)
        self.assertEqual(self.deliver(f"{self.folder}/bob/box/").status, Status.DELIVERED)

    def test_a_link_in_place_of_the_folder_of_a_maildir(self) -> None:
        elsewhere = Path.cwd() / "elsewhere"
        elsewhere.mkdir()
        (self.folder / "bob").mkdir(mode=0o755)
        real = places._folder

        def swapped(path: str) -> str:
            found = real(path)
            (self.folder / "bob").rename(self.folder / "old")
            (self.folder / "bob").symlink_to(elsewhere)
            return found

        self.patch(places, "_folder", swapped)
        self.refused(f"{self.folder}/bob/box/")
        self.assertEqual(os.listdir(elsewhere), [])

    def test_a_maildir_below_a_link_within_the_folder_lies_where_that_leads(self) -> None:
        (self.folder / "real").mkdir(mode=0o755)
        (self.folder / "link").symlink_to("real")
        outcome = self.deliver(f"{self.folder}/link/box/")
        self.assertEqual((outcome.status, outcome.attempt["stage"]), (Status.DELIVERED, f"{self.folder}/real/box"))

    def test_given_up_before_it_was_locked_nothing_is_cut_off(self) -> None:
        path = self.folder / "archive"
        path.write_bytes(b"before\n")
        MboxFile(str(path), 0.0).abandon()
        file = MboxFile(str(path), 0.0)
        file.begin(b"From x\n")
        file.append(b"half")
        file.abandon()
        self.assertEqual(path.read_bytes(), b"before\n")
        self.assertRaises(OSError, file.append, b"more")
