"""The brake: what is counted, and when it closes."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.accounts.values import Account, State
from mta.address import Address
from mta.envelope import Destination, Envelope, Origin, Recipient
from mta.events import Event
from mta.message.header import scan
from mta.policy.values import DispatchContext, MessageContext
from mta.routing.values import Route
from mta.state.sqlite import SqliteState
from mta.submission.brake import DAY, HOUR, Limits, crossed, network_of
from mta.submission.brakes import FRESH, TICK, Brakes, Outside, Told
from mta.submission.holding import selection
from mta.submission.notice import notice
from mta.submission.policies import AccountPolicy
from mta.verdict import Decision, Verdict

ANN = Account(name="ann", addresses=("ann@ours.example",))


def at_once(work: Any, *args: Any) -> Deferred[Any]:
    return succeed(work(*args))


class Cases(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = self.mktemp()
        os.mkdir(self.folder)
        self.clock = Clock()
        self.told: list[Told] = []
        self.released: list[str] = []
        self.events: list[Event] = []
        self.failing: Exception | None = None
        self.accounts = {"ann": ANN}
        self.brakes = self.make()

    def make(self, worker: int = 0, **limits: int) -> Brakes:
        state = SqliteState(self.folder, self.now, at_once)
        self.addCleanup(state.close)
        outside = Outside(
            self.now, self.clock.seconds, lambda event, id: self.events.append(event), self.tell, self.release
        )
        return Brakes(state, outside, Limits(**limits), self.accounts.get, worker)

    def now(self) -> int:
        return 1_700_000_000_000 // (DAY * 1000) * DAY * 1000 + round(self.clock.seconds() * 1000)

    async def tell(self, told: Told) -> None:
        if self.failing is not None:
            raise self.failing
        self.told.append(told)

    async def release(self, account: str) -> int:
        self.released.append(account)
        return 3

    def result(self, coroutine: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def send(
        self,
        *to: str,
        client: str = "192.0.2.7",
        account: Account | None = ANN,
        login: str = "ann",
        brakes: Brakes | None = None,
    ) -> str:
        """Why a message is held."""
        about = MessageContext(
            origin=Origin(listener="submission", protocol="ESMTPSA", client=client, login=login),
            reverse_path=None,
            now=self.now(),
            account=account,
            id="1",
            recipients=tuple(Address(one, "x.example") for one in to or ("a",)),
            header=scan(b""),
            source=lambda edits: None,  # type: ignore[arg-type, return-value]
        )
        return self.why(self.result((brakes or self.brakes).at_end(about)))

    def why(self, verdict: Verdict) -> str:
        if verdict.decision is Decision.ACCEPT:
            return ""
        self.assertIs(verdict.decision, Decision.HOLD)
        return str(verdict.reasons[0])


class Counting(Cases):
    def test_without_limits_nothing_is_held(self) -> None:
        for _ in range(20):
            self.assertEqual(self.send("a", "b"), "")

    def test_each_limit(self) -> None:
        for limits, said in (
            ({"messages_per_hour": 3}, "4 messages in an hour, and 3 are allowed"),
            ({"messages_per_day": 3}, "4 messages in a day, and 3 are allowed"),
            ({"recipients_per_hour": 7}, "8 recipients in an hour, and 7 are allowed"),
            ({"recipients_per_day": 7}, "8 recipients in a day, and 7 are allowed"),
        ):
            brakes = self.make(**limits)
            name = "-".join(limits)
            account = replace(ANN, name=name)
            for _ in range(3):
                self.assertEqual(self.send("a", "b", account=account, brakes=brakes), "")
            why = self.send("a", "b", account=account, brakes=brakes)
            self.assertEqual(why, f"account {name} is held: the brake closed: {said}")

    def test_new_recipients(self) -> None:
        brakes = self.make(new_recipients_per_hour=3)
        for _ in range(5):
            self.assertEqual(self.send("a", "b", "c", brakes=brakes), "")  # known from the second time on
        self.assertIn("4 recipients in an hour to whom it had not written", self.send("a", "d", brakes=brakes))

    def test_new_networks(self) -> None:
        brakes = self.make(networks_per_day=2)
        for client in ("192.0.2.1", "192.0.2.200", "198.51.100.1", "2001:db8::1", "2001:db8:0:0:99::1", ""):
            # The first one is where it is at home.
            self.assertEqual(self.send(client=client, brakes=brakes), "", client)
        self.assertIn("3 networks in a day", self.send(client="203.0.113.1", brakes=brakes))

    def test_networks(self) -> None:
        for client, network in {
            "192.0.2.7": "192.0.2.0/24",
            "2001:db8:1:2ff::7": "2001:db8:1:200::/56",
            "": "",
            "local": "",
        }.items():
            self.assertEqual(network_of(client), network)

    def test_counts_fade(self) -> None:
        brakes = self.make(messages_per_hour=10)
        for _ in range(10):
            self.assertEqual(self.send(brakes=brakes), "")
        self.clock.advance(HOUR + HOUR / 2)  # half of the slot before still counts
        for _ in range(5):
            self.assertEqual(self.send(brakes=brakes), "")
        self.assertNotEqual(self.send(brakes=brakes), "")

    def test_old_counts_are_gone(self) -> None:
        brakes = self.make(messages_per_hour=10)
        for _ in range(10):
            self.send(brakes=brakes)
        self.clock.advance(2 * HOUR)
        for _ in range(10):
            self.assertEqual(self.send(brakes=brakes), "")

    def test_limits_of_the_account(self) -> None:
        brakes = self.make(recipients_per_hour=2, recipients_per_day=2)
        more = replace(ANN, per_hour=4, per_day=5)
        self.assertEqual(self.send("a", "b", "c", "d", account=more, brakes=brakes), "")
        self.assertIn("5 recipients in an hour, and 4", self.send(account=more, brakes=brakes))

    def test_each_account_for_itself(self) -> None:
        brakes = self.make(messages_per_hour=1)
        for name in ("ann", "bob", "a/b", "b", "x is held: "):
            self.assertEqual(self.send(account=replace(ANN, name=name), brakes=brakes), "")

    def test_a_login_that_a_proxy_knows_counts_too(self) -> None:
        brakes = self.make(messages_per_hour=1)
        self.assertEqual(self.send(account=None, login="zoe", brakes=brakes), "")
        self.assertIn("account zoe is held", self.send(account=None, login="zoe", brakes=brakes))
        self.assertEqual(self.send(account=None, login="", brakes=brakes), "")
        self.assertEqual(self.told[0].owner, "")

    def test_bounces(self) -> None:
        brakes = self.make(bounces=30, bounces_least=3)
        self.send("a", "b", "c", "d", brakes=brakes)
        self.send("e", "f", brakes=brakes)
        self.result(brakes.failed("ann", 2))
        self.assertEqual(self.result(brakes.why("ann")), "")
        self.result(brakes.failed("ann", 1))
        self.clock.advance(FRESH)
        self.assertEqual(
            self.result(brakes.why("ann")),
            "the brake closed: 3 of 6 recipients in a day that failed, and 1 are allowed",
        )
        self.assertEqual([one.owner for one in self.told], ["ann@ours.example"])

    def test_workers_count_together(self) -> None:
        one, other = self.make(messages_per_hour=2), self.make(1, messages_per_hour=2)
        self.assertEqual(self.send(brakes=one), "")
        self.assertEqual(self.send(brakes=other), "")
        self.assertNotEqual(self.send(brakes=one), "")
        self.clock.advance(FRESH)
        self.assertNotEqual(self.send(brakes=other), "")
        self.assertEqual(len(self.told), 1)

    @given(
        st.lists(st.one_of(st.none(), st.integers(0, 10**9).map(str)), min_size=14, max_size=14), st.integers(0, 10**14)
    )
    def test_any_counts(self, answers: list[str | None], now: int) -> None:
        most = Limits(**dict.fromkeys(("messages_per_hour", "recipients_per_day", "networks_per_day"), 10**12))
        self.assertIsNone(crossed(answers, most, now))
        self.assertIsNone(crossed(answers, Limits(), now))


class Closed(Cases):
    def close(self) -> Brakes:
        brakes = self.make(messages_per_hour=1)
        self.send(brakes=brakes)
        self.assertNotEqual(self.send(brakes=brakes), "")
        return brakes

    def test_it_stays_closed_and_tells_once(self) -> None:
        brakes = self.close()
        self.clock.advance(3 * DAY)
        for _ in range(3):
            self.assertIn("account ann is held", self.send(brakes=brakes))
        self.assertIn("account ann is held", self.send(brakes=self.make(messages_per_hour=1)))  # after a restart
        (told,) = self.told
        self.assertEqual((told.account, told.owner), ("ann", "ann@ours.example"))
        self.assertEqual([event.code for event in self.events], ["brake-closed"])

    def test_released(self) -> None:
        brakes = self.close()
        self.assertIn("2 messages in an hour", self.result(brakes.release("ann")))
        self.assertEqual(self.send(brakes=brakes), "")  # it counts anew
        self.assertIn("account ann is held", self.send(brakes=brakes))
        self.assertEqual(len(self.told), 2)
        self.assertEqual(self.result(brakes.release("bob")), "")

    def test_a_notice_that_cannot_be_written_is_tried_again(self) -> None:
        self.failing = OSError("full")
        brakes = self.close()
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.failing = None
        brakes.start(self.clock)
        self.addCleanup(brakes.stop)
        self.clock.advance(TICK)
        self.assertEqual([one.account for one in self.told], ["ann"])
        self.clock.advance(TICK)
        self.assertEqual(len(self.told), 1)


class Leaving(Cases):
    """What waits, when it is about to leave."""

    def setUp(self) -> None:
        super().setUp()
        self.knows_all = True
        self.policy = AccountPolicy(lambda listener: (self.accounts.get, self.knows_all), self.brakes)

    def leave(self, login: str = "ann") -> str:
        class Message:
            id = "1"
            envelope = Envelope(
                origin=Origin(listener="submission", protocol="ESMTPSA", login=login), reverse_path=None, arrived=0
            )

        to = Address("x", "x.example")
        place = Destination("internet", "x.example")
        about = DispatchContext(
            message=Message(),  # type: ignore[arg-type]
            recipients=(Recipient(id=0, address=to, original=to, destination=place, due=0),),
            route=Route(destination=place),
        )
        return self.why(self.result(self.policy.at_dispatch(about)))

    def test_of_an_account_that_may_send(self) -> None:
        self.assertEqual(self.leave(), "")
        self.assertEqual(self.leave(""), "")

    def test_of_one_that_may_not(self) -> None:
        for state in (State.DISABLED, State.EXPIRED, State.HELD):
            self.accounts["ann"] = replace(ANN, state=state, why="left us")
            self.assertEqual(self.leave(), f"account ann is {state.value}: left us")
        del self.accounts["ann"]
        self.assertEqual(self.leave(), "account ann is disabled: there is no such account any more")
        self.knows_all = False  # the login of a proxy, who knows more than we do
        self.assertEqual(self.leave(), "")

    def test_of_one_whose_brake_is_closed(self) -> None:
        brakes = self.make(messages_per_hour=1)
        self.send(brakes=brakes)
        self.send(brakes=brakes)
        self.assertIn("account ann is held: the brake closed", self.leave())

    def test_it_goes_when_the_account_is_active_again(self) -> None:
        self.accounts["ann"] = replace(ANN, state=State.DISABLED)
        self.leave()
        self.result(self.brakes.tick())
        self.assertEqual(self.released, [])
        self.accounts["ann"] = ANN
        other = self.make(1)
        self.result(other.tick())
        self.assertEqual(self.released, [])  # that is in the spool of the first
        self.result(self.brakes.tick())
        self.result(self.brakes.tick())
        self.assertEqual(self.released, ["ann"])

    def test_what_is_held_is_found_by_its_account_alone(self) -> None:
        self.assertEqual(selection("ann").reason, "account ann is ")
        self.assertNotIn(selection("ann").reason, "account joann is held: x")
        self.assertNotIn(selection("ann").reason, "account ann-marie is held: x")


class Notices(SynchronousTestCase):
    def test_for_the_owner_and_for_the_postmaster(self) -> None:
        told = Told("ann", "ann@ours.example", "the brake closed: 9 messages in an hour, and 8 are allowed", 0)
        postmaster = Address("postmaster", "ours.example")
        for to in (Address("ann", "ours.example"), postmaster):
            octets = notice(told, to, postmaster, "mail.ours.example", "1", 1_700_000_000_000)
            header = scan(octets)
            self.assertTrue(header.wellformed)
            self.assertEqual(header.get(b"auto-submitted"), b"auto-generated")
            self.assertEqual(header.get(b"to"), f"<{to}>".encode())
            self.assertTrue(octets.isascii())
            self.assertTrue(all(len(line) <= 78 for line in octets.split(b"\r\n")))
            self.assertIn(b"9 messages in an hour", octets)
            self.assertEqual(b"mta account release ann --drop" in octets, to == postmaster)

    def test_no_name_can_add_a_line(self) -> None:
        told = Told("ann\r\nBcc: x@y.example\r\n\r\n", "", "x\r\n.\r\ny\u202e\u00fc", 0)
        postmaster = Address("post\u00fc", "ours.example")
        octets = notice(told, postmaster, postmaster, "mail.ours.example", "1", 0)
        header = scan(octets)
        self.assertTrue(header.wellformed)
        self.assertEqual(header.count(b"bcc"), 0)
        self.assertNotIn(b"\r\n.\r\n", octets)
