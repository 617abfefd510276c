"""Tables in an LDAP directory (``type = "ldap"``), asked by python-ldap in threads of the table's own.

Contract: a key stands in the filter escaped as RFC 4515 3 has it, so that it is never more than a value.  TLS is
verified, and is needed unless ``tls = "none"``; nothing is said before it is up, the password least of all.
How it fails: no connection, no TLS, a refused bind: ``Unreachable``, so the server rests for a while (and an account
is not locked by us); all else ``TemporaryFailure``.  Entries without the attribute are no answer.
Limits: ``connections``; ``MOST_ROWS`` entries; referrals are not followed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, Literal

from zope.interface import implementer

from mta.config.option import Path, Secret, at_least, option
from mta.interfaces import IPagedTable
from mta.plugin import Services, provider
from mta.routing.tables.listing import Pair, entry
from mta.routing.tables.optional import missing, package
from mta.routing.tables.query import KNOWN, MOST_ROWS, joined, parameters
from mta.routing.tables.remote import RemoteOptions, Unreachable
from mta.routing.tables.threads import ThreadedTable

PLACE: Final = re.compile(r"\{(\w*)\}")


def filter_wrong(written: str) -> str | None:
    named = PLACE.findall(written)
    if not named or not set(named) <= set(KNOWN):
        return "is to have {key}, {local} or {domain} where the key belongs"
    if not (written.startswith("(") and written.endswith(")")):
        return 'is to stand in parentheses, as "(mail={key})"'
    return None


def _list_filter_wrong(written: str) -> str | None:
    if not written or (written.startswith("(") and written.endswith(")") and not PLACE.search(written)):
        return None
    return 'is to stand in parentheses, without {key}, as "(memberOf=cn=team,dc=example,dc=org)"'


def url_wrong(url: str) -> str | None:
    if re.match(r"(?:ldaps?://[^/?#]+|ldapi://[^/?#]*)/?\Z", url):
        return None
    return 'is not the URL of a server; write one such as "ldap://ldap.example.org" or "ldapi://"'


class LdapTableOptions(RemoteOptions):
    """Options of a table in an LDAP directory. It takes the extra `ldap`."""

    url: str = option(
        doc='The server: "ldap://HOST:PORT", "ldaps://HOST" (TLS from the first octet) or "ldapi://PATH" (a UNIX '
        "socket, its slashes written %2F).",
        example='"ldap://ldap.example.org"',
        check=url_wrong,
    )
    tls: Literal["starttls", "none"] = option(
        "starttls", doc='Of "ldap://": "starttls" demands TLS, "none" speaks in the clear.'
    )
    ca: Path | None = option(
        None,
        doc="The certificates that may have signed the server's. Left out, those that the system trusts.",
        example='"tls/ldap-ca.pem"',
    )
    bind: str = option(
        "", doc="The name under which questions are asked; without one, nobody's.", example='"cn=mta,dc=example,dc=org"'
    )
    password: Secret | None = option(None, doc="Its password.", example='{ file = "ldap.password" }')
    base: str = option(doc="Where entries are looked for.", example='"ou=people,dc=example,dc=org"')
    scope: Literal["sub", "one", "base"] = option(
        "sub", doc='All below `base` ("sub"), only what is directly below it ("one"), or itself ("base").'
    )
    filter: str = option(
        doc="Which entries. `{key}` is the key, `{local}` and `{domain}` its parts, escaped.",
        example='"(|(mail={key})(mailAlternateAddress={key}))"',
        check=filter_wrong,
    )
    attribute: str = option(
        doc="The attribute that has the value; several values are joined by commas, as an alias's targets are.",
        example='"uid"',
    )
    list_filter: str = option(
        "",
        doc="Which entries are the members of a list, without a key. Left out, no list can have its members from here.",
        example='"(memberOf=cn=team,ou=groups,dc=example,dc=org)"',
        check=_list_filter_wrong,
    )
    list_attribute: str = option(
        "mail", doc="The attribute that has the member; each of several values is one.", example='"mail"'
    )
    connections: int = option(2, doc="The most connections, each with a thread.", unit="connections", check=at_least(1))

    def contradictions(self) -> Iterable[tuple[str, str, str]]:
        yield from missing("ldap", "ldap")
        if self.bind and not self.password:
            # RFC 4513 5.1.2: a server takes a bind without password as one of nobody's, and says that it succeeded.
            yield "bind", "has no password, so the server would take us for nobody", "write password = ..."


@provider("table", "ldap", LdapTableOptions)
@implementer(IPagedTable)
class LdapTable(ThreadedTable):
    """See the module's text."""

    def __init__(self, options: LdapTableOptions, services: Services) -> None:
        ldap, escape = package("ldap"), package("ldap.filter").escape_filter_chars
        lister = (lambda: _Lister(options, ldap, escape)) if options.list_filter else None
        super().__init__(options, services, lambda: _Worker(options, ldap, escape), options.connections, lister)

    @staticmethod
    def cannot_list(options: LdapTableOptions) -> str:
        """Why it cannot tell all that it holds, or ""."""
        return "" if options.list_filter else "has no list_filter"


