"""``pipe`` with programs that the test plays: what they are given, and what their end means."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from delivery_contract import BOB, CAROL, DeliveryContract, recipient, services, stored
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.delivery.launch import MESSAGE_NAMES
from mta.delivery.pipe import Pipe, PipeOptions
from mta.delivery.pipe_argv import Unsafe, arguments, check_argv, check_environment, values_of
from mta.delivery.running import GRACE, LINGER, Program, Run
from mta.delivery.values import Batch
from mta.envelope import Destination, Outcome, Recipient, Scope, Status
from mta.interfaces import IDeliveryService, IMessage
from mta.message.edits import Edit
from mta.reply import LOCAL_ERROR
from mta.routing.values import Route
from mta.spool.values import Damaged

ANN = Address("ann", "a.example")
MESSAGE = b"Return-Path: <forged@x.example>\r\nSubject: hello\r\n\r\n.one\r\ntwo\r\n"


class Played:
    """A program that the test plays; a ``Channel``."""

    def __init__(self, program: Program, run: Run) -> None:
        self.program = program
        self.run = run
        self.read = b""
        self.closed = False
        self.signals: list[int] = []
        self.abandoned = False
        self.producer: Any = None

    def write(self, octets: bytes) -> None:
        self.read += octets

    def close_input(self) -> None:
        self.closed = True

    def register(self, producer: Any) -> None:
        self.producer = producer

    def kill(self, number: int) -> None:
        self.signals.append(number)

    def abandon(self) -> None:
        self.abandoned = True

    def end(self, status: int = 0, output: bytes = b"") -> None:
        if output:
            self.run.output(output)
        self.run.output_ended()
        self.run.exited(status)


class PipeCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.played: list[Played] = []
        self.at_start: Callable[[Played], None] = lambda program: None

    def launch(self, program: Program, run: Run) -> None:
        played = Played(program, run)
        self.played.append(played)
        run.began(played)
        self.at_start(played)

    def service(self, *command: str, **options: Any) -> Pipe:
        given = {"line_ends": "lf", "command": command or ("/bin/deliver", "{recipient}"), **options}
        return Pipe(PipeOptions(**given), services(reactor=self.clock, launch=self.launch))

    def batch(self, message: IMessage | None = None, *recipients: Recipient, **facts: str) -> Batch:
        route = Route(destination=Destination("out", ""), facts=facts)
        return Batch(message or stored(MESSAGE, sender=ANN), recipients or (recipient(0, BOB),), route, 300.0)

    def begin(self, batch: Batch, *command: str, **options: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(self.service(*command, **options).deliver(batch))

    def ended(self, status: int, output: bytes = b"", **options: Any) -> Outcome:
        batch = self.batch()
        done = self.begin(batch, **options)
        self.played[-1].end(status, output)
        self.successResultOf(done)
        (outcome,) = batch.close(LOCAL_ERROR)
        return outcome


class PipeContract(DeliveryContract, PipeCase):
    def make_service(self) -> IDeliveryService:
        self.at_start = lambda program: program.end()
        return self.service(recipients=10)


class Given(PipeCase):
    def argv(self, *command: str, batch: Batch | None = None, **options: Any) -> tuple[str, ...]:
        self.begin(batch or self.batch(), *command, **options)
        return self.played[-1].program.argv

    def test_each_value_is_one_argument_whatever_it_holds(self) -> None:
        # CVE-2020-7247, CVE-2019-10149
        odd = Address("a b;$(touch /tmp/x)`id`'\"|&\\\u00e9", "example.org")
        batch = self.batch(stored(MESSAGE, sender=ANN), recipient(0, odd, CAROL), tag="x y", mailbox="m")
        argv = self.argv(
            "/bin/x", "-f{sender}", "{local_part}", "{domain}", "{original}:{tag}", "{mailbox}{{", batch=batch
        )
        wanted = ("/bin/x", "-fann@a.example", odd.local, "example.org", "carol@example.org:x y", "m{")
        self.assertEqual(argv, wanted)

    @given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30))
    def test_no_local_part_makes_an_argument_more_or_an_option(self, local: str) -> None:
        values = values_of(self.batch(None, recipient(0, Address(local, "example.org"))), recipient(0, BOB))
        values["local_part"] = local
        try:
            argv = arguments(("/bin/x", "-v", "{local_part}"), [values])
        except Unsafe:
            self.assertTrue(local.startswith("-"))
        else:
            self.assertEqual(argv, ("/bin/x", "-v", local))
            self.assertFalse(local.startswith("-"))

    def test_a_huge_local_part_passes(self) -> None:
        batch = self.batch(None, recipient(0, Address("x" * 256, "example.org")))
        self.assertEqual(self.argv("/bin/x", "{local_part}", batch=batch)[1], "x" * 256)

    def test_several_recipients_repeat_what_is_theirs(self) -> None:
        batch = self.batch(None, recipient(0, BOB), recipient(1, CAROL))
        argv = self.argv("/bin/x", "{id}", "{recipient}", "end", batch=batch, recipients=2)
        self.assertEqual(argv[2:], ("bob@example.org", "carol@example.org", "end"))
        self.assertNotIn("RECIPIENT", self.played[-1].program.environment)
        self.assertNotIn(b"Delivered-To", self.played[-1].read)

    def test_the_environment_is_built_from_nothing(self) -> None:
        self.begin(self.batch(tag="lists"), environment=("TZ=UTC", "A=b=c"))
        environment = dict(self.played[-1].program.environment)
        for key in ("HOME", "USER", "LOGNAME", "MTA_ID"):
            self.assertTrue(environment.pop(key))
        self.assertTrue(environment.pop("MTA_KEY").endswith("-0"))
        wanted = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "SHELL": "/bin/sh",
            "SENDER": "ann@a.example",
            "RECIPIENT": "bob@example.org",
            "ORIGINAL_RECIPIENT": "bob@example.org",
            "LOCAL": "bob",
            "DOMAIN": "example.org",
            "EXTENSION": "lists",
            "TZ": "UTC",
            "A": "b=c",
        }
        self.assertEqual(environment, wanted)

    def test_what_a_message_sets_is_what_the_helper_takes_of_it(self) -> None:
        self.begin(self.batch(), environment=("TZ=UTC",))
        environment = self.played[-1].program.environment
        fixed = PipeOptions(command=("/bin/x",), line_ends="lf", environment=("TZ=UTC",)).fixed_variables()
        self.assertEqual(environment.keys() - fixed.keys(), MESSAGE_NAMES)

    def test_a_variable_of_the_section_comes_before_one_of_the_message(self) -> None:
        self.begin(self.batch(), environment=("LOCAL=here", "PATH=/bin"))
        environment = self.played[-1].program.environment
        self.assertEqual((environment["LOCAL"], environment["PATH"]), ("here", "/bin"))

    def test_limits_and_users_are_handed_on(self) -> None:
        options = {"user": "root", "folder": "/tmp", "cpu_time": 1.5, "memory": 0, "file_size": 7, "processes": 3}
        self.begin(self.batch(), **options)
        program = self.played[-1].program
        self.assertEqual((program.user, program.group, program.folder), ("root", "", "/tmp"))
        self.assertEqual(program.limits, {"file_size": 7, "processes": 3, "cpu_time": 2})

    def test_the_message_with_its_envelope_in_front(self) -> None:
        # RFC 5321 4.4
        self.begin(self.batch(stored(MESSAGE, edits=(Edit(0, 0, b"Received: by us\r\n"),), sender=ANN)))
        front = b"Return-Path: <ann@a.example>\nDelivered-To: bob@example.org\nReceived: by us\n"
        self.assertEqual(self.played[-1].read, front + b"Subject: hello\n\n.one\ntwo\n")
        self.assertTrue(self.played[-1].closed)

    def test_or_byte_for_byte(self) -> None:
        self.begin(self.batch(), line_ends="crlf", envelope=False)
        self.assertEqual(self.played[-1].read, b"Subject: hello\r\n\r\n.one\r\ntwo\r\n")

    def test_the_line_of_mbox_files(self) -> None:
        self.begin(self.batch(), from_line=True)
        self.assertTrue(self.played[-1].read.startswith(b"From ann@a.example Tue Nov 14 22:13:20 2023\nReturn-Path:"))


class Dashes(PipeCase):
    def refused(self, batch: Batch, *command: str) -> Outcome:
        self.successResultOf(self.begin(batch, *command))
        self.assertEqual(self.played, [])
        (outcome,) = batch.close(LOCAL_ERROR)
        return outcome

    def test_an_address_never_becomes_an_option(self) -> None:
        batch = self.batch(None, recipient(0, Address("-oProxy", "example.org")))
        outcome = self.refused(batch, "/bin/x", "{recipient}")
        self.assertEqual((outcome.status, outcome.reply.code, outcome.reply.enhanced), (Status.FAILED, 553, "5.1.3"))

    def test_nor_does_a_sender_or_one_behind_an_empty_value(self) -> None:
        batch = self.batch(stored(MESSAGE, sender=Address("-x", "a.example")))
        self.assertEqual(self.refused(batch, "/bin/x", "{tag}{sender}").reply.enhanced, "5.1.7")

    def test_it_passes_where_options_have_ended_or_within_an_argument(self) -> None:
        batch = self.batch(None, recipient(0, Address("-x", "example.org")))
        self.begin(batch, "/bin/x", "-r{local_part}", "--", "{local_part}")
        self.assertEqual(self.played[0].program.argv[1:], ("-r-x", "--", "-x"))

    def test_one_of_several_fails_alone(self) -> None:
        dash = Address("-x", "example.org")
        batch = self.batch(None, recipient(0, BOB), recipient(1, dash), recipient(2, CAROL))
        done = self.begin(batch, "/bin/x", "{recipient}", recipients=3)
        self.assertEqual(self.played[0].program.argv[1:], ("bob@example.org", "carol@example.org"))
        self.played[0].end()
        self.successResultOf(done)
        found = {outcome.recipient: (outcome.status, outcome.reply.code) for outcome in batch.close(LOCAL_ERROR)}
        self.assertEqual(found, {0: (Status.DELIVERED, 250), 1: (Status.FAILED, 553), 2: (Status.DELIVERED, 250)})

    def test_controls_of_a_table_wait(self) -> None:
        for bad in ("a\nb", "a\0b", "a\x7fb"):
            outcome = self.refused(self.batch(mailbox=bad), "/bin/x", "{mailbox}")
            self.assertEqual((outcome.status, outcome.reply.enhanced), (Status.DEFERRED, "4.3.5"))


class Ends(PipeCase):
    def test_sysexits(self) -> None:
        table = {
            0: (Status.DELIVERED, "2.0.0"),
            1: (Status.DEFERRED, "4.3.0"),
            64: (Status.DEFERRED, "4.3.5"),
            65: (Status.FAILED, "5.6.0"),
            67: (Status.FAILED, "5.1.1"),
            68: (Status.FAILED, "5.1.2"),
            69: (Status.FAILED, "5.3.0"),
            70: (Status.DEFERRED, "4.3.0"),
            73: (Status.DEFERRED, "4.2.0"),
            75: (Status.DEFERRED, "4.3.0"),
            76: (Status.FAILED, "5.5.0"),
            77: (Status.FAILED, "5.7.0"),
            78: (Status.DEFERRED, "4.3.5"),
            127: (Status.DEFERRED, "4.3.5"),
            200: (Status.DEFERRED, "4.3.0"),
        }
        for status, wanted in table.items():
            outcome = self.ended(status)
            self.assertEqual((outcome.status, outcome.reply.enhanced), wanted, status)

    def test_others_fail_where_the_administrator_says_so(self) -> None:
        self.assertEqual(self.ended(1, fails_for_ever=(1,)).reply.enhanced, "5.3.0")

    def test_a_signal_waits(self) -> None:
        outcome = self.ended(-signal.SIGSEGV)
        self.assertEqual((outcome.status, outcome.scope), (Status.DEFERRED, Scope.MESSAGE))
        self.assertIn("SIGSEGV", str(outcome.reply))
        self.assertTrue(outcome.may_duplicate)

    def test_what_it_says_is_in_the_reply_made_harmless(self) -> None:
        outcome = self.ended(75, b"over\r\nquota\x1b[31m \xff\0" + b"x" * 9000)
        self.assertEqual(outcome.reply.text[:40], "The program says: over quota [31m \ufffd " + "x" * 4)
        self.assertLess(len(outcome.reply.text), 250)
        self.assertLess(len(outcome.attempt["error"]), 1100)

    def test_an_enhanced_code_of_its_own_counts_if_it_is_of_the_class(self) -> None:
        self.assertEqual(str(self.ended(77, b"5.7.26 not today\n").reply), "550 5.7.26 The program says: not today")
        self.assertEqual(self.ended(75, b"5.7.26 not today\n").reply.enhanced, "4.3.0")

    def test_ten_mebibytes_of_output_are_read_and_forgotten(self) -> None:
        batch = self.batch()
        done = self.begin(batch)
        for _ in range(160):
            self.played[0].run.output(b"x" * 65536)
        self.played[0].end()
        self.successResultOf(done)
        self.assertEqual(batch.outcomes[0].status, Status.DELIVERED)

    def test_one_that_cannot_be_started_concerns_all(self) -> None:
        service = Pipe(
            PipeOptions(command=("/bin/x",), line_ends="lf"),
            services(reactor=self.clock, launch=lambda program, run: run.refused("no helper")),
        )
        batch = self.batch()
        self.successResultOf(Deferred.fromCoroutine(service.deliver(batch)))
        (outcome,) = batch.close(LOCAL_ERROR)
        self.assertEqual(
            (outcome.status, outcome.scope, outcome.reply.enhanced), (Status.DEFERRED, Scope.HOST, "4.3.5")
        )
        self.assertEqual(outcome.attempt["error"], "no helper")
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Slow(PipeCase):
    LARGE = b"Subject: x\r\n\r\n" + b"0123456789abcd\r\n" * 40_000

    def test_it_gets_no_more_than_it_reads(self) -> None:
        self.at_start = lambda played: played.producer.pauseProducing()
        self.begin(self.batch(stored(self.LARGE)))
        (played,) = self.played
        self.assertEqual(played.read, b"")
        played.producer.resumeProducing()
        self.assertTrue(played.closed)
        self.assertTrue(played.read.endswith(self.LARGE.replace(b"\r\n", b"\n")))

    def test_one_that_does_not_read_all_has_taken_it_all_the_same(self) -> None:
        self.at_start = lambda played: played.producer.pauseProducing()
        batch = self.batch(stored(self.LARGE))
        done = self.begin(batch)
        self.played[0].run.input_lost()
        self.assertNoResult(done)
        self.played[0].end()
        self.successResultOf(done)
        self.assertEqual(batch.outcomes[0].status, Status.DELIVERED)

    def test_time_is_up(self) -> None:
        batch = self.batch()
        done = self.begin(batch, time_limit=60.0)
        (played,) = self.played
        self.clock.advance(60)
        self.assertEqual(played.signals, [signal.SIGTERM])
        self.clock.advance(GRACE)
        self.assertEqual(played.signals, [signal.SIGTERM, signal.SIGKILL])
        played.end(-signal.SIGKILL)
        self.successResultOf(done)
        (outcome,) = batch.close(LOCAL_ERROR)
        self.assertEqual((outcome.status, outcome.reply.enhanced), (Status.DEFERRED, "4.3.0"))
        self.assertIn("60 seconds", outcome.attempt["error"])

    def test_not_even_one_that_cannot_be_killed_holds_us_up(self) -> None:
        batch = self.batch()
        done = self.begin(batch, time_limit=60.0)
        self.clock.pump([60, GRACE, GRACE])
        self.successResultOf(done)
        self.assertTrue(self.played[0].abandoned)

    def test_while_it_does_not_read_its_input_stays_open_until_it_is_dead(self) -> None:
        self.at_start = lambda played: played.producer.pauseProducing()
        done = self.begin(self.batch(), time_limit=60.0)
        self.clock.pump([60, GRACE])
        self.assertFalse(self.played[0].closed or self.played[0].abandoned)
        self.played[0].end(-signal.SIGKILL)
        self.successResultOf(done)

    def test_others_who_keep_its_output_open_do_not_hold_us_up(self) -> None:
        batch = self.batch()
        done = self.begin(batch)
        self.played[0].run.exited(0)
        self.assertNoResult(done)
        self.clock.advance(LINGER)
        self.successResultOf(done)
        self.assertEqual(batch.outcomes[0].status, Status.DELIVERED)
        self.assertTrue(self.played[0].abandoned)

    def test_a_delivery_that_is_cancelled_kills_before_anything_else(self) -> None:
        self.at_start = lambda played: played.producer.pauseProducing()
        batch = self.batch(stored(self.LARGE))
        done = self.begin(batch)
        done.cancel()
        self.failureResultOf(done)
        (played,) = self.played
        self.assertEqual((played.signals, played.closed), ([signal.SIGKILL], False))
        played.end(-signal.SIGKILL)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(batch.pending), 1)

    def test_a_message_that_cannot_be_read_to_its_end_is_never_a_whole_one(self) -> None:
        message = stored(MESSAGE)

        class Chunks:
            def next(self) -> bytes:
                raise Damaged(message.id, "gone")

            def close(self) -> None: ...

        class Broken:
            id, envelope, size, header = message.id, message.envelope, message.size, message.header
            open = staticmethod(Chunks)

        broken: Any = Broken()
        batch = self.batch(broken)
        self.successResultOf(self.begin(batch))
        (outcome,) = batch.close(LOCAL_ERROR)
        self.assertEqual((outcome.status, outcome.scope), (Status.DEFERRED, Scope.MESSAGE))
        self.assertEqual((self.played[0].signals, self.played[0].closed), ([signal.SIGKILL], False))
        self.clock.advance(GRACE)


class AtOnce(PipeCase):
    def test_no_more_than_allowed(self) -> None:
        service = self.service(concurrency=2)
        batches = [self.batch() for _ in range(3)]
        running = [Deferred.fromCoroutine(service.deliver(batch)) for batch in batches]
        self.assertEqual(len(self.played), 2)
        self.played[0].end()
        self.assertEqual(len(self.played), 3)
        self.played[1].end()
        self.played[2].end()
        for done in running:
            self.successResultOf(done)

    def test_a_stop_waits_and_then_kills(self) -> None:
        service = self.service(concurrency=1)
        batches = [self.batch(), self.batch()]
        running = [Deferred.fromCoroutine(service.deliver(batch)) for batch in batches]
        stopped = Deferred.fromCoroutine(service.stop(10.0))
        self.assertNoResult(stopped)
        self.clock.advance(10.0)
        self.successResultOf(stopped)
        self.assertEqual(self.played[0].signals, [signal.SIGKILL])
        self.played[0].end(-signal.SIGKILL)
        for done in running:
            self.successResultOf(done)
        self.assertEqual(len(self.played), 1)
        self.assertEqual([batch.outcomes[0].status for batch in batches], [Status.DEFERRED] * 2)


class Configured(SynchronousTestCase):
    def test_what_is_wrong_with_a_command(self) -> None:
        self.assertIn("full path", check_argv(()) or "")
        self.assertIn("full path", check_argv(("procmail",)) or "")
        self.assertIn("{user}", check_argv(("/bin/x", "{user}")) or "")
        self.assertIn("as it is", check_argv(("/bin/{tag}",)) or "")
        self.assertIsNone(check_argv(("/usr/bin/awk", "{{print}}", "{recipient}")))
        self.assertIn("TZ=UTC", check_environment(("1=2",)) or "")
