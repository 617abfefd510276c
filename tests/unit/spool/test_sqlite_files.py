"""What the spool leaves on the disk, who may see it, and what it finds there."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import stat
from pathlib import Path
from typing import Any

from spool_contract import LARGE, SMALL, START, envelope, outcome, recipient
from sqlite_case import SqliteCase
from twisted.trial.unittest import SynchronousTestCase

from mta.reply import TemporaryFailure
from mta.spool.bodies import disk_failure
from mta.spool.schema import VERSION
from mta.spool.values import SpoolLocked, SpoolUnusable, id_number


def mode(path: Path | str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


class Safety(SqliteCase, SynchronousTestCase):
    """Folders, modes, links, the lock."""

    def setUp(self) -> None:
        self.addCleanup(os.umask, os.umask(0))  # the worst one
        super().setUp()

    def reopen(self) -> None:
        self.spool = self.make_spool()

    def test_nobody_else_may_read_whatever_the_umask(self) -> None:
        self.accept(body=SMALL)
        self.accept(body=LARGE)
        for folder, _, files in os.walk(self.state):
            self.assertEqual(mode(folder), 0o700, folder)
            for name in files:
                self.assertEqual(mode(os.path.join(folder, name)), 0o600, name)

    def refused(self, *words: str) -> None:
        with self.assertRaises(SpoolUnusable) as raised:
            self.make_spool()
        for word in words:
            self.assertIn(word, str(raised.exception))

    def test_a_folder_or_file_open_to_others_is_refused(self) -> None:
        self.now(self.spool.close())
        for path in (self.body_folder, self.database, self.database.parent):
            right = mode(path)
            path.chmod(right | 0o040)
            self.refused(str(path), "others")
            path.chmod(right)
        state = self.database.parent.parent.parent
        state.chmod(0o770)
        self.refused(str(state), "others")
        state.chmod(0o755)  # to look into it harms nobody
        self.reopen()

    def test_a_link_in_the_spool_is_refused(self) -> None:
        self.now(self.spool.close())
        for path in (self.body_folder, self.database):
            moved = path.with_name("moved")
            path.rename(moved)
            path.symlink_to(moved)
            self.refused(str(path), "symbolic link")
            path.unlink()
            moved.rename(path)
        self.reopen()

    def test_a_body_that_is_a_link_is_not_followed(self) -> None:
        id = self.accept(body=LARGE)
        body = self.body_folder / id
        body.unlink()
        Path("secret").write_bytes(LARGE)
        body.symlink_to(Path("secret").absolute())
        self.assertEqual(self.claim(), [])

    def test_two_cannot_have_the_state(self) -> None:
        with self.assertRaises(SpoolLocked) as raised:
            self.make_spool()
        self.assertIn(f"process {os.getpid()}:", str(raised.exception))

    def test_a_state_that_cannot_be_made_is_told(self) -> None:
        self.now(self.spool.close())
        Path("file").touch()
        self.state = str(Path("file", "state").absolute())
        self.refused("file/state")
        self.state = str(Path("state").absolute())
        self.reopen()

    def test_a_database_that_is_none_is_told(self) -> None:
        self.now(self.spool.close())
        whole = self.database.read_bytes()
        self.database.write_bytes(b"this is not a database" * 1000)
        self.refused(str(self.database), "damaged")
        self.database.write_bytes(whole)
        self.reopen()

    def test_one_of_a_newer_txmta_is_refused(self) -> None:
        self.now(self.spool.close())
        self.sql("PRAGMA user_version = 99")
        self.refused("newer", "99")
        self.sql(f"PRAGMA user_version = {VERSION}")
        self.reopen()


class Bodies(SqliteCase, SynchronousTestCase):
    """Large bodies as files."""

    def begin_large(self) -> Any:
        incoming = self.spool.begin(0)
        self.assertIsNone(incoming.write(b"x" * 65536))
        self.assertEqual(self.bodies(), [])
        self.assertIsNone(incoming.write(b"y"))
        return incoming

    def test_past_64_kib_it_is_a_file(self) -> None:
        incoming = self.begin_large()
        self.assertEqual(self.bodies(), [incoming.id])

    def test_it_goes_with_the_last_recipient(self) -> None:
        lease = self.accept_leased(body=LARGE)
        self.assertEqual(self.bodies(), [lease.message.id])
        self.finish(lease, outcomes=(outcome(),), owed=(0,))
        (notice,) = self.claim_notices()
        self.assertEqual(self.bodies(), [lease.message.id])
        self.finish(notice, notices_done=(0,))
        self.assertEqual(self.bodies(), [])

    def test_it_goes_when_aborted_and_when_the_commit_fails(self) -> None:
        self.begin_large().abort()
        self.assertEqual(self.bodies(), [])
        incoming = self.write(LARGE)
        self.disk.failing = "COMMIT"
        self.failureResultOf(self.spool.commit(incoming, None), TemporaryFailure)
        self.disk.failing = ""
        self.assertEqual(self.bodies(), [])

    def test_a_fast_writer_has_to_wait_for_the_disk(self) -> None:
        self.lanes.paused = True
        incoming = self.spool.begin(0)
        waits = [incoming.write(b"x" * 100_000) for _ in range(11)]
        self.assertEqual(waits[:10], [None] * 10)
        self.assertNoResult(waits[10])
        self.lanes.run()
        self.successResultOf(waits[10])
        self.assertIsNone(incoming.write(b"x" * 100_000))

    def test_a_disk_that_will_not_take_it(self) -> None:
        shutil.rmtree(self.body_folder)
        incoming = self.begin_nowhere()
        with self.assertRaises(TemporaryFailure):
            incoming.write(b"more")
        incoming.add_recipients([recipient()])
        self.failureResultOf(incoming.seal(envelope(), (), ()), TemporaryFailure)
        incoming.abort()
        self.body_folder.mkdir(0o700)

    def begin_nowhere(self) -> Any:
        incoming = self.spool.begin(0)
        incoming.write(b"x" * 70_000)
        return incoming

    def test_a_full_disk_is_452(self) -> None:
        self.assertEqual(str(disk_failure(OSError(errno.ENOSPC, "full")).reply)[:9], "452 4.3.1")
        self.assertEqual(str(disk_failure(OSError(errno.EIO, "I/O")).reply)[:9], "451 4.3.0")


class Recovery(SqliteCase, SynchronousTestCase):
    """What a crash left behind."""

    def recover(self) -> list[Any]:
        self.spool = self.crash()
        return self.now(self.spool.recover("queue"))  # type: ignore[no-any-return]

    def test_orphans_are_removed_and_nothing_else(self) -> None:
        kept = self.accept(body=LARGE)
        orphan = self.write(LARGE, *[recipient(n) for n in range(2500)]).id
        (self.body_folder / "README").touch()
        self.assertEqual(self.bodies(), sorted([kept, orphan, "README"]))
        self.assertEqual(self.sql("SELECT count(*) FROM recipient"), [(2001,)])
        self.recover()
        self.assertEqual(self.bodies(), sorted([kept, "README"]))
        self.assertEqual(self.sql("SELECT message FROM recipient"), [(id_number(kept),)])
        self.assertEqual(self.sql("SELECT * FROM staging"), [])

    def test_what_is_being_written_is_no_orphan(self) -> None:
        incoming = self.write(LARGE, *[recipient(n) for n in range(1500)])
        self.now(self.spool.recover("queue"))
        self.now(self.spool.commit(incoming, None))
        self.assertEqual(len(self.page()), 1000)
        self.assertEqual(self.balanced().queued, 1500)
        self.assertEqual(self.read(self.claim_one_slice().message), LARGE)

    def claim_one_slice(self) -> Any:
        return self.claim(limit=5)[0]

    def test_recipients_of_a_committed_message_become_visible(self) -> None:
        # As it is when the process dies between the commit and the last slice.
        id = self.accept(*[recipient(n, hold="x" if n == 7 else "") for n in range(5)])
        self.sql("UPDATE recipient SET state = 3 WHERE n > 1")
        self.sql("INSERT INTO staging VALUES (?)", id_number(id))
        self.assertEqual(self.balanced().queued, 5)
        self.assertEqual(self.numbers(self.claim()), [(id, [0, 1])])
        self.recover()
        self.assertEqual(self.numbers(self.claim()), [(id, [0, 1, 2, 3, 4])])
        self.balanced()

    def test_missing_and_short_files_are_told_and_held(self) -> None:
        gone, short, sound = (self.accept(body=LARGE) for _ in range(3))
        (self.body_folder / gone).unlink()
        os.truncate(self.body_folder / short, 1000)
        damages = self.recover()
        self.assertEqual([damage.id for damage in damages], [gone, short])
        self.assertIn("1000 octets", damages[1].what)
        self.assertEqual(self.numbers(self.claim()), [(sound, [0])])
        self.assertEqual([row.id for row in self.page(held=True)], [gone, short])

    def test_a_row_that_is_no_envelope_is_set_aside(self) -> None:
        broken, sound = self.accept(), self.accept()
        self.sql("UPDATE message SET envelope = 'rubbish' WHERE id = ?", id_number(broken))
        self.assertEqual(self.numbers(self.claim()), [(sound, [0])])
        self.assertIn("damaged", self.page(held=True)[0].recipient.hold)
        self.assertEqual([(event.code, id) for event, id in self.events], [("spool-damage", broken)])

    def test_unused_destinations_are_forgotten(self) -> None:
        self.finish(self.accept_leased(), outcomes=(outcome(),))
        self.recover()
        self.assertEqual(self.sql("SELECT * FROM destination"), [])
        self.accept()
        self.claim_one()

    def test_check_reads_everything(self) -> None:
        small, large = self.accept(), self.accept(body=LARGE)
        self.assertEqual(self.now(self.spool.check()), [])
        for id in (small, large):
            self.lose_body(id)
        self.assertEqual([damage.id for damage in self.now(self.spool.check())], [small, large])


class Housekeeping(SqliteCase, SynchronousTestCase):
    """What it does when there is nothing else to do."""

    def log_size(self) -> int:
        return os.stat(f"{self.database}-wal").st_size

    def test_the_log_is_put_away_when_idle(self) -> None:
        self.accept()
        self.assertGreater(self.log_size(), 0)
        self.reactor.pump([2, 2])
        self.assertEqual(self.log_size(), 0)
        self.claim_one()

    def test_a_reader_that_rests_blocks_nobody(self) -> None:
        self.accept()
        reader = sqlite3.connect(self.database, isolation_level=None)
        self.addCleanup(reader.close)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM message").fetchone()
        self.accept()
        self.reactor.pump([2, 2, 2])
        self.assertIsNone(self.spool.unhealthy())
        reader.execute("COMMIT")
        self.reactor.pump([2, 2])
        self.assertEqual(self.log_size(), 0)

    def test_room_is_given_back(self) -> None:
        leases = [self.accept_leased(body=b"x" * 60_000) for _ in range(50)]
        for lease in leases:
            self.finish(lease, outcomes=(outcome(),))
        self.reactor.pump([2] * 6)
        self.assertLess(self.sql("PRAGMA freelist_count")[0][0], 300)

    def test_the_octets_of_what_ended_are_wiped(self) -> None:
        secret = b"a secret that nobody may find again " * 50
        self.finish(self.accept_leased(body=secret), outcomes=(outcome(),))
        self.reactor.pump([2, 2])
        self.now(self.spool.close())
        self.assertNotIn(b"nobody may find again", self.database.read_bytes())
        self.spool = self.make_spool()

    def test_closing_leaves_one_file(self) -> None:
        self.accept()
        self.now(self.spool.close())
        self.assertEqual(sorted(os.listdir(self.database.parent)), ["body", "spool.db"])
        self.spool = self.make_spool()
        self.assertEqual(self.page()[0].arrived, START)
