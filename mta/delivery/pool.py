"""Connections that are kept for the next message to the same next hop.

Contract: the connection used last is used next, so that what is not needed runs out.  One that ends by itself, or
whose time is over, is forgotten.
Limits: ``messages`` on a connection, ``keep`` seconds without use, ``MOST_IDLE`` kept by one service: one more
and the oldest goes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mta.smtp.client import SmtpClient

#: Connections that wait for a next message, over all next hops of a service.
MOST_IDLE: Final = 1000


class Connection:
    """A connection and where it leads: ``hop`` as the queue knows it, ``where`` for people."""

    __slots__ = ("client", "hop", "where")

    def __init__(self, client: SmtpClient, hop: str, where: str) -> None:
        self.client = client
        self.hop = hop
        self.where = where


class Pool:
    """See the module's text.  ``seconds`` is the monotonic clock."""

    def __init__(self, seconds: Callable[[], float], keep: float, messages: int, most: int = MOST_IDLE) -> None:
        self._seconds = seconds
        self._keep = keep
        self._messages = messages
        self._most = most
        self._by_hop: dict[str, list[Connection]] = {}
        self._idle: dict[SmtpClient, Connection] = {}  # oldest first
        self._closed = False

    def __len__(self) -> int:
        return len(self._idle)

    def take(self, hop: str) -> Connection | None:
        """A kept connection, which is the caller's until it is given back."""
        connections = self._by_hop.get(hop)
        if not connections:
            return None
        connection = connections[-1]
        self._forget(connection.client)
        return connection

    def give_back(self, connection: Connection) -> None:
        """Keep it for the next message, or end it."""
        client = connection.client
        if not client.usable:
            return  # it is ending
        if self._closed or not self._keep or client.messages >= self._messages:
            client.quit()
            return
        if len(self._idle) >= self._most:
            oldest = next(iter(self._idle))
            self._forget(oldest)
            oldest.quit()
        client.keep_until(self._seconds() + self._keep)
        client.on_idle_end = self._forget
        self._idle[client] = connection
        self._by_hop.setdefault(connection.hop, []).append(connection)

    def close(self) -> None:
        """All leave, and so does whatever is given back from now on."""
        self._closed = True
        for client in list(self._idle):
            self._forget(client)
            client.quit()

    def _forget(self, client: SmtpClient) -> None:
        connection = self._idle.pop(client, None)
        if connection is None:
            return
        connections = self._by_hop[connection.hop]
        connections.remove(connection)
        if not connections:
            del self._by_hop[connection.hop]
