"""Asks the next host whether it takes an address, over the connections that its mail would go by.

What it is: the way of one address to a host (``Connector``: MX hosts but our own and those no nearer, smart host,
source, TLS, login), then MAIL, RCPT and RSET.
Contract: no message is sent.  A host that cannot be used, or that ends the connection, leads to the next one, as with
mail; a host's reply to RCPT is the answer, whatever it is.
How it fails: never but by being cancelled: ``Probed.trouble`` says why nothing was heard.
Limits: connections are its own, so that a host that is slow with who asks for many unknown addresses is not slow with
mail: ``MOST_PROBES`` on each.  What ``[[pace]]`` says is for mail alone; see ``[call_ahead]`` for this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from twisted.internet.defer import CancelledError, Deferred

from mta.address import Address, ReversePath, show_path
from mta.delivery.connecting import Connector
from mta.delivery.pool import Connection, Pool
from mta.delivery.smtp_attempt import Way
from mta.delivery.smtp_message import fits
from mta.envelope import Envelope, Origin, Scope
from mta.interfaces import IChunks
from mta.reply import Reply
from mta.routing.calling import NO_UTF8
from mta.smtp.client_values import LOST, Answer, Outgoing
from mta.waiting import as_deferred

#: Connections that are tried for one address.
MOST_TRIES: Final = 6
MOST_PROBES: Final = 20
#: Seconds that a connection is kept for the next address.
IDLE: Final = 5.0


class Probed(NamedTuple):
    """``reply``: the host's to RCPT; None: there is none, for ``trouble`` at ``stage``.  ``where``: by which host."""

    where: str
    reply: Reply | None = None
    trouble: Reply | None = None
    stage: str = ""


class Prober:
    """See the module's text."""

    def __init__(self, connector: Connector, seconds: Callable[[], float]) -> None:
        self._connector = connector
        self._pool = Pool(seconds, IDLE, MOST_PROBES)

    def ask(self, address: Address, hop: str, sender: ReversePath) -> Deferred[Probed]:
        """What a host of the next hop says; cancelling it ends the connection."""
        return as_deferred(self._ask(address, hop, sender))

    def close(self) -> None:
        """No connection is kept from here on; what is asked for now comes to its end."""
        self._pool.close()

    async def _ask(self, address: Address, hop: str, sender: ReversePath) -> Probed:
        connector = self._connector
        if not fits(address):
            return Probed(hop, trouble=NO_UTF8, stage="EHLO")  # controls beyond ASCII, which no host is told
        need = connector.need(hop, Envelope(origin=Origin(listener="", protocol=""), reverse_path=sender, arrived=0))
        way: Way | None = None
        skip: set[str] = set()
        lost = Probed(hop, trouble=LOST, stage="connect")
        for _ in range(MOST_TRIES):
            connection = None if way or skip else self._pool.take(connector.key(hop), need)
            kept = connection is not None
            if connection is None:
                way = way or connector.connecting(hop, need)
                connection = await way.next(skip)
            if connection is None:
                return lost if skip else Probed(way.where if way else hop, None, *_trouble(way))
            heard = await self._say(connection, address, sender)
            if heard.reply is not None or heard.stage == "MAIL":
                return heard
            lost = heard
            if not kept or heard.trouble is NO_UTF8:
                skip.add(connection.where)
        return lost

    async def _say(self, connection: Connection, address: Address, sender: ReversePath) -> Probed:
        utf8 = not address.local.isascii() or (sender is not None and not sender.local.isascii())
        if utf8 and not connection.client.capabilities.smtputf8:
            # RFC 6531 3.2
            self._pool.give_back(connection)
            return Probed(connection.where, trouble=NO_UTF8, stage="EHLO")
        mail = f"MAIL FROM:{show_path(sender)}{' SMTPUTF8' if utf8 else ''}".encode()
        rcpt = f"RCPT TO:<{address}>".encode()
        try:
            sent = await connection.client.send(Outgoing(mail, (rcpt,), _no_message, probe=True))
        finally:
            self._pool.give_back(connection)
        if sent.stopped:
            raise CancelledError
        return _heard(connection.where, sent.answers[0])


def _heard(where: str, answer: Answer) -> Probed:
    reply, stage, scope = answer
    if scope is Scope.HOST or stage != "RCPT":
        return Probed(where, trouble=reply, stage="connect" if scope is Scope.HOST else stage)
    return Probed(where, reply)


def _trouble(way: Way | None) -> tuple[Reply, str]:
    if way is None:
        return LOST, "connect"
    failure = way.failure
    return failure.reply, failure.stage


def _no_message() -> IChunks:
    raise RuntimeError("a probe has no message")
