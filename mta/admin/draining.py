"""Draining: no mail is taken in, and what waits goes out, as far as it can now.

Contract: new connections get 421 and open sessions end after the command under way, so that clients go to another host
or come back; deliveries go on.  ``left`` says what is left to do: sessions, recipients in memory, destinations that
have something due in the spool.
Limits: what waits for a rest, a pause or its next try is not waited for: it stays, and goes out after the next start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred

from mta import events
from mta.events import Event
from mta.interfaces import ISpool
from mta.queue.schedule import Schedule
from mta.reply import Reply
from mta.smtp.factory import Connections
from mta.spool.values import Due

NOT_NOW: Final = Reply.of(421, "4.3.2", "The service takes no mail at the moment, please try again later")
PAGE: Final = 500


class Closes(Protocol):
    """A factory of sessions."""

    def shut_down(self) -> Deferred[None]: ...


class Draining:
    """See the module's text."""

    def __init__(
        self,
        *,
        connections: Connections,
        factories: Callable[[], Iterable[Closes]],
        spool: ISpool,
        schedule: Schedule,
        now: Callable[[], int],
        seconds: Callable[[], float],
        emit: Callable[[Event, str], None],
    ) -> None:
        self._connections = connections
        self._factories = factories
        self._spool = spool
        self._schedule = schedule
        self._now = now
        self._seconds = seconds
        self._emit = emit

    @property
    def on(self) -> bool:
        """Is no mail taken in?"""
        return self._connections.refused is not None

    async def drain(self, request: Mapping[str, Any], by: str) -> dict[str, Any]:
        """Begin (``on`` true), or take mail again (``on`` false); what is left."""
        on = request.get("on")
        if isinstance(on, bool) and on != self.on:
            self._connections.refused = NOT_NOW if on else None
            self._emit(events.DRAINING(what="no mail is taken in" if on else "mail is taken in again", by=by), "")
            if on:
                for factory in self._factories():
                    factory.shut_down()
        return await self.left()

    async def left(self) -> dict[str, Any]:
        """See the module's text."""
        now, seconds = self._now(), self._seconds()
        due = paused = 0
        after: Due | None = None
        while True:
            page = await self._spool.due(now, after, PAGE)
            for one in page:
                if self._schedule.paused(one.destination):
                    paused += 1
                elif one.first_due <= now and not self._schedule.rests(one.destination, seconds):
                    due += 1
            if len(page) < PAGE:
                break
            after = page[-1]
        return {
            "draining": self.on,
            "sessions": self._connections.total,
            "in_memory": self._schedule.size,
            "due": due,
            "paused": paused,
            "done": self._schedule.size == 0 and due == 0 and self._connections.total == 0,
        }
