"""What concerns more than one option: names that must exist, contradictions, table files, the postmaster.

Contract: ``cross_check`` looks at all that could be read, also when other options are wrong, so that every mistake
is told at once; a name counts as there when its section is there, whatever is wrong within.  Table files are
read, nothing else of the world is asked.
How it fails: it returns problems and raises nothing.
Limits: whether a postmaster in a table that is no file reaches a mailbox cannot be told here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from typing import Any, Final, get_args, get_origin, get_type_hints

from mta.config.endpoint import tcp_port
from mta.config.files import unsafe
from mta.config.option import Network, TableName
from mta.config.pace_options import Pace
from mta.config.postmaster import table_file, undelivered
from mta.config.problems import Problem
from mta.config.render import walk_value
from mta.config.schema import Configuration, Domain, Listen, Route, Tls
from mta.config.section import Section
from mta.config.tree import Node, key_path
from mta.config.values import nearest
from mta.routing.aliases import parse_targets
from mta.routing.tables import TableError, read_table

#: The delivery service for every domain that nothing else is said of.
DEFAULT_DELIVERY: Final = "internet"
#: How many wrong lines of an aliases file are told.
_MOST_ALIASES: Final = 20
#: RFC 2606 and 6761: names for documentation and tests, which no host can have.
_PLACEHOLDERS: Final = frozenset(
    {"example.org", "example.com", "example.net", "example", "invalid", "test", "localhost"}
)


class Draft:
    """What could be read of a configuration; of lists and named tables, what is right in them.

    ``written`` are the top keys as they stand, ``origins`` the file of each key path.
    """

    def __init__(self, found: Mapping[str, Any], written: Mapping[str, Node], origins: Mapping[str, str]) -> None:
        self.found = found
        self.origins = origins
        self.listen: tuple[Listen | None, ...] = found.get("listen", ())
        self.networks: tuple[Network | None, ...] = getattr(found.get("relay"), "networks", ())
        self.domains: Mapping[str, Domain] = found.get("domains", {})
        self.route: tuple[Route | None, ...] = found.get("route", ())
        self.pace: tuple[Pace | None, ...] = found.get("pace", ())
        self.tables: Mapping[str, Section] = found.get("tables", {})
        self.delivery_names = _names(written.get("delivery"))
        self.table_names = _names(written.get("tables"))
        domains = written.get("domains")
        #: False: there are domains that could not be read.
        self.all_domains = domains is None or (
            isinstance(domains.value, dict) and len(domains.value) == len(self.domains)
        )

    def problem(self, path: str, what: str, instead: str = "") -> Problem:
        """A problem of the key, with the file that it or what it lies in stands in."""
        place = path
        while place and place not in self.origins:
            place = place[: max(place.rfind("."), place.rfind("["), 0)]
        return Problem(self.origins.get(place, ""), path, what, instead)


def cross_check(draft: Draft) -> list[Problem]:
    """All that is wrong; see the module's text."""
    found: list[Problem] = []
    for check in (_listeners, _tls, _open_relay, _domains, _routes, _services, _table_names, _table_files, _aliases):
        found += check(draft)
    return found or list(_postmaster(draft))


def cross_warnings(configuration: Configuration, origins: Mapping[str, str]) -> list[Problem]:
    """What is no mistake but hardly meant."""
    labels = configuration.hostname.split(".")
    tails = {".".join(labels[index:]) for index in range(len(labels))}
    if not tails & _PLACEHOLDERS:
        return []
    what = f'"{configuration.hostname}" is a placeholder'
    return [Problem(origins.get("hostname", ""), "hostname", what, "write the full name of this host")]


def _names(node: Node | None) -> frozenset[str]:
    return frozenset(node.value) if node is not None and isinstance(node.value, dict) else frozenset()


