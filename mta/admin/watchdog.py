"""The stall watchdog: notices when the reactor did not run, and says in which callback it was.

What it is: the reactor leaves a time stamp several times a second; a thread of its own looks whether that
happens, and when it does not for over ``STALL`` seconds, takes the reactor thread's stack.  It also feeds
systemd's watchdog and tells it READY, STOPPING and so on (sd_notify(3)), while the reactor lives.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime

from mta import events
from mta.events import Event

#: A callback that keeps the reactor for so many seconds is a stall.
STALL: Final = 1.0
BEAT: Final = 0.25


def notify_systemd(state: str) -> None:
    """Tell systemd, if it started us: ``READY=1``, ``STOPPING=1``, ``WATCHDOG=1``."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.connect(address)
            sock.send(state.encode("ascii"))
    except OSError:
        pass  # nobody listens: nothing of ours depends on it


class Watchdog:
    """See the module's text.  ``seconds`` is the monotonic clock."""

    def __init__(self, reactor: IReactorTime, seconds: Callable[[], float], emit: Callable[[Event, str], None]) -> None:
        self._reactor = reactor
        self._seconds = seconds
        self._emit = emit
        self._beat = seconds()
        self._stop = threading.Event()
        self._where = ""
        self._thread: threading.Thread | None = None
        self._reactor_thread = 0
        self._timer: Any = None

    def start(self) -> None:
        """Call it in the reactor's thread."""
        self._reactor_thread = threading.get_ident()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()
        self._pulse()

    def stop(self) -> None:
        self._stop.set()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _pulse(self) -> None:
        now = self._seconds()
        late = now - self._beat - BEAT
        self._beat = now
        if late > STALL and self._where:
            self._emit(events.STALLED(seconds=round(late, 1), where=self._where), "")
        self._where = ""
        self._timer = self._reactor.callLater(BEAT, self._pulse)

    def _watch(self) -> None:
        while not self._stop.wait(BEAT):
            late = self._seconds() - self._beat
            if late < STALL:
                notify_systemd("WATCHDOG=1")
            elif not self._where:
                self._where = self.look()

    def look(self) -> str:
        """Where the reactor's thread is: its innermost frames, inside out."""
        frame = sys._current_frames().get(self._reactor_thread)
        if frame is None:
            return "an unknown place"
        frames = traceback.extract_stack(frame)[-4:]
        return " < ".join(f"{os.path.basename(f.filename)}:{f.lineno} {f.name}" for f in reversed(frames))
