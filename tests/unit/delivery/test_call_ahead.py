"""What is remembered of addresses at next hosts, and how much they are asked."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address, ReversePath
from mta.config.call_ahead_options import CallAheadOptions
from mta.delivery.call_ahead import CallAhead, Memory
from mta.delivery.probing import Probed
from mta.envelope import Destination
from mta.events import Event
from mta.reply import Reply
from mta.routing.calling import (
    ASKED_TOO_MUCH,
    CANNOT_ASK,
    NO_UTF8,
    NOT_YET,
    Called,
    CallQuestion,
    Heard,
)
from mta.routing.values import CannotKnow

WHERE = "mx.b.example[192.0.2.1]"
HOUR = 3600.0
DAY = 24 * HOUR


def question(local: str = "bob", domain: str = "b.example") -> CallQuestion:
    return CallQuestion(Destination("internet", domain), Address(local, domain))


class Host:
    """A next host as a delivery service asks it: ``replies`` by local part, "*" for all others."""

    def __init__(self) -> None:
        self.replies: dict[str, Any] = {"bob": "250 2.1.5 ok", "*": "550 5.1.1 unknown"}
        self.asked: list[str] = []
        self.senders: set[ReversePath] = set()
        self.open: list[Deferred[Probed]] = []
        self.slow = False
        self.cancelled = 0

    def probe(self, address: Address, next_hop: str, sender: ReversePath) -> Deferred[Probed]:
        self.asked.append(address.local)
        self.senders.add(sender)
        said = self.replies.get(address.local, self.replies["*"])
        if isinstance(said, Probed):
            result = said
        else:
            code, _, rest = said.partition(" ")
            enhanced, _, text = rest.partition(" ")
            result = Probed(WHERE, Reply.of(int(code), enhanced, text))
        waiting: Deferred[Probed] = Deferred(self._cancel)
        self.open.append(waiting)
        waiting.result_is = result  # type: ignore[attr-defined]  # a test's own mark
        if not self.slow:
            self.say()
        return waiting

    def _cancel(self, _: Any) -> None:
        self.cancelled += 1

    def say(self) -> None:
        """What was asked first gets its answer."""
        waiting: Any = self.open.pop(0)
        waiting.callback(waiting.result_is)

    @property
    def by_chance(self) -> list[str]:
        return [local for local in self.asked if local.startswith("no-such-")]


class CallAheadCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.host = Host()
        self.memory = Memory()
        self.told: list[Event] = []
        self.make()

    def make(self, **options: Any) -> None:
        self.ahead = CallAhead(
            CallAheadOptions(**options),
            {"internet": self.host, "local": object()},
            self.memory,
            reactor=self.clock,
            random=Random(1),
            emit=lambda event, id: self.told.append(event),
        )

    def ask(self, *which: str) -> Called:
        answer = self.ahead.answer(question(*which))
        return answer if isinstance(answer, Called) else self.successResultOf(answer)  # type: ignore[arg-type]

    def start(self, *which: str) -> Deferred[Called]:
        answer = self.ahead.answer(question(*which))
        assert isinstance(answer, Deferred)
        return answer

    def codes(self) -> list[str]:
        return [event.code for event in self.told]


class Answers(CallAheadCase):
    def test_yes_and_no_and_what_is_remembered_of_them(self) -> None:
        self.assertIs(self.ask().heard, Heard.YES)
        self.assertIn("250 2.1.5 ok", self.ask().said)
        self.assertEqual(str(self.ask("eve").reply), "550 5.1.1 The next host says: unknown")
        self.assertEqual(len(self.host.asked), 3)  # bob, one made up by chance, eve
        self.assertEqual(self.host.senders, {None})
        self.clock.advance(HOUR - 1)
        self.ask(), self.ask("eve")
        self.assertEqual(len(self.host.asked), 3)
        self.clock.advance(2)
        self.ask(), self.ask("eve")
        self.assertEqual(self.host.asked[3:], ["eve"])
        self.clock.advance(DAY)
        self.ask()
        self.assertEqual(self.host.asked[4], "bob")

    def test_who_was_there_may_go_and_who_was_not_may_come(self) -> None:
        self.ask(), self.ask("eve")
        self.clock.advance(2 * DAY)
        self.host.replies.update(bob="550 5.1.1 gone", eve="250 2.0.0 ok")
        self.assertIs(self.ask().heard, Heard.NO)
        self.assertIs(self.ask("eve").heard, Heard.YES)
        self.host.replies["*"] = Probed(WHERE, None, Reply.of(421, "4.4.1", "down"), "connect")
        self.host.replies.pop("bob")
        self.clock.advance(2 * HOUR)
        self.assertIs(self.ask().heard, Heard.UNSURE)  # the old yes is no longer remembered

    def test_a_host_that_takes_every_address(self) -> None:
        self.host.replies["*"] = "250 2.0.0 ok"
        self.assertIs(self.ask("anybody").heard, Heard.ANY)
        self.assertIs(self.ask("eve").heard, Heard.ANY)
        self.assertEqual(len(self.host.asked), 2)
        self.assertEqual(len(self.host.by_chance), 1)
        self.assertEqual(self.codes(), ["call-ahead-fails"])
        self.assertIn("takes every address", str(self.told[0]))
        # It is mended: asked again when the time is over.
        self.clock.advance(DAY + 1)
        self.host.replies["*"] = "550 5.1.1 unknown"
        self.assertIs(self.ask("eve").heard, Heard.NO)
        self.assertIn("call-ahead-answers", self.codes())

    def test_by_chance_is_asked_for_once_a_day_and_not_after_a_no(self) -> None:
        self.ask("eve")
        self.ask("bob")
        self.assertEqual(self.host.by_chance, [])
        self.clock.advance(DAY + 1)
        self.ask("bob")
        self.assertEqual(len(self.host.by_chance), 1)

    def test_a_mailbox_that_is_full_is_told_and_not_for_long(self) -> None:
        self.ask()
        self.clock.advance(DAY + 1)
        self.host.replies["bob"] = "552 5.2.2 full"
        self.assertEqual(str(self.ask().reply), "552 5.2.2 The next host says: full")
        self.clock.advance(61)
        self.host.replies["bob"] = "250 2.0.0 ok"
        self.assertIs(self.ask().heard, Heard.YES)

    def test_greylisting(self) -> None:
        self.host.replies["new"] = "450 4.2.0 greylisted"
        self.assertEqual(str(self.ask("new").reply), "450 4.2.0 The next host says: greylisted")
        self.ask("new")
        self.assertEqual(self.host.asked, ["new"])  # not again within the pause
        self.clock.advance(61)
        self.host.replies["new"] = "250 2.0.0 ok"
        self.assertIs(self.ask("new").heard, Heard.YES)

    def test_a_host_that_refuses_us_is_no_word_on_the_address(self) -> None:
        self.host.replies.update({"bob": "550 5.7.1 blocked", "*": "550 5.7.1 blocked"})
        self.assertEqual(self.ask().reply, CANNOT_ASK)
        self.assertEqual(self.codes(), ["call-ahead-fails"])

    def test_an_address_that_only_dislikes_the_null_sender_exists(self) -> None:
        self.host.replies["list"] = "550 5.7.1 members only"
        self.assertIs(self.ask("list").heard, Heard.YES)

    def test_the_null_sender_is_refused(self) -> None:
        self.host.replies["*"] = Probed(WHERE, None, Reply.of(550, "5.7.1", "no bounces"), "MAIL")
        self.assertEqual(self.ask("eve").reply, CANNOT_ASK)
        self.assertEqual(self.codes(), ["call-ahead-fails"])
        self.assertIn("MAIL: 550 5.7.1 no bounces", str(self.told[0]))

    def test_an_international_address_that_the_host_cannot_have(self) -> None:
        self.host.replies["*"] = Probed(WHERE, None, NO_UTF8, "EHLO")
        self.assertEqual(self.ask("jos\u00e9").reply, NO_UTF8)

    def test_a_service_that_cannot_ask(self) -> None:
        answer = self.ahead.answer(CallQuestion(Destination("local", "b.example"), Address("bob", "b.example")))
        self.assertIsInstance(answer, CannotKnow)

    def test_with_a_sender_of_ours(self) -> None:
        self.make(sender=Address("probe", "a.example"))
        self.ask()
        self.assertEqual(self.host.senders, {Address("probe", "a.example")})


class WhileTheHostIsDown(CallAheadCase):
    DOWN = Probed(WHERE, None, Reply.of(451, "4.4.1", "No host could be reached"), "connect")

    def test_what_it_said_yes_to_is_taken_and_nothing_else(self) -> None:
        self.ask()
        self.clock.advance(5 * DAY)
        self.host.replies = {"*": self.DOWN}
        self.assertIs(self.ask().heard, Heard.YES)
        self.assertIn("7200 minutes ago", self.ask().said)
        self.assertEqual(self.ask("eve").reply, CANNOT_ASK)
        self.clock.advance(27 * DAY)
        self.assertEqual(self.ask().reply, CANNOT_ASK)

    def test_or_nothing(self) -> None:
        self.make(when_down="defer")
        self.ask()
        self.clock.advance(DAY + 1)
        self.host.replies = {"*": self.DOWN}
        self.assertEqual(self.ask().reply, CANNOT_ASK)

    def test_it_is_not_asked_for_each_address_and_an_operator_hears_once(self) -> None:
        self.host.replies = {"*": self.DOWN}
        for local in ("a", "b", "c"):
            self.assertEqual(self.ask(local).reply, CANNOT_ASK)
        self.assertEqual(self.host.asked, ["a"])
        self.clock.advance(61)
        self.ask("b")
        self.assertEqual(self.host.asked, ["a", "b"])
        self.assertEqual(self.codes(), ["call-ahead-fails"])
        self.clock.advance(61)
        self.host.replies = {"*": "550 5.1.1 no"}
        self.ask("b")
        self.assertEqual(self.codes(), ["call-ahead-fails", "call-ahead-answers", "called-ahead"])

    def test_a_reload_forgets_nothing(self) -> None:
        self.ask()
        self.make(yes=DAY)
        self.ask()
        self.assertEqual(self.host.asked.count("bob"), 1)


class Bounds(CallAheadCase):
    def setUp(self) -> None:
        super().setUp()
        self.host.slow = True

    def test_many_who_ask_for_one_address_are_one_question(self) -> None:
        waiting = [self.start("eve") for _ in range(5)]
        waiting[0].cancel()
        self.failureResultOf(waiting[0])
        self.assertEqual(self.host.asked, ["eve"])
        self.host.say()
        for one in waiting[1:]:
            self.assertIs(self.successResultOf(one).heard, Heard.NO)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nobody_waits_long_and_the_answer_is_there_the_next_time(self) -> None:
        waiting = self.start("eve")
        self.clock.advance(10)
        self.assertEqual(self.successResultOf(waiting).reply, NOT_YET)
        self.host.say()
        self.assertIs(self.ask("eve").heard, Heard.NO)

    def test_a_host_that_never_ends(self) -> None:
        waiting = self.start("eve")
        self.clock.advance(10)
        self.successResultOf(waiting)
        self.clock.advance(50)
        self.assertEqual(self.host.cancelled, 1)
        self.assertEqual(self.ask("eve").reply, CANNOT_ASK)
        self.assertIn("took too long", str(self.told[0]))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_two_of_a_domain_at_once_and_so_many_of_all(self) -> None:
        self.make(at_once=3)
        waiting = [self.start(local) for local in "abc"]
        waiting += [self.start(local, "c.example") for local in "def"]
        self.assertEqual(self.host.asked, ["a", "b", "d"])
        for _ in range(6):
            self.host.say()
        self.assertEqual(sorted(self.host.asked), list("abcdef"))
        for one in waiting:
            self.successResultOf(one)

    def test_a_dictionary_of_names_is_not_handed_on(self) -> None:
        self.host.slow = False
        self.make(per_minute=10)
        replies = [self.ask(f"name{number}").reply for number in range(100)]
        self.assertEqual(len(self.host.asked), 10)
        self.assertEqual(replies[10:], [ASKED_TOO_MUCH] * 90)
        # Who is known is taken all the same, and after a while more is asked for.
        self.clock.advance(6)
        self.ask("late"), self.ask("later")
        self.assertEqual(self.host.asked[10:], ["late"])
        # Another domain has its own pace.
        self.assertIs(self.ask("bob", "c.example").heard, Heard.YES)

    def test_so_many_wait(self) -> None:
        self.make(waiting=3, per_minute=1000)
        for local in "abc":
            self.start(local)
        self.assertEqual(self.ask("d").reply, ASKED_TOO_MUCH)
        self.assertEqual(self.ask("a").reply, ASKED_TOO_MUCH)

    def test_of_so_many_is_remembered(self) -> None:
        self.host.slow = False
        self.make(addresses=10, per_minute=1000)
        self.ask("bob")
        for number in range(50):
            self.ask(f"name{number}")
        self.assertEqual((len(self.memory.yes), len(self.memory.no)), (1, 10))
        self.assertIs(self.ask("bob").heard, Heard.YES)  # a dictionary does not push it out

    def test_processes_share_the_pace(self) -> None:
        self.host.slow = False
        self.memory = Memory(share=5)
        self.make(per_minute=10)
        for number in range(20):
            self.ask(f"name{number}")
        self.assertEqual(len(self.host.asked), 2)