def _twice(draft: Draft, key: str, items: Collection[Listen | Route | Pace | None]) -> Iterator[Problem]:
    counts = Counter(item.name for item in items if item is not None)
    for index, item in enumerate(items):
        if item is not None and counts[item.name] > 1:
            what = f'"{item.name}" is the name of {counts[item.name]} of them'
            yield draft.problem(f"{key}[{index}].name", what, "give each a name of its own")


def _listeners(draft: Draft) -> Iterator[Problem]:
    yield from _twice(draft, "listen", draft.listen)
    seen: dict[str, str] = {}
    for index, listener in enumerate(draft.listen):
        if listener is not None:
            first = seen.setdefault(listener.endpoint, listener.name)
            if first != listener.name:
                what = f'"{listener.endpoint}" is where the listener "{first}" is'
                yield draft.problem(f"listen[{index}].endpoint", what, "give each a port of its own")
            if listener.service == "lmtp" and tcp_port(listener.endpoint) == 25:
                # RFC 2033 5: a host that connects there expects SMTP, and mail would be lost between the two.
                what = "LMTP is never spoken on port 25"
                yield draft.problem(
                    f"listen[{index}].endpoint", what, 'write a UNIX socket or another port, as "tcp:24"'
                )


def _tls(draft: Draft) -> Iterator[Problem]:
    """Whether the files are right, the service and `mta check` see (mta/tls/): not all who ask may read keys."""
    tls = draft.found.get("tls")
    if not isinstance(tls, Tls):  # left out, or with mistakes of its own, which are told
        return
    if tls.key is not None and tls.certificate is None:
        yield draft.problem("tls.key", "there is no tls.certificate that it could be for", "name that too")
    if tls.certificate is None and tls.certificates is None and not tls.self_signed:
        for index, listener in enumerate(draft.listen):
            if listener is not None and listener.tls == "implicit":
                what = '"implicit" needs a certificate, and none is named'
                yield draft.problem(f"listen[{index}].tls", what, "name one in [tls], or leave out self_signed = false")


def _open_relay(draft: Draft) -> Iterator[Problem]:
    """Also where anybody may say that he is somebody else."""
    for whole in _whole(draft.networks):
        what = f'"{whole}" makes this an open relay: anybody may send anywhere'
        yield draft.problem("relay.networks", what, "name the networks of your own clients")
    for index, listener in enumerate(draft.listen):
        for key in ("proxy", "xclient") if listener is not None else ():
            for whole in _whole(getattr(listener, key)):
                what = f'"{whole}" makes this an open relay: anybody may say that he is a client of yours'
                yield draft.problem(f"listen[{index}].{key}", what, "name your own proxies alone")


def _whole(networks: Collection[Network | None]) -> list[Network]:
    """All the world, if it is in there; also where it stands in pieces."""
    joined: list[Network] = []
    joined += collapse_addresses([network for network in networks if isinstance(network, IPv4Network)])
    joined += collapse_addresses([network for network in networks if isinstance(network, IPv6Network)])
    return [network for network in joined if not network.prefixlen]


def _domains(draft: Draft) -> Iterator[Problem]:
    for name, domain in draft.domains.items():
        path = key_path("domains", name)
        if domain.relay:
            for key in ("mailboxes", "aliases"):
                if getattr(domain, key) is not None:
                    what = "a domain that is relayed has no mailboxes or aliases here"
                    yield draft.problem(f"{path}.{key}", what, "leave out this key or relay = true")
            if domain.deliver is not None:
                yield from _known_delivery(draft, f"{path}.deliver", domain.deliver)
            continue
        if domain.recipients is not None:
            what = "is for domains with relay = true"
            yield draft.problem(f"{path}.recipients", what, "write mailboxes = ... or add relay = true")
        if domain.deliver is not None:
            yield from _known_delivery(draft, f"{path}.deliver", domain.deliver)
        elif domain.mailboxes is not None or domain.aliases is None:
            instead = f"write deliver = {_choice(draft.delivery_names)}, or relay = true if it is not ours"
            yield draft.problem(path, "deliver is missing", instead)


