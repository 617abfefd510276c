"""Which recipients an operator means: from options of the command line, over the control socket, to the spool.  Pure.

Contract: what ``to_wire`` made, ``from_wire`` reads back; ``change_from_wire`` likewise reads a change.  Both raise
``ValueError`` for anything else, with what is wrong in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mta.envelope import Destination, Recipient
from mta.interfaces import IMessage
from mta.spool.encode import encode_path
from mta.spool.settle import check_change, matches
from mta.spool.values import Change, ChangeKind, Row, Selection

_TEXTS: Final = ("place", "reason")
_ADDRESSES: Final = ("sender", "recipient")


def to_wire(selection: Selection) -> dict[str, Any]:
    """A selection as JSON."""
    return {
        "ids": list(selection.ids),
        "sender": selection.sender,
        "recipient": selection.recipient,
        "place": selection.place,
        "reason": selection.reason,
        "held": selection.held,
        "arrived_before": selection.arrived_before,
    }


def from_wire(fields: Any) -> Selection:
    """A selection that came over the control socket."""
    if not isinstance(fields, Mapping):
        raise ValueError("a selection is an object")
    ids = fields.get("ids") or []
    if not isinstance(ids, list) or not all(isinstance(id, str) for id in ids):
        raise ValueError("ids is a list of queue ids")
    values: dict[str, Any] = {"ids": tuple(id.upper() for id in ids)}
    for name in _TEXTS:
        values[name] = _of_type(fields, name, str) or ""
    for name in _ADDRESSES:
        values[name] = _of_type(fields, name, str)
    values["held"] = _of_type(fields, "held", bool)
    values["arrived_before"] = _of_type(fields, "arrived_before", int) or 0
    unknown = set(fields) - set(values)
    if unknown:
        # Never a wider selection than was meant: a newer command line may know a condition that we do not.
        raise ValueError(f"unknown conditions: {', '.join(sorted(unknown))}")
    return Selection(**values)


def _of_type(fields: Mapping[str, Any], name: str, kind: type) -> Any:
    value = fields.get(name)
    if value is not None and not isinstance(value, kind):
        raise ValueError(f"{name} is of the wrong type")
    return value


def change_from_wire(kind: Any, argument: Any) -> Change:
    """A change that came over the control socket."""
    try:
        change = ChangeKind(kind)
    except ValueError:
        raise ValueError(f"there is no change {kind!r}") from None
    if change is ChangeKind.REROUTE:
        argument = destination(argument) if isinstance(argument, str) else argument
    made = Change(change, argument)
    check_change(made)
    return made


def destination(text: str) -> Destination:
    """ "service" or "service:next hop"; "" is for what the configuration says."""
    service, _, hop = text.partition(":")
    return Destination(service, hop)


def concerns(selection: Selection, message: IMessage, recipients: tuple[Recipient, ...]) -> bool:
    """Is one of these recipients, which are in memory, among those that are meant?"""
    envelope = message.envelope
    sender = encode_path(envelope.reverse_path)
    return any(
        matches(
            selection,
            Row(id=message.id, sender=sender, size=message.size, arrived=envelope.arrived, recipient=recipient),
        )
        for recipient in recipients
    )
