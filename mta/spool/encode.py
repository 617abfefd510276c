"""Values as the columns of rows, and back.

Contract: what was encoded decodes to an equal value; decoding raises ``ValueError``, ``KeyError`` or
``TypeError`` for anything else, and runs nothing: JSON and text only, no objects.  Fields at their default
are left out, so that a field added later needs no migration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from json import JSONEncoder, loads
from typing import Any, Final

from mta.address import Address, ReversePath
from mta.envelope import Destination, Envelope, Origin, Recipient, Right
from mta.events import Event
from mta.message.edits import Edit
from mta.spool.settle import Ended
from mta.spool.values import Row, id_text

# One encoder made once: json.dumps makes a new one for each call with options of its own.
dump: Final = JSONEncoder(separators=(",", ":"), check_circular=False).encode

WAITING: Final = 0
CLAIMED: Final = 1
HELD: Final = 2
STAGED: Final = 3

#: The columns of ``decode_recipient``, from ``recipient r JOIN destination d``.
RECIPIENT: Final = (
    "r.message, r.n, r.state, d.service, d.next_hop, r.priority, r.due, r.attempts, r.address, r.original,"
    " r.path, r.orcpt, r.notify, r.hold, r.progress"
)
#: The columns of ``decode_ended``, from ``history r``.
ENDED: Final = "r.message, r.n, r.status, r.ended, r.reply, r.address, r.original, r.service, r.next_hop, r.detail"

_ORIGIN: Final = (
    ("listener", ""),
    ("protocol", ""),
    ("client", ""),
    ("port", 0),
    ("helo", ""),
    ("reverse_name", ""),
    ("tls", ""),
    ("login", ""),
)
_ENVELOPE: Final = (
    ("body", ""),
    ("eight_bit", False),
    ("ret", ""),
    ("envid", ""),
    ("smtputf8", False),
    ("requiretls", False),
    ("tls_optional", False),
    ("deliver_by", 0),
    ("by_mode", ""),
    ("hold_until", 0),
    ("configuration", ""),
)
_UNQUOTE: Final = re.compile(r"\\(.)", re.DOTALL)


def encode_envelope(envelope: Envelope) -> str:
    """All but the reverse-path and the arrival, which have columns of their own."""
    return _encode_envelope(
        envelope.origin,
        envelope.body,
        envelope.eight_bit,
        envelope.ret,
        envelope.envid,
        envelope.smtputf8,
        envelope.requiretls,
        envelope.tls_optional,
        envelope.deliver_by,
        envelope.by_mode,
        envelope.hold_until,
        envelope.configuration,
        envelope.rights,
    )


@lru_cache(maxsize=1024)  # the messages of one connection differ in none of these
def _encode_envelope(origin: Origin, *values: Any) -> str:
    *plain, rights = values
    fields: dict[str, Any] = {
        name: value for (name, default), value in zip(_ENVELOPE, plain, strict=True) if value != default
    }
    fields["origin"] = {name: value for name, default in _ORIGIN if (value := getattr(origin, name)) != default}
    if rights:
        fields["rights"] = sorted(rights)
    return dump(fields)


def decode_envelope(text: str, sender: str | None, arrived: int) -> Envelope:
    fields = loads(text)
    origin = {"listener": "", "protocol": "", **fields.pop("origin")}
    rights = frozenset(Right(right) for right in fields.pop("rights", ()))
    return Envelope(origin=Origin(**origin), reverse_path=decode_path(sender), arrived=arrived, rights=rights, **fields)


def encode_path(path: ReversePath) -> str | None:
    return None if path is None else str(path)


def decode_path(text: str | None) -> ReversePath:
    return None if text is None else decode_address(text)


def decode_address(text: str) -> Address:
    """What ``str(Address)`` wrote.  It was checked when it came in: nothing is checked or mapped again."""
    local, at, domain = text.rpartition("@")
    if not at:
        local, domain = text, ""
    if local.startswith('"') and local.endswith('"') and len(local) > 1:
        local = _UNQUOTE.sub(r"\1", local[1:-1])
    return Address(local, domain)


def encode_edits(edits: Sequence[Edit]) -> str | None:
    return dump([[offset, cut, put.decode("latin-1")] for offset, cut, put in edits]) if edits else None


def decode_edits(text: str | None) -> tuple[Edit, ...]:
    if not text:
        return ()
    return tuple(Edit(offset, cut, put.encode("latin-1")) for offset, cut, put in loads(text))


def decode_event(fields: Sequence[Any]) -> Event:
    code, args, at, recipient = fields
    return Event(code, args, at, recipient)


def decode_events(text: str) -> list[Event]:
    return [decode_event(fields) for fields in loads(text)]


def encode_recipient(message: int, state: int, destination: int, recipient: Recipient, sender: int) -> tuple[Any, ...]:
    """A row of the table ``recipient``; ``sender`` as by ``mta.sender.sender_key``."""
    address = str(recipient.address)
    original = recipient.original
    return (
        message,
        recipient.id,
        state,
        destination,
        recipient.priority,
        recipient.due,
        recipient.attempts,
        address,
        None if original is recipient.address or original == recipient.address else str(original),
        dump(recipient.path) if recipient.path else None,
        recipient.orcpt,
        recipient.notify,
        recipient.hold,
        dump(dict(recipient.progress)) if recipient.progress else None,
        sender,
    )


def decode_recipient(row: Sequence[Any]) -> Recipient:
    """From the columns ``RECIPIENT``."""
    (_, n, _, service, next_hop, priority, due, attempts, text, original, path, orcpt, notify, hold, progress) = row
    address = decode_address(text)
    return Recipient(
        id=n,
        address=address,
        original=address if original is None else decode_address(original),
        destination=Destination(service, next_hop),
        due=due,
        path=tuple(loads(path)) if path else (),
        orcpt=orcpt,
        notify=notify,
        priority=priority,
        hold=hold,
        attempts=attempts,
        progress=loads(progress) if progress else {},
    )


def encode_ended(message: int, end: Ended, ended: int) -> tuple[Any, ...]:
    """A row of the table ``history``."""
    recipient, status, reply, attempts, events = end
    original = recipient.original
    detail: dict[str, Any] = {"due": recipient.due, "attempts": attempts}
    if events:
        detail["events"] = events
    for name in ("path", "orcpt", "notify", "priority"):
        if value := getattr(recipient, name):
            detail[name] = value
    if recipient.progress:
        detail["progress"] = dict(recipient.progress)
    service, next_hop = recipient.destination
    return (
        message,
        recipient.id,
        status,
        ended,
        reply,
        str(recipient.address),
        None if original is recipient.address or original == recipient.address else str(original),
        service,
        next_hop,
        dump(detail),
    )


def ended_progress(progress: Mapping[str, Any], status: str, reply: str, ended: int) -> dict[str, Any]:
    """What a report about a recipient that has ended needs to know, in its ``progress``."""
    return {**progress, "status": status, "reply": reply, "ended": ended}


def decode_ended(row: Sequence[Any]) -> Recipient:
    """From the columns ``ENDED``; ``progress`` says how it ended."""
    _, n, status, ended, reply, text, original, service, next_hop, detail_text = row
    detail = loads(detail_text)
    address = decode_address(text)
    return Recipient(
        id=n,
        address=address,
        original=address if original is None else decode_address(original),
        destination=Destination(service, next_hop),
        due=detail["due"],
        path=tuple(detail.get("path", ())),
        orcpt=detail.get("orcpt", ""),
        notify=detail.get("notify", ""),
        priority=detail.get("priority", 0),
        attempts=detail["attempts"],
        progress=ended_progress(detail.get("progress", {}), status, reply, ended),
    )


def decode_row(row: Sequence[Any]) -> Row:
    """A line of the queue: the message's sender, size, arrival, then the columns ``RECIPIENT``."""
    sender, size, arrived, *rest = row
    return Row(
        id=id_text(rest[0]),
        sender=sender,
        size=size,
        arrived=arrived,
        recipient=decode_recipient(rest),
        claimed=rest[2] == CLAIMED,
    )


def decode_ended_row(row: Sequence[Any]) -> Row:
    """A line of history: the message's sender, size, arrival, then the columns ``ENDED``."""
    sender, size, arrived, *rest = row
    return Row(
        id=id_text(rest[0]),
        sender=sender,
        size=size,
        arrived=arrived,
        recipient=decode_ended(rest),
        status=rest[2],
        ended=rest[3],
        reply=rest[4],
    )
