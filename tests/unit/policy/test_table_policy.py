"""The policy of type "table", as a configuration has it."""

from __future__ import annotations

from typing import Any

from policy_contract import PolicyContract
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.config.option import Table
from mta.envelope import Origin
from mta.policy.engine import Stage
from mta.policy.table import (
    TableAtConnect,
    TableAtGreeting,
    TableAtRecipient,
    TableAtSender,
    TablePolicyOptions,
    verdict_of,
)
from mta.policy.values import ConnectionContext, GreetingContext, RecipientContext, SenderContext
from mta.reply import TemporaryFailure
from mta.routing.tables import MemoryTable
from mta.verdict import Decision, Verdict
from mta.waiting import step

ORIGIN = Origin(listener="mx", protocol="ESMTP", login="ann")
STAGES: tuple[Any, ...] = (TableAtConnect, TableAtGreeting, TableAtSender, TableAtRecipient)


class Looked(SynchronousTestCase):
    def ask(self, cls: Any, by: Any, context: Any, **entries: str) -> Verdict:
        table = MemoryTable(entries)
        options = TablePolicyOptions(table=Table("table:x").bound(lambda name: table), by=by)
        policy = cls(options, None)
        self.assertFalse(policy.idle)
        done, verdict = step(policy.check(context))
        self.assertTrue(done)
        assert isinstance(verdict, Verdict)
        return verdict

    def sender(self, address: str | None, by: str = "sender", **entries: str) -> Verdict:
        path = Address.parse(address) if address else None
        return self.ask(TableAtSender, by, SenderContext(origin=ORIGIN, reverse_path=path, now=0), **entries)

    def test_each_kind_of_key_is_asked_at_its_stage_alone(self) -> None:
        table = Table("table:x").bound(lambda name: MemoryTable({}))
        for by, expected in (
            ("client", TableAtConnect),
            ("helo", TableAtGreeting),
            ("sender", TableAtSender),
            ("account", TableAtSender),
            ("recipient", TableAtRecipient),
        ):
            options = TablePolicyOptions(table=table, by=by)
            self.assertEqual([cls for cls in STAGES if not cls(options, None).idle], [expected])

    def test_a_client(self) -> None:
        seen = ConnectionContext(listener="mx", client="192.0.2.7")
        self.assertIs(self.ask(TableAtConnect, "client", seen, **{"192.0.2.7": "DEFER"}).decision, Decision.DEFER)
        self.assertIs(self.ask(TableAtConnect, "client", seen).decision, Decision.ACCEPT)
        nobody = ConnectionContext(listener="mx", client="")
        self.assertIs(self.ask(TableAtConnect, "client", nobody, **{"": "REJECT"}).decision, Decision.ACCEPT)

    def test_a_name(self) -> None:
        seen = GreetingContext(listener="mx", client="192.0.2.7", helo="A.Bad.Example")
        self.assertIs(self.ask(TableAtGreeting, "helo", seen, **{".bad.example": "REJECT"}).decision, Decision.REJECT)
        self.assertIs(self.ask(TableAtGreeting, "helo", seen, **{"bad.example": "REJECT"}).decision, Decision.ACCEPT)
        literal = GreetingContext(listener="mx", client="192.0.2.7", helo="[192.0.2.7]")
        self.assertIs(self.ask(TableAtGreeting, "helo", literal, **{"[192.0.2.7]": "HOLD"}).decision, Decision.HOLD)

    def test_an_address_and_less_and_less_of_it(self) -> None:
        for key in ("bad@mail.b.example", "mail.b.example", ".b.example", ".example"):
            self.assertIs(self.sender("Bad@mail.b.example", **{key: "reject"}).decision, Decision.REJECT, key)
        exception = {"bad@mail.b.example": "OK", "mail.b.example": "REJECT"}
        self.assertIs(self.sender("bad@mail.b.example", **exception).decision, Decision.ACCEPT)
        # "mail" alone is nobody's whole address.
        self.assertIs(self.sender("mail@b.example", mail="REJECT").decision, Decision.ACCEPT)

    def test_reports_and_accounts(self) -> None:
        self.assertIs(self.sender(None, **{"<>": "HOLD"}).decision, Decision.HOLD)
        self.assertIs(self.sender("x@b.example", "account", ann="DISCARD").decision, Decision.DISCARD)

    def test_a_recipient(self) -> None:
        address = Address("bob", "b.example")
        seen = RecipientContext(origin=ORIGIN, reverse_path=None, now=0, recipient=address)
        verdict = self.ask(TableAtRecipient, "recipient", seen, **{"bob@b.example": "550 5.2.1 on leave"})
        self.assertEqual(str(verdict.reply), "550 5.2.1 on leave")


class Values(SynchronousTestCase):
    def test_what_a_value_says(self) -> None:
        for value, decision, reply, why in (
            ("OK", Decision.ACCEPT, "None", "k"),
            ("ok because", Decision.ACCEPT, "None", "k: because"),
            ("REJECT", Decision.REJECT, "550 5.7.1 Refused by a policy", "k"),
            ("Reject go away", Decision.REJECT, "550 5.7.1 go away", "k"),
            ("DEFER", Decision.DEFER, "451 4.7.1 Put off by a policy, please try again later", "k"),
            ("HOLD odd", Decision.HOLD, "None", "k: odd"),
            ("DISCARD", Decision.DISCARD, "None", "k"),
            ("QUARANTINE x", Decision.QUARANTINE, "None", "k: x"),
            ("554 go", Decision.REJECT, "554 5.7.1 go", "k"),
            ("421 4.7.0 later", Decision.DEFER, "421 4.7.0 later", "k"),
            ("550", Decision.REJECT, "550 5.7.1 Refused by a policy", "k"),
        ):
            verdict = verdict_of(value, "k")
            self.assertEqual((verdict.decision, str(verdict.reply)), (decision, reply), value)
            self.assertEqual([str(reason) for reason in verdict.reasons], [why])

    def test_what_says_nothing_is_trouble(self) -> None:
        for value in ("", "RJECT", "250 fine", "550 4.7.1 both", "no"):
            self.assertRaises(TemporaryFailure, verdict_of, value, "k")


class Contract(PolicyContract):
    """Each stage keeps the contract of every policy."""

    by: Any

    def make_policy(self) -> Any:
        entries = {"192.0.2.7": "DEFER", "b.example": "HOLD", "bob@b.example": "REJECT", "ann": "OK"}
        table = Table("table:x").bound(lambda name: MemoryTable(entries))
        cls: Any = dict(zip(Stage, STAGES[:4], strict=False))[self.stage]
        return cls(TablePolicyOptions(table=table, by=self.by), None)


class OnConnect(Contract, SynchronousTestCase):
    stage, by = Stage.CONNECT, "client"

    def make_context(self) -> Any:
        return ConnectionContext(listener="mx", client="192.0.2.7")


class OnGreeting(Contract, SynchronousTestCase):
    stage, by = Stage.GREETING, "helo"

    def make_context(self) -> Any:
        return GreetingContext(listener="mx", client="192.0.2.7", helo="b.example")


class OnSender(Contract, SynchronousTestCase):
    stage, by = Stage.SENDER, "sender"

    def make_context(self) -> Any:
        return SenderContext(origin=ORIGIN, reverse_path=Address("bob", "b.example"), now=0)


class OnRecipient(Contract, SynchronousTestCase):
    stage, by = Stage.RECIPIENT, "recipient"

    def make_context(self) -> Any:
        return RecipientContext(origin=ORIGIN, reverse_path=None, now=0, recipient=Address("bob", "b.example"))
