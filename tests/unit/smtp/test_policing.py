"""Policies as a client meets them: at the greeting, EHLO, MAIL, RCPT and the end of a message."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness import Client, Server, read
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mta.message.edits import Edit
from mta.policy.engine import Policies, Policy, Stage
from mta.policy.values import (
    ConnectionContext,
    GreetingContext,
    MessageContext,
    RecipientContext,
    SenderContext,
)
from mta.routing.values import DISCARD
from mta.verdict import Decision, Verdict

NO = Verdict.reject(550, "5.7.9", "not you", reason="because")
LATER = Verdict.defer(451, "4.7.9", "not now")
BODY = b"Subject: x\r\n\r\nhello\r\n"


class Case(SynchronousTestCase):
    """``at`` makes a policy that says so at a stage."""

    lmtp = False

    def setUp(self) -> None:
        self.server = Server(lmtp=self.lmtp)

    def use(self, *some: Policy) -> None:
        """They are in force from now on."""
        server = self.server
        policies = Policies(some, server.clock.callLater, server.clock.seconds, server.now, lambda event, id: None)
        server.factory.context = replace(server.factory.context, policies=policies)

    def at(self, stage: Stage, answer: Any = None, name: str = "one", **more: Any) -> Policy:
        self.seen: list[Any] = []

        def check(context: Any) -> Any:
            self.seen.append(context)
            return answer(context) if callable(answer) else (Verdict.none() if answer is None else answer)

        return Policy(name=name, stage=stage, check=check, **more)

    def client(self, *some: Policy, address: str = "203.0.113.9") -> Client:
        if some:
            self.use(*some)
        return self.server.connect(address)

    def codes(self) -> list[str]:
        return [event.code for _, event in self.server.events]

    def verdicts(self) -> list[dict[str, Any]]:
        return [event.args for _, event in self.server.events if event.code == "policy"]

    def record(self) -> Any:
        (record,) = self.server.spool.records.values()
        return record

    def story(self) -> list[tuple[str, str, str]]:
        """Of the one message: what policies said."""
        story = self.successResultOf(self.server.spool.story(self.record().message.id))
        return [
            (event.args["policy"], event.args["stage"], event.args["decision"])
            for event in story
            if event.code == "policy"
        ]


class AtConnect(Case):
    def test_what_it_sees(self) -> None:
        client = self.client(self.at(Stage.CONNECT))
        self.assertEqual(client.seen(), b"220 mail.ours.example ESMTP\r\n")
        self.assertEqual(self.seen, [ConnectionContext(listener="mx", client="203.0.113.9", port=40000)])
        self.assertFalse(client.closed)

    def test_deferred_with_421_and_closed(self) -> None:
        client = self.client(self.at(Stage.CONNECT, LATER))
        self.assertEqual(client.seen(), b"421 not now\r\n")
        self.assertTrue(client.closed)
        self.assertIn("connection-refused", self.codes())

    def test_rejected_with_554_and_may_only_leave(self) -> None:
        """RFC 5321 3.1"""
        client = self.client(self.at(Stage.CONNECT, NO))
        self.assertEqual(client.seen(), b"554 not you\r\n")
        self.assertTrue(client.say("EHLO client.example").startswith("503 "))
        self.assertTrue(client.say("MAIL FROM:<a@b.example>").startswith("503 "))
        self.assertTrue(client.say("QUIT").startswith("221 "))

    def test_one_that_has_to_be_waited_for(self) -> None:
        later: Deferred[Verdict] = Deferred()
        client = self.client(self.at(Stage.CONNECT, lambda context: later))
        self.assertEqual(client.seen(), b"")
        client.send(b"EHLO client.example\r\nMAIL FROM:<a@b.example>\r\n")
        self.assertEqual(client.seen(), b"")
        later.callback(Verdict.none())
        lines = client.seen().split(b"\r\n")
        self.assertTrue(lines[0].startswith(b"220 "))
        self.assertEqual(lines[-2], b"250 2.1.0 Ok")

    def test_a_hang_is_a_421(self) -> None:
        client = self.client(self.at(Stage.CONNECT, lambda context: Deferred(), timeout=3.0))
        self.server.clock.advance(3.0)
        self.assertTrue(client.seen().startswith(b"421 "))
        self.assertTrue(client.closed)

    def test_gone_before_its_greeting(self) -> None:
        stopped: list[Any] = []
        client = self.client(self.at(Stage.CONNECT, lambda context: Deferred(stopped.append)))
        client.leave()
        self.assertEqual(len(stopped), 1)
        self.assertEqual(self.server.connections.total, 0)

    def test_who_speaks_early_is_refused_without_asking(self) -> None:
        self.server.limits.greet_delay = 2.0
        client = self.client(self.at(Stage.CONNECT, NO))
        client.send(b"EHLO x\r\n")
        self.server.clock.advance(2.0)
        self.assertTrue(client.seen().startswith(b"554 5.5.1 You spoke before the greeting"))
        self.assertEqual(self.seen, [])
        quiet = self.client()
        self.server.clock.advance(2.0)
        self.assertEqual(quiet.seen(), b"554 not you\r\n")

    def test_xclient_makes_another_client(self) -> None:
        def only_the_proxy(context: ConnectionContext) -> Verdict:
            return Verdict.none() if context.client.startswith("198.51.100.") else NO

        client = self.client(self.at(Stage.CONNECT, only_the_proxy), address="198.51.100.1").greet()
        self.assertTrue(client.say("XCLIENT ADDR=192.0.2.200").startswith("554 "))
        self.assertTrue(client.say("EHLO x.example").startswith("503 "))


class AtGreeting(Case):
    def test_what_it_sees(self) -> None:
        self.client(self.at(Stage.GREETING)).greet()
        self.assertEqual(
            self.seen, [GreetingContext(listener="mx", client="203.0.113.9", port=40000, helo="client.example")]
        )

    def test_refused_the_client_has_not_greeted(self) -> None:
        for word in ("EHLO", "HELO"):
            client = self.client(self.at(Stage.GREETING, NO))
            client.seen()
            self.assertEqual(client.say(f"{word} bad.example"), "550 5.7.9 not you")
            self.assertTrue(client.say("MAIL FROM:<a@b.example>").startswith("503 "))

    def test_the_next_greeting_is_asked_anew(self) -> None:
        client = self.client(
            self.at(Stage.GREETING, lambda context: NO if context.helo == "bad.example" else Verdict.none())
        )
        client.seen()
        self.assertEqual(client.say("EHLO bad.example"), "550 5.7.9 not you")
        self.assertTrue(client.say("EHLO good.example").startswith("250"))
        self.assertTrue(client.say("MAIL FROM:<a@b.example>").startswith("250"))


class AtMail(Case):
    def test_what_it_sees(self) -> None:
        client = self.client(self.at(Stage.SENDER)).greet()
        client.say("MAIL FROM:<Ann@b.example> SIZE=300 BODY=8BITMIME")
        (seen,) = self.seen
        assert isinstance(seen, SenderContext)
        self.assertEqual((str(seen.reverse_path), seen.size, seen.body), ("Ann@b.example", 300, "8BITMIME"))
        self.assertEqual((seen.origin.helo, seen.account, seen.submission), ("client.example", None, False))

    def test_refused_there_is_no_transaction(self) -> None:
        client = self.client(self.at(Stage.SENDER, NO)).greet()
        self.assertEqual(client.say("MAIL FROM:<a@b.example>"), "550 5.7.9 not you")
        self.assertTrue(client.say("RCPT TO:<bob@ours.example>").startswith("503 "))
        (verdict,) = self.verdicts()
        self.assertEqual(verdict["about"], "203.0.113.9 <a@b.example>")
        self.assertEqual(verdict["why"], ["because"])

    def test_new_policies_hold_from_the_next_mail_on(self) -> None:
        client = self.client().greet()
        self.assertTrue(client.say("MAIL FROM:<a@b.example>").startswith("250"))
        self.use(self.at(Stage.RECIPIENT, NO), self.at(Stage.CONNECT, LATER, "two"))
        self.assertTrue(client.say("RCPT TO:<bob@ours.example>").startswith("250"))
        client.say("RSET")
        self.assertEqual(client.say("MAIL FROM:<a@b.example>"), "451 4.7.9 not now")
        self.use(self.at(Stage.RECIPIENT, NO))
        self.assertTrue(client.say("MAIL FROM:<a@b.example>").startswith("250"))
        self.assertEqual(client.say("RCPT TO:<bob@ours.example>"), "550 5.7.9 not you")

    def test_421_ends_the_session(self) -> None:
        client = self.client(self.at(Stage.SENDER, Verdict.defer(421, "4.7.0", "go away"))).greet()
        self.assertEqual(client.say("MAIL FROM:<a@b.example>"), "421 4.7.0 go away")
        self.assertTrue(client.closed)


class AtRcpt(Case):
    def test_what_it_sees(self) -> None:
        client = self.client(self.at(Stage.RECIPIENT), address="10.1.1.1").greet()
        client.say("MAIL FROM:<>")
        client.say("RCPT TO:<bob@ours.example> NOTIFY=NEVER")
        client.say("RCPT TO:<Info@ours.example>")
        self.assertEqual(
            [(str(one.recipient), one.accepted) for one in self.seen],
            [("bob@ours.example", 0), ("Info@ours.example", 1)],
        )
        self.assertIsInstance(self.seen[0], RecipientContext)
        self.assertEqual(self.seen[0].notify, "NEVER")

    def test_whom_the_router_refuses_nobody_is_asked_of(self) -> None:
        client = self.client(self.at(Stage.RECIPIENT)).greet()
        client.say("MAIL FROM:<a@b.example>")
        self.assertTrue(client.say("RCPT TO:<nobody@ours.example>").startswith("550 5.1.1"))
        self.assertTrue(client.say("RCPT TO:<x@elsewhere.example>").startswith("550 5.7.1"))
        self.assertEqual(self.seen, [])

    def test_refused_with_its_reason_in_the_log(self) -> None:
        client = self.client(self.at(Stage.RECIPIENT, NO)).greet()
        client.say("MAIL FROM:<a@b.example>")
        self.assertEqual(client.say("RCPT TO:<bob@ours.example>"), "550 5.7.9 not you")
        (refused,) = [event for _, event in self.server.events if event.code == "recipient-refused"]
        self.assertEqual(refused.args["why"], ["policy one: because"])
        self.assertTrue(client.say("DATA").startswith("554 "))

    def test_pipelined_replies_stay_in_order(self) -> None:
        """RFC 2920 3.2"""
        waiting: dict[str, Deferred[Verdict]] = {}

        def slow(context: RecipientContext) -> Deferred[Verdict]:
            return waiting.setdefault(context.recipient.local, Deferred())

        client = self.client(self.at(Stage.RECIPIENT, slow)).greet()
        client.send(
            b"MAIL FROM:<a@b.example>\r\nRCPT TO:<bob@ours.example>\r\nRCPT TO:<ann@ours.example>\r\nNOOP\r\nDATA\r\n"
        )
        self.assertEqual(client.seen(), b"250 2.1.0 Ok\r\n")
        self.assertEqual(list(waiting), ["bob"])
        waiting["bob"].callback(NO)
        self.assertEqual(client.seen(), b"550 5.7.9 not you\r\n")
        waiting["ann"].callback(Verdict.none())
        codes = [line[:3] for line in client.seen().split(b"\r\n")]
        self.assertEqual(codes, [b"250", b"250", b"354", b""])

    def test_a_hang_meets_its_timeout(self) -> None:
        client = self.client(self.at(Stage.RECIPIENT, lambda context: Deferred(), timeout=2.0)).greet()
        client.say("MAIL FROM:<a@b.example>")
        self.assertEqual(client.say("RCPT TO:<bob@ours.example>"), "")
        self.server.clock.advance(2.0)
        self.assertTrue(client.seen().startswith(b"451 4.3.0"))
        self.assertFalse(client.closed)

    def test_gone_meanwhile(self) -> None:
        stopped: list[Any] = []
        client = self.client(self.at(Stage.RECIPIENT, lambda context: Deferred(stopped.append))).greet()
        client.say("MAIL FROM:<a@b.example>")
        client.say("RCPT TO:<bob@ours.example>")
        client.leave()
        self.assertEqual((len(stopped), client.seen()), (1, b""))
        self.server.clock.advance(20.0)  # its time-out has nobody to reach any more


class AtTheEnd(Case):
    def accept(self, *some: Policy, to: tuple[str, ...] = ("bob@ours.example",), **more: Any) -> str:
        return self.client(*some, **more).greet().message("a@b.example", *to)

    def test_what_it_sees(self) -> None:
        read_by: list[bytes] = []

        def check(context: MessageContext) -> Verdict:
            read_by.append(read(context))
            return Verdict.none()

        self.assertTrue(
            self.accept(self.at(Stage.MESSAGE, check), to=("bob@ours.example", "info@ours.example"))[:3] == "250"
        )
        (seen,) = self.seen
        self.assertEqual([str(one) for one in seen.recipients], ["bob@ours.example", "info@ours.example"])
        self.assertEqual((seen.size, seen.header.get(b"subject")), (len(BODY), b"x"))
        self.assertEqual(seen.id, self.record().message.id)
        # Received is there already.
        self.assertEqual(read_by, [read(self.record().message)])
        self.assertTrue(read_by[0].startswith(b"Received: from client.example"))
        self.assertTrue(read_by[0].endswith(BODY))

    def test_a_large_one_is_read_from_its_file(self) -> None:
        self.server.limits.message_size = 5_000_000
        large = b"Subject: x\r\n\r\n" + b"0123456789\r\n" * 100_000
        sizes: list[int] = []

        def check(context: MessageContext) -> Verdict:
            sizes.append(len(read(context)))
            return Verdict.edit(Edit(0, 0, b"X-Size: y\r\n"))

        client = self.client(self.at(Stage.MESSAGE, check)).greet()
        self.assertTrue(client.message("a@b.example", "bob@ours.example", data=large).startswith("250"))
        message = self.record().message
        self.assertEqual(sizes[0] + len(b"X-Size: y\r\n"), message.size)
        self.assertEqual(len(read(message)), message.size)

    def test_refused_nothing_is_stored_and_the_session_goes_on(self) -> None:
        for verdict, code in ((NO, "550 5.7.9"), (LATER, "451 4.7.9")):
            client = self.client(self.at(Stage.MESSAGE, verdict)).greet()
            self.assertTrue(client.message("a@b.example", "bob@ours.example").startswith(code))
            self.assertTrue(client.say("MAIL FROM:<a@b.example>").startswith("250"))
        self.assertEqual(self.server.spool.records, {})
        why = [event.args["why"] for _, event in self.server.events if event.code == "refused"]
        self.assertEqual(why, ["policy one: because", "policy one: defer"])
        self.assertEqual(self.server.memory.used, 0)

    def test_each_verdict_is_in_the_story(self) -> None:
        stages = [Stage.CONNECT, Stage.GREETING, Stage.SENDER, Stage.RECIPIENT, Stage.MESSAGE]
        self.accept(*[self.at(stage, name=f"at-{stage.value}") for stage in stages])
        self.assertEqual(self.story(), [(f"at-{stage.value}", stage.value, "accept") for stage in stages])

    def test_edits_are_stored(self) -> None:
        self.accept(
            self.at(Stage.MESSAGE, Verdict.edit(Edit(0, 12, b"Subject: y\r\n"))),
            self.at(Stage.MESSAGE, Verdict.edit(Edit(12, 0, b"X-Last: z\r\n")), "two"),
        )
        self.assertTrue(read(self.record().message).endswith(b"Subject: y\r\nX-Last: z\r\n\r\nhello\r\n"))

    def test_held(self) -> None:
        for stage in (Stage.CONNECT, Stage.GREETING, Stage.SENDER, Stage.RECIPIENT, Stage.MESSAGE):
            self.setUp()
            self.assertTrue(self.accept(self.at(stage, Verdict.hold(reason="odd"))).startswith("250"))
            (recipient,) = self.record().waiting.values()
            self.assertEqual(recipient.hold, "policy one: odd", stage)
            self.assertEqual(self.server.queue.leases, [None])

    def test_discarded_it_is_counted_under_the_policys_name(self) -> None:
        for stage in (Stage.CONNECT, Stage.GREETING, Stage.SENDER, Stage.RECIPIENT, Stage.MESSAGE):
            self.setUp()
            self.assertTrue(self.accept(self.at(stage, Verdict.discard(reason="spam"))).startswith("250"), stage)
            (recipient,) = self.record().waiting.values()
            self.assertEqual(tuple(recipient.destination), (DISCARD, "one"))

    def test_discarded_nobody_is_asked_further(self) -> None:
        message = self.at(Stage.MESSAGE, NO, "two")
        self.assertTrue(self.accept(self.at(Stage.SENDER, Verdict.discard()), message).startswith("250"))

    def test_a_mark(self) -> None:
        self.accept(
            self.at(Stage.SENDER, Verdict.quarantine(reason="odd")), self.at(Stage.MESSAGE, Verdict.quarantine(), "two")
        )
        octets = read(self.record().message)
        self.assertIn(b"\r\nX-Quarantine: one, two (mail.ours.example)\r\n", octets)

    def test_some_recipients_alone(self) -> None:
        def each(context: RecipientContext) -> Verdict:
            verdicts = {"ann": Verdict.discard(), "info": Verdict.hold(reason="role")}
            return verdicts.get(context.recipient.local, Verdict.none())

        to = ("info@ours.example", "ann@ours.example", "x@relayed.example")
        self.assertTrue(self.accept(self.at(Stage.RECIPIENT, each), to=to).startswith("250"))
        found = {str(one.original): one for one in self.record().waiting.values()}
        self.assertEqual(found["info@ours.example"].hold, "policy one: role")
        self.assertEqual(found["ann@ours.example"].destination.service, DISCARD)
        self.assertEqual((found["x@relayed.example"].hold, len(found)), ("", 3))
        self.assertEqual(sorted(self.record().waiting), [0, 1, 2])

    def test_who_is_reached_by_another_way_is_reached(self) -> None:
        """info is an alias of bob: what becomes of the one is not the other's."""
        for verdict in (Verdict.discard(), Verdict.hold()):
            self.setUp()
            check = {0: verdict}
            self.accept(
                self.at(Stage.MESSAGE, Verdict(per_recipient=check)), to=("bob@ours.example", "info@ours.example")
            )
            free = [
                one for one in self.record().waiting.values() if not one.hold and one.destination.service != DISCARD
            ]
            self.assertEqual([str(one.address) for one in free], ["bob@ours.example"])

    def test_refused_for_all_by_one(self) -> None:
        to = ("bob@ours.example", "ann@ours.example")
        answer = self.accept(self.at(Stage.MESSAGE, Verdict(per_recipient={0: NO, 1: NO})), to=to)
        self.assertEqual(answer, "550 5.7.9 not you")
        # RFC 5321 4.2.5: the client keeps it
        answer = self.accept(self.at(Stage.MESSAGE, Verdict(per_recipient={0: NO, 1: LATER})), to=to)
        self.assertEqual(answer, "451 4.7.9 not now")
        self.assertEqual(self.server.spool.records, {})

    def test_refused_for_some_it_is_held_for_them(self) -> None:
        """There is one reply for all, and a report would be backscatter."""
        to = ("bob@ours.example", "ann@ours.example")
        self.assertTrue(self.accept(self.at(Stage.MESSAGE, Verdict(per_recipient={1: NO})), to=to).startswith("250"))
        holds = {str(one.address): one.hold for one in self.record().waiting.values()}
        self.assertEqual(holds, {"bob@ours.example": "", "ann@ours.example": "policy one: because: 550 5.7.9 not you"})

    def test_gone_after_the_final_dot(self) -> None:
        """While policies are asked nothing is ours yet: the client was told nothing, and sends it again."""
        stopped: list[Any] = []
        client = self.client(self.at(Stage.MESSAGE, lambda context: Deferred(stopped.append))).greet()
        self.assertEqual(client.message("a@b.example", "bob@ours.example"), "")
        client.leave()
        self.assertEqual((len(stopped), self.server.spool.records), (1, {}))
        self.assertEqual((self.server.memory.used, self.server.memory.promised), (0, 0))

    def test_a_hang_meets_its_timeout(self) -> None:
        client = self.client(self.at(Stage.MESSAGE, lambda context: Deferred(), timeout=5.0, on_error="accept")).greet()
        self.assertEqual(client.message("a@b.example", "bob@ours.example"), "")
        self.server.clock.advance(5.0)
        self.assertTrue(client.seen().startswith(b"250 2.0.0 Ok: queued"))

    def test_what_the_spool_cannot_read_is_trouble_of_the_policy(self) -> None:
        def check(context: MessageContext) -> Verdict:
            read(context)
            return NO

        self.server.spool.fail_next("open", OSError("disk"))
        self.assertTrue(self.accept(self.at(Stage.MESSAGE, check)).startswith("451 4.3.0"))
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_in_chunks(self) -> None:
        client = self.client(self.at(Stage.MESSAGE, Verdict.hold(reason="odd"))).greet()
        client.say("MAIL FROM:<a@b.example>")
        client.say("RCPT TO:<bob@ours.example>")
        client.send(b"BDAT %d LAST\r\n%s" % (len(BODY), BODY))
        self.assertTrue(client.seen().startswith(b"250 2.0.0"))
        self.assertEqual(self.seen[0].size, len(BODY))

    def test_facts_come_along(self) -> None:
        found: list[Any] = []
        stages = (Stage.CONNECT, Stage.GREETING, Stage.SENDER)
        self.accept(
            *[self.at(stage, Verdict(facts={stage.value: 1}), stage.value) for stage in stages],
            Policy(
                name="last", stage=Stage.MESSAGE, check=lambda context: found.append(context.facts) or Verdict.none()
            ),
        )
        self.assertEqual(found, [{"connect": 1, "greeting": 1, "sender": 1}])


