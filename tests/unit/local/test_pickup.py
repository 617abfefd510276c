"""The pickup folder: what programs left while nobody was there."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mta.local.pickup import EXPIRE, FIRST, LOOK, MOST_REFUSED, UNFINISHED
from mta.reply import Reply
from mta.sendmail.dropped import READY, WRITING, Envelope, drop, head_of
from tests.unit.local.local_harness import LocalServer

MESSAGE = (b"From: root\r\nTo: bob\r\nSubject: x\r\n\r\n", b"hello\r\n")


class Folder(SynchronousTestCase):
    """A server with its folder."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.server = LocalServer(self.folder)
        self.addCleanup(self.server.factory.abort)
        self.pickup, self.refused = self.folder / "pickup", self.folder / "refused"

    def leave(self, envelope: Envelope, *octets: bytes) -> Path:
        before = set(self.pickup.iterdir())
        drop(str(self.pickup), envelope, octets or MESSAGE)
        (path,) = set(self.pickup.iterdir()) - before
        return path

    def write(self, octets: bytes, mode: int = READY, name: str = "file") -> Path:
        path = self.pickup / name
        path.write_bytes(octets)
        path.chmod(mode)
        return path

    def pass_time(self, seconds: float = FIRST) -> None:
        """In small steps: the session and its feeder take turns."""
        self.server.clock.pump([seconds] + [0.0] * 200)

    def left(self) -> list[str]:
        return sorted(path.name for path in self.pickup.iterdir())

    def set_aside(self) -> list[str]:
        return sorted(path.name for path in self.refused.iterdir())

    def refuse_for_now(self) -> None:
        self.server.queue.refusal = Reply.of(452, "4.3.1", "Too much waits")
        self.server.factory.context = replace(self.server.context, queue_limited=True)


