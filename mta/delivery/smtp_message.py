"""What is said of a message to one host: the lines of MAIL and RCPT, or what the host lacks for it.  Pure.

What it is: ``plan_transmission`` takes the message, the recipients and what the host offers, and gives the
transaction for those who can be in it.
Contract: a parameter is sent where the host offers its extension and the message needs it, never else.  What the
message needs and the host does not offer is told as a ``Lack`` for the message or for single recipients: the caller
tries the next host, and reports the lack when there is none.  Only what the sender asked for is a need: SMTPUTF8
where an address or the header has more than ASCII (RFC 6531 3.2), not wherever it was declared.
Limits: recipients that a limit of the host leaves out (RFC 9422) are in neither list: they wait for the next
transaction, those of ``full`` for another connection.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from mta.address import Address, show_path
from mta.envelope import Envelope, Recipient, Scope
from mta.interfaces import IChunks
from mta.reply import Reply
from mta.smtp.client_parameters import deliver_by, mail_dsn, notify_of_delay, original_recipient, rcpt_dsn
from mta.smtp.client_values import Outgoing
from mta.smtp.extensions import Capabilities

TOO_BIG: Final = Reply.of(552, "5.3.4", "The message is larger than the next host takes")
NEEDS_UTF8: Final = Reply.of(553, "5.6.7", "An address has characters outside ASCII and the next host takes none")
NEEDS_UTF8_HEADER: Final = Reply.of(554, "5.6.9", "The header is in UTF-8 and the next host takes none such")
NEEDS_TLS: Final = Reply.of(550, "5.7.10", "The sender requires TLS and the next host was not reached by verified TLS")
NEEDS_REQUIRETLS: Final = Reply.of(550, "5.7.30", "The sender requires TLS on the whole way and the next host cannot")
NEEDS_DELIVERBY: Final = Reply.of(554, "5.3.3", "The sender set a time limit that the next host cannot keep")
TOO_LATE: Final = Reply.of(554, "5.4.7", "The time that the sender set for the delivery is over")
TOO_SHORT: Final = Reply.of(554, "5.4.7", "The time that is left for the delivery is less than the next host needs")
BAD_PATH: Final = Reply.of(553, "5.1.3", "An address has characters that no command line can have")

# RFC 5321 2.3.8: what could end a command line, and their kin; and what has no encoding.
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
#: BY has the mode first, then "T" for trace (RFC 2852 4).
_RETURN: Final = "R"


class Content(NamedTuple):
    """The message as it would be sent, be it stored so or converted.

    ``eight_bit``: it has octets over 127; ``binary``: its lines are not all lines of text; ``utf8_header``: it was
    declared with SMTPUTF8 and its header section is not ASCII (RFC 6532 3.2).
    """

    envelope: Envelope
    open: Callable[[], IChunks]
    size: int
    eight_bit: bool = False
    binary: bool = False
    utf8_header: bool = False


class Lack(NamedTuple):
    """Why a host cannot be given a message, or a recipient.  ``scope`` as of an ``Outcome``.

    ``convert``: a 7-bit form of the message could be given to it.  ``final``: no other host could either.
    """

    reply: Reply
    scope: Scope = Scope.MESSAGE
    convert: bool = False
    final: bool = False


class Transmission(NamedTuple):
    """One transaction: its recipients in the order of ``outgoing.rcpts``.

    ``lacking``: recipients, by id, for whom another host must be found.  ``full``: some have to wait for another
    connection.  ``taken_over``: the host was given whatever the sender wishes to be told; ``time_dropped``: it was not
    given the time that the sender set, since it knows no such thing.
    """

    recipients: tuple[Recipient, ...]
    outgoing: Outgoing
    lacking: Mapping[int, Lack]
    full: bool
    taken_over: bool
    time_dropped: bool


NEEDS_EIGHT_BIT: Final = Lack(
    Reply.of(554, "5.6.3", "The message has 8-bit octets and the next host takes none"), convert=True
)
NEEDS_BINARY: Final = Lack(Reply.of(554, "5.6.3", "The message is binary and the next host takes none"), convert=True)
_NOBODY: Final[Mapping[int, Lack]] = {}


def fits(address: Address) -> bool:
    """It can stand in a command line: no address that was read by our grammar cannot."""
    local = address.local
    return (local.isascii() and local.isprintable()) or not _UNFIT.search(local)


def plan_transmission(
    content: Content,
    recipients: Sequence[Recipient],
    capabilities: Capabilities,
    verified: bool,
    now: int,
    domains: set[str] | None = None,
) -> Transmission | Lack:
    """See the module's text.  ``verified``: the connection is over TLS to a host that proved its name; ``now`` is
    UTC milliseconds; ``domains`` are those of the recipients that the connection has had, where they count."""
    envelope = content.envelope
    lack = _message_lack(content, capabilities, verified, now)
    if lack is not None:
        return lack
    lacking: Mapping[int, Lack] = _NOBODY
    chosen = tuple(recipients)
    full = False
    international = [recipient for recipient in chosen if not recipient.address.local.isascii()]
    if international and not capabilities.smtputf8:
        lacking = {recipient.id: Lack(NEEDS_UTF8, Scope.RECIPIENT) for recipient in international}
        chosen = tuple(recipient for recipient in chosen if recipient.id not in lacking)
        international = []
    if capabilities.limits:
        fitting = _within_domains(chosen, capabilities.limits, domains)
        full = len(fitting) < len(chosen)
        chosen = fitting[: capabilities.limits.get("RCPTMAX", len(fitting))]
        international = [recipient for recipient in chosen if not recipient.address.local.isascii()]
    utf8 = bool(international) or content.utf8_header or not _is_ascii(envelope.reverse_path)
    time_dropped = bool(envelope.deliver_by) and capabilities.deliverby is None
    outgoing = Outgoing(
        _mail(content, chosen, capabilities, verified, now, utf8),
        _dsn_rcpts(chosen, utf8, time_dropped) if capabilities.dsn else _plain_rcpts(chosen),
        content.open,
        content.binary or (capabilities.chunking and capabilities.pipelining),
        content.size,
    )
    return Transmission(chosen, outgoing, lacking, full, capabilities.dsn, time_dropped)


def _message_lack(content: Content, capabilities: Capabilities, verified: bool, now: int) -> Lack | None:
    """Why the host cannot be given this message at all."""
    envelope = content.envelope
    if envelope.deliver_by and envelope.by_mode.startswith(_RETURN):
        lack = _time_lack(envelope, capabilities, now)
        if lack is not None:
            return lack
    # RFC 8689 5: a report, whose reverse-path is null, had rather go unprotected than be lost.
    if envelope.requiretls and envelope.reverse_path is not None:
        # RFC 8689 4.2.1
        if not verified:
            return Lack(NEEDS_TLS)
        if not capabilities.requiretls:
            return Lack(NEEDS_REQUIRETLS)
    if not capabilities.smtputf8:
        # RFC 6531 3.2
        if not _is_ascii(envelope.reverse_path):
            return Lack(NEEDS_UTF8)
        if content.utf8_header:
            return Lack(NEEDS_UTF8_HEADER)
    if content.binary and not capabilities.binarymime:
        # RFC 3030 3
        return NEEDS_BINARY._replace(convert=False) if content.utf8_header else NEEDS_BINARY
    if content.eight_bit and not (capabilities.eight_bit_mime or content.binary):
        # RFC 6152 3; and RFC 6531 3.2: an international header is never changed.
        return NEEDS_EIGHT_BIT._replace(convert=False) if content.utf8_header else NEEDS_EIGHT_BIT
    if capabilities.size and content.size > capabilities.size:
        # RFC 1870 7.  Hosts further away lead to this one, or have its limit.
        return Lack(TOO_BIG, final=True)
    return None


def _time_lack(envelope: Envelope, capabilities: Capabilities, now: int) -> Lack | None:
    # RFC 2852 4.1.4.1: a message that must come back when it is late goes only where that is known.  RFC 2852 6 has
    # the client try the other hosts of the domain then; 7 had rather it did not.  It costs little and delivers more.
    left = _seconds_left(envelope, now)
    if left <= 0:
        return Lack(TOO_LATE, final=True)
    if capabilities.deliverby is None:
        return Lack(NEEDS_DELIVERBY)
    if left < capabilities.deliverby:
        return Lack(TOO_SHORT)
    return None


def _seconds_left(envelope: Envelope, now: int) -> int:
    return (envelope.deliver_by - now) // 1000


def _is_ascii(path: Address | None) -> bool:
    return path is None or path.local.isascii()


def _within_domains(
    recipients: tuple[Recipient, ...], limits: Mapping[str, int], domains: set[str] | None
) -> tuple[Recipient, ...]:
    """Those whom RCPTDOMAINMAX, which counts over the session, leaves (RFC 9422 4)."""
    most = limits.get("RCPTDOMAINMAX")
    if most is None:
        return recipients
    seen = set(domains or ())
    chosen: list[Recipient] = []
    for recipient in recipients:
        domain = recipient.address.domain
        if domain in seen or len(seen) < most:
            seen.add(domain)
            chosen.append(recipient)
    return tuple(chosen)


def _mail(
    content: Content,
    recipients: Iterable[Recipient],
    capabilities: Capabilities,
    verified: bool,
    now: int,
    utf8: bool,
) -> bytes:
    """MAIL with the parameters that the host knows."""
    envelope = content.envelope
    line = f"MAIL FROM:{show_path(envelope.reverse_path)}"
    if capabilities.size_offered:
        line += f" SIZE={content.size}"
    if content.binary:
        line += " BODY=BINARYMIME"
    elif content.eight_bit or (envelope.body == "8BITMIME" and capabilities.eight_bit_mime):
        line += " BODY=8BITMIME"
    if utf8:
        line += " SMTPUTF8"
    if capabilities.dsn and (envelope.ret or envelope.envid):
        line += mail_dsn(envelope.ret, envelope.envid)
    if envelope.deliver_by and capabilities.deliverby is not None:
        line += deliver_by(_seconds_left(envelope, now), envelope.by_mode)
    if capabilities.mt_priority:
        # RFC 6710 4.2: told to each host that asks for it, the usual 0 too.  It is a parameter of MAIL; here the
        # recipients of one message may differ, and the highest counts.
        line += f" MT-PRIORITY={max((recipient.priority for recipient in recipients), default=0)}"
    if envelope.requiretls and verified and capabilities.requiretls:
        line += " REQUIRETLS"
    return line.encode("utf-8")


def _plain_rcpts(recipients: tuple[Recipient, ...]) -> tuple[bytes, ...]:
    return tuple([f"RCPT TO:<{recipient.address}>".encode() for recipient in recipients])


def _dsn_rcpts(recipients: tuple[Recipient, ...], utf8: bool, time_dropped: bool) -> tuple[bytes, ...]:
    return tuple([_rcpt_with_dsn(recipient, utf8, time_dropped) for recipient in recipients])


def _rcpt_with_dsn(recipient: Recipient, utf8: bool, time_dropped: bool) -> bytes:
    orcpt, notify = recipient.orcpt, recipient.notify
    if time_dropped:
        # RFC 2852 4.1.4.2: mode N; with mode R it would not go there.
        notify = notify_of_delay(notify)
    if not orcpt and recipient.original != recipient.address:
        # RFC 3461 5.2.1 (d): so that reports name the address that the sender knows.
        orcpt = original_recipient(recipient.original)
    if not (orcpt or notify):
        return f"RCPT TO:<{recipient.address}>".encode()
    return f"RCPT TO:<{recipient.address}>{rcpt_dsn(notify, orcpt, utf8)}".encode()
