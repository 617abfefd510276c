"""Connections that are kept for the next message to the same next hop.

Contract: the connection used last is used next, so that what is not needed runs out; but only one that is what the
message needs: one in clear never carries what demands TLS.  One that ends by itself, or whose time is over, is
forgotten.
Limits: ``messages`` on a connection, ``keep`` seconds without use, ``MOST_IDLE`` kept by one service: one more
and the oldest goes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from mta.delivery.values import Entrance
from mta.smtp.client import SmtpClient
from mta.tls.client import TlsLevel

#: Connections that wait for a next message, over all next hops of a service.
MOST_IDLE: Final = 1000


class Connection:
    """A connection and where it leads: ``hop`` as the pool knows it, ``where`` for people.

    ``trusted``: the name of the host does not come from a DNS that anybody may forge.  ``domains``: those of the
    recipients that it has had, where the host counts them (RFC 9422 4).  ``entrance`` is there where our configuration
    limits what goes to the host.
    """

    __slots__ = ("client", "domains", "entrance", "hop", "trusted", "where")

    def __init__(
        self, client: SmtpClient, hop: str, where: str, trusted: bool = False, entrance: Entrance | None = None
    ) -> None:
        self.client = client
        self.hop = hop
        self.where = where
        self.trusted = trusted
        self.entrance = entrance
        self.domains: set[str] | None = None

    @property
    def verified(self) -> bool:
        """As RFC 8689 4.2.1 has it: TLS to the right host, proved by its certificate."""
        return self.trusted and self.client.level is TlsLevel.VERIFY

    @property
    def tls(self) -> str:
        """What was negotiated, for people; "" in clear."""
        return "" if self.client.tls is None else str(self.client.tls)


class Need(NamedTuple):
    """What a message needs of its connection.  ``by_message``: it says so itself (REQUIRETLS), not a rule of ours."""

    level: TlsLevel = TlsLevel.NONE
    by_message: bool = False

    def met_by(self, connection: Connection) -> bool:
        """Is that connection good enough?"""
        if self.by_message:
            return connection.verified
        return not self.level.required or connection.client.level >= self.level


ANYTHING: Final = Need()


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

    def take(self, hop: str, need: Need = ANYTHING) -> Connection | None:
        """A kept connection that is good enough, which is the caller's until it is given back."""
        for connection in reversed(self._by_hop.get(hop, ())):
            if need.met_by(connection):
                self._forget(connection.client)
                if connection.entrance is not None:
                    connection.entrance.busy()
                connection.client.keep_until(float("inf"))  # whoever has it gives it back
                return connection
        return None

    def give_back(self, connection: Connection) -> None:
        """Keep it for the next message, or end it."""
        client = connection.client
        if not client.usable:
            return  # it is ending
        entrance = connection.entrance
        most = self._messages if entrance is None else min(self._messages, entrance.most)
        if self._closed or not self._keep or client.messages >= most or _is_full(client):
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
        if entrance is not None:
            entrance.idle(partial(self._end, client))

    def close(self) -> None:
        """All leave, and so does whatever is given back from now on."""
        self._closed = True
        for client in list(self._idle):
            self._forget(client)
            client.quit()

    def _end(self, client: SmtpClient) -> None:
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


def _is_full(client: SmtpClient) -> bool:
    """RFC 9422 4: MAILMAX counts the transactions of a session."""
    limits = client.capabilities.limits
    return bool(limits) and client.messages >= limits.get("MAILMAX", client.messages + 1)
