"""Several spools read as one."""

from __future__ import annotations

import os

from click.testing import CliRunner
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.admin.main import main
from mta.admin.offline import now_there
from mta.envelope import Destination, Envelope, Origin, Recipient
from mta.spool.lanes import Inline
from mta.spool.sqlite import SqliteSpool
from mta.spool.values import PageKey, Selection, Totals, id_number, worker_of
from mta.workers.spools import Spools, joined, left_over, numbers

NOW = 1_700_000_000_000
BOB = Address("bob", "b.example")
WAY = Destination("internet", "b.example")


class Reactor:
    callLater = Clock().callLater

    def callFromThread(self, call: object, *args: object) -> None:
        assert callable(call)
        call(*args)


class Joined(SynchronousTestCase):
    def setUp(self) -> None:
        self.state = os.path.abspath(self.mktemp())
        os.makedirs(self.state, 0o700)
        self.now = NOW
        self.ids = [self.put(worker) for worker in (0, 1, 1, 0)]

    def put(self, worker: int) -> str:
        spool = SqliteSpool(
            self.state, reactor=Reactor(), now=lambda: self.now, worker=worker, lanes=Inline(), lock=False,
            reserve_bytes=0, reserve_inodes=0,
        )  # fmt: skip
        self.now += 1
        spool.open()
        incoming = spool.begin(10)
        incoming.write(b"Subject: x\r\n\r\n")
        recipient = Recipient(id=0, address=BOB, original=BOB, destination=WAY, due=self.now)
        self.assertIsNone(incoming.add_recipients([recipient]))  # few: nothing to wait for
        origin = Origin(listener="mx", protocol="ESMTP")
        envelope = Envelope(origin=origin, reverse_path=Address("ann", "a.example"), arrived=self.now)
        self.assertIsNone(incoming.seal(envelope, (), ()))
        now_there(spool.commit(incoming, None))
        now_there(spool.close())
        return incoming.id

    def test_pages_are_in_the_order_of_ids(self) -> None:
        with Spools(self.state) as spools:
            self.assertEqual([row.id for row in spools.page(Selection(), None, 10)], self.ids)
            first = spools.page(Selection(), None, 3)
            after = PageKey(first[-1].id, first[-1].recipient.id)
            self.assertEqual([row.id for row in [*first, *spools.page(Selection(), after, 3)]], self.ids)

    def test_one_message_is_found_wherever_it_is(self) -> None:
        self.assertEqual([worker_of(id_number(id)) for id in self.ids], [0, 1, 1, 0])
        with Spools(self.state) as spools:
            for id in self.ids:
                self.assertEqual(spools.record(id).id, id)
            self.assertRaises(KeyError, spools.record, "0000000000000")

    def test_sums(self) -> None:
        with Spools(self.state) as spools:
            found = spools.survey(Selection(), self.now)
            self.assertEqual((found.recipients, found.messages, found.places[WAY].due), (4, 4, 4))
            self.assertEqual([one.accepted for one in spools.audits().values()], [2, 2])
            self.assertEqual(joined(spools.audits().values()).queued, 4)
            self.assertEqual(spools.check(), [])

    def test_two_mistakes_do_not_make_none(self) -> None:
        more = Totals(accepted=2, ended={}, queued=1, held=0)
        less = Totals(accepted=2, ended={"delivered": 1}, queued=2, held=0)
        self.assertEqual(joined([more, less]).unaccounted, 0)
        self.patch(Spools, "audits", lambda spools: {0: more, 1: less})
        done = CliRunner().invoke(main, ["--set", f"state={self.state}", "audit"])
        self.assertEqual(done.exit_code, 1)
        self.assertIn("1  of that in spool 0\n", done.output)
        self.assertIn("-1  of that in spool 1\n", done.output)

    def test_left_over(self) -> None:
        self.assertEqual(numbers(self.state), [0, 1])
        self.assertEqual(left_over(self.state, 2), {})
        self.assertEqual(left_over(self.state, 1), {1: True})
        self.assertEqual(left_over(os.path.join(self.state, "none"), 1), {})
