"""Backup MX: what a next host's words mean, and what RCPT makes of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from routing_cases import RoutingCase, address
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from mta.envelope import Destination, Right
from mta.reply import Reply
from mta.routing.calling import CANNOT_ASK, Called, CallQuestion, Heard, Word, handed_on, judge
from mta.routing.rules import DomainRule, RouteRule
from mta.routing.values import CannotKnow

RULE = DomainRule(name="customer.example", relay=True, call_ahead=True)
GONE = Reply.of(550, "5.1.1", "The next host says: no such user")


class Words(SynchronousTestCase):
    def test_what_is_said_of_the_address(self) -> None:
        for code, enhanced, word in (
            (250, "2.1.5", Word.YES),
            (251, "", Word.YES),
            (550, "5.1.1", Word.NO),
            (550, "5.1.10", Word.NO),
            (551, "5.1.6", Word.NO),
            (553, "5.1.3", Word.NO),
            (550, "", Word.NO),
            (551, "", Word.NO),
            (550, "5.4.1", Word.NO),  # Exchange Online: "Recipient address rejected: Access denied"
            (550, "5.2.1", Word.NO),
            (554, "5.2.1", Word.NO),
            (550, "5.0.0", Word.NO),
            (450, "4.2.2", Word.FULL),
            (452, "4.2.2", Word.FULL),
            (552, "5.2.2", Word.FULL),
        ):
            self.assertIs(judge(Reply.of(code, enhanced, "x")), word, (code, enhanced))

    def test_what_is_said_of_us_or_of_now_is_no_word_on_the_address(self) -> None:
        for code, enhanced, word in (
            (554, "5.7.1", Word.POLICY),
            (550, "5.7.1", Word.POLICY),
            (550, "5.7.25", Word.POLICY),
            (550, "5.1.7", Word.POLICY),
            (550, "5.1.8", Word.POLICY),
            (554, "", Word.POLICY),
            (500, "", Word.POLICY),
            (503, "5.5.1", Word.POLICY),
            (554, "5.4.1", Word.POLICY),
            (554, "5.0.0", Word.POLICY),
            (450, "4.2.0", Word.LATER),
            (451, "", Word.LATER),
            (452, "4.5.3", Word.LATER),
            (450, "4.1.1", Word.LATER),
            (451, "4.7.1", Word.LATER),
        ):
            self.assertIs(judge(Reply.of(code, enhanced, "x")), word, (code, enhanced))

    def test_the_code_goes_on_and_the_text_without_the_host(self) -> None:
        for said, heard in (
            (Reply.of(550, "5.1.1", "no such user"), "550 5.1.1 The next host says: no such user"),
            (Reply.of(550, "", "unknown"), "550 5.1.1 The next host says: unknown"),
            (Reply.of(551, "5.1.6", "moved"), "551 5.1.6 The next host says: moved"),
            (Reply.of(554, "5.2.1", "closed"), "550 5.2.1 The next host says: closed"),
            (Reply.of(450, "4.2.0", "greylisted"), "450 4.2.0 The next host says: greylisted"),
            (Reply.of(421, "", ""), "450 4.2.0 The next host says"),
            (Reply.of(452, "2.0.0", "odd"), "452 4.2.0 The next host says: odd"),
        ):
            self.assertEqual(str(handed_on(said)), heard)

    def test_a_hostile_text_is_short_and_one_line(self) -> None:
        reply = handed_on(Reply.of(550, "5.1.1", "x" * 5000 + "\r\n250 ok", "y\x1b[2J"))
        self.assertEqual(reply.wire.count(b"\r\n"), 1)
        self.assertLess(len(reply.wire), 300)
        self.assertNotIn(b"\x1b", handed_on(Reply.of(550, "5.1.1", "y\x1b[2J")).wire)


class AtRcpt(RoutingCase):
    def setUp(self) -> None:
        self.said: Any = Called(Heard.YES, "mx: 250 ok")
        self.asked: list[CallQuestion] = []
        self.make(RULE)

    def make(self, rule: DomainRule, **more: Any) -> None:
        self.world(rule, tables={"known": {"bob@customer.example": ""}}, **more)
        self.answerer = self.answerer.with_others({CallQuestion: self.call})

    def call(self, question: CallQuestion) -> Any:
        self.asked.append(question)
        return self.said

    def admission(self, text: str, *rights: Right) -> Any:
        return self.decide(lambda facts: self.router.admit(address(text), frozenset(rights), facts))

    def test_what_the_next_host_says_is_the_answer(self) -> None:
        for said, reply in (
            (Called(Heard.YES), "taken"),
            (Called(Heard.ANY), "taken"),
            (Called(Heard.UNASKED), "taken"),
            (Called(Heard.NO, "mx: 550", GONE), str(GONE)),
            (Called(Heard.UNSURE, "down", CANNOT_ASK), str(CANNOT_ASK)),
            (CannotKnow("nobody can ask"), str(CANNOT_ASK)),
        ):
            self.said = said
            self.assertEqual(self.admit("Bob@customer.example"), reply)
        # RFC 5321 2.4: the local part is not ours to change.
        self.assertEqual(
            set(self.asked),
            {CallQuestion(Destination("internet", "customer.example"), address("Bob@customer.example"))},
        )

    def test_it_may_take_its_time(self) -> None:
        self.said = waiting = Deferred[Called]()
        admission = self.admission("bob@customer.example")
        self.assertNoResult(admission)
        waiting.callback(Called(Heard.NO, "mx: 550", GONE))
        self.assertEqual(self.successResultOf(admission).reply, GONE)
        self.said = succeed(Called(Heard.YES))
        self.assertIsNone(self.admission("bob@customer.example").reply)

    def test_the_reason_is_told(self) -> None:
        self.assertIn("call-ahead: it exists; mx: 250 ok", str(self.admission("bob@customer.example").reasons[-1]))
        self.assertTrue(self.admission("bob@customer.example").known)
        self.said = Called(Heard.ANY, "it took one made up by chance")
        self.assertFalse(self.admission("bob@customer.example").known)

    def test_it_goes_by_the_route_of_the_domain(self) -> None:
        self.make(RULE, routes=(RouteRule(name="r", to=("customer.example",), via="other"),))
        self.admit("bob@customer.example")
        self.assertEqual(self.asked[0].destination, Destination("other", "customer.example"))

    def test_what_a_table_has_is_not_asked_for(self) -> None:
        self.make(replace(RULE, recipients="known"))
        self.said = Called(Heard.NO, "mx: 550", GONE)
        self.assertEqual(self.admit("bob@customer.example"), "taken")
        self.assertEqual(self.asked, [])
        self.assertEqual(self.admit("eve@customer.example"), str(GONE))
        self.tables["known"].failing = "away"
        self.assertIn("451 4.3.0", self.admit("bob@customer.example"))

    def test_postmaster_is_taken_unasked(self) -> None:
        # RFC 5321 4.5.1
        self.assertEqual(self.admit("Postmaster@customer.example"), "taken")
        self.assertEqual(self.asked, [])

    def test_routing_in_the_local_part_is_refused_before_anybody_is_asked(self) -> None:
        # RFC 5321 3.6.1: the next host would say yes, and be the relay.
        for local in ("a%b.example", "b.example!a", '"a@b.example"'):
            self.assertIn("550 5.7.1", self.admit(f"{local}@customer.example"))
        self.assertEqual(self.asked, [])

    def test_behind_an_alias_that_leads_there_alone(self) -> None:
        ours = DomainRule(name="ours.example", aliases="aliases", deliver="local", mailboxes="boxes")
        aliases = {
            "one": "eve@customer.example",
            "two": "eve@customer.example, ann",
            "far": "x@far.example",
            "odd": '"a%b"@customer.example',
        }
        self.world(RULE, ours, tables={"aliases": aliases, "boxes": {"ann": ""}})
        self.answerer = self.answerer.with_others({CallQuestion: self.call})
        self.said = Called(Heard.NO, "mx: 550", GONE)
        # Which address it leads to is nobody's business.
        self.assertEqual(self.admit("one@ours.example"), "550 5.1.1 No such mailbox here")
        for local in ("two", "far", "odd"):
            self.assertEqual(self.admit(f"{local}@ours.example"), "taken", local)
        self.said = Called(Heard.UNSURE, "down", CANNOT_ASK)
        self.assertEqual(self.admit("one@ours.example"), str(CANNOT_ASK))
        self.said = Called(Heard.YES)
        self.assertEqual(self.admit("one@ours.example"), "taken")

    def test_who_may_send_anywhere_is_not_put_off(self) -> None:
        self.said = Called(Heard.UNSURE, "down", CANNOT_ASK)
        self.assertIsNone(self.admission("bob@customer.example", Right.AUTHENTICATED).reply)
        self.said = Called(Heard.NO, "mx: 550", GONE)
        self.assertEqual(self.admission("bob@customer.example", Right.AUTHENTICATED).reply, GONE)
