"""Fetches the values of an HTTP table: ``mta.routing.tables.http`` says what they are.

Contract: ``fetch`` gives the value of a URL, None for 404; ``page`` a part of all that the table holds.
Cancelling ends the request.
How it fails: ``Unreachable``, or any other exception for an answer that says nothing.
Limits: ``most`` octets an answer, ``connections`` at a time.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.error import ConnectError, ConnectionLost, DNSLookupError
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    BrowserLikePolicyForHTTPS,
    HTTPConnectionPool,
    ResponseDone,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.http import PotentialDataLoss

from mta.routing.tables.listing import Pair, entry
from mta.routing.tables.optional import package
from mta.routing.tables.query import joined
from mta.routing.tables.remote import Unreachable

_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
#: What says "not now": RFC 6585 4, RFC 9110 15.6.
_BUSY: Final = frozenset({429, 502, 503, 504})


class Fetcher:
    """See the module's text."""

    def __init__(
        self, reactor: Any, *, timeout: float, connections: int, most: int, token: str | None, ca: str | None
    ) -> None:
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = connections
        policy = BrowserLikePolicyForHTTPS(_trusted(ca)) if ca else BrowserLikePolicyForHTTPS()
        agent = Agent(reactor, policy, connectTimeout=timeout, pool=self._pool)
        self._client: Any = package("treq.client").HTTPClient(agent)
        self._headers = {"Accept": "application/json, text/plain", "User-Agent": "txmta"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._most = most
        self._timeout, self._clock = timeout, reactor
        self._turns = DeferredSemaphore(connections)

    def fetch(self, url: str) -> Deferred[str | None]:
        """The value."""
        return self._turns.run(lambda: Deferred.fromCoroutine(self._fetch(url)))

    def close(self) -> None:
        """Let go of the connections that are idle."""
        self._pool.closeCachedConnections()

    def page(self, url: str) -> Deferred[tuple[list[Pair], str]]:
        """Entries, and what asks for those that follow; "" at the end."""
        return self._turns.run(lambda: Deferred.fromCoroutine(self._page(url)))

    async def _page(self, url: str) -> tuple[list[Pair], str]:
        kind, body = await self._get(url)
        if _is_json(kind):
            return _page_of(json.loads(body))
        return [entry(line.strip()) for line in body.decode("utf-8").split("\n") if line.strip()], ""

    async def _fetch(self, url: str) -> str | None:
        kind, body = await self._get(url)
        if not kind:
            return None
        return _from_json(body) if _is_json(kind) else body.decode("utf-8").removesuffix("\n").removesuffix("\r")

    async def _get(self, url: str) -> tuple[str, bytes]:
        """The type of the answer and its octets; no type for 404."""
        response, body = await self._exchange("GET", url)
        if response.code in _BUSY:
            raise Unreachable(f"HTTP {response.code}")
        if response.code == 404:
            return "", b""
        if response.code != 200:
            raise OSError(f"HTTP {response.code}")
        kinds = response.headers.getRawHeaders("content-type", [""])
        return kinds[0].partition(";")[0].strip().lower() or "text/plain", body

    def ask(self, method: str, url: str, **more: Any) -> Deferred[tuple[int, bytes]]:
        """The status and the octets of whatever answer comes within ``timeout``; ``more`` as for treq."""
        running = self._turns.run(lambda: Deferred.fromCoroutine(self._ask(method, url, **more)))
        return running.addTimeout(self._timeout, self._clock)

    async def _ask(self, method: str, url: str, **more: Any) -> tuple[int, bytes]:
        response, body = await self._exchange(method, url, **more)
        return response.code, body

    async def _exchange(self, method: str, url: str, **more: Any) -> tuple[Any, bytes]:
        more["headers"] = {**self._headers, **more.get("headers", {})}
        try:
            response = await self._client.request(method, url, allow_redirects=False, unbuffered=True, **more)
            return response, await _read(response, self._most)
        except (ConnectError, ConnectionLost, DNSLookupError, ResponseFailed, ResponseNeverReceived) as error:
            raise _unreachable(error) from error


def _is_json(kind: str) -> bool:
    return kind == "application/json" or kind.endswith("+json")


def _unreachable(error: Exception) -> Exception:
    reasons = getattr(error, "reasons", None) or []
    causes = [reason.value for reason in reasons]
    if any(isinstance(cause, CancelledError) for cause in causes):
        return CancelledError()  # by the time limit
    return Unreachable("; ".join(str(cause) for cause in causes) or str(error) or type(error).__name__)


def _from_json(body: bytes) -> str | None:
    found = json.loads(body)
    if isinstance(found, dict):
        if "value" not in found:
            raise ValueError("the answer is an object without value")
        found = found["value"]
    if isinstance(found, list) and all(isinstance(one, str) for one in found):
        return joined(found)
    if found is None or isinstance(found, str):
        return found
    raise ValueError("the answer is neither a text, a list of texts nor an object whose value is one")


def _page_of(found: Any) -> tuple[list[Pair], str]:
    """Entries as a list of texts or an object of texts, alone or under "items", with "next" where more follow."""
    following = ""
    if isinstance(found, dict) and "items" in found:
        following = found.get("next") or ""
        found = found["items"]
    if isinstance(found, list) and all(isinstance(one, str) for one in found):
        pairs = [entry(one) for one in found]
    elif isinstance(found, dict) and all(isinstance(one, str) for one in found.values()):
        pairs = [entry(key, value) for key, value in found.items()]
    else:
        raise ValueError('the answer is no list of texts, no object of texts, and has none under "items"')
    if not isinstance(following, str):
        raise ValueError('what stands under "next" is no text')
    if following and not pairs:
        raise ValueError('the answer has "next" and no items')  # it would be asked for ever
    return pairs, following


class _Body(Protocol):
    """Collects an answer; one that is too long ends the connection."""

    def __init__(self, most: int) -> None:
        self.done: Deferred[bytes] = Deferred(lambda _: self._end())
        self._most = most
        self._octets = bytearray()

    def dataReceived(self, data: bytes) -> None:
        self._octets += data
        if len(self._octets) > self._most:
            self._fail(OSError(f"the answer is over {self._most} octets"))
            self._end()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if reason.check(ResponseDone, PotentialDataLoss):
            if not self.done.called:
                self.done.callback(bytes(self._octets))
        else:
            self._fail(Unreachable(f"the answer was cut off: {reason.getErrorMessage()}"))

    def _fail(self, error: Exception) -> None:
        if not self.done.called:
            self.done.errback(error)

    def _end(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            transport.loseConnection()


def _read(response: Any, most: int) -> Deferred[bytes]:
    body = _Body(most)
    response.deliverBody(body)
    return body.done


def _trusted(path: str) -> Any:
    with open(path, "rb") as file:
        found = _PEM.findall(file.read(1 << 20))
    if not found:
        raise ValueError(f"{path} has no certificate")
    return trustRootFromCertificates([Certificate.loadPEM(one) for one in found])
