"""Maildir on disk: what is reported written is durable, and what failed leaves nothing in ``new``."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.python.monkey import MonkeyPatcher
from twisted.trial.unittest import SynchronousTestCase

from mta.delivery import maildir_store
from mta.delivery.maildir_store import Job, LargeFile, deliver_all, make_maildir
from mta.message.edits import Edit


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class StoreCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.root = Path.cwd() / "mail"
        self.log: list[tuple[str, str]] = []

    def job(self, name: str = "1", box: str = "bob", octets: bytes = b"Subject: x\n\nbody\n") -> Job:
        return Job(str(self.root / box), name, f"{name},S={len(octets)}", octets)

    def watch(self) -> None:
        """Note syncs and renames in their order, by path below the root."""
        fsync, rename = os.fsync, os.rename

        def noted_fsync(descriptor: int) -> None:
            path = os.readlink(f"/proc/self/fd/{descriptor}")
            self.log.append(("sync", os.path.relpath(path, self.root)))
            fsync(descriptor)

        def noted_rename(source: str, target: str) -> None:
            self.log.append(("rename", os.path.relpath(target, self.root)))
            rename(source, target)

        self.patch(maildir_store.os, "fsync", noted_fsync)
        self.patch(maildir_store.os, "rename", noted_rename)

    def break_call(self, name: str, number: int, when: Callable[..., bool] = lambda *_: True) -> MonkeyPatcher:
        """Let a system call fail with an errno."""
        real: Any = getattr(os, name)

        def broken(*args: Any, **more: Any) -> Any:
            if when(*args):
                raise OSError(number, os.strerror(number))
            return real(*args, **more)

        return self.patch(maildir_store.os, name, broken)


class Durable(StoreCase):
    def test_file_then_name_then_folder(self) -> None:
        make_maildir(str(self.root / "bob"))
        self.watch()
        self.assertEqual(deliver_all([self.job()]), [None])
        self.assertEqual(self.log, [("sync", "bob/tmp/1"), ("rename", "bob/new/1,S=17"), ("sync", "bob/new")])

    def test_messages_for_one_folder_share_its_sync(self) -> None:
        make_maildir(str(self.root / "bob"))
        make_maildir(str(self.root / "carol"))
        self.watch()
        jobs = [self.job(str(number), box) for number, box in enumerate(("bob", "carol", "bob", "bob"))]
        self.assertEqual(deliver_all(jobs), [None] * 4)
        folders = [path for what, path in self.log if what == "sync" and path.endswith("new")]
        self.assertEqual(folders, ["bob/new", "carol/new"])
        self.assertEqual(len(names(self.root / "bob" / "new")), 3)

    def test_content_and_modes(self) -> None:
        deliver_all([self.job(octets=b"\0\xff any\n")])
        (path,) = (self.root / "bob" / "new").iterdir()
        self.assertEqual(path.read_bytes(), b"\0\xff any\n")
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)

    def test_a_short_write_goes_on(self) -> None:
        write = os.write
        self.patch(maildir_store.os, "write", lambda descriptor, octets: write(descriptor, bytes(octets)[:3]))
        self.assertEqual(deliver_all([self.job(octets=b"0123456789")]), [None])
        (path,) = (self.root / "bob" / "new").iterdir()
        self.assertEqual(path.read_bytes(), b"0123456789")


class MissingFolders(StoreCase):
    def test_they_are_made_with_all_above_durably_and_tmp_last(self) -> None:
        self.watch()
        make_maildir(str(self.root / "example.org" / "bob"))
        for folder in ("", "example.org", "example.org/bob", "example.org/bob/new"):
            self.assertEqual(stat.S_IMODE((self.root / folder).stat().st_mode), 0o700)
        self.assertEqual(names(self.root / "example.org" / "bob"), ["cur", "new", "tmp"])
        synced = [path for what, path in self.log if what == "sync"]
        self.assertEqual(synced[:3], ["example.org/bob", "example.org", "."])

    def test_one_whose_making_was_interrupted_is_made_whole(self) -> None:
        (self.root / "bob" / "cur").mkdir(parents=True)
        self.assertEqual(deliver_all([self.job()]), [None])
        self.assertEqual(names(self.root / "bob"), ["cur", "new", "tmp"])

    def test_somebody_removed_new_alone(self) -> None:
        make_maildir(str(self.root / "bob"))
        (self.root / "bob" / "new").rmdir()
        self.assertEqual(deliver_all([self.job()]), [None])
        self.assertEqual(names(self.root / "bob" / "new"), ["1,S=17"])

    def test_folders_above_that_may_not_be_read_are_no_hindrance(self) -> None:
        self.break_call("open", errno.EACCES, lambda path, *_: path == str(Path.cwd()))
        make_maildir(str(self.root / "bob"))


class Trouble(StoreCase):
    def test_each_step_that_fails_leaves_no_mail_and_no_litter(self) -> None:
        for call, number in (("write", errno.ENOSPC), ("fsync", errno.EIO), ("rename", errno.EDQUOT)):
            make_maildir(str(self.root / call))
            patched = self.break_call(call, number)
            (error,) = deliver_all([self.job(box=call)])
            patched.restore()
            assert error is not None
            self.assertEqual(error.errno, number)
            self.assertEqual(names(self.root / call / "tmp") + names(self.root / call / "new"), [])

    def test_one_that_fails_does_not_take_others_along(self) -> None:
        make_maildir(str(self.root / "bob"))
        (self.root / "carol").write_text("a file where a folder should be")
        errors = deliver_all([self.job("1", "carol"), self.job("2", "bob")])
        assert errors[0] is not None
        self.assertEqual(errors[0].errno, errno.ENOTDIR)
        self.assertIsNone(errors[1])
        self.assertEqual(names(self.root / "bob" / "new"), ["2,S=17"])

    def test_no_promise_when_the_folder_cannot_be_synced(self) -> None:
        make_maildir(str(self.root / "bob"))
        fsync = os.fsync

        def broken(descriptor: int) -> None:
            if os.readlink(f"/proc/self/fd/{descriptor}").endswith("/new"):
                raise OSError(errno.EIO, "broken")
            fsync(descriptor)

        self.patch(maildir_store.os, "fsync", broken)
        errors = deliver_all([self.job("1"), self.job("2")])
        self.assertEqual([error and error.errno for error in errors], [errno.EIO, errno.EIO])

    def test_a_name_that_is_taken_is_left_alone(self) -> None:
        make_maildir(str(self.root / "bob"))
        taken = self.root / "bob" / "tmp" / "1"
        taken.write_text("another's")
        (error,) = deliver_all([self.job("1")])
        assert error is not None
        self.assertEqual(error.errno, errno.EEXIST)
        self.assertEqual(taken.read_text(), "another's")

    def test_a_link_is_not_followed(self) -> None:
        make_maildir(str(self.root / "bob"))
        target = self.root / "target"
        (self.root / "bob" / "tmp" / "1").symlink_to(target)
        (error,) = deliver_all([self.job("1")])
        self.assertIsNotNone(error)
        self.assertFalse(target.exists())

    def test_no_descriptor_is_left_open(self) -> None:
        make_maildir(str(self.root / "bob"))
        before = os.listdir("/proc/self/fd")
        self.break_call("fsync", errno.EIO)
        deliver_all([self.job(str(number)) for number in range(5)])
        self.assertEqual(len(os.listdir("/proc/self/fd")), len(before))


class Large(StoreCase):
    def large(self, *, lf: bool = True, edits: tuple[Edit, ...] = ()) -> LargeFile:
        return LargeFile(str(self.root / "bob"), "1", edits, lf)

    def test_pieces_with_edits_and_line_ends(self) -> None:
        file = self.large(edits=(Edit(2, 3, b"-"),))
        file.begin(b"P: q\r\n")
        for piece in (b"ab", b"cde\r", b"\nf\r\n", b"g\r"):
            file.append(piece)
        file.finish()
        (path,) = (self.root / "bob" / "new").iterdir()
        self.assertEqual(path.read_bytes(), b"P: q\nab-\nf\ng\r")
        self.assertEqual(path.name, "1,S=13,W=16")

    def test_as_it_travels(self) -> None:
        file = self.large(lf=False)
        file.begin(b"P: q\r\n")
        file.append(b"a\r\n")
        file.finish()
        (path,) = (self.root / "bob" / "new").iterdir()
        self.assertEqual(path.read_bytes(), b"P: q\r\na\r\n")
        self.assertEqual(path.name, "1,S=9,W=9")

    def test_abandoned_leaves_nothing_and_takes_nothing(self) -> None:
        file = self.large()
        file.begin(b"")
        file.abandon()
        file.abandon()
        for call in (lambda: file.append(b"x"), file.finish):
            with self.assertRaises(OSError):
                call()
        self.assertEqual(names(self.root / "bob" / "tmp") + names(self.root / "bob" / "new"), [])

    def test_abandoned_before_it_began(self) -> None:
        file = self.large()
        file.abandon()
        with self.assertRaises(OSError):
            file.begin(b"")
        self.assertFalse(self.root.exists())

    def test_once_finished_it_stays(self) -> None:
        file = self.large()
        file.begin(b"x")
        file.finish()
        file.abandon()
        self.assertEqual(len(names(self.root / "bob" / "new")), 1)
