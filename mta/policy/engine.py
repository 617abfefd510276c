"""Asks the policies that a configuration names, in order, and joins what they say.

What it is: ``Policies`` has those of each stage; ``check`` asks them about one context and gives a ``Ruling``: the
verdict of all, and each policy's ``Opinion`` with its event for the story.
Contract: what needs no wait runs without a Deferred.  The first reject, defer or discard ends the stage; hold,
quarantine, edits, facts and reasons add up, and a later policy sees the edits and facts of those before it.  A policy
in ``shadow`` is asked, and told of, and changes nothing.
How it fails: a policy that raises, is slower than its ``timeout``, or returns what no policy may (``mta.policy.sound``)
gets its ``on_error``: no exception of a policy leaves here.  A client that goes away cancels what is waited for.
Limits: a stage takes as long as the time-outs of its policies together at most.  A policy that blocks the reactor
cannot be interrupted: the watchdog names it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from inspect import isawaitable
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from mta import events
from mta.events import Event
from mta.message.edits import merge
from mta.policy.sound import Unsound, sound
from mta.policy.values import MessageContext
from mta.reply import LOCAL_ERROR, MailFailure, Reply, TemporaryFailure
from mta.verdict import Decision, Verdict
from mta.waiting import as_deferred, step

log = Logger()

OnError: TypeAlias = Literal["defer", "accept", "reject"]

#: What a client is told where ``on_error`` is "reject".
CANNOT_CHECK: Final = Reply.of(550, "5.7.1", "This cannot be checked here, and is not taken unchecked")
#: Seconds from which on the time that a policy took is told.
SLOW: Final = 0.1


class Stage(StrEnum):
    """When policies are asked; the kind of a provider is "policy." and this."""

    CONNECT = "connect"
    GREETING = "greeting"
    SENDER = "sender"
    RECIPIENT = "recipient"
    MESSAGE = "message"
    DISPATCH = "dispatch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One policy at one stage: ``check`` is as in ``mta.interfaces``; ``timeout`` is seconds."""

    name: str
    stage: Stage
    check: Callable[[Any], Any]
    timeout: float = 10.0
    on_error: OnError = "defer"
    shadow: bool = False


class Opinion(NamedTuple):
    """What one policy said.  ``notable``: more than that it has no objection."""

    policy: str
    verdict: Verdict
    event: Event
    notable: bool = False
    shadow: bool = False

    @property
    def why(self) -> str:
        """Who and why, for an operator."""
        return f"policy {self.policy}: {', '.join(map(str, self.verdict.reasons)) or self.decision}"

    @property
    def decision(self) -> str:
        """Its decision, in a word."""
        return self.verdict.decision.name.lower()


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the policies of a stage said; without those in shadow, ``verdict`` is what counts."""

    verdict: Verdict = field(default_factory=Verdict.none)
    opinions: tuple[Opinion, ...] = ()

    @property
    def events(self) -> list[Event]:
        """For the story: each policy's verdict."""
        return [opinion.event for opinion in self.opinions]

    @property
    def counted(self) -> list[Opinion]:
        """Those that were not in shadow."""
        return [opinion for opinion in self.opinions if not opinion.shadow]


#: Nobody was asked.
SILENT: Final = Ruling()


class _Gone(Exception):
    """Whoever asked does not wait any more; what a policy raises is never this."""


