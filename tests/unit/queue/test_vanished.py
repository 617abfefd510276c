"""A domain of ours that the configuration has no longer: its mail waits, and does not leave for who has it now."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from whole_queue import ANN, HOUR, LATER, OK, POSTMASTER, FarEnd, WholeQueue

from mta.address import Address
from mta.envelope import Destination, Envelope, Origin, Right
from mta.queue.manager import Setup
from mta.routing.recipients import Forward, lead
from mta.routing.router import Router
from mta.routing.rules import DomainRule, RouteRule, RoutingRules
from mta.spool.values import ChangeKind

BOX = "x@hosted.example"


class Hosted(WholeQueue):
    def setUp(self) -> None:
        super().setUp()
        self.inner = FarEnd(frozenset())
        self.inner.name = "inner"
        self.inner.answer = lambda recipient: LATER
        self.change_to(DomainRule(name="hosted.example", deliver="inner"))

    def change_to(
        self, *domains: DomainRule, services: tuple[str, ...] = ("internet", "inner"), routes: str = ""
    ) -> None:
        self.router = Router(
            RoutingRules(
                postmaster=POSTMASTER,
                services=frozenset(services),
                domains={rule.name: rule for rule in domains},
                routes=(RouteRule(name="all", to=(routes,), via="internet"),) if routes else (),
            )
        )
        known = {"internet": self.far, "inner": self.inner}
        self.manager.configure(
            Setup(
                router=self.router,
                answerer=self.answerer,
                services={name: known[name] for name in services},
                retry=self.retry,
                active=1000,
            )
        )

    def accept(self) -> None:
        led = lead(self.router, self.answerer, (Forward(Address.parse(BOX)),), {}, self.now())
        leads = self.successResultOf(Deferred.fromCoroutine(led))
        incoming = self.spool.begin(0)
        incoming.write(b"Subject: hello\r\n\r\nbody\r\n")
        incoming.add_recipients(leads.recipients)
        envelope = Envelope(
            origin=Origin(listener="mx", protocol="ESMTP", client="192.0.2.1"),
            reverse_path=Address.parse(ANN),
            arrived=self.now(),
            rights=frozenset({Right.NETWORK}),
        )
        incoming.seal(envelope, (), ())
        lease = self.successResultOf(self.spool.commit(incoming, self.manager.birth_claim(leads, envelope)))
        self.manager.take(lease, leads)
        self.pass_time(HOUR)
        self.assertEqual((self.inner.tried[:1], self.far.tried), ([BOX], []))

    def test_held_until_somebody_says_where_it_goes(self) -> None:
        for services in (("internet", "inner"), ("internet",)):
            for routes in ("", "*"):
                self.change_to(DomainRule(name="hosted.example", deliver="inner"))
                self.accept()
                self.change_to(services=services, routes=routes)
                self.pass_time(3 * HOUR)
                self.assertEqual(self.far.tried, [])
                (row,) = self.rows(held=True)
                self.assertIn("hosted.example is no longer in the configuration", row.recipient.hold)
                self.assertEqual(row.recipient.destination, Destination("inner", "hosted.example"))
                # The domain is back, and its mail is free.
                self.inner.answer = lambda recipient: OK
                self.change_to(DomainRule(name="hosted.example", deliver="inner"))
                self.change(ChangeKind.RELEASE)
                self.pass_time(3 * HOUR)
                self.assertEqual(self.rows(), [])
                self.inner.answer = lambda recipient: LATER
                self.inner.tried = []
        self.assert_accounted()

    def test_it_leaves_by_a_route_that_names_the_domain(self) -> None:
        self.accept()
        self.change_to(routes="hosted.example")
        self.pass_time(3 * HOUR)
        self.assertEqual(self.far.tried, [BOX])
