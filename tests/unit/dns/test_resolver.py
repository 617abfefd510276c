"""Cache, joining and time of the resolver, on a clock and with a scripted far side."""

from __future__ import annotations

from types import SimpleNamespace

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.dns.backend import Cancelled
from mta.dns.resolver import MAX_SOCKETS, Resolver
from mta.dns.stub import Raw
from mta.routing.values import Answer, Found


def a(*addresses: str, ttl: float = 300, authentic: bool = False) -> Raw:
    return Raw(Found.OK, tuple(SimpleNamespace(address=address) for address in addresses), ttl, authentic)


def txt(text: bytes, ttl: float = 300) -> Raw:
    return Raw(Found.OK, (SimpleNamespace(strings=(text,)),), ttl)


class ScriptedStub:
    """Answers when the test says so; a cancelled question is noted, as the real one raises ``Cancelled``."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.waiting: dict[tuple[str, str], Deferred[Raw]] = {}
        self.cancelled: list[tuple[str, str]] = []
        self.at_once: Raw | None = None

    async def ask(self, name: str, kind: str) -> Raw:
        self.asked.append((name, kind))
        if self.at_once is not None:
            return self.at_once
        waiting = self.waiting[name, kind] = Deferred()
        try:
            return await waiting
        except CancelledError as error:
            self.cancelled.append((name, kind))
            raise Cancelled from error

    def answer(self, name: str, kind: str, raw: Raw) -> None:
        self.waiting.pop((name, kind)).callback(raw)


class ResolverCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.stub = ScriptedStub()
        self.resolver = self.make()

    def make(self, **kwargs) -> Resolver:
        resolver = Resolver(self.clock, timeout=10, stub=self.stub, **kwargs)
        self.addCleanup(resolver.close)
        return resolver

    def txt(self, name: str, raw: Raw) -> Answer:
        asking = self.resolver.txt(name)
        self.stub.answer(name, "TXT", raw)
        return self.successResultOf(asking)


class Caching(ResolverCase):
    def test_kept_for_its_time_to_live(self) -> None:
        first = self.txt("a.example", txt(b"one", ttl=60))
        self.assertEqual((first.records, first.expires), ((b"one",), 60))
        self.clock.advance(59)
        self.assertIs(self.successResultOf(self.resolver.txt("A.example.")), first)
        self.clock.advance(1)
        self.assertEqual(self.txt("a.example", txt(b"two")).records, (b"two",))
        self.assertEqual(len(self.stub.asked), 2)

    def test_time_to_live_of_zero_is_asked_again(self) -> None:
        self.txt("a.example", txt(b"one", ttl=0))
        self.assertEqual(self.txt("a.example", txt(b"two")).records, (b"two",))

    def test_absence_is_kept_but_not_for_long(self) -> None:
        """RFC 2308 5: a bound on negative caching."""
        self.assertEqual(self.txt("a.example", Raw(Found.NO_DOMAIN, ttl=86400)).expires, 900)
        self.assertEqual(self.txt("b.example", Raw(Found.NO_DATA, ttl=30)).expires, 30)
        self.clock.advance(29)
        self.assertEqual(self.successResultOf(self.resolver.txt("b.example")).found, Found.NO_DATA)

    def test_records_are_kept_a_day_at_most(self) -> None:
        self.assertEqual(self.txt("a.example", txt(b"one", ttl=1e9)).expires, 86400)

    def test_time_to_live_with_its_top_bit_set_is_none(self) -> None:
        """RFC 2181 8."""
        self.assertEqual(self.txt("a.example", txt(b"one", ttl=2**31)).expires, 0)
        self.assertEqual(self.txt("b.example", txt(b"one", ttl=2**31 - 1)).expires, 86400)
        self.assertEqual(self.txt("c.example", Raw(Found.NO_DOMAIN, ttl=2**32 - 1)).expires, 0)

    def test_failures_are_kept_for_seconds(self) -> None:
        """RFC 2308 7."""
        self.assertEqual(self.txt("a.example", Raw(Found.FAILED, ttl=9999, error="dead")).error, "dead")
        self.clock.advance(4.9)
        self.assertEqual(self.successResultOf(self.resolver.txt("a.example")).found, Found.FAILED)
        self.clock.advance(0.2)
        self.assertEqual(self.txt("a.example", txt(b"back")).records, (b"back",))

    def test_bounded_by_count_the_unused_goes_first(self) -> None:
        self.resolver = self.make(cache_size=2)
        for name in ("a.example", "b.example"):
            self.txt(name, txt(b"x"))
        self.successResultOf(self.resolver.txt("a.example"))
        self.txt("c.example", txt(b"x"))
        self.successResultOf(self.resolver.txt("a.example"))
        self.assertNoResult(self.resolver.txt("b.example"))


class Joining(ResolverCase):
    def test_equal_questions_are_asked_once(self) -> None:
        first, second = self.resolver.txt("a.example"), self.resolver.txt("A.EXAMPLE")
        other = self.resolver.mx("a.example")
        self.assertEqual(self.stub.asked, [("a.example", "TXT"), ("a.example", "MX")])
        self.stub.answer("a.example", "TXT", txt(b"x"))
        self.assertIs(self.successResultOf(first), self.successResultOf(second))
        self.assertNoResult(other)

    def test_cancelling_one_leaves_the_others(self) -> None:
        first, second = self.resolver.txt("a.example"), self.resolver.txt("a.example")
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertEqual(self.stub.cancelled, [])
        self.stub.answer("a.example", "TXT", txt(b"x"))
        self.assertEqual(self.successResultOf(second).records, (b"x",))

    def test_cancelling_the_last_ends_the_work(self) -> None:
        for asking in (self.resolver.txt("a.example"), self.resolver.txt("a.example")):
            asking.cancel()
            self.failureResultOf(asking, CancelledError)
        self.assertEqual(self.stub.cancelled, [("a.example", "TXT")])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.txt("a.example", txt(b"anew")).records, (b"anew",))

    def test_cancelling_addresses_ends_both_questions(self) -> None:
        asking = self.resolver.addresses("a.example")
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.assertEqual(sorted(self.stub.cancelled), [("a.example", "A"), ("a.example", "AAAA")])

    def test_an_answer_may_ask_again_at_once(self) -> None:
        """A waiter that asks the same question while the answer is given out gets it from the cache."""
        again = []
        asking = self.resolver.txt("a.example")
        asking.addCallback(lambda answer: again.append(self.successResultOf(self.resolver.txt("a.example"))))
        self.stub.answer("a.example", "TXT", txt(b"x"))
        self.assertEqual(again[0].records, (b"x",))

    def test_no_more_questions_at_once_than_sockets(self) -> None:
        asking = [self.resolver.txt(f"n{number}.example") for number in range(MAX_SOCKETS + 2)]
        self.assertEqual(len(self.stub.asked), MAX_SOCKETS)
        asking[-1].cancel()
        self.failureResultOf(asking[-1], CancelledError)
        self.stub.answer("n0.example", "TXT", txt(b"x"))
        self.assertEqual(self.stub.asked[-1], (f"n{MAX_SOCKETS}.example", "TXT"))


class Time(ResolverCase):
    def test_every_answer_comes_in_time(self) -> None:
        asking = self.resolver.addresses("a.example")
        self.clock.advance(9.9)
        self.assertNoResult(asking)
        self.clock.advance(0.1)
        answer = self.successResultOf(asking)
        self.assertEqual(answer.found, Found.FAILED)
        self.assertEqual(answer.error, "no DNS server answered within 10 s")
        self.assertEqual(len(self.stub.cancelled), 2)

    def test_closed(self) -> None:
        asking = self.resolver.txt("a.example")
        self.resolver.close()
        self.assertEqual(self.successResultOf(asking).error, "the resolver was closed")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.successResultOf(self.resolver.txt("b.example")).found, Found.FAILED)

    def test_unforeseen_trouble_is_a_failure_and_logged(self) -> None:
        asking = self.resolver.txt("a.example")
        self.stub.waiting["a.example", "TXT"].errback(ZeroDivisionError("what"))
        self.assertEqual(self.successResultOf(asking).error, "ZeroDivisionError: what")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_an_answer_without_waiting(self) -> None:
        self.stub.at_once = txt(b"x")
        self.assertEqual(self.successResultOf(self.resolver.txt("a.example")).records, (b"x",))
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Addresses(ResolverCase):
    def ask(self, six: Raw, four: Raw) -> Answer:
        asking = self.resolver.addresses("a.example")
        self.stub.answer("a.example", "A", four)
        self.assertNoResult(asking)
        self.stub.answer("a.example", "AAAA", six)
        return self.successResultOf(asking)

    def test_both_families_ipv6_first_and_the_shorter_life(self) -> None:
        answer = self.ask(a("2001:db8::1", ttl=50, authentic=True), a("192.0.2.1", ttl=40, authentic=True))
        self.assertEqual(answer.records, ("2001:db8::1", "192.0.2.1"))
        self.assertEqual((answer.expires, answer.authentic), (40, True))

    def test_one_family(self) -> None:
        answer = self.ask(Raw(Found.NO_DATA, ttl=30), a("192.0.2.1", authentic=True))
        self.assertEqual((answer.records, answer.authentic), (("192.0.2.1",), False))

    def test_one_failed_and_the_other_is_there(self) -> None:
        answer = self.ask(Raw(Found.FAILED, error="SERVFAIL"), a("192.0.2.1", ttl=9999))
        self.assertEqual((answer.found, answer.records), (Found.OK, ("192.0.2.1",)))
        self.assertEqual(answer.expires, 60, "the other family is tried again before long")

    def test_one_failed_and_the_other_is_not_there(self) -> None:
        for absent in (Found.NO_DATA, Found.NO_DOMAIN):
            answer = self.ask(Raw(absent), Raw(Found.FAILED, error="SERVFAIL"))
            self.assertEqual((answer.found, answer.error), (Found.FAILED, "SERVFAIL"))
            self.clock.advance(10)

    def test_absent(self) -> None:
        self.assertEqual(self.ask(Raw(Found.NO_DOMAIN), Raw(Found.NO_DOMAIN)).found, Found.NO_DOMAIN)
        self.assertEqual(self.ask(Raw(Found.NO_DATA), Raw(Found.NO_DATA)).found, Found.NO_DATA)

    def test_broken_server_that_denies_the_name_for_one_type(self) -> None:
        self.assertEqual(self.ask(Raw(Found.NO_DOMAIN), Raw(Found.NO_DATA)).found, Found.NO_DATA)


class NeverAsked(ResolverCase):
    def test_localhost(self) -> None:
        """RFC 6761 6.3."""
        for name in ("localhost", "LOCALHOST.", "a.localhost"):
            answer = self.successResultOf(self.resolver.addresses(name))
            self.assertEqual(answer.records, ("::1", "127.0.0.1"))
            self.assertEqual(self.successResultOf(self.resolver.mx(name)).found, Found.NO_DATA)

    def test_invalid(self) -> None:
        """RFC 6761 6.4."""
        self.assertEqual(self.successResultOf(self.resolver.mx("a.invalid")).found, Found.NO_DOMAIN)
        self.assertEqual(self.successResultOf(self.resolver.mx("")).found, Found.NO_DOMAIN)

    def test_literals(self) -> None:
        for text, address in (
            ("192.0.2.1", "192.0.2.1"),
            ("[192.0.2.1]", "192.0.2.1"),
            ("2001:DB8::1", "2001:db8::1"),
            ("[IPv6:2001:db8::1]", "2001:db8::1"),
        ):
            self.assertEqual(self.successResultOf(self.resolver.addresses(text)).records, (address,))
            self.assertEqual(self.successResultOf(self.resolver.mx(text)).found, Found.NO_DATA)

    def test_a_name_like_a_number_is_asked(self) -> None:
        self.assertNoResult(self.resolver.addresses("mx.example1"))

    def tearDown(self) -> None:
        self.assertFalse([name for name, _ in self.stub.asked if name != "mx.example1"])
