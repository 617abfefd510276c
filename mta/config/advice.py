"""What is no mistake but hardly meant: the warnings of ``mta check``, each with what to write instead.

Contract: looks at a configuration that is right, and at nothing of the world.  A warning never hinders a start.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Final, get_args, get_origin

from mta.config.check import DEFAULT_DELIVERY, problem_at
from mta.config.endpoint import tcp_port
from mta.config.option import TABLES
from mta.config.problems import Problem
from mta.config.render import walk
from mta.config.schema import Configuration
from mta.config.tree import key_path
from mta.config.values import show_duration
from mta.routing.patterns import DomainPatterns

#: RFC 2606 and 6761: names for documentation and tests, which no host can have.
_PLACEHOLDERS: Final = frozenset(
    {"example.org", "example.com", "example.net", "example", "invalid", "test", "localhost"}
)
_SMTP: Final = 25
_SMTPS: Final = 465

Told = tuple[str, str, str]  # key path, what, what instead


def cross_warnings(configuration: Configuration, origins: Mapping[str, str]) -> list[Problem]:
    """All of them; see the module's text."""
    return [
        problem_at(origins, path, what, instead)
        for look in (
            _hostname,
            _ports,
            _routes,
            _logins,
            _in_clear,
            _nobody,
            _retries,
            _unused_deliveries,
            _unused_tables,
            _policies,
        )
        for path, what, instead in look(configuration)
    ]


def _hostname(configuration: Configuration) -> Iterator[Told]:
    labels = configuration.hostname.split(".")
    if {".".join(labels[index:]) for index in range(len(labels))} & _PLACEHOLDERS:
        yield "hostname", f'"{configuration.hostname}" is a placeholder', "write the full name of this host"


def _ports(configuration: Configuration) -> Iterator[Told]:
    for index, listener in enumerate(configuration.listen):
        port = tcp_port(listener.endpoint)
        if port == _SMTP and listener.tls == "implicit":
            # RFC 8314 3: what begins with TLS has port 465; other hosts speak SMTP in clear to 25.
            what = "other hosts begin in clear on port 25: none of them can deliver mail"
            yield f"listen[{index}].tls", what, 'write "starttls"'
        if port == _SMTPS and listener.tls != "implicit":
            what = f'"{listener.tls}" on port 465: clients begin with TLS there (RFC 8314) and never see a greeting'
            yield f"listen[{index}].tls", what, 'write "implicit"'


def _routes(configuration: Configuration) -> Iterator[Told]:
    """A route comes before the domain's ``deliver``."""
    for name, domain in configuration.domains.items():
        for index, route in enumerate(configuration.route):
            if not DomainPatterns(route.to).match(name):
                continue
            if domain.deliver is not None and domain.deliver != route.via:
                what = f'takes the mail of {name} too, whose deliver = "{domain.deliver}" then never counts'
                instead = "name other domains, or put a [[route]] for this one before it"
                yield f"route[{index}].to", what, instead
            break


def _logins(configuration: Configuration) -> Iterator[Told]:
    for name, section in configuration.delivery.items():
        host = getattr(section.options, "host", "")
        if getattr(section.options, "auth_in_clear", False) and host and not _near(host):
            what = f"{host} is not on this machine: we never log in there in clear"
            yield f"{key_path('delivery', name)}.auth_in_clear", what, 'leave it out; tls = "verify" is what it takes'


def _in_clear(configuration: Configuration) -> Iterator[Told]:
    for index, listener in enumerate(configuration.listen):
        if not (listener.auth or listener.service == "submission"):
            continue
        if listener.plain_without_tls:
            what = "passwords go over the network in clear, and whoever listens has them"
            yield f"listen[{index}].plain_without_tls", what, "leave it out, unless a proxy before us has ended TLS"
        elif listener.tls == "none" and not listener.xclient:
            what = "nobody can log in: that is offered over TLS alone"
            yield (
                f"listen[{index}].tls",
                what,
                'write "starttls"; behind a proxy that ends TLS, plain_without_tls = true',
            )


def _near(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _nobody(configuration: Configuration) -> Iterator[Told]:
    for index, listener in enumerate(configuration.listen):
        if listener.service == "submission" and not configuration.accounts and not listener.xclient:
            what = "nobody can send there: there are no accounts"
            yield f"listen[{index}].service", what, 'write [accounts.main] and type = "file", see docs/accounts.rst'


def _retries(configuration: Configuration) -> Iterator[Told]:
    """Waits and warnings that come after the end."""
    queue = configuration.queue
    yield from _late_waits("queue.retry", queue.retry or (), queue.expire_after)
    yield from _late_warnings("queue.warn_after", queue.warn_after, queue.expire_after)
    for index, one in enumerate(configuration.retry):
        end = one.expire_after or queue.expire_after
        yield from _late_waits(f"retry[{index}].after", one.after or (), end)
        yield from _late_warnings(f"retry[{index}].warn_after", one.warn_after or (), end)


def _late_waits(path: str, waits: tuple[float, ...], end: float) -> Iterator[Told]:
    passed = 0.0
    for number, wait in enumerate(waits, 1):
        passed += wait
        if passed >= end:
            what = f"wait {number} ends after {show_duration(passed)}, and mail is given up after {show_duration(end)}"
            yield path, what, "write shorter waits, or a longer expire_after"
            return


def _late_warnings(path: str, times: tuple[float, ...], end: float) -> Iterator[Told]:
    if times and times[-1] >= end:
        what = f"{show_duration(times[-1])} is never reached: mail is given up after {show_duration(end)}"
        yield path, what, "leave that time out, or write a longer expire_after"


def _unused_deliveries(configuration: Configuration) -> Iterator[Told]:
    used = {DEFAULT_DELIVERY, *(route.via for route in configuration.route)}
    used |= {domain.deliver or "" for domain in configuration.domains.values()}
    for name in configuration.delivery:
        if name not in used:
            what = "no domain and no route leads there, only mta queue reroute"
            yield key_path("delivery", name), what, f'name it: via = "{name}" in a [[route]], or take it out'


def _policies(configuration: Configuration) -> Iterator[Told]:
    service = configuration.service
    used = {*service.mx.policy, *service.submission.policy, *service.lmtp.policy, *configuration.queue.policy}
    used |= {name for listener in configuration.listen for name in listener.policy or ()}
    for name in configuration.policy:
        if name not in used:
            what = "nobody asks it"
            yield key_path("policy", name), what, f'name it: policy = ["{name}"] in a [service.X], or take it out'


def _unused_tables(configuration: Configuration) -> Iterator[Told]:
    used: set[str] = set()
    for leaf in walk(configuration):
        if leaf.kind in TABLES:
            used.add(str(leaf.value))
        elif get_origin(leaf.kind) is tuple and get_args(leaf.kind)[0] in TABLES:
            used.update(map(str, leaf.value))
    for name in configuration.tables:
        if f"table:{name}" not in used:
            yield key_path("tables", name), "nothing looks it up", f'name it: "table:{name}", or take it out'
