"""The load for ``tests/crash/kill9.py``: messages with identities, and clients that remember what they were told.

A message's number says all of it: where it goes, how large it is, each of its octets.  A copy is one message for one
of its recipients.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Final, NamedTuple

from tests.integration.tools import Dialogue, wait_for

FAR: Final = "far.example"
BOX: Final = "ours.example"
BOB: Final = f"bob@{BOX}"
LIST: Final = f"many@{BOX}"
#: Over a slice of what is staged on disk before the commit, and of what is made visible after it: two are needed.
MEMBERS: Final = tuple(f"r{number:04}@{FAR}" for number in range(2100))
ALIASES: Final = f"many: {', '.join(MEMBERS)}\n"

#: The number of a message, and the recipient of this copy of it.
Copy = tuple[int, str]


class Mix(NamedTuple):
    """Who gets which message.  ``lists``: each message of that number goes to a list (0: none)."""

    lists: int = 0

    def addressed(self, number: int) -> tuple[str, ...]:
        """Its recipients as its client names them."""
        if self.lists and number % self.lists == self.lists - 1:
            return (LIST,)
        far = f"to{number:06}@{FAR}"
        return ((BOB,), (far, BOB), (far,), (far,))[number % 4]

    def copies(self, numbers: Iterable[int]) -> set[Copy]:
        """All that should come of these messages."""
        found: set[Copy] = set()
        for number in numbers:
            to = self.addressed(number)
            found.update((number, recipient) for recipient in (MEMBERS if to == (LIST,) else to))
        return found


def content(number: int) -> bytes:
    """A message; some are too large for memory while they come in, and some for the body table."""
    size = 300_000 if number % 10 == 2 else 100_000 if number % 20 == 7 else 1000
    header = f"X-Id: m{number:06}\r\nMessage-ID: <m{number:06}@load.example>\r\n"
    header += "Date: Tue, 24 Nov 2026 12:00:00 +0000\r\n\r\n"
    return header.encode() + b".0123456789abcdefghijklmnopqrstuvwxyz.\r\n" * (size // 40)


class Load:
    """Clients that send until all is sent, and connect again whenever the daemon is gone.

    ``taken``: had a 250 to the final dot; ``unknown``: no reply, the connection broke after it may have been sent;
    ``unsent``: it broke before that; ``refused``: had a reply that nobody should have in this load.
    What broke is never sent again: that would be another message.  No more is begun than is allowed: see ``allow``.
    """

    def __init__(self, where: tuple[str, int], messages: int, sessions: int, lists: int = 0) -> None:
        """``where``: host and port; ``lists``: see ``Mix``."""
        self.mix = Mix(lists)
        self.begun = 0
        self.taken: set[int] = set()
        self.unknown: set[int] = set()
        self.unsent: set[int] = set()
        self.refused: list[str] = []
        self._host, self._port = where
        self._messages = messages
        self._allowed = 0
        self._gate = threading.Condition()
        self._threads = [
            threading.Thread(target=self._work, args=(session % 2 == 0,), daemon=True) for session in range(sessions)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def allow(self, messages: int) -> None:
        """So many may be begun, counted from the first one."""
        with self._gate:
            self._allowed = min(messages, self._messages)
            self._gate.notify_all()

    def wait_until_begun(self, messages: int) -> None:
        wait_for(lambda: self.begun >= messages, f"message {messages} to be begun")

    @property
    def running(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def _next(self) -> int | None:
        with self._gate:
            self._gate.wait_for(lambda: self.begun < self._allowed or self.begun == self._messages)
            if self.begun == self._messages:
                return None
            self.begun += 1
            return self.begun - 1

    def _work(self, kept: bool) -> None:
        number = self._next()
        while number is not None:
            with self._connect() as client:
                while number is not None:
                    fit = self._send(client, number)
                    number = self._next()
                    if not (fit and kept):
                        break

    def _connect(self) -> Dialogue:
        while True:
            try:
                client = Dialogue(self._port, self._host)
            except OSError:
                time.sleep(0.005)  # it is being started again
                continue
            try:
                return client.greet()
            except (OSError, AssertionError):
                client.__exit__()  # killed in the greeting

    def _send(self, client: Dialogue, number: int) -> bool:
        """One transaction; False when the connection is of no more use."""
        recipients = [f"RCPT TO:<{address}>" for address in self.mix.addressed(number)]
        self.unsent.add(number)
        try:
            for line in (f"MAIL FROM:<m{number:06}@load.example>", *recipients, "DATA"):
                reply = client.say(line)
                if reply[:1] not in ("2", "3"):
                    return self._broken(number, reply)
            self.unsent.discard(number)
            self.unknown.add(number)
            reply = client.say(content(number).replace(b"\r\n.", b"\r\n..") + b".")
        except OSError:
            return False
        if not reply.startswith("250"):
            return self._broken(number, reply)
        self.unknown.discard(number)
        self.taken.add(number)
        return True

    def _broken(self, number: int, reply: str) -> bool:
        # No reply at all is the end of the connection: the kill.
        if reply:
            self.refused.append(f"m{number:06}: {reply}")
        return False
