"""Which hosts mail for a domain goes to, and what a sender is told where there are none."""

from __future__ import annotations

import random
from ipaddress import ip_network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.dns.fake import FakeResolver
from mta.routing.ask import Answerer, resolve
from mta.routing.mx import MxPolicy, Own, Plan, Target, plan
from mta.routing.networks import plain_ip, refusal
from mta.routing.own import is_own
from mta.routing.values import AddressQuestion, Answer, CannotKnow, Found, MxQuestion, MxRecord, Needs

OWN = Own(names=frozenset({"mail.example.net"}), addresses=frozenset({"192.0.2.99", "2001:db8::99"}))


def keep(items: list[Any]) -> None:
    """A shuffle that leaves them as they are."""


def planned(domain: str, zone: str, own: Own = OWN, shuffle: Any = keep, **policy: Any) -> Plan:
    answerer = Answerer({}, FakeResolver(zone))
    result = resolve(lambda facts: plan(domain, own, MxPolicy(**policy), facts, shuffle), {}, answerer)
    assert isinstance(result, Plan), result
    return result


class MxCase(SynchronousTestCase):
    def hosts(self, made: Plan) -> list[str]:
        self.assertIsNone(made.failure)
        return [host.name for host in made.hosts]

    def refused(self, made: Plan, code: int, enhanced: str) -> None:
        self.assertEqual(made.hosts, ())
        assert made.failure is not None
        self.assertEqual((made.failure.code, made.failure.enhanced), (code, enhanced))

    def why(self, made: Plan) -> str:
        return "\n".join(str(reason) for reason in made.reasons)


class Order(MxCase):
    ZONE = """
    y.example     MX 20 mx2.y.example
    y.example     MX 10 MX1.y.example
    y.example     MX 10 mx0.y.example
    mx0.y.example A 192.0.2.10
    mx1.y.example A 192.0.2.11
    mx1.y.example AAAA 2001:db8::11
    mx2.y.example A 192.0.2.12
    """

    def test_by_preference_and_ipv6_first(self) -> None:
        """RFC 5321 5.1."""
        made = planned("y.example", self.ZONE)
        self.assertEqual(
            list(made.targets),
            [
                Target("mx0.y.example", "192.0.2.10", 25),
                Target("mx1.y.example", "2001:db8::11", 25),
                Target("mx1.y.example", "192.0.2.11", 25),
                Target("mx2.y.example", "192.0.2.12", 25),
            ],
        )
        self.assertIn("MX of y.example: mx0.y.example (10) [192.0.2.10]", self.why(made))

    def test_at_random_among_equals(self) -> None:
        """RFC 5321 5.1: the sender MUST spread the load over hosts of the same preference."""
        orders = {
            tuple(self.hosts(planned("y.example", self.ZONE, shuffle=random.Random(seed).shuffle)))
            for seed in range(20)
        }
        self.assertEqual(
            orders,
            {
                ("mx0.y.example", "mx1.y.example", "mx2.y.example"),
                ("mx1.y.example", "mx0.y.example", "mx2.y.example"),
            },
        )

    def test_a_host_twice_counts_once_at_its_best(self) -> None:
        zone = "y.example MX 5 a.example\ny.example MX 50 A.example.\na.example A 192.0.2.1"
        made = planned("y.example", zone)
        self.assertEqual([(host.name, host.preference) for host in made.hosts], [("a.example", 5)])

    def test_implicit_mx(self) -> None:
        """RFC 5321 5.1: no MX at all: the domain itself, preference 0."""
        made = planned("y.example", "y.example A 192.0.2.1")
        self.assertEqual(list(made.targets), [("y.example", "192.0.2.1", 25)])

    def test_no_implicit_mx_beside_an_mx(self) -> None:
        """RFC 5321 5.1: MX records that cannot be used are an error; the A record is not a way out."""
        made = planned("y.example", "y.example MX 10 gone.example\ny.example A 192.0.2.1")
        self.refused(made, 550, "5.4.4")

    def test_authentic(self) -> None:
        dns = FakeResolver(self.ZONE)
        dns.authentic = {"y.example", "mx1.y.example"}
        made = resolve(lambda f: plan("y.example", OWN, MxPolicy(), f, keep), {}, Answerer({}, dns))
        self.assertTrue(made.authentic)
        self.assertEqual([host.authentic for host in made.hosts], [False, True, False])


