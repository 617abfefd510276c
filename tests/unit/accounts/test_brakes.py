"""Brakes against guessing."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.accounts.brakes import ACCOUNT, ADDRESS, MOST, NETWORK, BrakeRules, Brakes, Key, network_of


class Guessing(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 0.0
        self.count = 0
        self.brakes = Brakes(BrakeRules(account=4, address=6, network=8, half_life=100))

    def fail(self, name: str = "bob", client: str = "192.0.2.7", secret: bytes = b"") -> Key | None:
        """One more guess; the brake that stopped it."""
        closed = self.brakes.closed(name, client, self.now)
        if closed is None:
            self.count += 1
            secret = secret or b"%d" % self.count
            begun = self.brakes.begin(name, client, secret, self.now)
            self.brakes.failed(begun, name, secret)
        return closed

    def succeed(self, name: str = "bob", client: str = "192.0.2.7") -> Key | None:
        closed = self.brakes.closed(name, client, self.now)
        if closed is None:
            self.brakes.forgive(self.brakes.begin(name, client, b"right", self.now))
            self.brakes.succeeded(name, client, self.now)
        return closed

    def test_an_account_from_all_over_the_world(self) -> None:
        stopped = [self.fail(client=f"{n}.0.2.7") for n in range(1, 6)]
        self.assertEqual(stopped, [None] * 4 + [Key(ACCOUNT, "bob")])
        self.assertIsNone(self.fail("ann", "9.0.2.7"))

    def test_an_address_at_all_accounts(self) -> None:
        stopped = [self.fail(f"user{n}") for n in range(7)]
        self.assertEqual(stopped, [None] * 6 + [Key(ADDRESS, "192.0.2.7")])
        self.assertIsNone(self.fail("bob", "192.0.2.8"))

    def test_a_network(self) -> None:
        for version in ("192.0.2.{}", "2001:db8:1:{}::1"):
            stopped = [self.fail(f"user{n}", version.format(n)) for n in range(1, 10)]
            self.assertEqual(stopped[:8], [None] * 8)
            self.assertEqual(stopped[8], Key(NETWORK, network_of(version.format(1))))

    def test_all_of_a_64_is_one_address(self) -> None:
        stopped = [self.fail(f"user{n}", f"2001:db8::{n}") for n in range(1, 8)]
        self.assertEqual(stopped[6], Key(ADDRESS, "2001:db8::/64"))

    def test_it_opens_when_half_has_faded(self) -> None:
        for _ in range(4):
            self.fail()
        (one,) = [one for one in self.brakes.counted(self.now) if one.key.kind == ACCOUNT]
        self.assertEqual((one.failures, one.seconds), (4.0, 100.0))
        self.now = 99
        self.assertEqual(self.fail(), Key(ACCOUNT, "bob"))
        self.now = 101
        self.assertIsNone(self.fail())

    def test_the_right_password_is_never_one_too_many(self) -> None:
        for _ in range(3):
            self.fail()
        for _ in range(10):
            self.assertIsNone(self.succeed())

    def test_many_at_once_are_no_way_around(self) -> None:
        begun = [self.brakes.begin("bob", f"{n}.0.2.7", b"x%d" % n, self.now) for n in range(4)]
        self.assertEqual(self.brakes.closed("bob", "9.0.2.7", self.now), Key(ACCOUNT, "bob"))
        for one in begun:
            self.brakes.forgive(one)
        self.assertIsNone(self.brakes.closed("bob", "9.0.2.7", self.now))

    def test_the_same_wrong_password_tells_nobody_anything(self) -> None:
        for _ in range(20):
            self.assertIsNone(self.fail(secret=b"the old one"))

    def test_a_stranger_does_not_lock_out_the_owner(self) -> None:
        self.succeed(client="198.51.100.1")
        for n in range(1, 6):
            self.fail(client=f"{n}.0.2.7")
        self.assertEqual(self.fail(client="9.0.2.7"), Key(ACCOUNT, "bob"))
        self.assertIsNone(self.succeed(client="198.51.100.200"))  # the same network
        for _ in range(4):
            self.assertIsNone(self.fail(client="198.51.100.1"))
        self.assertEqual(self.fail(client="198.51.100.1"), Key(ACCOUNT, "bob", "198.51.100.0/24"))

    def test_lifting(self) -> None:
        for _ in range(6):
            self.fail()
        self.assertEqual(self.fail(), Key(ACCOUNT, "bob"))
        self.assertEqual(self.brakes.lift("bob"), 1)
        self.assertIsNone(self.fail())
        self.assertEqual(self.brakes.lift("192.0.2.7"), 2)  # the address and its network
        self.assertEqual(self.brakes.lift("nobody"), 0)
        self.assertEqual(self.brakes.lift(""), 1)
        self.assertEqual(list(self.brakes.counted(self.now)), [])

    def test_without_limits_nothing_closes(self) -> None:
        self.brakes.rules = BrakeRules(0, 0, 0, 100)
        self.assertEqual([self.fail() for _ in range(100)], [None] * 100)

    def test_what_is_counted_is_bounded(self) -> None:
        self.brakes.rules = BrakeRules(4, 0, 0, 100)
        for n in range(MOST + 10):
            self.fail(f"user{n}", "")
        self.assertEqual(len(list(self.brakes.counted(self.now))), MOST)

    def test_a_client_without_an_address_and_without_a_name(self) -> None:
        for _ in range(20):
            self.assertIsNone(self.fail("", ""))
