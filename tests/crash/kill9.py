"""``kill -9`` in the middle of a load, a restart, and a comparison of sets of identities.

``python tests/crash/kill9.py [--messages N] [--kills N] [--sessions N] [--seed N]``

Clients of our own send messages, each with an identity in its sender and its Message-ID, and remember what they
were told.  Most are relayed to a sink that takes its time and refuses some at first; every fourth goes into a
Maildir; some are too large for the spool's body table.  The daemon is killed after a random number of replies, what
lies in its spool then is read with nobody running, and it is started again.  At the end, with the queue empty:

- every message that had its 250 has arrived;
- a message arrived twice only if it was in flight at a kill: it had arrived, and the spool did not know it yet
  (and once more for each such kill, no oftener);
- none arrived whose final dot was never sent;
- ``mta audit`` is clean, at each kill and at the end.

Exit status 0 if all that is so, 1 if not.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))

from tools import Daemon, Dialogue, Sink, wait_for

DRAIN = 120.0  # seconds for the queue to become empty at the end
_IDENTITY = re.compile(rb"(?im)^Message-ID: <([mM]\d+)@")
_MORE = """\
[relay]
networks = ["127.0.0.0/8"]
[limits]
connections_per_client = 200
[queue]
retry = ["1s"]
"""


class Farm(Sink):
    """The far end: slow at the final dot, so that a kill finds many in flight; each tenth is refused once."""

    def __init__(self, chance: random.Random) -> None:
        self.open = 0
        self._lock = threading.Lock()
        self._refused: set[str] = set()
        self._chance = chance
        super().__init__({"RCPT": self._recipient, "dot": self._dot})

    def identities(self) -> list[str]:
        """Of what it has taken."""
        return identities([octets for _, octets in self.messages])

    def _recipient(self, line: str) -> str | None:
        # Addresses are to<identity>@far.example.
        identity = line.partition("@")[0][-7:]
        with self._lock:
            if not identity.endswith("1") or identity in self._refused:
                return None
            self._refused.add(identity)
            return "451 4.3.0 not now"

    def _dot(self, line: str) -> None:
        time.sleep(self._chance.random() * 0.02)

    def _serve(self, sock: object) -> None:
        with self._lock:
            self.open += 1
        try:
            super()._serve(sock)  # type: ignore[arg-type]
        finally:
            with self._lock:
                self.open -= 1


def identities(mails: list[bytes]) -> list[str]:
    """The identity of each."""
    found = [_IDENTITY.search(octets) for octets in mails]
    return [match[1].decode() if match else "?" for match in found]


@dataclass
class Told:
    """What the clients know of each message."""

    taken: set[str] = field(default_factory=set)  # 250 to the final dot
    unknown: set[str] = field(default_factory=set)  # the connection broke after the final dot was sent
    unsent: set[str] = field(default_factory=set)  # it broke before that
    refused: list[str] = field(default_factory=list)  # with the reply, which should not have come


class Load:
    """Clients that send until all messages are sent, and connect again whenever the daemon is gone."""

    def __init__(self, port: int, messages: int, sessions: int) -> None:
        self.told = Told()
        self._port = port
        self._waiting = iter(range(messages))
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(sessions)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    @property
    def running(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def _next(self) -> int | None:
        with self._lock:
            return next(self._waiting, None)

    def _work(self) -> None:
        number = self._next()
        while number is not None:
            try:
                client = Dialogue(self._port)
            except OSError:
                time.sleep(0.02)  # it is being started again
                continue
            with client:
                try:
                    client.greet()
                except (OSError, AssertionError):
                    continue  # killed in the greeting
                while number is not None and self._send(client, f"m{number:06}", number):
                    number = self._next()
                if number is not None:
                    number = self._next()  # what broke is never sent again: it would be another message

    def _send(self, client: Dialogue, identity: str, number: int) -> bool:
        """One transaction; False when the connection is of no more use."""
        told = self.told
        recipient = "bob@ours.example" if number % 4 == 0 else f"to{identity}@far.example"
        told.unsent.add(identity)
        try:
            for line in (f"MAIL FROM:<{identity}@load.example>", f"RCPT TO:<{recipient}>", "DATA"):
                reply = client.say(line)
                if reply[:1] not in ("2", "3"):
                    return self._broken(identity, reply)
            told.unsent.discard(identity)
            told.unknown.add(identity)
            reply = client.say(content(identity, number) + b".")
        except OSError:
            return False
        if not reply.startswith("250"):
            return self._broken(identity, reply)
        told.unknown.discard(identity)
        told.taken.add(identity)
        return True

    def _broken(self, identity: str, reply: str) -> bool:
        # No reply at all is the end of the connection: the kill.  Anything else nobody should hear in this load.
        if reply:
            self.told.refused.append(f"{identity}: {reply}")
        return False


def content(identity: str, number: int) -> bytes:
    """A message; some are too large for the body table."""
    size = 100_000 if number % 40 == 2 else 1000
    header = f"Message-ID: <{identity}@load.example>\r\nDate: Tue, 24 Nov 2026 12:00:00 +0000\r\n\r\n"
    return header.encode() + b"0123456789abcdefghijklmnopqrstuvwxyz..\r\n" * (size // 40)


@dataclass
class Story:
    """What is known from outside, and what is wrong with it."""

    in_flight: Counter[str] = field(default_factory=Counter)  # at how many kills
    wrong: list[str] = field(default_factory=list)
    arrived: Counter[str] = field(default_factory=Counter)

    def at_kill(self, number: int, daemon: Daemon, farm: Farm, taken: set[str]) -> None:
        """Nobody runs now: what has arrived, what is in the spool, and is everything in one of the two?"""
        wait_for(lambda: not farm.open, "the sink's connections to end")
        arrived = set(farm.identities() + identities(daemon.mails("bob")))
        rows = json.loads(daemon.mta("queue", "list", "--json", "--limit", "0").stdout)
        waiting = {row["sender"].partition("@")[0] for row in rows}
        both = arrived & waiting
        self.in_flight.update(both)
        print(f"kill {number}: after {len(taken):,} replies; {len(waiting):,} in the spool, {len(both):,} in flight")
        self.wrong += [f"lost at kill {number}: {identity}" for identity in sorted(taken - arrived - waiting)]
        self.audit(daemon, f"at kill {number}")

    def audit(self, daemon: Daemon, when: str) -> None:
        done = daemon.mta("audit", check=False)
        if done.returncode:
            self.wrong.append(f"mta audit {when}:\n{done.stdout}{done.stderr}")

    def at_end(self, told: Told, farm: Farm, daemon: Daemon) -> None:
        """The comparison of sets."""
        self.arrived.update(farm.identities() + identities(daemon.mails("bob")))
        self.wrong += [f"refused: {line}" for line in told.refused]
        self.wrong += [f"had its 250 and is lost: {identity}" for identity in sorted(told.taken - set(self.arrived))]
        for identity, count in sorted(self.arrived.items()):
            if identity not in told.taken | told.unknown:
                self.wrong.append(f"never sent whole, and arrived: {identity}")
            if count > 1 + self.in_flight[identity]:
                self.wrong.append(f"arrived {count} times, in flight at {self.in_flight[identity]} kills: {identity}")


def run(messages: int, kills: int, sessions: int, seed: int) -> list[str]:
    """The whole of it; prints counts, returns what is wrong."""
    chance = random.Random(seed)
    part = messages // (kills + 1)
    moments = sorted(part * number + chance.randrange(-part // 3, part // 3) for number in range(1, kills + 1))
    story = Story()
    with Farm(chance) as farm, Daemon(_MORE, internet=farm.delivery()) as daemon:
        load = Load(daemon.port, messages, sessions)
        load.start()
        for number, moment in enumerate(moments, 1):
            while load.running and len(load.told.taken) < moment:
                time.sleep(0.001)
            daemon.kill()
            story.at_kill(number, daemon, farm, set(load.told.taken))
            daemon.start()
        wait_for(lambda: not load.running, "the load to end", DRAIN)
        wait_for(lambda: not daemon.audit()["queued"], "the queue to be empty", DRAIN)
        if (status := daemon.stop()) not in (0, -15):  # twistd ends itself by the signal that stopped it
            story.wrong.append(f"the daemon ended with {status}")
        story.audit(daemon, "at the end")
        if held := daemon.audit()["held"]:
            story.wrong.append(f"{held} are held")
        story.at_end(load.told, farm, daemon)
    show(load.told, story)
    return story.wrong


def show(told: Told, story: Story) -> None:
    """The counts."""
    arrived = story.arrived
    lines = (
        ("had their 250", len(told.taken)),
        ("had no reply to their final dot", len(told.unknown)),
        ("of these arrived all the same", len(told.unknown & set(arrived))),
        ("were not sent whole", len(told.unsent)),
        ("arrived", len(arrived)),
        ("were in flight at a kill", len(story.in_flight)),
        ("arrived more than once", sum(count > 1 for count in arrived.values())),
        ("had their 250 and are lost", len(told.taken - set(arrived))),
    )
    for what, count in lines:
        print(f"{count:>7,}  {what}")
    for line in story.wrong:
        print(f"WRONG: {line}")


def main() -> int:
    parser = argparse.ArgumentParser(description="kill -9 in the middle of a load, restart, comparison of sets.")
    parser.add_argument("--messages", type=int, default=5000, help="default 5000")
    parser.add_argument("--kills", type=int, default=3, help="default 3")
    parser.add_argument("--sessions", type=int, default=30, help="connections at once (default 30)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="for the same moments once more")
    chosen = parser.parse_args()
    print(f"{chosen.messages:,} messages, {chosen.kills} kills, seed {chosen.seed}")
    return 1 if run(chosen.messages, chosen.kills, chosen.sessions, chosen.seed) else 0


if __name__ == "__main__":
    sys.exit(main())