class Picking(Folder):
    def test_what_was_left_is_taken_as_by_the_socket(self) -> None:
        self.leave(Envelope("any@far.example", ("bob", "x@far.example"), notify="NEVER", ret="HDRS", envid="id 1"))
        self.pass_time()
        self.assertEqual((self.left(), self.set_aside()), ([], []))
        ((lease, octets),) = self.server.messages()
        envelope = lease.message.envelope
        self.assertEqual(
            (str(envelope.reverse_path), envelope.ret, envelope.envid), ("any@far.example", "HDRS", "id 1")
        )
        self.assertEqual([str(one.address) for one in lease.recipients], ["bob@ours.example", "x@far.example"])
        self.assertEqual({one.notify for one in lease.recipients}, {"NEVER"})
        self.assertEqual(envelope.origin.login, f"uid:{os.getuid()}")
        self.assertIn(b"\r\nFrom: root@ours.example\r\nTo: bob@ours.example\r\n", octets)
        self.assertTrue(octets.endswith(b"\r\n\r\nhello\r\n"))

    def test_without_a_sender_it_is_the_owner(self) -> None:
        self.leave(Envelope(None, ("bob",)))
        self.pass_time()
        self.assertEqual(str(self.server.messages()[0][0].message.envelope.reverse_path), "root@ours.example")

    def test_whose_file_it_is_says_who_sent_it(self) -> None:
        path = self.leave(Envelope("ann@ours.example", ("bob",)))
        if os.getuid():
            self.skipTest("only root can give files away")
        os.chown(path, 33, 33)
        self.pass_time()
        self.assertEqual(self.server.messages(), [])
        ((message, told),) = self.server.reporter.told
        # Not to ann, who has not sent it.
        self.assertEqual(str(message.envelope.reverse_path), "www-data@ours.example")
        self.assertEqual(
            told, [("bob@ours.example", "550 5.7.1 MAIL FROM is ann@ours.example, which uid:33 may not send as")]
        )
        self.assertEqual(self.left(), [])

    def test_a_long_message_goes_in_pieces(self) -> None:
        body = b"".join(b"%060d\r\n" % number for number in range(1500))
        self.leave(Envelope(None, ("bob",)), MESSAGE[0], body)
        self.pass_time()
        self.assertTrue(self.server.messages()[0][1].endswith(body))

    def test_what_is_too_big_comes_back(self) -> None:
        self.leave(Envelope(None, ("bob",)), MESSAGE[0], b"x" * 200_000)
        self.pass_time()
        ((_, told),) = self.server.reporter.told
        self.assertIn("552 5.3.4", told[0][1])
        self.assertEqual(self.left(), [])

    def test_who_does_not_exist_comes_back_and_the_others_go(self) -> None:
        self.leave(Envelope(None, ("bob", "nosuch", "not an address", "x@far.example")))
        self.pass_time()
        ((lease, _),) = self.server.messages()
        self.assertEqual([str(one.address) for one in lease.recipients], ["bob@ours.example", "x@far.example"])
        ((message, told),) = self.server.reporter.told
        self.assertEqual([address for address, _ in told], ["nosuch@ours.example", '"not an address"@ours.example'])
        self.assertIn(b"To: bob@ours.example\r\n", message.header())

    def test_of_the_null_sender_nobody_is_told_but_the_postmaster(self) -> None:
        self.leave(Envelope("", ("nosuch",)))
        self.pass_time()
        ((message, _),) = self.server.reporter.told
        self.assertIsNone(message.envelope.reverse_path)

    def test_very_many_recipients(self) -> None:
        # limits.recipients is 5, limits.errors 10
        names = tuple(f"r{number}@far.example" for number in range(12))
        wrong = tuple(f"no{number}" for number in range(25))
        self.leave(Envelope(None, (*names, *wrong)))
        for _ in range(60):
            self.pass_time(20.0)  # who names many that there are not is let wait
        found = [str(one.address) for lease, _ in self.server.messages() for one in lease.recipients]
        self.assertEqual(sorted(found), sorted(names))
        ((_, told),) = self.server.reporter.told
        self.assertEqual(len(told), len(wrong))
        self.assertEqual(self.left(), [])

    def test_refused_for_now_it_waits(self) -> None:
        self.refuse_for_now()
        self.leave(Envelope(None, ("bob",)))
        self.pass_time()
        self.assertEqual(len(self.left()), 1)
        self.server.queue.refusal = None
        for _ in range(3):
            self.pass_time(LOOK)
        self.assertEqual((self.left(), len(self.server.messages())), ([], 1))

    def test_waiting_gets_longer(self) -> None:
        self.refuse_for_now()
        self.leave(Envelope(None, ("bob",)))
        for _ in range(100):
            self.pass_time(LOOK)
        self.assertEqual([args["seconds"] for args in self.server.told("pickup-waits")], [10, 60, 300, 900])

    def test_after_days_it_comes_back(self) -> None:
        self.refuse_for_now()
        path = self.leave(Envelope(None, ("bob",)))
        then = path.stat().st_mtime - EXPIRE - 1
        os.utime(path, (then, then))
        self.pass_time()
        ((_, told),) = self.server.reporter.told
        self.assertEqual(told, [("bob@ours.example", "452 4.3.1 Too much waits")])
        self.assertEqual(self.left(), [])

    def test_a_report_that_cannot_be_written_keeps_it(self) -> None:
        self.server.reporter.again = True
        self.leave(Envelope(None, ("bob", "nosuch")))
        self.pass_time()
        self.assertEqual(len(self.left()), 1)
        self.server.reporter.again = False
        for _ in range(4):
            self.pass_time(LOOK)
        self.assertEqual(self.left(), [])
        # Nobody gets it twice.
        self.assertEqual(len(self.server.messages()), 1)
        self.assertEqual(len(self.server.reporter.told), 1)

    def test_no_mail_is_taken_while_nobody_may_connect(self) -> None:
        self.server.connections.refused = Reply.of(421, "4.3.2", "Draining")
        self.leave(Envelope(None, ("bob",)))
        self.pass_time()
        self.assertEqual(len(self.left()), 1)
        self.server.connections.refused = None
        self.pass_time(LOOK)
        self.assertEqual(self.left(), [])

    def test_another_process_has_it(self) -> None:
        with patch("fcntl.flock", side_effect=BlockingIOError):
            self.leave(Envelope(None, ("bob",)))
            self.pass_time()
        self.assertEqual(len(self.left()), 1)

    def test_the_stop_waits_for_what_is_under_way(self) -> None:
        self.leave(Envelope(None, ("bob",)))
        self.leave(Envelope(None, ("bob",)))
        taking: Any = self.server.factory._pickup._taking
        real, disk = taking.take, Deferred[None]()

        async def take(*args: Any) -> Any:
            await disk
            return await real(*args)

        with patch.object(taking, "take", take):
            self.pass_time()
            done = self.server.factory.shut_down()
            self.assertNoResult(done)
            disk.callback(None)
            self.pass_time(0)
        self.successResultOf(done)
        self.assertEqual((len(self.left()), len(self.server.messages())), (1, 1))
        self.server.clock.advance(LOOK)
        self.assertEqual(self.server.clock.getDelayedCalls(), [])


