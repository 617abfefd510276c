"""Server endpoint strings: only the plain kinds, checked without a reactor.

Contract: ``endpoint`` returns a string that ``twisted.internet.endpoints.serverFromString`` takes; the path of
a UNIX socket in it is absolute.  ``Wrong`` says what to write otherwise.  ``haproxy:`` and ``ssl:`` are refused:
the first believes what anybody says about himself, the second hides TLS from the session.
Limits: whether a port is free or a systemd socket is there shows only at the start.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, Final

from twisted.internet.endpoints import quoteStringArgument

from mta.config import values
from mta.config.problems import Wrong, show

_KEYS: Final = {
    "haproxy": ("proxy", "the header of a PROXY is believed only from peers that the key names"),
    "ssl": ("tls", "TLS belongs to the session"),
    "tls": ("tls", "TLS belongs to the session"),
}
_FAMILIES: Final = ("INET", "INET6", "UNIX")
#: Connections that wait to be accepted; see ``with_backlog``.
BACKLOG: Final = 1024


def endpoint(value: Any, base: str) -> str:
    """Check an endpoint string; see the module's text."""
    found = values.text(value)
    args, keywords = _split(found)
    kind, given = args[0].lower(), args[1:]
    if kind in _KEYS:
        key, why = _KEYS[kind]
        raise Wrong(
            f'{show(found)} is not a plain endpoint: that is what the key "{key}" is for ({why})',
            f'write "tcp:..." here and the key "{key}" beside it',
        )
    reader = _KINDS.get(kind)
    if reader is None:
        known = ", ".join(_KINDS)
        raise Wrong(f"{show(found)} is not an endpoint of a known kind ({known})", 'write one such as "tcp:25"')
    names, check = reader
    if len(given) > len(names) or (given and keywords.get("interface") == ""):
        raise Wrong(
            f"{show(found)} has too many parts",
            r"write \: for each colon in an address: 'tcp6:25:interface=\:\:1'",
        )
    arguments = dict(zip(names, given, strict=False))
    for name, argument in keywords.items():
        if name not in names or name in arguments:
            what = "is given twice" if name in arguments else "is not known"
            raise Wrong(f'"{name}" of {show(found)} {what}', f"{kind} takes: {', '.join(names)}")
        arguments[name] = argument
    check(found, arguments, base)
    quoted = {name: quoteStringArgument(argument) for name, argument in arguments.items()}
    plain = [quoted.pop(name) for name in names[: len(given)]]
    return ":".join([kind, *plain, *(f"{name}={argument}" for name, argument in quoted.items())])


def tcp_port(checked: str) -> int:
    """The TCP port of an endpoint string that ``endpoint`` has returned; 0 where it has none."""
    args, keywords = _split(checked)
    port = keywords.get("port") or (args[1] if len(args) > 1 else "")
    return int(port) if args[0] in ("tcp", "tcp6") and port else 0


def bound_to(checked: str) -> str:
    """The address that an endpoint string, which ``endpoint`` has returned, is bound to."""
    return _place(checked)[1]


def clash(one: str, other: str, dual: bool) -> str:
    """Why two endpoint strings that ``endpoint`` has returned cannot both be had; "" where they can.

    ``dual``: a tcp6 endpoint without an interface takes IPv4 too, as on Linux (``dual_stack``).
    """
    first, second = _place(one), _place(other)
    if first[2] == second[2] == "0":
        return ""  # any port that is free
    if first == second:
        return "the same address"
    if first[0] not in ("tcp", "tcp6") or second[0] not in ("tcp", "tcp6") or first[2] != second[2] or not first[2]:
        return ""
    wide = [place for place in (first, second) if place[1] in ("0.0.0.0", "::")]  # noqa: S104  # compared
    if first[0] == second[0]:
        return f"{wide[0][1]} is all addresses" if wide else ""
    return "tcp6 takes IPv4 too" if dual and ("tcp6", "::", first[2]) in wide else ""


def dual_stack() -> bool:
    """Does a socket of IPv6 for all addresses take IPv4 too, as ipv6(7) has it by default?"""
    try:
        with open("/proc/sys/net/ipv6/bindv6only", encoding="ascii") as file:
            return file.read().strip() == "0"
    except OSError:
        return False