class Policies:
    """See the module's text.  ``call_later`` and ``seconds`` are the monotonic clock, ``now`` UTC milliseconds.

    ``tell`` is for the log: the queue has what policies said of an attempt there, where it is more than no objection.
    """

    __slots__ = ("_call_later", "_now", "_of", "_seconds", "stages", "tell")

    def __init__(
        self,
        policies: Iterable[Policy],
        call_later: Callable[..., Any],
        seconds: Callable[[], float],
        now: Callable[[], int],
        tell: Callable[[Event, str], None],
    ) -> None:
        self.tell = tell
        self._call_later = call_later
        self._seconds = seconds
        self._now = now
        of: dict[Stage, tuple[Policy, ...]] = {}
        for policy in policies:
            of[policy.stage] = (*of.get(policy.stage, ()), policy)
        self._of: Mapping[Stage, tuple[Policy, ...]] = of
        self.stages = frozenset(of)

    def __bool__(self) -> bool:
        return bool(self._of)

    def names(self, stage: Stage) -> list[str]:
        """Who is asked, in order."""
        return [policy.name for policy in self._of.get(stage, ())]

    async def check(self, stage: Stage, context: Any) -> Ruling:
        """What the policies of the stage say of it."""
        opinions: list[Opinion] = []
        counted: list[Verdict] = []
        for policy in self._of.get(stage, ()):
            opinion = await self._ask(policy, context)
            opinions.append(opinion)
            if policy.shadow:
                continue
            verdict = opinion.verdict
            counted.append(verdict)
            if verdict.decision.final:
                break
            if verdict.edits or verdict.facts:
                context = _further(context, verdict)
        return Ruling(Verdict.join(counted), tuple(opinions))

    async def _ask(self, policy: Policy, context: Any) -> Opinion:
        started = self._seconds()
        trouble = ""
        try:
            verdict = policy.check(context)
            if not isinstance(verdict, Verdict):
                verdict = await self._wait(policy, verdict)
            verdict = sound(verdict, policy.stage, context)
        except _Gone:
            raise CancelledError from None
        except Exception as error:
            trouble = _said(error)
            verdict = _on_error(policy, error)
        return _opinion(policy, verdict, trouble, self._seconds() - started, self._now())

    async def _wait(self, policy: Policy, answer: Any) -> Any:
        """What a policy returned that is no verdict: something to wait for, as long as it may take."""
        waited = answer
        if isinstance(answer, Coroutine):
            done, waited = step(answer)
            if done:
                return waited
        if not isawaitable(waited):
            raise Unsound(f"it returned {type(answer).__name__}, which is no Verdict")
        try:
            (result,) = await self._within(policy.timeout, waited)
        except CancelledError as error:
            raise _Gone from error
        if isinstance(result, Failure):
            if isinstance(result.value, CancelledError):
                raise Unsound("what it waited for was cancelled")
            result.raiseException()
        return result

    def _within(self, seconds: float, waited: Awaitable[Any]) -> Deferred[tuple[Any]]:
        """Its result or failure, in a tuple; fails with ``TimeoutError``, or ``CancelledError`` where nobody waits any
        more.  Either way what was waited for is cancelled, and whatever still comes of it is dropped."""
        inner = as_deferred(waited)

        def stop(_: object = None) -> None:
            if timer.active():
                timer.cancel()
            try:
                inner.cancel()
            except Exception:
                log.failure("what a policy waited for cannot be cancelled")

        def over() -> None:
            outer.errback(TimeoutError(f"it took longer than {seconds:g} s"))
            stop()

        def came(result: Any) -> None:
            if timer.active():  # else nobody waits any more
                timer.cancel()
                outer.callback((result,))

        outer: Deferred[tuple[Any]] = Deferred(stop)
        timer = self._call_later(seconds, over)
        inner.addBoth(came)
        return outer


def _further(context: Any, verdict: Verdict) -> Any:
    """What the next policy sees."""
    more: dict[str, Any] = {}
    if verdict.facts:
        more["facts"] = {**context.facts, **verdict.facts}
    if verdict.edits and isinstance(context, MessageContext):
        more["edits"] = merge(context.edits, verdict.edits)
    return replace(context, **more)


def _said(error: Exception) -> str:
    """What went wrong, for an operator; what nobody foresaw is in the log with its lines of code."""
    if isinstance(error, MailFailure):
        return f"cannot know: {error.reason or error.reply}"
    if isinstance(error, TimeoutError | Unsound):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _on_error(policy: Policy, error: Exception) -> Verdict:
    if not isinstance(error, MailFailure | TimeoutError | Unsound):
        log.failure("policy {policy} failed at {stage}", policy=policy.name, stage=policy.stage.value)
    if policy.on_error == "accept":
        return Verdict.none()
    if policy.on_error == "reject":
        return Verdict(decision=Decision.REJECT, reply=CANNOT_CHECK)
    reply = error.reply if isinstance(error, TemporaryFailure) and error.reply.temporary else LOCAL_ERROR
    return Verdict(decision=Decision.DEFER, reply=reply)


def _opinion(policy: Policy, verdict: Verdict, trouble: str, seconds: float, now: int) -> Opinion:
    why = [str(reason) for reason in verdict.reasons]
    if trouble:
        why.append(f"it failed: {trouble}; on_error = {policy.on_error}")
        verdict = replace(verdict, reasons=(events.SAID(text=why[-1]),))
    for number, own in sorted(verdict.per_recipient.items()):
        said = ", ".join(map(str, own.reasons))
        why.append(f"recipient {number}: {own.decision.name.lower()}{f' ({said})' if said else ''}")
    if verdict.edits:
        why.append(f"{len(verdict.edits)} edits")
    if seconds >= SLOW:
        why.append(f"took {seconds:.1f} s")
    decision = verdict.decision.name.lower()
    args: dict[str, Any] = {"policy": policy.name, "stage": policy.stage.value, "decision": decision, "about": ""}
    args["reply"] = str(verdict.reply) if verdict.reply is not None else ""
    args["why"] = [*why, "in shadow: it changes nothing"] if policy.shadow else why
    notable = bool(why) or verdict.decision is not Decision.ACCEPT
    return Opinion(policy.name, verdict, events.POLICY(now, **args), notable, policy.shadow)