class ByLmtp(Case):
    lmtp = True

    def test_each_recipient_has_its_reply(self) -> None:
        """RFC 2033 4.2"""
        client = self.client(self.at(Stage.MESSAGE, Verdict(per_recipient={1: NO, 2: LATER})))
        client.seen()
        client.say("LHLO client.example")
        client.say("MAIL FROM:<a@b.example>")
        for name in ("bob", "ann", "postmaster"):
            self.assertTrue(client.say(f"RCPT TO:<{name}@ours.example>").startswith("250"), name)
        client.say("DATA")
        first, *rest = client.say(BODY + b".").split("|")
        self.assertTrue(first.startswith("250 2.0.0"))
        self.assertEqual(rest, ["550 5.7.9 not you", "451 4.7.9 not now"])
        self.assertEqual([str(one.original) for one in self.record().waiting.values()], ["bob@ours.example"])

    def test_refused_for_each_nothing_is_stored(self) -> None:
        client = self.client(self.at(Stage.MESSAGE, Verdict(per_recipient={0: NO, 1: LATER})))
        client.seen()
        client.say("LHLO client.example")
        client.say("MAIL FROM:<a@b.example>")
        for name in ("bob", "ann"):
            client.say(f"RCPT TO:<{name}@ours.example>")
        client.say("DATA")
        self.assertEqual(client.say(BODY + b".").split("|"), ["550 5.7.9 not you", "451 4.7.9 not now"])
        self.assertEqual(self.server.spool.records, {})

    def test_at_the_greeting(self) -> None:
        client = self.client(self.at(Stage.GREETING, NO))
        client.seen()
        self.assertEqual(client.say("LHLO client.example"), "550 5.7.9 not you")