def _place(checked: str) -> tuple[str, str, str]:
    """The kind, the interface or path, and the port."""
    args, keywords = _split(checked)
    kind = args[0].lower()
    given = {**dict(zip(_KINDS[kind][0], args[1:], strict=False)), **keywords}
    if kind not in ("tcp", "tcp6"):
        return kind, given.get("address", checked), ""
    interface = given.get("interface", "")
    if ":" in interface:
        kind = "tcp6"
    return kind, interface or ("::" if kind == "tcp6" else "0.0.0.0"), str(int(given["port"]))  # noqa: S104  # compared


def with_backlog(checked: str) -> str:
    """An endpoint string that ``endpoint`` has returned, with room for a burst of connections where it says nothing
    else: with Twisted's 50, who finds no room tries again a second later, and again."""
    args, keywords = _split(checked)
    names = _KINDS[args[0].lower()][0]
    if "backlog" not in names or "backlog" in keywords or len(args) - 1 > names.index("backlog"):
        return checked
    return f"{checked}:backlog={BACKLOG}"


def _split(description: str) -> tuple[list[str], dict[str, str]]:
    """Positional and keyword arguments, by Twisted's rules: ":" divides, "=" names, a backslash quotes."""
    args: list[str] = []
    keywords: dict[str, str] = {}
    name: str | None = None
    current = ""
    letters = iter(description + ":")
    for letter in letters:
        if letter == "\\":
            current += next(letters)
        elif letter == "=" and name is None:
            name, current = current, ""
        elif letter != ":":
            current += letter
        else:
            if name is None:
                args.append(current)
            elif name in keywords:
                raise Wrong(f'"{name}" stands twice in {show(description)}', "write it once")
            else:
                keywords[name] = current
            name, current = None, ""
    if current or name is not None:
        raise Wrong(f"{show(description)} ends in a backslash", "leave it out")
    if not args:
        raise Wrong(f"{show(description)} does not begin with its kind", 'write one such as "tcp:25"')
    return args, keywords


def _number(found: str, arguments: dict[str, str], name: str, most: int) -> None:
    given = arguments.get(name, "0")
    if not (given.isascii() and given.isdigit() and len(given) <= 9 and int(given) <= most):
        raise Wrong(f"the {name} of {show(found)} is not a number up to {most}", 'write one such as "tcp:25"')


def _tcp(found: str, arguments: dict[str, str], base: str) -> None:
    if not arguments.get("port"):
        raise Wrong(f"{show(found)} names no port", 'write one such as "tcp:25"')
    _number(found, arguments, "port", 65535)
    _number(found, arguments, "backlog", 65535)
    interface = arguments.get("interface", "")
    try:
        if interface:
            ip_address(interface)
    except ValueError:
        raise Wrong(
            f"the interface of {show(found)} is not an IP address", 'write "tcp:25:interface=192.0.2.1"'
        ) from None


def _unix(found: str, arguments: dict[str, str], base: str) -> None:
    if not arguments.get("address"):
        raise Wrong(f"{show(found)} names no path", 'write "unix:/run/mta/mx.sock"')
    arguments["address"] = values.path(arguments["address"], base)
    # Twisted would let anybody connect.
    mode = arguments.setdefault("mode", "660")
    if not (mode.isascii() and mode.isdigit() and len(mode) <= 4 and not set(mode) & {"8", "9"}):
        raise Wrong(f"the mode of {show(found)} is not octal", 'write "unix:/run/mta/mx.sock:mode=660"')
    _number(found, arguments, "backlog", 65535)
    _number(found, arguments, "lockfile", 1)


def _systemd(found: str, arguments: dict[str, str], base: str) -> None:
    if arguments.get("domain") not in _FAMILIES or ("index" in arguments) == ("name" in arguments):
        raise Wrong(
            f"{show(found)} does not name a family ({', '.join(_FAMILIES)}) and one of index and name",
            'write "systemd:domain=INET:name=mx"',
        )
    _number(found, arguments, "index", 1000)


_Kind = tuple[tuple[str, ...], Callable[[str, dict[str, str], str], None]]
_KINDS: Final[dict[str, _Kind]] = {
    "tcp": (("port", "interface", "backlog"), _tcp),
    "tcp6": (("port", "backlog", "interface"), _tcp),
    "unix": (("address", "mode", "backlog", "lockfile"), _unix),
    "systemd": (("domain", "index", "name"), _systemd),
}
