"""The spool with real threads and a real reactor, in a process of its own; and a process that dies."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import Any

from spool_contract import SMALL
from sqlite_case import SqliteCase
from twisted.trial.unittest import SynchronousTestCase

PROLOGUE = """
    import os, time
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred, gatherResults
    from mta.address import Address
    from mta.envelope import Destination, Envelope, Origin, Outcome, Recipient, Status
    from mta.reply import Reply
    from mta.spool.sqlite import SqliteSpool
    from mta.spool.values import Claim, Result

    BOB, THERE = Address("bob", "b.example"), Destination("internet", "b.example")
    FROM = Origin(listener="mx", protocol="ESMTP")

    def now():
        return time.time_ns() // 1_000_000

    async def commit(spool, body, recipients=1):
        incoming = spool.begin(0)
        for wait in (
            incoming.write(body),
            incoming.add_recipients(
                [Recipient(id=n, address=BOB, original=BOB, destination=THERE, due=0) for n in range(recipients)]
            ),
            incoming.seal(Envelope(origin=FROM, reverse_path=None, arrived=now()), (), ()),
        ):
            if wait is not None:
                await wait
        return await spool.commit(incoming, Claim("queue", now() + 60_000))

    async def relay(spool, body):
        lease = await commit(spool, body)
        octets = b""
        chunks = lease.message.open()
        while piece := chunks.next():
            piece = piece if isinstance(piece, bytes) else await piece
            if not piece:
                break
            octets += piece
        assert octets == body, len(octets)
        done = Outcome(recipient=0, status=Status.RELAYED, reply=Reply.of(250, "2.0.0", "Ok"))
        return await spool.finish((Result(lease=lease, outcomes=(done,)),))

    async def main(spool):
        spool.open()
        await spool.recover("queue")
        await work(spool)

    def failed(failure):
        print(failure.getTraceback())
        reactor.stop()

    def run():
        spool = SqliteSpool("state", reactor=reactor, now=now, reserve_bytes=0, reserve_inodes=0)
        reactor.callWhenRunning(lambda: Deferred.fromCoroutine(main(spool)).addErrback(failed))
        reactor.run()
"""

SHARED = """
    async def work(spool):
        body = b"Subject: x\\r\\n\\r\\n" + b"y" * 1000
        lost = await gatherResults(
            [Deferred.fromCoroutine(relay(spool, body * size)) for size in [1] * 300 + [400] * 10]
        )
        totals = await spool.audit()
        bodies = len(os.listdir("state/spool/0/body"))
        await spool.close()
        print(sum(map(len, lost)), totals.accepted, dict(totals.ended), totals.unaccounted)
        reactor.stop()
    run()
"""

DIES = """
    async def work(spool):
        small = await commit(spool, b"Subject: hello\\r\\n\\r\\nbody\\r\\n")
        large = await commit(spool, b"z" * 200_000, recipients=2500)
        print(small.message.id, large.message.id, flush=True)
        os.kill(os.getpid(), 9)
    run()
"""


def child(script: str) -> Any:
    """Run a script in a process of its own, in the test's folder."""
    source = textwrap.dedent(PROLOGUE) + textwrap.dedent(script)
    return subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", "-c", source], capture_output=True, text=True, timeout=60
    )


class RealThreads(SynchronousTestCase):
    """Everything at once, as the service does it."""

    def test_many_sessions_share_the_threads(self) -> None:
        ended = child(SHARED)
        self.assertEqual(ended.stdout.strip(), "0 310 {'relayed': 310} 0", ended.stdout + ended.stderr)
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))


class Killed(SqliteCase, SynchronousTestCase):
    """RFC 5321 6.1: what was told to be committed is there, whatever happens to the process."""

    def make_spool(self, **more: Any) -> Any:
        if not self.database.exists():
            ended = child(DIES)
            self.assertEqual(ended.returncode, -9, ended.stderr)
            self.small, self.large = ended.stdout.split()
        return super().make_spool(**more)

    def test_all_that_was_committed_goes_out(self) -> None:
        leases = {lease.message.id: lease for lease in self.claim(limit=5000)}
        self.assertEqual(set(leases), {self.small, self.large})
        self.assertEqual(self.read(leases[self.small].message), SMALL)
        self.assertEqual(self.read(leases[self.large].message), b"z" * 200_000)
        self.assertEqual(len(leases[self.large].recipients), 2500)
        self.balanced()