class Shadow(Case):
    def test_told_and_without_effect(self) -> None:
        client = self.client(self.at(Stage.RECIPIENT, NO, shadow=True)).greet()
        self.assertTrue(client.message("a@b.example", "bob@ours.example").startswith("250"))
        self.assertEqual(self.story(), [("one", "recipient", "reject")])
        self.assertIs(NO.decision, Decision.REJECT)


class Told(Case):
    """What ``mta explain ADDRESS`` and the log have of a refusal."""

    def refused(self, code: str) -> list[dict[str, Any]]:
        return [event.args for _, event in self.server.events if event.code == code]

    def test_once_with_the_policy(self) -> None:
        client = self.client(self.at(Stage.SENDER, NO)).greet()
        client.say("MAIL FROM:<a@b.example>")
        (refused,) = self.refused("command-refused")
        self.assertEqual((refused["command"], refused["said"]), ("MAIL", "FROM:<a@b.example>"))
        self.assertEqual((refused["reply"], refused["why"]), ("550 5.7.9 not you", ["policy one: because"]))

    def test_at_the_greeting_and_before(self) -> None:
        self.client(self.at(Stage.GREETING, NO)).say("EHLO x.example")
        (refused,) = self.refused("command-refused")
        self.assertEqual((refused["command"], refused["why"]), ("EHLO", ["policy one: because"]))
        self.client(self.at(Stage.CONNECT, NO))
        (connection,) = self.refused("connection-refused")
        self.assertEqual((connection["reply"], connection["why"]), ("554 not you", ["policy one: because"]))
        self.assertEqual(len(self.refused("command-refused")), 1)
