"""Who may post to a list: decided at RCPT, for the list and for what leads to it."""

from __future__ import annotations

from typing import Any

from list_cases import ANN, CARL, TEAM, Lists, Table, a_list

from mta.address import Address, ReversePath
from mta.envelope import Right
from mta.lists.posting import MAY_NOT_POST, NO_REPORTS, may_post
from mta.lists.values import ListRule, Posting
from mta.reply import Reply
from mta.routing.ask import resolve
from mta.routing.values import Admission

NOBODY: frozenset[Right] = frozenset()
STRANGER = Address("eve", "e.example")


class Posts(Lists):
    def reply(self, sender: ReversePath, rights: frozenset[Right] = NOBODY, to: Address = TEAM) -> Reply | None:
        facts: dict[Any, Any] = {}
        admission = resolve(lambda known: self.router.admit(to, rights, known), facts, self.answerer)
        assert isinstance(admission, Admission)
        if not admission.lists:
            return admission.reply
        decided = resolve(lambda known: may_post(admission, sender, rights, known), facts, self.answerer)
        assert isinstance(decided, Admission)
        return decided.reply

    def a_list(self, *words: str, **more: Any) -> ListRule:
        return a_list("team", CARL, posting=frozenset(map(Posting, words)), **more)

    def test_anyone(self) -> None:
        self.begin(self.a_list("anyone"))
        self.assertIsNone(self.reply(STRANGER))

    def test_members(self) -> None:
        """RFC 3463 3.8: 5.7.2"""
        self.begin(self.a_list("members"))
        self.assertIsNone(self.reply(CARL))
        self.assertIsNone(self.reply(Address("carl", "b.example")))
        self.assertEqual(self.reply(STRANGER), MAY_NOT_POST)
        self.assertEqual(self.reply(ANN), MAY_NOT_POST)
        self.assertEqual(MAY_NOT_POST.enhanced, "5.7.2")

    def test_members_in_tables(self) -> None:
        table = Table({"bob": "", "dora@c.example": ""})
        self.begin(self.a_list("members", tables=("table:more",)), more=table)
        self.assertIsNone(self.reply(Address("Dora", "c.example")))
        self.assertIsNone(self.reply(Address("bob", "example.org")))
        # A name alone is one of the list's domain, not a stranger's.
        self.assertEqual(self.reply(Address("bob", "e.example")), MAY_NOT_POST)
        self.assertEqual(self.reply(Address("bob@example.org", "example.org")), MAY_NOT_POST)

    def test_a_table_that_cannot_answer_refuses_nobody_for_good(self) -> None:
        self.begin(self.a_list("members", tables=("table:more",)), more=Table(failing="no database"))
        self.assertIsNone(self.reply(CARL))
        reply = self.reply(STRANGER)
        assert reply is not None
        self.assertEqual((reply.code, reply.enhanced), (451, "4.3.0"))

    def test_the_owner(self) -> None:
        self.begin(self.a_list("owner"))
        self.assertIsNone(self.reply(ANN))
        self.assertEqual(self.reply(CARL), MAY_NOT_POST)

    def test_clients_of_ours(self) -> None:
        network, login = frozenset({Right.NETWORK}), frozenset({Right.AUTHENTICATED})
        self.begin(self.a_list("networks"))
        self.assertEqual(
            [self.reply(STRANGER, rights) for rights in (network, login, NOBODY)], [None, None, MAY_NOT_POST]
        )
        self.begin(self.a_list("authenticated"))
        self.assertEqual(
            [self.reply(STRANGER, rights) for rights in (network, login, NOBODY)], [MAY_NOT_POST, None, MAY_NOT_POST]
        )

    def test_addresses_and_domains(self) -> None:
        self.begin(self.a_list(senders=frozenset({STRANGER}), domains=("c.example", "*.d.example")))
        for text, taken in (
            ("EVE@e.example", True),
            ("mallory@e.example", False),
            ("dora@c.example", True),
            ("dora@x.c.example", False),
            ("dora@x.d.example", True),
            ("dora@d.example", False),
        ):
            self.assertEqual(self.reply(Address.parse(text)), None if taken else MAY_NOT_POST, text)

    def test_reports_are_for_the_owner(self) -> None:
        """RFC 5321 4.5.5"""
        self.begin(self.a_list("anyone"))
        self.assertEqual(self.reply(None), NO_REPORTS)
        for name in ("team-bounces", "Team-Owner"):
            self.assertIsNone(self.reply(None, to=Address(name, "example.org")))

    def test_an_alias_opens_no_back_door(self) -> None:
        self.aliases.entries = {"all": "bob, team"}
        self.begin(self.a_list("members"))
        self.assertEqual(self.reply(STRANGER, to=Address("all", "example.org")), MAY_NOT_POST)
        self.assertIsNone(self.reply(CARL, to=Address("all", "example.org")))

    def test_nobody(self) -> None:
        self.begin(self.a_list("nobody"))
        self.assertEqual(self.reply(ANN, frozenset(Right)), MAY_NOT_POST)
