"""The policy engine: order, joining, what goes wrong, time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from policy_cases import Said, policies, policy
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.envelope import Origin
from mta.message.edits import Edit
from mta.message.header import scan
from mta.policy.engine import CANNOT_CHECK, Policies, Ruling, Stage
from mta.policy.values import ConnectionContext, MessageContext, SenderContext
from mta.reply import LOCAL_ERROR, PermanentFailure, Reply, TemporaryFailure
from mta.verdict import Decision, Verdict
from mta.waiting import step

HERE = ConnectionContext(listener="mx", client="192.0.2.7")
SENDER = SenderContext(origin=Origin(listener="mx", protocol="ESMTP"), reverse_path=None, now=0)
OCTETS = b"Subject: x\r\n\r\nbody\r\n"
MESSAGE = MessageContext(
    origin=SENDER.origin,
    reverse_path=None,
    now=0,
    id="0000000000001",
    recipients=(),
    header=scan(OCTETS),
    size=len(OCTETS),
    source=lambda edits: None,  # type: ignore[arg-type, return-value]
)
NO = Verdict.reject(550, "5.7.1", "no", reason="because")


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def of(self, *some: Any) -> Policies:
        return policies(self.clock, *some)

    def ask(self, *some: Any, context: Any = HERE) -> Ruling:
        """What needs no wait is there at once."""
        done, ruling = step(self.of(*some).check(some[0].stage, context))
        self.assertTrue(done)
        assert isinstance(ruling, Ruling)
        return ruling

    def begin(self, *some: Any, context: Any = HERE) -> Deferred[Ruling]:
        done, waiting = step(self.of(*some).check(some[0].stage, context))
        self.assertFalse(done)
        assert isinstance(waiting, Deferred)
        return waiting

    def why(self, ruling: Ruling) -> list[str]:
        return [why for event in ruling.events for why in event.args["why"]]


class Order(Case):
    def test_nobody_objects(self) -> None:
        ruling = self.ask(policy(Stage.CONNECT), policy(Stage.CONNECT, name="two"))
        self.assertEqual(ruling.verdict, Verdict.none())
        self.assertEqual([event.args["policy"] for event in ruling.events], ["one", "two"])
        self.assertFalse(any(opinion.notable for opinion in ruling.opinions))

    def test_the_first_final_verdict_ends_the_stage(self) -> None:
        for last in (NO, Verdict.defer(451, "4.7.1", "later"), Verdict.discard()):
            later = Said()
            ruling = self.ask(
                policy(Stage.CONNECT, Verdict.hold(reason="held")),
                policy(Stage.CONNECT, last, "two"),
                policy(Stage.CONNECT, later, "three"),
            )
            self.assertEqual((ruling.verdict.decision, later.seen), (last.decision, []))
            self.assertEqual(ruling.verdict.reply, last.reply)

    def test_another_stage_is_not_asked(self) -> None:
        other = Said(NO)
        self.ask(policy(Stage.CONNECT), policy(Stage.SENDER, other))
        self.assertEqual(other.seen, [])

    def test_what_waits_and_what_does_not(self) -> None:
        async def coroutine(context: Any) -> Verdict:
            return NO

        for answer in (NO, coroutine, lambda context: succeed(NO)):
            self.assertIs(self.ask(policy(Stage.CONNECT, answer)).verdict.decision, Decision.REJECT)
        later: Deferred[Verdict] = Deferred()
        waiting = self.begin(policy(Stage.CONNECT, later))
        later.callback(NO)
        self.assertIs(self.successResultOf(waiting).verdict.decision, Decision.REJECT)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_later_one_sees_edits_and_facts(self) -> None:
        second = Said()
        edits = (Edit(0, 0, b"X: y\r\n"),)
        ruling = self.ask(
            policy(Stage.MESSAGE, Verdict(edits=edits, facts={"spf": "pass"})),
            policy(Stage.MESSAGE, second, "two"),
            context=MESSAGE,
        )
        self.assertEqual((second.seen[0].edits, second.seen[0].facts), (edits, {"spf": "pass"}))
        self.assertEqual(ruling.verdict.edits, edits)

    def test_in_shadow_it_is_told_and_changes_nothing(self) -> None:
        second = Said()
        ruling = self.ask(
            policy(Stage.CONNECT, NO, shadow=True), policy(Stage.CONNECT, second, "two"), policy(Stage.CONNECT)
        )
        self.assertEqual((ruling.verdict.decision, len(second.seen)), (Decision.ACCEPT, 1))
        self.assertEqual(ruling.events[0].args["decision"], "reject")
        self.assertIn("in shadow: it changes nothing", self.why(ruling))


class Trouble(Case):
    def test_a_hang_meets_its_timeout(self) -> None:
        for on_error, decision, reply in (
            ("defer", Decision.DEFER, LOCAL_ERROR),
            ("accept", Decision.ACCEPT, None),
            ("reject", Decision.REJECT, CANNOT_CHECK),
        ):
            cancelled: list[Any] = []
            never: Deferred[Verdict] = Deferred(cancelled.append)
            waiting = self.begin(policy(Stage.CONNECT, never, timeout=2.0, on_error=on_error))
            self.clock.advance(1.9)
            self.assertNoResult(waiting)
            self.clock.advance(0.2)
            ruling = self.successResultOf(waiting)
            self.assertEqual((ruling.verdict.decision, ruling.verdict.reply), (decision, reply))
            self.assertEqual(cancelled, [never])
            self.assertIn(f"it failed: it took longer than 2 s; on_error = {on_error}", self.why(ruling))

    def test_one_that_does_not_let_itself_be_stopped(self) -> None:
        async def stubborn(context: Any) -> Verdict:
            while True:
                try:
                    await Deferred()
                except CancelledError:
                    await Deferred()

        waiting = self.begin(policy(Stage.CONNECT, stubborn, timeout=1.0))
        self.clock.advance(1.0)
        self.assertIs(self.successResultOf(waiting).verdict.decision, Decision.DEFER)

    def test_what_comes_too_late_is_dropped(self) -> None:
        for late in (lambda d: d.callback(NO), lambda d: d.errback(ValueError("late"))):
            slow: Deferred[Verdict] = Deferred()
            waiting = self.begin(policy(Stage.CONNECT, slow, timeout=1.0, on_error="accept"))
            self.clock.advance(1.0)
            late(slow)
            self.assertIs(self.successResultOf(waiting).verdict.decision, Decision.ACCEPT)

    def test_a_client_that_goes_away_stops_it(self) -> None:
        stopped: list[str] = []

        async def slow(context: Any) -> Verdict:
            try:
                await Deferred()
            except CancelledError:
                stopped.append("yes")
                raise
            return NO

        waiting = self.begin(policy(Stage.CONNECT, slow, on_error="accept"), policy(Stage.CONNECT, NO))
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual((stopped, self.clock.getDelayedCalls()), (["yes"], []))

    def test_whatever_it_raises(self) -> None:
        async def later(context: Any) -> Verdict:
            raise ZeroDivisionError("oh")

        for answer in (ZeroDivisionError("oh"), later):
            ruling = self.ask(policy(Stage.CONNECT, answer))
            self.assertEqual(ruling.verdict.reply, LOCAL_ERROR)
            self.assertIn("it failed: ZeroDivisionError: oh; on_error = defer", self.why(ruling))
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_cancellation_of_its_own_is_trouble_like_any_other(self) -> None:
        async def own(context: Any) -> Verdict:
            raise CancelledError

        async def waits(context: Any) -> Verdict:
            gone: Deferred[None] = Deferred()
            self.clock.callLater(1.0, gone.cancel)
            await gone
            return NO

        self.assertIs(self.ask(policy(Stage.CONNECT, own)).verdict.decision, Decision.DEFER)
        self.assertIs(self.ask(policy(Stage.CONNECT, CancelledError())).verdict.decision, Decision.DEFER)
        waiting = self.begin(policy(Stage.CONNECT, waits))
        self.clock.advance(1.0)
        self.assertIs(self.successResultOf(waiting).verdict.decision, Decision.DEFER)
        self.flushLoggedErrors(CancelledError)

    def test_one_that_cannot_know_gives_the_reply_of_who_cannot(self) -> None:
        busy = Reply.of(451, "4.4.3", "the directory is away")
        ruling = self.ask(policy(Stage.CONNECT, TemporaryFailure(busy, "ldap: refused")))
        self.assertEqual(ruling.verdict.reply, busy)
        self.assertIn("it failed: cannot know: ldap: refused; on_error = defer", self.why(ruling))
        never = PermanentFailure(Reply.of(550, "5.1.1", "no"))
        self.assertEqual(self.ask(policy(Stage.CONNECT, never)).verdict.reply, LOCAL_ERROR)

    def test_rubbish(self) -> None:
        async def nothing(context: Any) -> None:
            return None

        wrong = Verdict(decision=Decision.REJECT, reply=Reply.of(250, "2.0.0", "fine"))
        later = Verdict(decision=Decision.DEFER, reply=Reply.of(550, "5.0.0", "no"))
        edited = Verdict(edits=(Edit(0, 0, b"X: y\r\n"),))
        each = Verdict(per_recipient={0: NO})
        for answer in (None.__class__, True, "reject", 550, nothing, object(), wrong, later, edited, each):
            ruling = self.ask(policy(Stage.CONNECT, lambda context, answer=answer: answer))
            self.assertEqual(ruling.verdict.reply, LOCAL_ERROR, answer)
        self.flushLoggedErrors()

    def test_edits_that_no_message_may_have(self) -> None:
        taken = Edit(0, 5, b"")
        context = replace(MESSAGE, edits=(taken,))
        for edit in (
            Edit(3, 1, b""),  # inside what another cut
            Edit(-1, 0, b""),
            Edit(0, -1, b""),
            Edit(len(OCTETS) + 1, 0, b"x"),
            Edit(len(OCTETS), 1, b""),
            Edit(10, 0, b"a\nb"),
            Edit(10, 0, b"a\rb"),
            Edit(10, 0, b"\0"),
            Edit(10, 0, "text"),  # type: ignore[arg-type]
            (1, 2),
            None,
        ):
            ruling = self.ask(policy(Stage.MESSAGE, Verdict(edits=(edit,))), context=context)  # type: ignore[arg-type]
            self.assertEqual((ruling.verdict.reply, ruling.verdict.edits), (LOCAL_ERROR, ()), edit)

    def test_a_refusal_without_reply_has_one(self) -> None:
        for decision, code in ((Decision.REJECT, 550), (Decision.DEFER, 451)):
            reply = self.ask(policy(Stage.CONNECT, Verdict(decision=decision))).verdict.reply
            assert reply is not None
            self.assertEqual(reply.code, code)

    def test_one_that_took_long_is_told(self) -> None:
        def blocks(context: Any) -> Verdict:
            self.clock.rightNow += 1.5
            return Verdict.none()

        self.assertEqual(self.why(self.ask(policy(Stage.CONNECT, blocks))), ["took 1.5 s"])
