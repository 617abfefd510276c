"""What concerns more than one option: names that must exist, contradictions, table files, the postmaster.

Contract: ``cross_check`` looks at all that could be read, also when other options are wrong, so that every mistake
is told at once; a name counts as there when its section is there, whatever is wrong within.  Table files are
read, nothing else of the world is asked.
How it fails: it returns problems and raises nothing.
Limits: whether a postmaster in a table that is no file reaches a mailbox cannot be told here.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from typing import Any, Final, get_args, get_origin, get_type_hints

from mta.bounce.catalog import wrong_languages
from mta.config.auth_options import logins
from mta.config.dkim_options import dkim
from mta.config.domain_check import domain_files, domains, known_delivery
from mta.config.domain_options import Domain
from mta.config.endpoint import clash, dual_stack, tcp_port
from mta.config.files import unsafe
from mta.config.forward_options import forwarding
from mta.config.list_check import lists
from mta.config.list_options import MailingList
from mta.config.local_check import local
from mta.config.option import TABLES, Network
from mta.config.pace_options import Pace
from mta.config.policy_check import policies
from mta.config.postmaster import undelivered
from mta.config.problems import Problem, Wrong
from mta.config.queue_options import Queue
from mta.config.render import walk_value
from mta.config.report_options import ReportOptions
from mta.config.schema import Configuration, Listen, Route, Tls
from mta.config.section import Section
from mta.config.table_check import table_circles, table_files
from mta.config.tree import Node
from mta.config.values import nearest
from mta.workers.shares import indivisible

#: The delivery service for every domain that nothing else is said of.
DEFAULT_DELIVERY: Final = "internet"


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
        self.lists: Mapping[str, MailingList] = found.get("lists", {})
        self.delivery_names = _names(written.get("delivery"))
        self.table_names = _names(written.get("tables"))
        self.policy_names = _names(written.get("policy"))
        domains = written.get("domains")
        #: False: there are domains that could not be read.
        self.all_domains = domains is None or (
            isinstance(domains.value, dict) and len(domains.value) == len(self.domains)
        )

    def problem(self, path: str, what: str, instead: str = "") -> Problem:
        """A problem of the key, with the file that it or what it lies in stands in."""
        return problem_at(self.origins, path, what, instead)


def problem_at(origins: Mapping[str, str], path: str, what: str, instead: str = "") -> Problem:
    """A problem of the key, with the file that it or what it lies in stands in."""
    place = path
    while place and place not in origins:
        place = place[: max(place.rfind("."), place.rfind("["), 0)]
    return Problem(origins.get(place, ""), path, what, instead)


def cross_check(draft: Draft) -> list[Problem]:
    """All that is wrong; see the module's text."""
    found: list[Problem] = []
    for check in (
        _listeners,
        _tls,
        _open_relay,
        domains,
        _routes,
        _services,
        _table_names,
        _table_files,
        table_circles,
        domain_files,
        lists,
        local,
        forwarding,
        logins,
        policies,
        dkim,
        _reports,
        _workers,
    ):
        found += check(draft)
    return found or list(_postmaster(draft))


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
    seen: list[Listen] = []
    dual = dual_stack()
    for index, listener in enumerate(draft.listen):
        if listener is not None:
            for other in seen:
                why = clash(listener.endpoint, other.endpoint, dual)
                if why:
                    what = f'"{listener.endpoint}" is where the listener "{other.name}" is: {why}'
                    yield draft.problem(f"listen[{index}].endpoint", what, "leave one out, or give it another port")
                    break
            seen.append(listener)
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


def _workers(draft: Draft) -> Iterator[Problem]:
    """What so many processes cannot share."""
    workers, queue = draft.found.get("workers", 1), draft.found.get("queue")
    if not isinstance(workers, int):
        return
    known = queue if isinstance(queue, Queue) else None
    for path, limit in indivisible(workers, known, draft.pace, draft.found.get("delivery", {})):
        what = f"{limit} cannot be divided among {workers} workers"
        yield draft.problem(path, what, f"write {workers} or more, or fewer workers")


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


def _routes(draft: Draft) -> Iterator[Problem]:
    yield from _twice(draft, "route", draft.route)
    yield from _twice(draft, "pace", draft.pace)
    for index, route in enumerate(draft.route):
        if route is not None:
            yield from known_delivery(draft, f"route[{index}].via", route.via)


def _services(draft: Draft) -> Iterator[Problem]:
    if DEFAULT_DELIVERY not in draft.delivery_names:
        what = f"{DEFAULT_DELIVERY} is missing: mail for all other domains has no way out"
        yield draft.problem("delivery", what, f'write [delivery.{DEFAULT_DELIVERY}] and type = "smtp"')


def _tables_named(draft: Draft) -> Iterator[tuple[str, str]]:
    """The key path and name of each table that an option names, also in the options of plugins."""
    hints = get_type_hints(Configuration, include_extras=True)
    for key, found in draft.found.items():
        for path, kind, value in walk_value(key, hints[key], found):
            if kind in TABLES and value is not None:
                yield path, value
            elif get_origin(kind) is tuple and get_args(kind)[0] in TABLES:
                for index, one in enumerate(value):
                    if one is not None:
                        yield f"{path}[{index}]", one


def _table_names(draft: Draft) -> Iterator[Problem]:
    for path, table in _tables_named(draft):
        name = table.removeprefix("table:")
        if name != table and name not in draft.table_names:
            yield draft.problem(path, f"there is no [tables.{name}]", nearest(name, draft.table_names))


def _table_files(draft: Draft) -> Iterator[Problem]:
    yield from table_files(draft, _tables_named(draft))


def _reports(draft: Draft) -> Iterator[Problem]:
    """The texts of each language that is chosen: shipped, or in a folder of the site's."""
    reports = draft.found.get("reports")
    if not isinstance(reports, ReportOptions) or None in reports.language:
        return  # left out, or with mistakes of its own, which are told
    folder = reports.texts
    if folder is not None and (trouble := _untrusted(folder)):
        yield draft.problem("reports.texts", trouble.what, trouble.instead)
        return
    why = wrong_languages(reports.language, folder)
    if why:
        yield draft.problem("reports.language", why)


def _untrusted(folder: str) -> Wrong | None:
    """Why the texts in a folder cannot be believed, or None."""
    try:
        names = [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith(".toml")]
        for path in (folder, *names):
            if wrong := unsafe(path, folder=path is folder):
                return Wrong(f"{path}: {wrong.what}", wrong.instead)
    except OSError as error:
        return Wrong(f"{folder} cannot be read: {error.strerror or error}", "correct the path, or make the folder")
    return None


def _postmaster(draft: Draft) -> Iterator[Problem]:
    """RFC 5321 4.5.1: it must reach a mailbox.  Asked only where all that it hangs on is right."""
    postmaster = draft.found.get("postmaster")
    if postmaster is None or None in draft.route or not draft.all_domains:
        return
    why = undelivered(postmaster, draft.domains, [route for route in draft.route if route], draft.tables)
    if why:
        yield draft.problem("postmaster", f'"{postmaster}" reaches no mailbox: {why}', "add it, or name another")
