"""The service ``smtp`` where the configuration limits connections and messages to hosts, with the queue's gates."""

from __future__ import annotations

from typing import Any

from smtp_harness import ServiceCase
from twisted.internet.defer import Deferred

from mta.delivery.values import Batch, Paced
from mta.queue.pace import Gate, Pace, PaceRule
from mta.queue.passage import Passage
from mta.queue.schedule import Job, Schedule
from mta.spool.values import Lease

ZONE = """
b.example MX 10 mx1.b.example
c.example MX 10 mx1.b.example
dual.example MX 10 dual.example
mx1.b.example A 192.0.2.1
dual.example A 192.0.2.9
dual.example AAAA 2001:db8::9
"""


class Paces(ServiceCase):
    def begin(self, *rules: PaceRule, **options: Any) -> None:
        self.schedule = Schedule(lambda route: 10, Pace(rules))
        self.stirred: list[Gate] = []
        self.resolver = type(self.resolver)(ZONE)
        self.service = self.make(**options)

    def send(self, hop: str = "b.example", *recipients: str) -> tuple[Batch, Deferred[None]]:
        batch = self.batch(*recipients, hop=hop)
        lease = Lease(0, batch.message, batch.recipients, 0)
        self.schedule.add(Job(lease, batch.route))
        start = self.schedule.next(0)
        assert start is not None
        batch.passage = Passage(self.schedule, start, self.reactor.seconds, self.stirred.append)
        return batch, self.deliver(batch)

    def paced(self, done: Deferred[None]) -> Gate:
        failure: Any = self.failureResultOf(done, Paced).value
        gate: Gate = failure.gate
        return gate

    def test_domains_at_one_provider_share_its_connections(self) -> None:
        self.begin(PaceRule(name="provider", hosts=("*.b.example",), shared=True, connections=1))
        self.send("b.example")
        batch, done = self.send("c.example")
        gate = self.paced(done)
        self.assertEqual((gate.name, gate.active, self.opened), ("provider", 1, 1))
        self.assertEqual(batch.outcomes, [])
        self.assertEqual(len(batch.pending), 1)

    def test_a_place_is_free_when_the_connection_is_gone(self) -> None:
        self.begin(PaceRule(name="provider", hosts=("*",), shared=True, connections=1), idle=0.0)
        self.send("b.example")
        far = self.far().greet()
        far.take()
        (gate,) = self.schedule.pace.for_host("mx1.b.example", "")
        self.assertEqual(gate.active, 1)
        far.say(b"221 bye\r\n")
        far.close()
        self.assertEqual(gate.active, 0)
        self.assertIn(gate, self.stirred)

    def test_a_place_is_free_when_no_connection_came_about(self) -> None:
        self.begin(PaceRule(name="provider", hosts=("*",), shared=True, connections=1))
        self.send("b.example")
        self.far().refuse()
        (gate,) = self.schedule.pace.for_host("mx1.b.example", "")
        self.assertEqual(gate.active, 0)

    def test_a_place_is_free_when_it_was_cancelled(self) -> None:
        self.begin(PaceRule(name="provider", hosts=("*",), shared=True, connections=1))
        _, done = self.send("b.example")
        done.addErrback(lambda failure: None)
        done.cancel()
        (gate,) = self.schedule.pace.for_host("mx1.b.example", "")
        self.assertEqual(gate.active, 0)

    def test_an_idle_connection_gives_way(self) -> None:
        self.begin(PaceRule(name="provider", hosts=("*",), shared=True, connections=1), idle=60.0)
        self.send("b.example")
        first = self.far().greet()
        first.take()
        first.heard()
        (gate,) = self.schedule.pace.for_host("mx1.b.example", "")
        self.assertEqual((gate.active, len(gate.idle)), (1, 1))
        self.send("c.example")
        self.assertEqual(first.heard(), b"QUIT\r\n")
        self.assertEqual((self.opened, gate.active, len(gate.idle)), (2, 1, 0))
        first.close()
        self.assertEqual(gate.active, 1)

    def test_a_kept_connection_is_used_again_and_counts_once(self) -> None:
        self.begin(PaceRule(name="provider", hosts=("*",), shared=True, connections=1), idle=60.0)
        self.send("b.example")
        far = self.far().greet()
        far.take()
        batch, _ = self.send("b.example")
        far.take()
        self.assertEqual((self.opened, batch.pending), (1, ()))

    def test_messages_on_a_connection(self) -> None:
        self.begin(PaceRule(name="few", to=("b.example",), messages_per_connection=2), idle=60.0)
        for opened in (1, 1, 2):
            self.send("b.example")
            self.assertEqual(self.opened, opened)
            far = self.far()
            if opened > 1 or not hasattr(self, "begun"):
                far.greet().take()
                self.begun = far
            else:
                self.begun.take()

    def test_messages_a_minute_are_counted_on_kept_connections_too(self) -> None:
        self.begin(PaceRule(name="slow", hosts=("*",), shared=True, messages_per_minute=6), idle=60.0)
        self.send("b.example")
        far = self.far().greet()
        far.take()
        batch, done = self.send("b.example")
        gate = self.paced(done)
        self.assertEqual(len(batch.pending), 1)
        self.wait(10)
        self.assertEqual(gate.wait(self.reactor.seconds()), 0)
        batch, _ = self.send("b.example")
        far.take()
        self.assertEqual(batch.pending, ())

    def test_both_addresses_of_a_host_count(self) -> None:
        self.begin(PaceRule(name="one", hosts=("dual.example",), connections=1))
        self.send("dual.example")
        self.wait(2)
        self.assertEqual([self.far(n).address for n in range(self.opened)], ["2001:db8::9"])
        self.far().refuse()
        self.assertEqual(self.far().address, "192.0.2.9")
        (gate,) = self.schedule.pace.for_host("dual.example", "")
        self.assertEqual(gate.active, 1)

    def test_another_source_is_taken_when_one_has_enough(self) -> None:
        sources = ("192.0.2.25", "192.0.2.26")
        self.begin(PaceRule(name="ours", source=sources, connections=1), source=sources)
        self.send("b.example")
        self.send("c.example")
        self.assertEqual(sorted(self.far(n).source[0] for n in range(2)), list(sources))
        _, done = self.send("b.example")
        self.assertEqual(self.paced(done).name, "ours")

    def test_without_such_rules_nobody_is_asked(self) -> None:
        self.begin(PaceRule(name="each", to=("*",), connections=1))
        self.assertFalse(self.schedule.pace.at_connect)
