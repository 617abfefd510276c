"""VRFY and EXPN (RFC 5321 3.5): what the dialogues ``verify-*`` and ``expand-*`` do not show."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from harness import Client, Server, configured_tables
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.reply import Reply
from mta.routing.tables import MemoryTable
from mta.smtp.allowance import MOST, Allowance
from mta.smtp.told import LONGEST, mailbox, phrase, told

NETWORK = "10.1.2.3"
STRANGER = "203.0.113.9"


class Strangers(SynchronousTestCase):
    """RFC 5321 7.3."""

    def setUp(self) -> None:
        self.tables = {
            name: MemoryTable({"ann": "", "team": "ann"})
            for name in ("boxes", "aliases", *(name for name in configured_tables() if "open" not in name))
        }
        self.server = Server(self.tables, connections_per_client=9)
        self.client = self.server.connect(STRANGER).greet()

    def test_nothing_is_looked_up_for_them(self) -> None:
        # So the time of the reply tells nothing either.
        for name in ("ann", "nobody", "ann lee"):
            client = self.server.connect(STRANGER).greet()
            for domain in ("", "@ours.example", "@people.example", "@people.test", "@closed.example", "@login.example"):
                client.say(f"VRFY {name}{domain}")
                client.say(f"EXPN {name}{domain}")
        self.assertEqual({name: table.asked for name, table in self.tables.items() if table.asked}, {})

    def test_every_reply_is_the_same(self) -> None:
        seen = {self.client.say(f"VRFY {name}@ours.example") for name in ("ann", "nobody", "info", "postmaster")}
        self.assertEqual(seen, {"252 2.0.0 Cannot verify the mailbox, but will take mail for it and try"})
        seen = {self.client.say(f"EXPN {name}@ours.example") for name in ("ann", "nobody", "info", "postmaster")}
        self.assertEqual(seen, {"550 5.7.1 You may not ask where addresses lead"})

    def test_they_are_not_counted(self) -> None:
        self.server.factory.context = replace(
            self.server.context, disclosure=replace(self.server.context.disclosure, per_hour=2)
        )
        client = self.server.connect(STRANGER).greet()
        self.assertEqual({client.say("VRFY ann@ours.example")[:3] for _ in range(10)}, {"252"})

    def test_expn_is_offered_where_something_is_open(self) -> None:
        # RFC 5321 3.5.2
        self.assertIn("EXPN", self.client.say("EHLO a.example"))
        narrow = replace(self.server.context.disclosure, expn_widest="networks")
        self.server.factory.context = replace(self.server.context, disclosure=narrow)
        self.assertNotIn("EXPN", self.client.say("EHLO a.example"))
        self.assertIn("EXPN", self.server.connect(NETWORK).say("EHLO a.example"))


class Answers(SynchronousTestCase):
    """To those who may know."""

    def setUp(self) -> None:
        self.server = Server()
        self.client = self.server.connect(NETWORK).greet()

    def told(self) -> list[str]:
        return [str(event) for _, event in self.server.events if event.code in ("asked", "command-refused")]

    def test_all_lines(self) -> None:
        # RFC 5321 3.5.1: the words and the form that it has
        self.assertEqual(
            self.client.say("VRFY smith").split("|"),
            [
                "553-5.1.4 Ambiguous; Possibilities are",
                "553-5.1.4 Joe Smith <jsmith@people.example>",
                "553 5.1.4 Harry Smith <hsmith@people.example>",
            ],
        )
        self.assertEqual(
            self.client.say("EXPN team@people.example").split("|"),
            [
                "250-2.1.5 Joe Smith <jsmith@people.example>",
                "250-2.1.5 Harry Smith <hsmith@people.example>",
                "250-2.1.5 <out@other.example>",
                "250 2.1.5 <crew@people.example>",
            ],
        )
        self.assertEqual(
            self.client.say("EXPN nested@people.example").split("|"),
            [
                "250-2.1.5 Melvin Smithson <dweep@people.example>",
                "250-2.1.5 <crew@people.example>",
                "250 2.1.5 <staff@closed.example>",
            ],
        )

    def test_name_that_nobody_has(self) -> None:
        # RFC 5321 7.3: where there are domains that are closed to the client, nobody can say so.
        self.assertEqual(self.client.say("VRFY nobody")[:9], "252 2.0.0")
        rules = replace(self.server.context.disclosure, searched=("people.example", "ours.example"))
        self.server.factory.context = replace(self.server.context, disclosure=rules)
        client = self.server.connect(NETWORK).greet()
        for name in ("nobody", "elsewhere person", "never there", "fred"):
            self.assertEqual(client.say(f"VRFY {name}"), "550 5.1.1 Nobody here has that name")
        self.server.factory.context = replace(self.server.context, disclosure=replace(rules, all_searched=False))
        self.assertEqual(self.server.connect(NETWORK).greet().say("VRFY nobody")[:9], "252 2.0.0")

    def test_name_beyond_ascii(self) -> None:
        # RFC 6531 3.7.4.2: only with the parameter
        self.client.send(b"VRFY kaete@people.example SMTPUTF8\r\n")
        self.assertEqual(self.client.seen().decode(), '250 2.1.5 "K\u00e4te O\\"Brien" <kaete@people.example>\r\n')
        self.client.send("VRFY k\u00c4te SMTPUTF8\r\n".encode())
        self.assertIn(b"<kaete@people.example>", self.client.seen())

    def test_each_answer_is_an_event_once(self) -> None:
        self.client.say("VRFY smith")
        self.client.say("VRFY nobody@ours.example")
        self.client.say("EXPN team@people.example")
        self.assertEqual(
            self.told(),
            [
                "10.1.2.3  asked VRFY smith: 553 5.1.4, 2 addresses",
                "10.1.2.3  asked VRFY nobody@ours.example: 550 5.1.1, 0 addresses",
                "10.1.2.3  asked EXPN team@people.example: 250 2.1.5, 4 addresses",
            ],
        )

    def test_what_cannot_be_known_is_never_unknown(self) -> None:
        for broken in ("boxes", "table:people-names", "table:people"):
            server = Server({broken: MemoryTable(failing="away")})
            client = server.connect(NETWORK).greet()
            if broken != "table:people-names":
                self.assertEqual(client.say("VRFY nobody")[:9], "451 4.3.0", broken)
        # A table that cannot be searched is no table without the name, and a full name is an ornament.
        server = Server({"table:people-names": MemoryTable(failing="away")})
        client = server.connect(NETWORK).greet()
        self.assertEqual(client.say("VRFY joe")[:9], "252 2.0.0")
        self.assertEqual(client.say("VRFY jsmith@people.example"), "250 2.1.5 <jsmith@people.example>")

    def test_members_that_cannot_be_told(self) -> None:
        server = Server({"table:known": MemoryTable({"x": ""})})
        reply = server.connect(NETWORK).greet().say("EXPN known@people.example")
        self.assertEqual(reply, "252 2.0.0 Unable to verify members of mailing list")

    def test_several_lists_of_one_name(self) -> None:
        self.server.tables["aliases"] = MemoryTable({"all": "ann, bob"})
        self.assertEqual(
            self.client.say("EXPN all").split("|"),
            [
                "553-5.1.4 Ambiguous; Possibilities are",
                "553-5.1.4 <all@people.example>",
                "553 5.1.4 <all@ours.example>",
            ],
        )

    def test_client_that_goes_away_while_it_is_answered(self) -> None:
        slow: Any = MemoryTable()
        self.patch(slow, "lookup", lambda key: Deferred())
        self.server.tables["boxes"] = slow
        self.client.send(b"VRFY ann@ours.example\r\n")
        self.assertEqual(self.client.seen(), b"")
        self.client.leave()
        self.assertEqual(self.flushLoggedErrors(), [])


class Help(SynchronousTestCase):
    """RFC 5321 4.1.1.8: what HELP says of VRFY and EXPN is what they do."""

    QUESTIONS = (
        *("jsmith@people.example", "nobody@people.example", "old@people.example", "left@people.example", "smith"),
        *("x@foreign.example", "team@people.example", "many@people.example", "x@silent.example", "former", "broken"),
        *("former@people.example", "all@people.example", "twice", "loop@ours.example", "broken@ours.example"),
    )

    def codes(self, client: str, verb: str) -> set[str]:
        return {self.server(verb, name).connect(client).say(f"{verb} {name}").split("|")[-1][4:][:3] for name in ()}

    def said(self, client: str, verb: str) -> set[str]:
        found = set()
        for name in self.QUESTIONS:
            server = Server()
            server.tables["aliases"] = MemoryTable({"twice": "ann, bob", "loop": "loop", "broken": "@@"})
            server.tables["table:people-aliases"] = MemoryTable({"twice": "jsmith, hsmith", "all": "jsmith, hsmith"})
            connected = server.connect(client).greet()
            found.add(connected.say(f"{verb} {name}")[:3])
        return {code if code[0] != "4" else "4yz" for code in found}

    def help(self, verb: str, lmtp: bool = False) -> str:
        client = Server(lmtp=lmtp).connect(NETWORK)
        client.seen()
        return client.say(f"HELP {verb}")

    def test_codes(self) -> None:
        for verb, others in (("VRFY", "252"), ("EXPN", "550")):
            syntax, text = self.help(verb).split("|")
            self.assertEqual(syntax, f"214-2.0.0 {verb} address-or-name [SMTPUTF8]")
            known, _, rest = text.removeprefix("214 2.0.0 ").partition("; all others ")
            self.assertEqual(set(re.findall(r"\b(?:[25]\d\d|4yz)\b", known)), self.said(NETWORK, verb), verb)
            self.assertEqual(rest, f"{others}.")
            stranger = Server().connect(STRANGER).greet()
            self.assertEqual({stranger.say(f"{verb} {name}@ours.example")[:3] for name in ("ann", "x")}, {others})

    def test_syntax(self) -> None:
        client = Server().connect(NETWORK).greet()
        for verb in ("VRFY", "EXPN"):
            self.assertEqual(client.say(verb), f"501 5.5.4 Syntax: {verb} address or name")

    def test_lmtp(self) -> None:
        # RFC 2033 4
        self.assertIn("Is answered with 252, whatever is asked.", self.help("VRFY", lmtp=True))
        self.assertTrue(self.help("EXPN", lmtp=True).startswith("504 "))


class Bounds(SynchronousTestCase):
    def server(self, per_hour: int) -> Server:
        server = Server()
        rules = replace(server.context.disclosure, per_hour=per_hour)
        server.factory.context = server.context = replace(server.context, disclosure=rules)
        return server

    def ask(self, client: Client) -> str:
        return client.say("VRFY ann@ours.example")[:9]

    def test_questions_of_one_client(self) -> None:
        server = self.server(per_hour=3)
        first, second = server.connect(NETWORK).greet(), server.connect(NETWORK).greet()
        self.assertEqual([self.ask(first), self.ask(second), self.ask(first)], ["250 2.1.5"] * 3)
        self.assertEqual(second.say("VRFY ann@ours.example"), f"{TOO_MANY}")
        self.assertEqual(first.say("EXPN info@ours.example"), f"{TOO_MANY}")
        self.assertEqual(self.ask(server.connect("10.9.9.9").greet()), "250 2.1.5")
        server.clock.advance(1200)  # a third of an hour, a third of the number
        third = server.connect(NETWORK).greet()
        self.assertEqual([self.ask(third), self.ask(third)], ["250 2.1.5", "450 4.7.0"])

    def test_a_network_of_ipv6_is_one_client(self) -> None:
        server = self.server(per_hour=1)
        self.assertEqual(self.ask(server.connect("2001:db8:1::1").greet()), "250 2.1.5")
        self.assertEqual(self.ask(server.connect("2001:db8:1::2").greet()), "450 4.7.0")
        self.assertEqual(self.ask(server.connect("2001:db8:1:1::2").greet()), "250 2.1.5")

    def test_a_login_is_one_client_wherever_it_is(self) -> None:
        server = self.server(per_hour=1)
        replies = []
        for address in ("203.0.113.1", "203.0.113.2"):
            client = server.connect("198.51.100.7").greet()
            client.say(f"XCLIENT ADDR={address} LOGIN=joe")
            replies.append(self.ask(client))
        self.assertEqual(replies, ["250 2.1.5", "450 4.7.0"])

    def test_clients_that_are_remembered(self) -> None:
        allowance = Allowance()
        self.assertTrue(allowance.take("first", 1, 0.0))
        for number in range(MOST):
            self.assertTrue(allowance.take(f"client {number}", 1, 1.0))
        self.assertTrue(allowance.take("first", 1, 2.0), "forgotten")
        self.assertFalse(allowance.take(f"client {MOST - 1}", 1, 2.0))

    def test_at_most_twice_the_number_in_any_hour(self) -> None:
        allowance = Allowance()
        allowed = sum(allowance.take("a", 60, second) for second in range(0, 3600, 7))
        self.assertLessEqual(allowed, 120)
        self.assertGreater(allowed, 110)

    def test_processes_share_the_number(self) -> None:
        allowance = Allowance(share=4)
        self.assertEqual(sum(allowance.take("a", 8, 0.0) for _ in range(8)), 2)
        self.assertTrue(Allowance(share=4).take("a", 1, 0.0), "and none has nothing")


TOO_MANY = "450 4.7.0 You have asked much in this hour; ask again later"


class Wording(SynchronousTestCase):
    """RFC 5322 3.2.5, 3.4 and RFC 5321 3.5.1."""

    def test_phrases(self) -> None:
        for name, expected in (
            ("Joe Smith", "Joe Smith"),
            ("  Joe\t Smith ", "Joe Smith"),
            ("Sam Q. Smith", '"Sam Q. Smith"'),  # RFC 5322 3.2.3: "." is no atext
            ('a "b" \\c', '"a \\"b\\" \\\\c"'),
            ("x <y@z>", '"x <y@z>"'),
            ("a\r\n250 b", "a 250 b"),
            ("\u202etxet", "?txet"),
            ("\x1b[2J", '"?[2J"'),
            (" ", ""),
        ):
            self.assertEqual(phrase(name), expected, repr(name))

    def test_name_that_is_too_long(self) -> None:
        address = Address("ann", "ours.example")
        self.assertEqual(mailbox(address, "x" * 600, False), "<ann@ours.example>")
        self.assertLessEqual(len(mailbox(address, "x" * 470, False)), LONGEST)

    @given(name=st.text(max_size=700), utf8=st.booleans())
    def test_no_name_adds_a_line_or_a_mailbox(self, name: str, utf8: bool) -> None:
        reply = told(250, "2.1.5", [Address("ann", "ours.example")], {Address("ann", "ours.example"): name}, utf8)
        assert isinstance(reply, Reply)
        line = reply.wire.decode("utf-8")
        self.assertTrue(line.endswith("<ann@ours.example>\r\n"))
        self.assertTrue(line[:-2].isprintable(), line)
        self.assertLessEqual(len(reply.wire), 512)
        self.assertTrue(utf8 or line.isascii())
        outside = re.sub(r'"(?:[^"\\]|\\.)*"', "", line.removeprefix("250 2.1.5 "))
        self.assertEqual(outside.count("<"), 1, line)
