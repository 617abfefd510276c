"""Answers whether addresses of relayed domains exist: from what the next hosts have said, or by asking them.

What it is: ``CallAhead`` answers ``CallQuestion``.  ``Memory`` is what is remembered, and outlives a reload.
Contract: an address is asked for once however many wait for it, and by no more than ``CallAheadOptions`` say, whoever
wants to know.  Whoever waits is answered within ``wait`` seconds; the host goes on being asked, so that the answer is
there when the sender tries again.  A yes is believed of a host alone that says no to an address made up by chance: it
is asked for one too, once in ``yes`` seconds for each domain.
How it fails: ``Heard.UNSURE``: the host cannot be reached, refuses the null sender, puts us off, or too many are asked
for; with ``when_down = "known"`` an address that the host has said yes to counts as there.  An operator is told once
that a domain's host cannot be asked, and once that it can again.
Limits: those of the options; what is remembered is in memory, and a restart forgets it.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final, NamedTuple

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from mta import events
from mta.address import Address
from mta.config.call_ahead_options import CallAheadOptions
from mta.delivery.probing import Probed
from mta.envelope import Destination
from mta.events import Event
from mta.reply import LOCAL_ERROR, Reply
from mta.routing.calling import (
    ASKED_TOO_MUCH,
    CANNOT_ASK,
    NO_UTF8,
    NOT_YET,
    Called,
    CallQuestion,
    Heard,
    Word,
    handed_on,
    judge,
)
from mta.routing.values import CannotKnow
from mta.waiting import as_deferred

log = Logger()

TOO_LONG: Final = Reply.of(451, "4.4.2", "The host took too long")
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz234567"
_MINUTE: Final = 60.0


class _Remembered(NamedTuple):
    at: float
    called: Called


class _Domain:
    """What is known of a domain as its mail goes now."""

    __slots__ = ("answers_until", "any_until", "left", "resting_until", "seen", "trouble")

    def __init__(self, left: float, now: float) -> None:
        self.any_until = 0.0  # its host takes every address
        self.answers_until = 0.0  # its host says no to what does not exist
        self.resting_until = 0.0
        self.trouble = ""  # what an operator was told last
        self.left, self.seen = left, now  # addresses that may be asked for, then


class Memory:
    """What was learnt.  ``share``: one of so many processes, which have the bounds on asking together."""

    __slots__ = ("domains", "no", "share", "yes")

    def __init__(self, share: int = 1) -> None:
        self.share = share
        self.yes: OrderedDict[CallQuestion, _Remembered] = OrderedDict()
        self.no: OrderedDict[CallQuestion, _Remembered] = OrderedDict()  # and what could not be said
        self.domains: dict[Destination, _Domain] = {}


class _Call:
    """One address that is being asked for, and who waits for the answer."""

    __slots__ = ("question", "running", "timer", "waiters")

    def __init__(self, question: CallQuestion) -> None:
        self.question = question
        self.waiters: list[Deferred[Called]] = []
        self.running: Deferred[Any] | None = None
        self.timer: Any = None


class CallAhead:
    """See the module's text.  ``services`` by name; ``reactor`` gives monotonic seconds and timers."""

    def __init__(
        self,
        options: CallAheadOptions,
        services: Mapping[str, Any],
        memory: Memory,
        *,
        reactor: Any,
        random: Random,
        emit: Callable[[Event, str], None],
    ) -> None:
        self._options = options
        self._services = services
        self._memory = memory
        self._reactor = reactor
        self._random = random
        self._emit = emit
        self._calls: dict[CallQuestion, _Call] = {}
        self._turns: deque[_Call] = deque()  # those that are not begun
        self._of_domain: Counter[Destination] = Counter()  # those that are
        self._waiting = 0

    # --- the answer ----------------------------------------------------------------------------------------

    def answer(self, question: CallQuestion) -> Called | CannotKnow | Deferred[Called]:
        """See the module's text."""
        if getattr(self._services.get(question.destination.service), "probe", None) is None:
            return CannotKnow(f"the delivery service {question.destination.service} cannot ask for addresses")
        now = self._reactor.seconds()
        known = self._known(question, now)
        if known is not None:
            return known
        call = self._calls.get(question)
        if call is None:
            why = self._refused(question, now)
            if why is not None:
                return self.unsure(question, why)
            call = self._calls[question] = _Call(question)
            self._turns.append(call)
            self._begin_next()
            known = self._known(question, now)  # it may have ended already
            if question not in self._calls:
                return known or self.unsure(question, CANNOT_ASK)
        elif self._full():
            return self.unsure(question, ASKED_TOO_MUCH)
        return self._wait(call)

    def unsure(self, question: CallQuestion, reply: Reply) -> Called:
        """What holds while the host cannot say."""
        known = self._memory.yes.get(question)
        since = self._reactor.seconds() - known.at if known is not None else 0.0
        if known is not None and self._options.when_down == "known" and since < self._options.remember:
            return Called(Heard.YES, f"{known.called.said}, {round(since / 60)} minutes ago; now: {reply}")
        return Called(Heard.UNSURE, str(reply), reply)

    def _known(self, question: CallQuestion, now: float) -> Called | None:
        domain = self._memory.domains.get(question.destination)
        if domain is not None and now < domain.any_until:
            return Called(Heard.ANY, "it took an address made up by chance")
        known = self._memory.yes.get(question)
        if known is not None and now - known.at < self._options.yes:
            return known.called
        known = self._memory.no.get(question)
        if known is None:
            return None
        heard, since = known.called.heard, now - known.at
        if since >= (self._options.no if heard is Heard.NO else self._options.pause):
            return None
        return self.unsure(question, known.called.reply or CANNOT_ASK) if heard is Heard.UNSURE else known.called

    def _refused(self, question: CallQuestion, now: float) -> Reply | None:
        """Why it is not asked for now."""
        domain = self._domain(question, now)
        if now < domain.resting_until:
            return CANNOT_ASK
        if self._full():
            return ASKED_TOO_MUCH
        most = max(1.0, self._options.per_minute / self._memory.share)
        domain.left = min(most, domain.left + (now - domain.seen) * most / _MINUTE)
        domain.seen = now
        if domain.left < 1:
            return ASKED_TOO_MUCH
        domain.left -= 1
        return None

    def _full(self) -> bool:
        return self._waiting >= self._options.waiting or len(self._turns) >= self._options.waiting

    def _domain(self, question: CallQuestion, now: float) -> _Domain:
        domain = self._memory.domains.get(question.destination)
        if domain is None:
            most = max(1.0, self._options.per_minute / self._memory.share)
            domain = self._memory.domains[question.destination] = _Domain(most, now)
        return domain

    def _wait(self, call: _Call) -> Deferred[Called]:
        def gone(_: Any) -> None:
            self._waiting -= 1
            if waiter in call.waiters:
                call.waiters.remove(waiter)
            if timer.active():
                timer.cancel()

        def late() -> None:
            waiter.callback(self.unsure(call.question, NOT_YET))

        def over(result: Called | Failure) -> Called | Failure:
            gone(None)
            return result

        waiter: Deferred[Called] = Deferred()
        timer = self._reactor.callLater(self._options.wait, late)
        self._waiting += 1
        call.waiters.append(waiter)
        waiter.addBoth(over)
        return waiter

    # --- asking --------------------------------------------------------------------------------------------

    def _begin_next(self) -> None:
        """All whose turn it is."""
        options, share = self._options, self._memory.share
        at_once, each = max(1, options.at_once // share), max(1, options.per_domain // share)
        left: deque[_Call] = deque()
        while self._turns and self._of_domain.total() < at_once:
            call = self._turns.popleft()
            if self._of_domain[call.question.destination] >= each:
                left.append(call)
            else:
                self._begin(call)
        self._turns = left + self._turns

    def _begin(self, call: _Call) -> None:
        self._of_domain[call.question.destination] += 1
        asking = as_deferred(self._ask(call.question)).addErrback(self._note_failed, call)
        if not asking.called:
            call.running = asking
            call.timer = self._reactor.callLater(self._options.timeout, asking.cancel)
        asking.addBoth(lambda _: self._ended(call))

    def _note_failed(self, failure: Failure, call: _Call) -> None:
        """It took too long, or something nobody foresaw."""
        if not failure.check(CancelledError):
            log.failure("{address} could not be asked for", failure, address=str(call.question.address))
        self._rest(call.question, TOO_LONG if failure.check(CancelledError) else LOCAL_ERROR)

    def _ended(self, call: _Call) -> None:
        destination = call.question.destination
        self._of_domain[destination] -= 1
        if not self._of_domain[destination]:
            del self._of_domain[destination]
        if call.timer is not None and call.timer.active():
            call.timer.cancel()
        del self._calls[call.question]
        now = self._reactor.seconds()
        called = self._known(call.question, now)
        if called is None:
            called = self.unsure(call.question, CANNOT_ASK)
        for waiter in list(call.waiters):
            waiter.callback(called)
        self._begin_next()

    async def _ask(self, question: CallQuestion) -> None:
        """Ask for the address, and where that is not clear for one that nobody has."""
        domain = self._domain(question, self._reactor.seconds())
        heard = await self._probe(question)
        if heard.trouble is NO_UTF8:
            self._note(question, Called(Heard.NO, f"{heard.where} takes no such address", NO_UTF8))
        elif heard.reply is None:
            self._rest(question, heard.trouble or LOCAL_ERROR, heard)
        else:
            await self._learn(question, domain, heard.where, heard.reply)

    async def _learn(self, question: CallQuestion, domain: _Domain, where: str, reply: Reply) -> None:
        word, said = judge(reply), f"{where}: {reply}"
        now = self._reactor.seconds()
        if word is Word.NO:
            domain.answers_until = now + self._options.yes
            self._answers(question, domain, where)
            self._note(question, Called(Heard.NO, said, handed_on(reply)))
            return
        if word in (Word.LATER, Word.FULL):
            self._answers(question, domain, where)
            heard = Heard.FULL if word is Word.FULL else Heard.UNSURE
            self._note(question, Called(heard, said, handed_on(reply)))
            return
        other = Word.NO
        if now >= domain.answers_until:
            chance = await self._probe(by_chance(question, self._random))
            other = Word.LATER if chance.reply is None else judge(chance.reply)
        now = self._reactor.seconds()
        if word is Word.YES and other is Word.YES:
            domain.any_until = now + self._options.yes
            self._tell(question, domain, f"{where} takes every address, so what it says of one is worth nothing")
            return
        if word is Word.POLICY and other is not Word.NO:
            # It says nothing of the address: it does not like us, or the null sender.
            self._rest(question, reply, Probed(where, None, reply, "RCPT"))
            return
        if other is not Word.LATER:
            domain.answers_until = now + self._options.yes
        self._answers(question, domain, where)
        self._note(question, Called(Heard.YES, said))

    def _probe(self, question: CallQuestion) -> Deferred[Probed]:
        service = self._services[question.destination.service]
        asked: Deferred[Probed] = service.probe(question.address, question.destination.next_hop, self._options.sender)
        return asked

    # --- what was learnt -----------------------------------------------------------------------------------

    def _note(self, question: CallQuestion, called: Called) -> None:
        """Of an address."""
        memory, entry = self._memory, _Remembered(self._reactor.seconds(), called)
        store, other = (memory.yes, memory.no) if called.heard is Heard.YES else (memory.no, memory.yes)
        if called.heard in (Heard.YES, Heard.NO):
            other.pop(question, None)
        store[question] = entry
        store.move_to_end(question)
        while len(store) > self._options.addresses:
            store.popitem(last=False)
        self._emit(events.CALLED_AHEAD(address=str(question.address), heard=called.heard.value, said=called.said), "")

    def _rest(self, question: CallQuestion, reply: Reply, heard: Probed | None = None) -> None:
        """The host cannot be asked now, for any address of the domain."""
        domain = self._domain(question, self._reactor.seconds())
        domain.resting_until = self._reactor.seconds() + self._options.pause
        self._tell(question, domain, f"{heard.where}: {heard.stage}: {reply}" if heard is not None else str(reply))

    def _tell(self, question: CallQuestion, domain: _Domain, why: str) -> None:
        if not domain.trouble:
            service, hop = question.destination
            self._emit(events.CALL_AHEAD_FAILS(domain=hop, service=service, why=why), "")
        domain.trouble = why

    def _answers(self, question: CallQuestion, domain: _Domain, where: str) -> None:
        domain.resting_until = 0.0
        if domain.trouble:
            domain.trouble = ""
            service, hop = question.destination
            self._emit(events.CALL_AHEAD_ANSWERS(domain=hop, service=service, where=where), "")


def by_chance(question: CallQuestion, random: Random) -> CallQuestion:
    """An address of the same domain that nobody has."""
    local = "no-such-" + "".join(random.choice(_LETTERS) for _ in range(16))
    return CallQuestion(question.destination, Address(local, question.address.domain))