def _routes(draft: Draft) -> Iterator[Problem]:
    yield from _twice(draft, "route", draft.route)
    yield from _twice(draft, "pace", draft.pace)
    for index, route in enumerate(draft.route):
        if route is not None:
            yield from _known_delivery(draft, f"route[{index}].via", route.via)


def _services(draft: Draft) -> Iterator[Problem]:
    if DEFAULT_DELIVERY not in draft.delivery_names:
        what = f"{DEFAULT_DELIVERY} is missing: mail for all other domains has no way out"
        yield draft.problem("delivery", what, f'write [delivery.{DEFAULT_DELIVERY}] and type = "smtp"')


def _known_delivery(draft: Draft, path: str, name: str) -> Iterator[Problem]:
    if name not in draft.delivery_names:
        what = f"there is no [delivery.{name}]"
        yield draft.problem(path, what, nearest(name, draft.delivery_names))


def _choice(names: Collection[str]) -> str:
    return " or ".join(f'"{name}"' for name in sorted(names)) or '"local"'


def _tables_named(draft: Draft) -> Iterator[tuple[str, str]]:
    """The key path and name of each table that an option names, also in the options of plugins."""
    hints = get_type_hints(Configuration, include_extras=True)
    for key, found in draft.found.items():
        for path, kind, value in walk_value(key, hints[key], found):
            if kind is TableName and value is not None:
                yield path, value
            elif get_origin(kind) is tuple and get_args(kind)[0] is TableName:
                for index, one in enumerate(value):
                    if one is not None:
                        yield f"{path}[{index}]", one


def _table_names(draft: Draft) -> Iterator[Problem]:
    for path, table in _tables_named(draft):
        name = table.removeprefix("table:")
        if name != table and name not in draft.table_names:
            yield draft.problem(path, f"there is no [tables.{name}]", nearest(name, draft.table_names))


def _table_files(draft: Draft) -> Iterator[Problem]:
    """Each file once."""
    files: dict[str, str] = {}
    for path, table in _tables_named(draft):
        if table.startswith("file:"):
            files.setdefault(table.removeprefix("file:"), path)
    for name in draft.tables:
        file = table_file(f"table:{name}", draft.tables)
        if file is not None:
            files.setdefault(file, f"{key_path('tables', name)}.path")
    for file, path in files.items():
        yield from _table_file(draft, path, file)


def _table_file(draft: Draft, path: str, file: str) -> Iterator[Problem]:
    try:
        trouble = unsafe(file)
        if trouble is not None:
            yield draft.problem(path, f"{file}: {trouble.what}", trouble.instead)
        read_table(file)
    except TableError as error:
        yield draft.problem(path, str(error), "correct the file")
    except OSError as error:
        what = f"{file} cannot be read: {error.strerror or error}"
        yield draft.problem(path, what, "correct the path, or make the file; it may be empty")


def _aliases(draft: Draft) -> Iterator[Problem]:
    """The targets in files of aliases."""
    for name, domain in draft.domains.items():
        file = table_file(domain.aliases, draft.tables)
        if file is None:
            continue
        try:
            entries = read_table(file).entries
        except (TableError, OSError):
            continue  # told above
        wrong = 0
        for alias, targets in entries.items():
            try:
                parse_targets(targets, name)
            except ValueError as error:
                wrong += 1
                if wrong <= _MOST_ALIASES:
                    yield draft.problem(f"{key_path('domains', name)}.aliases", f"{file}: {alias}: {error}")


def _postmaster(draft: Draft) -> Iterator[Problem]:
    """RFC 5321 4.5.1: it must reach a mailbox.  Asked only where all that it hangs on is right."""
    postmaster = draft.found.get("postmaster")
    if postmaster is None or None in draft.route or not draft.all_domains:
        return
    why = undelivered(postmaster, draft.domains, [route for route in draft.route if route], draft.tables)
    if why:
        yield draft.problem("postmaster", f'"{postmaster}" reaches no mailbox: {why}', "add it, or name another")