class Server:
    """A connection, of one thread, to whomever the options say: a table's, or accounts' (mta/accounts/ldap.py)."""

    def __init__(self, options: Any, ldap: Any, escape: Any) -> None:
        self._options = options
        self._ldap = ldap
        self._escape = escape
        self._connection: Any = None
        self._scope = {"sub": ldap.SCOPE_SUBTREE, "one": ldap.SCOPE_ONELEVEL, "base": ldap.SCOPE_BASE}[options.scope]

    def connect(self) -> None:
        """Raises ``Unreachable``."""
        ldap, options = self._ldap, self._options
        try:
            connection = ldap.initialize(options.url)
            self._connection = connection
            connection.set_option(ldap.OPT_REFERRALS, 0)
            connection.set_option(ldap.OPT_NETWORK_TIMEOUT, options.timeout)
            connection.set_option(ldap.OPT_TIMEOUT, options.timeout)
            connection.set_option(ldap.OPT_X_TLS_REQUIRE_CERT, ldap.OPT_X_TLS_DEMAND)
            if options.ca is not None:
                connection.set_option(ldap.OPT_X_TLS_CACERTFILE, options.ca)
            connection.set_option(ldap.OPT_X_TLS_NEWCTX, 0)  # takes the two before
            if options.tls == "starttls" and options.url.startswith("ldap://"):
                connection.start_tls_s()
            if options.bind:
                connection.simple_bind_s(options.bind, options.password)
        except (ldap.LDAPError, ValueError) as error:  # ValueError: an option that the library does not take
            self.close()
            raise Unreachable(self.said(error)) from error

    def said(self, error: Exception) -> str:
        """What the library says of it; it hands over a dictionary."""
        told = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
        texts = [type(error).__name__, *(str(told[key]) for key in ("desc", "info") if key in told)]
        return " ".join(": ".join(texts).split())

    def close(self) -> None:
        """Give the connection up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.unbind_s()
            except self._ldap.LDAPError:
                pass  # it was closed already


class _Worker(Server):
    """Answers for single keys."""

    def answer(self, key: str) -> str | None:
        values = parameters(key)
        # RFC 4515 3
        written = PLACE.sub(lambda place: self._escape(values[place[1]]), self._options.filter)
        fresh = self._connection is None
        if fresh:
            self.connect()
        try:
            return self._asked(written)
        except self._ldap.SERVER_DOWN as error:
            self.close()
            if fresh:
                raise Unreachable(self.said(error)) from error
        except self._ldap.LDAPError as error:
            self.close()
            raise OSError(self.said(error)) from error
        self.connect()  # the server had closed it while nobody asked
        try:
            return self._asked(written)
        except self._ldap.LDAPError as error:
            self.close()
            raise Unreachable(self.said(error)) from error

    def _asked(self, written: str) -> str | None:
        options = self._options
        found = self._connection.search_ext_s(
            options.base, self._scope, written, [options.attribute], timeout=options.timeout, sizelimit=MOST_ROWS
        )
        return joined(
            value.decode("utf-8")
            for name, attributes in found
            if name is not None  # else it is a referral
            for values in attributes.values()
            for value in values
        )


class _Lister(Server):
    """Goes through all once, by the paged results of RFC 2696: a server gives many only so."""

    def __init__(self, options: LdapTableOptions, ldap: Any, escape: Any) -> None:
        super().__init__(options, ldap, escape)
        self._page = package("ldap.controls").SimplePagedResultsControl
        self._cookie: bytes | None = b""
        self._left: list[Pair] = []
        self.connect()

    def answer(self, most: int) -> list[Pair]:
        while len(self._left) < most and self._cookie is not None:
            self._left += self._next(most)
        found, self._left = self._left[:most], self._left[most:]
        return found

    def _next(self, most: int) -> list[Pair]:
        options = self._options
        control = self._page(True, size=most, cookie=self._cookie)
        try:
            asked = self._connection.search_ext(
                options.base, self._scope, options.list_filter, [options.list_attribute], serverctrls=[control]
            )
            _, found, _, controls = self._connection.result3(asked, timeout=options.timeout)
        except self._ldap.LDAPError as error:
            raise OSError(self.said(error)) from error
        told = [one for one in controls if one.controlType == self._page.controlType]
        self._cookie = (told[0].cookie or None) if told else None
        return [
            entry(value.decode("utf-8"))
            for name, attributes in found
            if name is not None  # else it is a referral
            for values in attributes.values()
            for value in values
        ]
