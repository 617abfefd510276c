"""A callback that keeps the reactor is noticed and named; systemd is fed while the reactor lives."""

from __future__ import annotations

import os
import socket
import threading

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.admin.watchdog import BEAT, STALL, Watchdog, notify_systemd
from mta.events import Event


class Stalls(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.events: list[Event] = []
        self.watchdog = Watchdog(self.clock, self.clock.seconds, lambda event, id: self.events.append(event))
        self.watchdog._reactor_thread = threading.get_ident()
        self.watchdog._pulse()

    def test_short_delay_is_nothing(self) -> None:
        for _ in range(20):
            self.clock.advance(BEAT)
        self.assertEqual(self.events, [])

    def test_stall_is_told_with_its_place(self) -> None:
        # What the thread does when it sees no beat, done here where time stands still.
        self.watchdog._where = self.watchdog.look()
        self.clock.advance(BEAT + STALL + 1)
        (event,) = self.events
        self.assertEqual(event.code, "stalled")
        self.assertIn("test_stall_is_told_with_its_place", str(event))


class Systemd(SynchronousTestCase):
    def test_told_where_it_listens(self) -> None:
        path = self.mktemp()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind(path)
            self.patch(os, "environ", {**os.environ, "NOTIFY_SOCKET": path})
            notify_systemd("READY=1")
            self.assertEqual(sock.recv(100), b"READY=1")

    def test_nobody_listens(self) -> None:
        self.patch(os, "environ", {**os.environ, "NOTIFY_SOCKET": self.mktemp()})
        notify_systemd("READY=1")
        self.patch(os, "environ", {})
        notify_systemd("READY=1")