class Failures(MxCase):
    def test_null_mx(self) -> None:
        """RFC 7505 3, 4.2."""
        self.refused(planned("y.example", "y.example MX 0 .\ny.example A 192.0.2.1"), 556, "5.1.10")

    def test_null_mx_beside_others_is_no_host(self) -> None:
        zone = "y.example MX 0 .\ny.example MX 10 a.example\na.example A 192.0.2.1"
        self.assertEqual(self.hosts(planned("y.example", zone)), ["a.example"])

    def test_absent(self) -> None:
        self.refused(planned("y.example", ""), 550, "5.1.2")
        self.refused(planned("y.example", "y.example TXT x"), 550, "5.1.2")

    def test_dns_out_of_order_is_temporary(self) -> None:
        for failure in ("servfail", "timeout"):
            self.refused(planned("y.example", f"y.example {failure}"), 451, "4.4.3")
            self.refused(planned("y.example", f"y.example {failure} A\ny.example TXT x"), 451, "4.4.3")
            zone = f"y.example MX 10 a.example\ny.example MX 20 b.example\na.example {failure}"
            made = planned("y.example", zone)
            self.refused(made, 451, "4.4.3")
            self.assertIn("b.example left out: the name does not exist", self.why(made))

    def test_one_host_that_cannot_be_looked_up_does_not_stop_the_other(self) -> None:
        zone = "y.example MX 10 a.example\ny.example MX 20 b.example\na.example servfail\nb.example A 192.0.2.2"
        self.assertEqual(self.hosts(planned("y.example", zone)), ["b.example"])

    def test_a_question_that_has_no_answer(self) -> None:
        facts = {MxQuestion("y.example"): CannotKnow("broken")}
        made = plan("y.example", OWN, MxPolicy(), facts, keep)
        self.assertIsInstance(made, Plan)
        self.refused(made, 451, "4.4.3")

    def test_records_that_hold_no_host_name(self) -> None:
        """RFC 5321 5.1: the field MUST hold a domain name; an address there would not be one."""
        made = planned("y.example", "y.example MX 10 192.0.2.1\ny.example MX 10 a,b.example")
        self.refused(made, 550, "5.4.4")
        self.assertIn("192.0.2.1 left out: it is not a host name", self.why(made))


class Ourselves(MxCase):
    ZONE = """
    y.example  MX 10 a.example
    y.example  MX 20 {second}
    y.example  MX 20 c.example
    y.example  MX 30 d.example
    a.example  A 192.0.2.1
    b.example  A 192.0.2.99
    c.example  A 192.0.2.3
    d.example  A 192.0.2.4
    """

    def test_never_a_host_no_nearer_than_we_are(self) -> None:
        """RFC 5321 5.1: the relay discards its own and every worse preference."""
        for second in ("mail.example.net", "MAIL.example.net.", "b.example"):
            made = planned("y.example", self.ZONE.format(second=second))
            self.assertEqual(self.hosts(made), ["a.example"])
            self.assertIn("c.example left out", self.why(made))

    def test_nothing_nearer_is_a_loop(self) -> None:
        for zone in (
            "y.example MX 10 mail.example.net\ny.example MX 10 a.example\na.example A 192.0.2.1",
            "y.example MX 10 a.example\na.example A 192.0.2.99",
            "y.example MX 10 a.example\na.example AAAA 2001:DB8:0::99",
            "y.example A 192.0.2.99",
        ):
            self.refused(planned("y.example", zone), 554, "5.4.6")
        self.refused(planned("mail.example.net", "mail.example.net A 192.0.2.1"), 554, "5.4.6")
        self.refused(planned("[192.0.2.99]", ""), 554, "5.4.6")

    def test_we_are_the_backup_and_the_nearer_host_is_in_trouble(self) -> None:
        zone = "y.example MX 10 a.example\ny.example MX 20 mail.example.net\n"
        self.refused(planned("y.example", zone + "a.example servfail"), 451, "4.4.3")
        self.refused(planned("y.example", zone), 550, "5.4.4")