class Hostile(Folder):
    """What somebody put there who may write there."""

    def aside(self, path: Path, why: str) -> None:
        self.pass_time()
        (args,) = self.server.told("pickup-refused")
        self.assertIn(why, args["why"])
        self.assertEqual((self.left(), self.set_aside()), ([], [path.name]))
        self.assertEqual(self.server.messages(), [])

    def test_another_name_of_anothers_file(self) -> None:
        other = self.folder / "roots"
        other.write_bytes(head_of(Envelope("boss@ours.example", ("bob",))) + b"".join(MESSAGE))
        other.chmod(READY)
        path = self.pickup / "mine"
        os.link(other, path)
        self.aside(path, "another name")

    def test_a_link(self) -> None:
        other = self.folder / "roots"
        other.write_bytes(head_of(Envelope(None, ("bob",))) + b"".join(MESSAGE))
        other.chmod(READY)
        path = self.pickup / "link"
        path.symlink_to(other)
        self.aside(path, "cannot be opened")
        self.assertTrue(other.exists())

    def test_a_pipe_does_not_stop_us(self) -> None:
        path = self.pickup / "pipe"
        os.mkfifo(path)
        self.aside(path, "no plain file")

    def test_a_folder(self) -> None:
        path = self.pickup / "folder"
        path.mkdir()
        self.aside(path, "no plain file")

    def test_what_is_of_another_form(self) -> None:
        self.aside(self.write(b"\x80\x04\x95pickle"), "of this format")

    def test_another_mode(self) -> None:
        octets = head_of(Envelope(None, ("bob",))) + b"".join(MESSAGE)
        self.aside(self.write(octets, 0o666), "its mode is 0666")

    def test_a_set_user_id_mode(self) -> None:
        octets = head_of(Envelope(None, ("bob",))) + b"".join(MESSAGE)
        self.aside(self.write(octets, 0o4644), "its mode is 4644")

    def test_what_is_not_finished_is_left_alone_and_goes_in_time(self) -> None:
        path = self.write(b"half", WRITING)
        self.pass_time()
        self.assertEqual((self.left(), self.set_aside()), (["file"], []))
        old = path.stat().st_ctime + UNFINISHED + 1
        with patch.object(self.server.factory._pickup, "_wall", lambda: old):
            self.pass_time(LOOK)
        self.assertEqual((self.left(), self.set_aside()), ([], []))

    def test_no_command_in_an_envelope(self) -> None:
        octets = head_of(Envelope(None, ("bob",))).replace(b'"bob"', b'"bob>\\r\\nRCPT TO:<eve"')
        self.aside(self.write(octets + MESSAGE[0]), "control characters")

    def test_a_file_that_becomes_shorter(self) -> None:
        path = self.leave(Envelope(None, ("bob",)), MESSAGE[0], b"%060d\r\n" % 0 * 1450)
        real = os.pread

        def cut(descriptor: int, size: int, position: int) -> bytes:
            return real(descriptor, size, position)[: max(0, 70_000 - position)]

        with patch("os.pread", cut):
            self.aside(path, "shorter")

    def test_a_flood_of_what_is_none_is_not_kept(self) -> None:
        for number in range(MOST_REFUSED):
            (self.refused / str(number)).touch()
        self.write(b"junk")
        self.pass_time()
        self.assertEqual((self.left(), len(self.set_aside())), ([], MOST_REFUSED))

    def test_a_flood_keeps_nobody_out(self) -> None:
        for number in range(12):
            self.write(b"half", WRITING, f"{number:03}")
        self.leave(Envelope(None, ("bob",)))
        with patch("mta.local.pickup.MOST_FILES", 4):
            for _ in range(5):
                self.pass_time()
        self.assertEqual((len(self.left()), len(self.server.messages())), (12, 1))

    def test_one_that_fails_does_not_stop_the_others(self) -> None:
        self.leave(Envelope(None, ("bob",)))
        self.leave(Envelope(None, ("bob",)))
        taking: Any = self.server.factory._pickup._taking
        real, calls = taking.take, 0

        async def take(*args: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise RuntimeError("a fault of ours")
            return await real(*args)

        with patch.object(taking, "take", take):
            self.pass_time()
        self.flushLoggedErrors(RuntimeError)
        self.assertEqual((len(self.left()), len(self.server.messages())), (1, 1))

    def test_users_take_turns(self) -> None:
        if os.getuid():
            self.skipTest("only root can give files away")
        for number in range(3):
            os.utime(self.leave(Envelope(None, (f"a{number}@far.example",))), (number, 1000 + number))
        path = self.leave(Envelope(None, ("x@far.example",)))
        os.chown(path, 1000, 1000)
        self.pass_time()
        self.assertEqual(
            [str(lease.recipients[0].address.local) for lease, _ in self.server.messages()], ["a0", "x", "a1", "a2"]
        )
