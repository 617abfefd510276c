"""Trace fields and their kin, as octets: Received, Return-Path, Delivered-To, Date, Message-ID.

Contract: what comes back is whole header lines with their CRLF: ASCII but for international addresses, folded
under 78 columns where it can be (RFC 5322 2.1.1), and no text of a client can add a line, a clause or a
comment to it, be it in the envelope or at the top of the message.  Dates are UTC, written +0000.
Limits: what a client calls itself is shown up to ``MAX_NAME`` characters.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from mta.address import Address, ReversePath, host_literal, show_path, unicode_text
from mta.envelope import LOCAL, Origin, Right
from mta.message.edits import Edit, merge
from mta.message.header import Header

MAX_NAME: Final = 255
_LINE: Final = 76  # with the white space that begins a folded line, under the 78 of RFC 5322 2.1.1
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# RFC 5321 4.1.2, 4.1.3: what a Domain or an address literal is made of; the underscore as in address.py.
_NOT_DOMAIN = re.compile(r"[^A-Za-z0-9._:\[\]-]")
_NOT_COMMENT = re.compile(r"[^A-Za-z0-9._:=/ -]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# RFC 6409 8.2, 8.3 speak of submission: mail of those who may send through us, or of ourselves.
_MAY_COMPLETE: Final = frozenset({Right.NETWORK, Right.AUTHENTICATED, Right.OURSELVES})


@lru_cache(maxsize=16)
def _date(second: int) -> str:
    t = time.gmtime(second)
    return (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday:02} {_MONTHS[t.tm_mon - 1]} {t.tm_year:04} "
        f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} +0000"
    )


def date_text(at_ms: int) -> str:
    """A date-time (RFC 5322 3.3) for UTC milliseconds."""
    return _date(at_ms // 1000)


def protocol_name(
    *, esmtp: bool = True, utf8: bool = False, tls: bool = False, auth: bool = False, lmtp: bool = False
) -> str:
    """The "with" of Received: RFC 3848, and RFC 6531 4.3 for messages with SMTPUTF8."""
    if not esmtp:
        return "SMTP"
    name = "LMTP" if lmtp else "SMTP"
    name = f"UTF8{name}" if utf8 else name if lmtp else f"E{name}"
    return f"{name}{'S' * tls}{'A' * auth}"


def received(
    origin: Origin, id: str, hostname: str, recipient: Address | None, at_ms: int, priority: int | None = None
) -> bytes:
    """The Received field (RFC 5321 4.4).

    ``recipient`` is the only one of the transaction: with several there is no "for", which would tell each
    of the others (RFC 5321 7.2).  ``priority`` is that of the message where one was asked for (RFC 6710 4.1).
    """
    by = [f"by {hostname}"]
    if origin.client or origin.helo:
        groups = [_from(origin), by]
        # RFC 3848 has the protocol's names.
        by.append(f"with {origin.protocol}")
        if origin.tls:
            version, _, cipher = _NOT_COMMENT.sub("?", origin.tls[:MAX_NAME]).partition(" ")
            by.append(f"(version={version} cipher={cipher})")
    else:
        # No client, no protocol: we wrote it.
        by[0] = f"Received: {by[0]}"
        by.append("(txmta)")
        groups = [by]
    by.append(f"id {id}")
    clauses = [] if recipient is None else [f"for <{_plain(recipient)}>"]
    if priority is not None:
        # RFC 6710 7; RFC 5321 4.4 has it behind all others.
        clauses.append(f"PRIORITY {priority}")
    last = clauses or by
    last[-1] += ";"
    groups.append([*clauses, date_text(at_ms)])
    return _folded(groups)


def _from(origin: Origin) -> list[str]:
    """Who it was: the name that it gave, and what we know; a client at a UNIX socket has a name alone, and a user of
    this machine a number too."""
    name = _NOT_DOMAIN.sub("?", origin.helo[:MAX_NAME])
    if origin.protocol == LOCAL:
        return [f"Received: from {name}", f"({_NOT_COMMENT.sub('?', origin.login).replace(':', ' ')})"]
    if not origin.client:
        return [f"Received: from {name}"]
    literal = host_literal(origin.client)
    reverse = _NOT_DOMAIN.sub("?", origin.reverse_name[:MAX_NAME])
    return [f"Received: from {name or literal}", f"({reverse} {literal})" if reverse else f"({literal})"]


def _folded(groups: Sequence[Sequence[str]]) -> bytes:
    """Each group on a line of its own; on several where it is too long (RFC 5322 2.2.3)."""
    lines: list[str] = []
    for pieces in groups:
        line = " ".join(pieces)
        if len(line) > _LINE:
            line = pieces[0]
            for piece in pieces[1:]:
                if len(line) + len(piece) < _LINE:
                    line += " " + piece
                else:
                    lines.append(line)
                    line = piece
        lines.append(line)
    return "\r\n\t".join(lines).encode() + b"\r\n"


def _plain(path: Address) -> str:
    # The grammar lets no control character through; tables and plugins make addresses too.  RFC 6531 3.7.3 wants
    # U-labels; where the local part is ASCII, A-labels serve as well and keep a message that any host can take so.
    return _CONTROL.sub("?", str(path) if path.local.isascii() else unicode_text(path))


def return_path(path: ReversePath) -> bytes:
    """Return-Path, which final delivery adds (RFC 5321 4.4)."""
    return _CONTROL.sub("?", f"Return-Path: {show_path(path)}").encode() + b"\r\n"


def delivered_to(address: Address) -> bytes:
    """Delivered-To: the mailbox that this copy went into."""
    return f"Delivered-To: {_plain(address)}\r\n".encode()


def value_of(field: bytes) -> bytes:
    """The value of a field that was made here, as ``Header.value`` gives it of one that was read."""
    return field.partition(b": ")[2][:-2]


def original_to(address: Address) -> bytes:
    """X-Original-To: the recipient as the sender gave it."""
    return f"X-Original-To: {_plain(address)}\r\n".encode()


def cut_fields(header: Header, rights: frozenset[Right]) -> tuple[tuple[Edit, ...], tuple[str, ...]]:
    """What has to go of the octets: edits, and the names of the fields.

    Bcc (RFC 5322 3.6.3) only from mail of clients that may send through us, as in ``missing_fields``.
    """
    if not (header.count(b"bcc") or header.count(b"resent-bcc")) or not rights & _MAY_COMPLETE:
        return (), ()
    cut = tuple(name for name in (b"bcc", b"resent-bcc") if header.count(name))
    return merge(*(header.cuts(name) for name in cut)), tuple(name.decode("ascii").title() for name in cut)


def missing_fields(
    header: Header, rights: frozenset[Right], id: str, hostname: str, at_ms: int
) -> tuple[tuple[Edit, ...], tuple[str, ...]]:
    """What goes between our Received and the octets: edits, and the names of the fields that they add.

    Date and Message-ID only where RFC 6409 8 lets us: for clients that may send through us.  Mail in transit is
    not ours to complete (RFC 5321 6.4).  They go on top: a section that is broken further down cannot hide them.
    An empty line comes before octets that would go on with a field of ours, in transit too.
    """
    # RFC 5322 2.2.3: a first line that begins with white space would be read as the rest of the field above it,
    # and a stranger could so add to our Received.  Behind the empty line it and all that follows is body.
    folded = header.octets.startswith((b" ", b"\t"))
    added: list[str] = []
    put = ""
    if rights & _MAY_COMPLETE:
        if folded or not header.count(b"date"):
            # RFC 6409 8.2; RFC 5322 3.6.1
            added.append("Date")
            put = f"Date: {date_text(at_ms)}\r\n"
        if folded or not header.count(b"message-id"):
            # RFC 6409 8.3; RFC 5322 3.6.4: unique, since the queue id is.
            added.append("Message-ID")
            put += f"Message-ID: <{id}@{hostname}>\r\n"
    if folded or (put and header.fields and not any(field.name for field in header.fields)):
        # Or a script sent text and no header: the empty line keeps its text from being taken for one.
        put += "\r\n"
    return ((Edit(0, 0, put.encode("ascii")),) if put else ()), tuple(added)
