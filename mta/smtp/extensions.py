"""The SMTP service extensions of both sides, in ONE table (RFC 5321 2.2).

What it is: the server makes its reply to EHLO from it (``ehlo_lines``) and knows the parameters of MAIL and RCPT
by it; the client reads the reply to EHLO into ``Capabilities``; the documentation is generated from it.
Contract: an extension that is not in the table is neither offered nor used; the parameters of one that is not
offered to a client are not recognized from it either; but for DSN, since NOTIFY=NEVER spares everybody a report.
How it fails: what a peer writes wrongly into its EHLO reply counts as not offered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from mta.sasl.exchange import MOST_LINE
from mta.smtp.attributes import XCLIENT, XFORWARD

#: RFC 9422 4: the value of a limit has at most so many digits; so an EHLO line cannot say more.
_LARGEST_LIMIT: Final = 999_999


class Circumstances(NamedTuple):
    """What decides which extensions are offered to a client, and with which arguments.

    ``rights``: it may send anywhere (relay networks, authenticated); ``tls``: the session is over TLS;
    ``starttls``: it could be; ``xclient``, ``xforward``: it may speak for others; ``reports``: its senders are told
    of success and delay; ``expn``: it may have addresses expanded; ``auth``: how it may log in; ``deliver_by`` and
    ``future_release`` are seconds, ``latest_release`` UTC seconds.
    """

    message_size: int
    recipients: int
    transactions: int
    deliver_by: int = 0
    future_release: int = 0
    latest_release: int = 0
    rights: bool = False
    tls: bool = False
    starttls: bool = False
    xclient: bool = False
    xforward: bool = False
    reports: bool = True
    expn: bool = False
    auth: tuple[str, ...] = ()


Offer = Callable[[Circumstances], str | None]


def _always(circumstances: Circumstances) -> str | None:
    return ""


def _size(circumstances: Circumstances) -> str | None:
    return str(circumstances.message_size)


def _with_rights(circumstances: Circumstances) -> str | None:
    return "" if circumstances.rights else None


def _with_expn(circumstances: Circumstances) -> str | None:
    # RFC 5321 3.5.2: listed where it is supported.
    return "" if circumstances.expn else None


def _over_tls(circumstances: Circumstances) -> str | None:
    return "" if circumstances.tls else None


def _before_tls(circumstances: Circumstances) -> str | None:
    # RFC 3207 4.2: not offered again once TLS is there.
    return "" if circumstances.starttls and not circumstances.tls else None


def _auth(circumstances: Circumstances) -> str | None:
    # RFC 4954 3: in clear there is none, where all of them need TLS.
    return " ".join(circumstances.auth) or None


def _with_reports(circumstances: Circumstances) -> str | None:
    # RFC 3461 5.2.2: who takes the wish must fulfil it; to whom it is not offered, the host before us does.
    return "" if circumstances.reports else None


def _deliver_by(circumstances: Circumstances) -> str | None:
    if not circumstances.reports:
        return None
    # RFC 2852 2: without an argument there is no fixed minimum.
    return str(circumstances.deliver_by) if circumstances.deliver_by else ""


def _future_release(circumstances: Circumstances) -> str | None:
    # RFC 4865 4.2: an extension of submission: for those who may send through us, and nobody else.
    if not circumstances.rights or not circumstances.future_release:
        return None
    latest = datetime(1970, 1, 1) + timedelta(seconds=circumstances.latest_release)
    return f"{circumstances.future_release} {latest:%Y-%m-%dT%H:%M:%SZ}"


def latest_release(now: int, longest: int) -> int:
    """The latest time until which a message may be held, in UTC seconds: what EHLO tells by the minute, and what holds
    for HOLDUNTIL (RFC 4865 4.2).  ``now`` is UTC milliseconds, ``longest`` seconds."""
    return now // 60_000 * 60 + longest


def _xclient(circumstances: Circumstances) -> str | None:
    return " ".join(XCLIENT) if circumstances.xclient else None


def _xforward(circumstances: Circumstances) -> str | None:
    return " ".join(XFORWARD) if circumstances.xforward else None


def _limits(circumstances: Circumstances) -> str | None:
    # RFC 9422 4: only limits that are so; one that cannot be written is left out.  RCPTDOMAINMAX: we have none.
    limits = (("MAILMAX", circumstances.transactions), ("RCPTMAX", circumstances.recipients))
    return " ".join(f"{name}={limit}" for name, limit in limits if limit <= _LARGEST_LIMIT) or None


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """One service extension.

    ``server`` and ``client`` say what each side does with it, "" where it has no support.  ``mail`` and ``rcpt``
    are the parameters that it brings to MAIL and RCPT, ``verbs`` its commands; ``longer`` by how many octets it makes
    a command's line longer.  ``argument`` says what stands behind the keyword in EHLO; ``offer`` gives that
    argument for a client, None where it is not offered to it.
    """

    keyword: str
    title: str
    rfc: str
    server: str = ""
    client: str = ""
    mail: tuple[str, ...] = ()
    rcpt: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    longer: Mapping[str, int] = field(default_factory=dict)
    argument: str = ""
    offer: Offer = _always


#: In the order in which EHLO shows them.
EXTENSIONS: Final[Mapping[str, Extension]] = {
    extension.keyword: extension
    for extension in (
        Extension(
            keyword="SIZE",
            title="Message size declaration",
            rfc="RFC 1870",
            server="refuses a message that is declared too big at MAIL, and one that is too big at its end",
            client="declares the size; a message over the host's limit fails without being sent",
            mail=("SIZE",),
            longer={"MAIL": 26},
            argument="the limit in octets, from limits.message_size",
            offer=_size,
        ),
        Extension(
            keyword="PIPELINING",
            title="Command pipelining",
            rfc="RFC 2920",
            server="replies in order, all replies to one segment in one",
            client="sends MAIL, every RCPT and DATA in one go",
        ),
        Extension(
            keyword="STARTTLS",
            title="TLS on the same connection",
            rfc="RFC 3207",
            server="on listeners with tls; nothing that was said before counts after it",
            client="used wherever it is offered; required where a rule says so",
            verbs=("STARTTLS",),
            offer=_before_tls,
        ),
        Extension(
            keyword="AUTH",
            title="Authentication",
            rfc="RFC 4954",
            server="on listeners with auth: over TLS, unless plain_without_tls is on; MAIL takes AUTH= and lets it be",
            mail=("AUTH",),
            verbs=("AUTH",),
            longer={"MAIL": 500, "AUTH": MOST_LINE - 512},
            argument="the mechanisms by which this client may log in now",
            offer=_auth,
            client="to smart hosts with a login, over verified TLS only",
        ),
        Extension(
            keyword="8BITMIME",
            title="8-bit MIME transport",
            rfc="RFC 6152",
            server="takes octets over 127 and keeps them",
            client="declares an 8-bit body; for a host without it an unsigned message is converted",
            mail=("BODY",),
            longer={"MAIL": 17},
        ),
        Extension(
            keyword="ENHANCEDSTATUSCODES",
            title="Enhanced status codes in replies",
            rfc="RFC 2034",
            server="gives one in each reply, those to the greeting, HELO and EHLO excepted",
            client="reads them from every host and keeps them with the reply",
        ),
        Extension(
            keyword="CHUNKING",
            title="Message data in chunks of known size",
            rfc="RFC 3030",
            server="takes BDAT in place of DATA; the octets of a refused chunk are read and dropped",
            client="sends BDAT in place of DATA; a small message goes out in one write with MAIL and RCPT",
            verbs=("BDAT",),
        ),
        Extension(
            keyword="BINARYMIME",
            title="Binary MIME transport",
            rfc="RFC 3030",
            server="with BODY=BINARYMIME a message may hold any octets; only by BDAT",
            client="declares a binary body; for a host without it an unsigned message is converted",
            mail=("BODY",),
        ),
        Extension(
            keyword="SMTPUTF8",
            title="Internationalized addresses and headers",
            rfc="RFC 6531",
            server="with the parameter local parts may be UTF-8 and domains U-labels; without it 550 or 553 5.6.7",
            client="asked for where the message needs it; a host without it does not get the message",
            mail=("SMTPUTF8",),
            longer={"MAIL": 10, "VRFY": 10, "EXPN": 10},
        ),
        Extension(
            keyword="DSN",
            title="Delivery status notifications",
            rfc="RFC 3461",
            server="for clients whose senders are told of success and delay (queue.tell_strangers): keeps what the "
            "sender wishes and goes by it",
            client="hands the wishes on; to a host without it they are our own to fulfil",
            mail=("RET", "ENVID"),
            rcpt=("NOTIFY", "ORCPT"),
            longer={"MAIL": len(" RET=FULL ENVID=") + 100, "RCPT": len(" NOTIFY= ORCPT=") + 28 + 500},
            offer=_with_reports,
        ),
        Extension(
            keyword="DELIVERBY",
            title="Time limit for the delivery",
            rfc="RFC 2852",
            server="as DSN; a message not delivered in time comes back (R) or its sender is told (N)",
            client="hands on what is left of the time",
            mail=("BY",),
            longer={"MAIL": 17},
            argument="the shortest time with return in seconds, from limits.deliver_by",
            offer=_deliver_by,
        ),
        Extension(
            keyword="FUTURERELEASE",
            title="Message held until a time",
            rfc="RFC 4865",
            server="for clients that may send anywhere: keeps the message in the queue until its time",
            mail=("HOLDFOR", "HOLDUNTIL"),
            longer={"MAIL": 34},
            argument="the longest time in seconds, from limits.future_release, and the date it gives now",
            offer=_future_release,
        ),
        Extension(
            keyword="MT-PRIORITY",
            title="Message transfer priorities",
            rfc="RFC 6710",
            server="-9 to 9, honoured by the queue; above 0 only for clients that may send anywhere",
            client="hands the priority on",
            mail=("MT-PRIORITY",),
            longer={"MAIL": 15},
        ),
        Extension(
            keyword="REQUIRETLS",
            title="TLS at every hop, or a report",
            rfc="RFC 8689",
            server="over TLS only",
            client="sends such a message only over verified TLS to hosts that offer it",
            mail=("REQUIRETLS",),
            longer={"MAIL": len(" REQUIRETLS")},
            offer=_over_tls,
        ),
        Extension(
            keyword="LIMITS",
            title="Limits of a session, told in advance",
            rfc="RFC 9422",
            server="MAILMAX and RCPTMAX from limits.transactions and limits.recipients",
            client="keeps to MAILMAX, RCPTMAX and RCPTDOMAINMAX",
            argument="MAILMAX and RCPTMAX",
            offer=_limits,
        ),
        Extension(
            keyword="ETRN",
            title="Waiting mail of a domain, asked for",
            rfc="RFC 1985",
            server="for clients that may send anywhere: what waits for a domain is tried now",
            verbs=("ETRN",),
            offer=_with_rights,
        ),
        Extension(
            keyword="EXPN",
            title="Where an address leads",
            rfc="RFC 5321",
            server="for clients to whom any address or list is open (verify.expn); VRFY needs no keyword",
            verbs=("EXPN",),
            offer=_with_expn,
        ),
        Extension(
            keyword="HELP",
            title="Help texts",
            rfc="RFC 5321",
            server="a text for every command",
            verbs=("HELP",),
        ),
        Extension(
            keyword="XCLIENT",
            title="Who the client is, as a proxy says",
            rfc="Postfix XCLIENT_README",
            server="from the peers of listen.xclient alone: the session is that of the client named",
            verbs=("XCLIENT",),
            argument="the attributes that are known",
            offer=_xclient,
        ),
        Extension(
            keyword="XFORWARD",
            title="Where a message came from, as a filter says",
            rfc="Postfix XFORWARD_README",
            server="from the peers of listen.xforward alone: told in the log and the story of the next message",
            verbs=("XFORWARD",),
            argument="the attributes that are known",
            offer=_xforward,
        ),
    )
}


def _longer() -> dict[bytes, int]:
    found: dict[bytes, int] = {}
    for extension in EXTENSIONS.values():
        if extension.server:
            for verb, octets in extension.longer.items():
                found[verb.encode()] = found.get(verb.encode(), 0) + octets
    return found


#: By how many octets the extensions make the lines of a command longer (RFC 5321 4.5.3.1.4).
LONGER: Final[Mapping[bytes, int]] = _longer()


@lru_cache(maxsize=64)
def ehlo_lines(circumstances: Circumstances) -> tuple[str, ...]:
    """The lines of our EHLO reply after the first."""
    lines: list[str] = []
    for extension in EXTENSIONS.values():
        argument = extension.offer(circumstances) if extension.server else None
        if argument is not None:
            lines.append(f"{extension.keyword} {argument}".rstrip())
    return tuple(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a host offers, as far as our client makes use of it; ``keywords`` has all that it says.

    ``size`` is its limit in octets: 0 says that it has no fixed one (RFC 1870 3).  ``deliverby`` is the shortest
    time with return that it takes, in seconds; None: no DELIVERBY (RFC 2852 2).  ``limits`` holds those of
    MAILMAX, RCPTMAX and RCPTDOMAINMAX that it tells (RFC 9422 4); ``auth`` names of mechanisms in capitals.
    """

    esmtp: bool = False
    size_offered: bool = False
    size: int = 0
    pipelining: bool = False
    eight_bit_mime: bool = False
    starttls: bool = False
    auth: tuple[str, ...] = ()
    chunking: bool = False
    binarymime: bool = False
    smtputf8: bool = False
    dsn: bool = False
    deliverby: int | None = None
    mt_priority: bool = False
    requiretls: bool = False
    limits: Mapping[str, int] = field(default_factory=dict)
    keywords: Mapping[str, str] = field(default_factory=dict)  # all of them, known to us or not

    @classmethod
    def read(cls, lines: Sequence[str]) -> Capabilities:
        """The lines of a host's EHLO reply after its first (RFC 5321 4.1.1.1)."""
        keywords: dict[str, str] = {}
        for line in lines:
            keyword, _, argument = line.strip().partition(" ")
            if keyword:
                keywords[keyword.upper()] = argument.strip()
        used = {keyword for keyword in keywords if keyword in EXTENSIONS and EXTENSIONS[keyword].client}
        return cls(
            esmtp=True,
            size_offered="SIZE" in used,
            size=_number(keywords["SIZE"]) if "SIZE" in used else 0,
            pipelining="PIPELINING" in used,
            eight_bit_mime="8BITMIME" in used,
            starttls="STARTTLS" in used,
            auth=tuple(keywords["AUTH"].upper().split()) if "AUTH" in used else (),
            chunking="CHUNKING" in used,
            # RFC 3030 3: it cannot be had without CHUNKING.
            binarymime="BINARYMIME" in used and "CHUNKING" in used,
            smtputf8="SMTPUTF8" in used,
            dsn="DSN" in used,
            # RFC 2852 2: a list, in which only the first entry has a meaning yet.
            deliverby=_number(keywords["DELIVERBY"].partition(",")[0]) if "DELIVERBY" in used else None,
            mt_priority="MT-PRIORITY" in used,
            requiretls="REQUIRETLS" in used,
            limits=_read_limits(keywords["LIMITS"]) if "LIMITS" in used else {},
            keywords=keywords,
        )


def _number(text: str) -> int:
    # RFC 1870 3: at most 20 digits.
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else 0


def _read_limits(text: str) -> dict[str, int]:
    """RFC 9422 4: names without regard to case; one that is unknown or not well formed counts as not told."""
    found: dict[str, int] = {}
    for word in text.split():
        name, _, value = word.partition("=")
        number = _number(value) if len(value) <= 6 else 0
        if name.upper() in ("MAILMAX", "RCPTMAX", "RCPTDOMAINMAX") and number:
            found[name.upper()] = number
    return found