class Networks(MxCase):
    # RFC 6890; inside IPv6 ones RFC 4291 2.5.5.1, RFC 6052, RFC 8215, RFC 3056; RFC 3879, RFC 6666
    REFUSED = (
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1",
        "0.0.0.0", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "fd12::1", "ff02::1", "fec0::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::1",
        "2002:7f00:1::", "2002:a00:1::1", "::127.0.0.1", "100::1",
    )  # fmt: skip
    TAKEN = ("192.0.2.1", "8.8.8.8", "172.32.0.1", "2001:db8::1", "64:ff9b::808:808", "2002:808:808::1")

    def test_what_is_not_of_the_public_internet_is_refused(self) -> None:
        for address in self.REFUSED:
            self.assertTrue(refusal(plain_ip(address), ()), address)
            kind = "AAAA" if ":" in address else "A"
            made = planned("y.example", f"y.example MX 10 a.example\na.example {kind} {address}")
            self.refused(made, 550, "5.4.4")
            self.assertIn(f"a.example[{address}] left out", self.why(made))
            literal = f"[IPv6:{address}]" if ":" in address else f"[{address}]"
            self.refused(planned(literal, ""), 550, "5.4.4")
        for address in self.TAKEN:
            self.assertEqual(refusal(plain_ip(address), ()), "", address)

    def test_listed_networks_are_allowed(self) -> None:
        allow = (ip_network("127.0.0.0/8"), ip_network("fd00::/8"))
        for address in ("127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1", "fd12::1"):
            self.assertEqual(refusal(plain_ip(address), allow), "", address)
        self.assertTrue(refusal(plain_ip("10.0.0.1"), allow))
        made = planned("localhost", "", allow=(ip_network("127.0.0.0/8"),))
        self.assertEqual(list(made.targets), [("localhost", "127.0.0.1", 25)])

    def test_only_the_wrong_addresses_of_a_host_are_dropped(self) -> None:
        zone = "y.example MX 10 a.example\na.example A 10.0.0.1\na.example A 192.0.2.1"
        self.assertEqual([t.address for t in planned("y.example", zone).targets], ["192.0.2.1"])

    def test_a_mapped_address_is_the_plain_one(self) -> None:
        zone = "y.example AAAA ::ffff:192.0.2.1\ny.example A 192.0.2.1"
        self.assertEqual([t.address for t in planned("y.example", zone).targets], ["192.0.2.1"])

    def test_domain_literals(self) -> None:
        """RFC 5321 4.1.3."""
        made = planned("[IPv6:2001:db8::1]", "")
        self.assertEqual(list(made.targets), [("[IPv6:2001:db8::1]", "2001:db8::1", 25)])


class SmartHosts(MxCase):
    def test_addresses_only_and_on_any_network(self) -> None:
        zone = "y.example MX 10 mx.example\nsmart.example MX 10 mx.example\nsmart.example A 10.0.0.5"
        made = planned("y.example", zone, host="smart.example", port=2626)
        self.assertEqual(list(made.targets), [("smart.example", "10.0.0.5", 2626)])

    def test_literals(self) -> None:
        for host, address in (("[192.0.2.1]", "192.0.2.1"), ("127.0.0.1", "127.0.0.1"), ("[IPv6:::1]", "::1")):
            made = planned("y.example", "", host=host)
            self.assertEqual([target.address for target in made.targets], [address])

    def test_never_bounces(self) -> None:
        """A mistake in the configuration waits until it is mended."""
        for zone in ("", "smart.example TXT x", "smart.example servfail"):
            made = planned("y.example", zone, host="smart.example")
            self.refused(made, 451, "4.4.3")
            self.assertIn("smart host smart.example", self.why(made))


class Caps(MxCase):
    def test_a_hundred_hosts_with_a_hundred_addresses(self) -> None:
        lines = [f"y.example MX {n} mx{n:03}.example" for n in range(100)]
        lines += [f"mx{n:03}.example A 198.51.100.{k}" for n in range(100) for k in range(1, 101)]
        dns = FakeResolver("\n".join(lines))
        made = resolve(lambda f: plan("y.example", OWN, MxPolicy(), f, keep), {}, Answerer({}, dns))
        self.assertEqual(len(list(made.targets)), 50)
        self.assertEqual(sum(1 for method, _ in dns.questions if method == "addresses"), 20)
        self.assertIn("over 20 hosts", self.why(made))
        self.assertIn("over 50 addresses", self.why(made))

    def test_hosts_up_to_the_cap(self) -> None:
        lines = [f"y.example MX 10 mx{n:03}.example\nmx{n:03}.example A 198.51.100.{n}" for n in range(1, 101)]
        self.assertEqual(len(planned("y.example", "\n".join(lines)).hosts), 20)


