"""The worker's end of the pipes to its parent: requests come in, answers go out.

Contract: one JSON object a line each way.  A request is one of the control socket (mta/admin/control.py) with its
number ``n`` and ``by``, who asks; its answer has the same number.  ``tell`` says something that was not asked for,
without one.  ``alive`` is answered here: the sign of life that child.py asks for.  When the parent is gone, however it
went, ``gone`` is called.
Limits: the parent is believed; it is the same program.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.admin.control import Handler, answer
from mta.waiting import background


@implementer(IHalfCloseableProtocol)
class Channel(Protocol):
    """See the module's text.  It is given to ``StandardIO``."""

    def __init__(self, handlers: Mapping[str, Handler], gone: Callable[[], None]) -> None:
        self._handlers = {**handlers, "alive": _alive}
        self._gone = gone
        self._parts: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        *lines, rest = data.split(b"\n")
        for line in lines:
            background(self._serve(b"".join([*self._parts, line])), "a request of the parent")
            self._parts.clear()
        if rest:
            self._parts.append(rest)

    async def _serve(self, line: bytes) -> None:
        request = json.loads(line)
        self.tell({**await answer(self._handlers, request, request["by"]), "n": request["n"]})

    def tell(self, what: Mapping[str, Any]) -> None:
        """Say it to the parent."""
        transport: Any = self.transport
        transport.write(json.dumps(what).encode("ascii") + b"\n")

    def readConnectionLost(self) -> None:
        """The parent has closed its end."""
        self._leave()

    def writeConnectionLost(self) -> None:
        """The parent reads no more."""
        self._leave()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._leave()

    def _leave(self) -> None:
        gone, self._gone = self._gone, _nothing
        gone()


async def _alive(request: Mapping[str, Any], by: str) -> str:
    return "yes"


def _nothing() -> None:
    """It was said already."""
