"""How much may wait: in all, and of each sender."""

from __future__ import annotations

from typing import Any

from whole_queue import HOUR, LATER, OK, WholeQueue

from mta.address import Address
from mta.envelope import Envelope, Origin, Right
from mta.queue.volume import FULL, SYNC, TOO_MUCH
from mta.reply import Reply
from mta.spool.values import ChangeKind


class Volume(WholeQueue):
    def setUp(self) -> None:
        super().setUp()
        self.far.answer = lambda recipient: LATER

    def asked(self, client: str = "192.0.2.1", login: str = "", sender: str = "", network: bool = False) -> Envelope:
        return Envelope(
            origin=Origin(listener="mx", protocol="ESMTP", client=client, login=login),
            reverse_path=Address.parse(sender) if sender else None,
            arrived=self.now(),
            rights=frozenset({Right.NETWORK} if network else ()),
        )

    def take(self, *to: str, **about: Any) -> Reply | None:
        """One transaction: MAIL, then the message."""
        envelope = self.asked(**about)
        refused = self.manager.refuses(envelope)
        if refused is None:
            self.manager.accepted(envelope, len(to))
            self.send(
                *to,
                sender=None if envelope.reverse_path is None else str(envelope.reverse_path),
                origin=envelope.origin,
                rights=envelope.rights,
            )
        return refused

    def test_nothing_is_refused_without_a_limit(self) -> None:
        for number in range(50):
            self.assertIsNone(self.take(f"u{number}@b.example"))

    def test_the_whole_queue(self) -> None:
        self.manager.configure(self.setup(max_size=3))
        self.manager.volume.tick()
        self.assertEqual([self.take("x@b.example") for _ in range(4)], [None, None, None, FULL])
        self.assertEqual(FULL.wire[:9], b"452 4.3.1")
        self.far.answer = lambda recipient: OK
        self.pass_time(120)
        self.assertIsNone(self.take("x@b.example"))

    def test_what_waited_before_counts_and_what_an_operator_deletes_does_not(self) -> None:
        for number in range(5):
            self.send(f"u{number}@b.example")
        self.change(ChangeKind.HOLD)
        self.end()
        self.begin(max_size=5)
        self.assertEqual(self.take("x@b.example"), FULL)
        self.change(ChangeKind.DELETE)
        self.pass_time(SYNC + 60, 10)
        self.assertIsNone(self.take("x@b.example"))

    def test_one_sender_does_not_limit_another(self) -> None:
        self.manager.configure(self.setup(max_per_sender=4))
        two = ("x@b.example", "y@b.example")
        for who, other in (
            ({"login": "ann"}, {"login": "bob"}),
            ({"client": "192.0.2.1"}, {"client": "192.0.2.2"}),
            ({"client": "2001:db8:1:2::1"}, {"client": "2001:db8:1:3::1"}),
            ({"sender": "a@a.example", "network": True}, {"sender": "b@a.example", "network": True}),
        ):
            self.assertEqual([self.take(*two, **who) for _ in range(3)], [None, None, TOO_MUCH], who)
            self.assertIsNone(self.take(*two, **other), who)
        self.assertEqual(self.take(*two, client="2001:db8:1:2::2"), TOO_MUCH)
        self.assertEqual(TOO_MUCH.wire[:9], b"452 4.3.2")

    def test_what_has_left_makes_room(self) -> None:
        self.manager.configure(self.setup(max_per_sender=2))
        about = {"login": "ann"}
        self.assertEqual([self.take("x@b.example", **about) for _ in range(3)], [None, None, TOO_MUCH])
        self.far.answer = lambda recipient: OK
        self.pass_time(HOUR)
        self.assertIsNone(self.take("x@b.example", **about))
        self.pass_time(60)
        self.assertEqual(self.manager.volume._senders, {})

    def test_what_was_not_counted_is_not_taken_off(self) -> None:
        self.send("old@b.example")
        self.clock.advance(1)
        self.manager.configure(self.setup(max_per_sender=1))
        self.assertIsNone(self.take("x@c.example"))
        self.far.answer = lambda recipient: OK if recipient.address.local == "old" else LATER
        self.pass_time(120)
        self.assertEqual(self.take("x@c.example"), TOO_MUCH)