NAMES = [f"h{n}.example" for n in range(30)] + ["mail.example.net", "192.0.2.1", ".", "a..b"]
ADDRESSES = ["192.0.2.99", "2001:db8::99", "127.0.0.1", "10.0.0.1", "junk"] + [f"198.51.100.{n}" for n in range(9)]


@st.composite
def answers(draw: st.DrawFn, records: st.SearchStrategy[Any]) -> Any:
    found = draw(st.sampled_from([Found.OK, Found.OK, Found.OK, Found.NO_DATA, Found.NO_DOMAIN, Found.FAILED]))
    if draw(st.integers(0, 20)) == 0:
        return CannotKnow("broken")
    return Answer(found=found, records=tuple(draw(records)) if found is Found.OK else ())


MX = answers(st.lists(st.builds(MxRecord, st.integers(0, 5), st.sampled_from(NAMES)), max_size=40))
HOST = answers(st.lists(st.sampled_from(ADDRESSES), max_size=9))


class AnyFacts(SynchronousTestCase):
    @given(MX, st.dictionaries(st.sampled_from([*NAMES, "y.example"]), HOST), st.randoms())
    def test_never_towards_ourselves_always_within_the_caps(self, mx: Any, hosts: Any, chance: Any) -> None:
        facts: dict[Any, Any] = {}
        for _ in range(5):
            result = plan("y.example", OWN, MxPolicy(), facts, chance.shuffle)
            if isinstance(result, Plan):
                break
            self.assertIsInstance(result, Needs)
            for question in result.questions:
                self.assertNotIn(question, facts, "asked again")
                absent = Answer(found=Found.NO_DOMAIN)
                name = question.host if isinstance(question, AddressQuestion) else ""
                facts[question] = mx if isinstance(question, MxQuestion) else hosts.get(name, absent)
        self.assertIsInstance(result, Plan)
        self.assertNotEqual(bool(result.hosts), result.failure is not None)
        targets = list(result.targets)
        self.assertLessEqual(len(result.hosts), 20)
        self.assertLessEqual(len(targets), 50)
        preferences = [host.preference for host in result.hosts]
        self.assertEqual(preferences, sorted(preferences))
        self.assertFalse({target.address for target in targets} & {*OWN.addresses, "127.0.0.1", "10.0.0.1", "junk"})
        for preference, name in getattr(mx, "records", ()):
            known = facts.get(AddressQuestion(name))
            ours = name in OWN.names or OWN.addresses & set(getattr(known, "records", ()))
            if ours:
                self.assertTrue(all(host.preference < preference for host in result.hosts))


class OwnAddresses(SynchronousTestCase):
    """RFC 5321 5.1: neither we, nor a host of our preference or a worse one, however we are recognised."""

    ZONE = """
b.example MX 10 first.b.example
b.example MX 20 other-name.b.example
b.example MX 20 equal.b.example
b.example MX 30 worse.b.example
first.b.example A 192.0.2.1
other-name.b.example A 203.0.113.7
equal.b.example A 192.0.2.2
worse.b.example A 192.0.2.3
only.example A 203.0.113.7
"""

    def hosts(self, domain: str, own: Own) -> list[str]:
        return [host.name for host in planned(domain, self.ZONE, own).hosts]

    def test_by_an_address_that_the_system_knows(self) -> None:
        for own in (
            Own(is_own="203.0.113.7".__eq__),
            Own(addresses=frozenset({"203.0.113.7"})),
            Own(names=frozenset({"other-name.b.example"})),
        ):
            self.assertEqual(self.hosts("b.example", own), ["first.b.example"])
        self.assertEqual(len(self.hosts("b.example", Own())), 4)

    def test_where_there_is_no_mx_and_in_a_literal(self) -> None:
        own = Own(is_own="203.0.113.7".__eq__)
        for domain in ("only.example", "[203.0.113.7]"):
            found = planned(domain, self.ZONE, own)
            self.assertEqual((found.hosts, str(found.failure)[:9]), ((), "554 5.4.6"))


class Interfaces(SynchronousTestCase):
    def test_what_the_system_says(self) -> None:
        self.assertTrue(is_own("127.0.0.1"))
        for other in ("203.0.113.7", "2001:db8::7", "no address", ""):
            self.assertFalse(is_own(other), other)
