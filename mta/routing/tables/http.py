"""Tables that another host answers by HTTP (``type = "http"``).

What it is: a GET for each question, to one host.  200 with a text is the value, or with JSON: a text, a list of texts
(joined by commas), or an object whose ``value`` is one of these, null being nothing; 404 is nothing.
With ``list_url`` it can tell all that it holds: a text with a key a line, or JSON: a list of keys, an object of keys
and values, or an object that has one of these under ``items``, and under ``next`` what asks for the following page.
Contract: a key stands in the URL percent-encoded, octet by octet, so it adds no part to path or query; the host is
that of the configuration, and redirects are not followed.
How it fails: no connection, 429, 502, 503, 504: ``Unreachable``, so the host rests for a while; every other answer is
``TemporaryFailure``.
Limits: ``size`` octets an answer, ``connections``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import quote, urlsplit

from twisted.internet.defer import Deferred
from zope.interface import implementer

from mta.config.option import Path, Secret, Size, at_least, option
from mta.interfaces import IPagedTable, Maybe
from mta.plugin import Services, provider
from mta.routing.tables.listing import CannotTell, Listing, Pages, Pair
from mta.routing.tables.optional import missing, package
from mta.routing.tables.query import KNOWN, parameters
from mta.routing.tables.remote import Remote, RemoteOptions

_PLACE: Final = re.compile(r"\{(\w*)\}")
#: As a part of a path these are not names, whatever their encoding.
_NO_NAMES: Final = ("", ".", "..")


def _url_wrong(url: str) -> str | None:
    named = _PLACE.findall(url)
    if wrong := _address_wrong(url):
        return wrong
    if not named or not set(named) <= set(KNOWN):
        return "is to have {key}, {local} or {domain} where the key belongs, in its path or query"
    return None


def _list_url_wrong(url: str) -> str | None:
    if not url:
        return None
    if _PLACE.findall(url) not in ([], ["page"]):
        return 'is to have {page} or nothing in braces, as "https://accounts.example.org/team?page={page}"'
    return _address_wrong(url)


def _address_wrong(url: str) -> str | None:
    """What is wrong with it beside what stands in braces."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return 'is not a URL; write one such as "https://accounts.example.org/mailbox/{key}"'
    if parts.scheme not in ("http", "https") or not host or parts.username is not None or parts.fragment:
        return 'is to begin with "https://HOST/" or "http://HOST/", without a user or "#"'
    if _PLACE.search(parts.netloc):
        return "has braces in the name of the host; write them in its path or query"
    return None if url.isascii() and url.isprintable() and " " not in url else "has characters that no URL has"


class HttpTableOptions(RemoteOptions):
    """Options of a table that another host answers by HTTP. It takes the extra `http`."""

    url: str = option(
        doc="What is fetched. `{key}` is the key, `{local}` and `{domain}` its parts, percent-encoded. 200 gives the "
        "value, as text or JSON; 404 says that there is none; with all else the table cannot know.",
        example='"https://accounts.example.org/mailbox/{key}"',
        check=_url_wrong,
    )
    list_url: str = option(
        "",
        doc="What is fetched for the members of a list: all that the table holds. `{page}` is first nothing, then what "
        "the answer before had under `next`. Left out, no list can have its members from here.",
        example='"https://accounts.example.org/team?page={page}"',
        check=_list_url_wrong,
    )
    token: Secret | None = option(None, doc="Sent as `Authorization: Bearer`.", example='{ file = "accounts.token" }')
    ca: Path | None = option(
        None,
        doc="The certificates that may have signed the server's. Left out, those that the system trusts.",
        example='"tls/accounts-ca.pem"',
    )
    size: Size = option(
        Size(64 << 10), doc="The longest answer. Beyond, the table cannot know.", check=at_least(1, "1B")
    )
    connections: int = option(4, doc="The most connections.", unit="connections", check=at_least(1))

    def contradictions(self) -> Iterable[tuple[str, str, str]]:
        return missing("treq", "http")


@provider("table", "http", HttpTableOptions)
@implementer(IPagedTable)
class HttpTable:
    """See the module's text.  ``OSError``, ``ValueError``: the file of ``ca``."""

    def __init__(self, options: HttpTableOptions, services: Services) -> None:
        self._url = options.url
        # Imported here: every command line would pay for Twisted's HTTP, and few tables need it.
        self._fetcher: Any = package("mta.routing.tables.fetching").Fetcher(
            services.reactor,
            timeout=options.timeout,
            connections=options.connections,
            most=options.size,
            token=options.token,
            ca=options.ca,
        )
        self._name = services.name
        self._list_url = options.list_url
        self._remote = Remote(options, services, self._ask)
        self._listing = Listing(services, options.timeout, self._list)

    @staticmethod
    def cannot_list(options: HttpTableOptions) -> str:
        """Why it cannot tell all that it holds, or ""."""
        return "" if options.list_url else "has no list_url"

    def lookup(self, key: str) -> Maybe[str | None]:
        """See ``ITable``."""
        return self._remote.lookup(key)

    def pages(self, limit: int) -> Pages:
        """See ``IPagedTable``."""
        return self._listing.pages(limit)

    def _list(self) -> tuple[Callable[[int], Deferred[list[Pair]]], Callable[[], object]]:
        if not self._list_url:
            raise CannotTell(f"table:{self._name}")
        following = _Following(self._fetcher, self._list_url)
        return following.ask, lambda: None

    def close(self) -> None:
        """Let go of the connections that are idle."""
        self._fetcher.close()

    def _ask(self, key: str) -> Deferred[str | None] | None:
        values = parameters(key)
        used = {name: values[name] for name in _PLACE.findall(self._url)}
        if any(value in _NO_NAMES for value in used.values()):
            return None
        answer: Deferred[str | None] = self._fetcher.fetch(
            _PLACE.sub(lambda place: quote(used[place[1]], safe=""), self._url)
        )
        return answer


class _Following:
    """One listing: the answers of the host, cut to pages."""

    def __init__(self, fetcher: Any, url: str) -> None:
        self._fetcher = fetcher
        self._url = url
        self._left: list[Pair] = []
        self._next = ""
        self._ended = False

    def ask(self, most: int) -> Deferred[list[Pair]]:
        """The next entries."""
        return Deferred.fromCoroutine(self._ask(most))

    async def _ask(self, most: int) -> list[Pair]:
        if not self._left and not self._ended:
            self._left, self._next = await self._fetcher.page(self._url.replace("{page}", quote(self._next, safe="")))
            self._ended = not self._next or "{page}" not in self._url
        found, self._left = self._left[:most], self._left[most:]
        return found
