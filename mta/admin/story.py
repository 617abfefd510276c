"""The story of a message for people: what happened, in order, and what comes next and when.  Pure.

What it is: each event of the story becomes a line of time, name and details; those that everybody asks about (where it
came from, where it leads, what was tried) are set out so that they can be read down the page.
Contract: only what decisions stored is told; nothing is decided here.  Whatever a stranger sent is escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from mta import events
from mta.admin import show
from mta.admin.refusals import KEPT
from mta.bounce.catalog import Catalog
from mta.bounce.explain import explain, their_words
from mta.envelope import Envelope, Status
from mta.events import Event, escape
from mta.queue.paused import Pause
from mta.queue.progress import outcome_of, put_off
from mta.queue.retry import Retries
from mta.routing.values import EXPANSION, NOTE
from mta.spool.values import Row

_INDENT: Final = " " * 24
#: What stands before the host's words.
_ARROW: Final = " -> "
#: Addresses of one list that are named.
_NAMED: Final = 10


def told(story: Sequence[Event], envelope: Envelope | None = None, rows: Sequence[Row] = ()) -> Iterator[str]:
    """The lines of a story.  With the envelope and the recipients: what the sender asked for stands in it too."""
    day = ""
    for event in story:
        at = datetime.fromtimestamp(event.at / 1000, UTC)
        if (date := at.strftime("%a %d %b %Y")) != day:
            day = date
            yield f"{date} UTC"
        name, lines = _EVENTS.get(event.code, _plain)(event)
        clock = f"{at:%H:%M:%S}.{at.microsecond // 1000:03d}"
        first, *rest = lines or [""]
        yield f"{clock} {name:<10} {first}".rstrip()
        for line in rest:
            yield f"{_INDENT}{line}".rstrip()
        if event.code == "accepted":
            for line in asked_for(envelope, rows):
                yield f"{_INDENT}{line}"


Told = tuple[str, list[str]]


def _plain(event: Event) -> Told:
    return escape(event.code), [str(event)]


def _word(args: Mapping[str, Any], name: str) -> str:
    value = args.get(name)
    if isinstance(value, list | tuple):
        return ", ".join(escape(str(one)) for one in value)
    return "" if value is None else escape(str(value))


def _accepted(event: Event) -> Told:
    args = event.args
    size = args.get("size", args.get("octets"))
    tls = _word(args, "tls")
    spoken = ", ".join(word for word in (_word(args, "helo"), _word(args, "protocol"), tls) if word)
    about = f"listener {_word(args, 'listener')}"
    if isinstance(size, int):
        about += f", {show.octets(size)}"
    return "accepted", [
        f"{_word(args, 'client')} ({spoken}) {about}",
        f"from <{_word(args, 'sender')}>  to {_some_of(args.get('recipients'))}",
    ]


def _some_of(addresses: Any, count: Any = None) -> str:
    """So many of a list that it can be read; ``count`` is how many there are, if it is not all of them."""
    if not isinstance(addresses, list | tuple):
        return escape(str(addresses or ""))
    named = ", ".join(escape(str(one)) for one in addresses[:_NAMED])
    rest = (count if isinstance(count, int) else len(addresses)) - min(_NAMED, len(addresses))
    return f"{named} and {rest:,} others" if rest > 0 else named


def asked_for(envelope: Envelope | None, rows: Sequence[Row]) -> Iterator[str]:
    """What the sender asked for by extensions: of the whole message, and for its recipients."""
    if envelope is not None and (whole := list(_asked_for_all(envelope))):
        yield f"asked for: {'; '.join(whole)}"
    wishes: dict[str, dict[str, None]] = {}
    # What is told once for the address itself is not asked for those that it leads to.
    expanded = {row.recipient.original for row in rows if row.recipient.destination == EXPANSION}
    for row in rows:
        recipient = row.recipient
        if recipient.original in expanded and recipient.destination != EXPANSION:
            continue
        if recipient.destination.service == NOTE:
            continue  # nobody asked for it
        said = []
        if recipient.notify:
            said.append(f"NOTIFY={escape(recipient.notify)}")
        if recipient.orcpt:
            said.append(f"ORCPT={escape(recipient.orcpt)}")
        if said:
            wishes.setdefault(" ".join(said), {})[str(recipient.original)] = None
    for index, (wish, addresses) in enumerate(wishes.items()):
        if index == _NAMED:
            yield f"... and {len(wishes) - _NAMED:,} other wishes"
            return
        yield f"asked for: {wish}  for {_some_of(list(addresses))}"


def _asked_for_all(envelope: Envelope) -> Iterator[str]:
    if envelope.hold_until:
        yield f"not to be sent before {_full(envelope.hold_until)} (HOLD)"
    if envelope.deliver_by:
        then = "returned" if envelope.by_mode.startswith("R") else "told"
        yield f"delivery by {_full(envelope.deliver_by)}, or to be {then} (BY {escape(envelope.by_mode)})"
    for name in ("ret", "envid", "body"):
        if value := getattr(envelope, name):
            yield f"{name.upper()}={escape(value)}"
    if envelope.requiretls:
        yield "REQUIRETLS"
    if envelope.tls_optional:
        yield "TLS-Required: no"
    if envelope.smtputf8:
        yield "SMTPUTF8"


def _full(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%d %b %Y %H:%M:%S} UTC"


def _committed(event: Event) -> Told:
    return "250", [f"on disk, {_word(event.args, 'ms')} ms"]


def _expanded(event: Event) -> Told:
    args = event.args
    where = f"   {_word(args, 'where')}" if args.get("where") else ""
    return "leads", [f"{_word(args, 'address')}{_ARROW}{_word(args, 'targets')}   {_word(args, 'rule')}{where}"]


def _routed(event: Event) -> Told:
    args = event.args
    hop = f":{_word(args, 'next_hop')}" if args.get("next_hop") else ""
    return "route", [f"{_word(args, 'address')}{_ARROW}{_word(args, 'service')}{hop}   {_word(args, 'rule')}"]


def _attempt(event: Event) -> Told:
    args = event.args
    if args.get("status") == Status.EXPANDED:
        if args.get("service") not in (None, "", EXPANSION.service):  # a list, or a note: what has become of it
            name = "note" if args["service"] == NOTE else "expanded"
            return name, [f"<{_word(args, 'address')}>: {_word(args, 'reply').removeprefix('250 2.0.0 ')}"]
        return "expanded", [f"<{_word(args, 'address')}>: its targets have the message from here on"]
    seconds = f"{_word(args, 'seconds')}s" if args.get("seconds") not in (None, "") else ""
    how = "  ".join(word for word in (_word(args, "host"), _word(args, "tls"), seconds) if word)
    stage = f"{_word(args, 'stage')}: " if args.get("stage") else ""
    status = _word(args, "status")
    scope = f"   scope: {_word(args, 'scope')}" if status == Status.DEFERRED else ""
    return f"try {_word(args, 'attempt')}", [
        *_in_whose_name(args),
        f"<{_word(args, 'address')}> {status} by {_word(args, 'service')}  {how}".rstrip(),
        f"{stage}{_word(args, 'reply')}{scope}",
    ]


def _in_whose_name(args: Mapping[str, Any]) -> Iterator[str]:
    """What forwarding came to (``mta.routing.forwarding``)."""
    if args.get("rewrite"):
        path = f"; from <{_word(args, 'sent_as')}>" if args.get("sent_as") else ""
        yield f"{_word(args, 'address')}{_ARROW}{_word(args, 'service')}, {_word(args, 'rewrite')}{path}"


def _told_sender(event: Event) -> Told:
    args = event.args
    return "told", [f"<{_word(args, 'sender')}>: {_word(args, 'status')}; the report is {_word(args, 'report')}"]


def _not_told(event: Event) -> Told:
    return "not told", [_word(event.args, "reason")]


def _spawned(event: Event) -> Told:
    args = event.args
    return "report", [f"{_word(args, 'what')} about {_word(args, 'about')}, to <{_word(args, 'sender')}>"]


def _held(event: Event) -> Told:
    return "held", [f"<{_word(event.args, 'address')}> {_word(event.args, 'reason')}"]


def _policy(event: Event) -> Told:
    args = event.args
    about = f" of {_word(args, 'about')}" if args.get("about") else ""
    said = f"{_word(args, 'policy')} at {_word(args, 'stage')}{about}: {_word(args, 'decision')}"
    lines = [f"{said}   {_word(args, 'reply')}".rstrip()]
    return "policy", [*lines, _word(args, "why")] if args.get("why") else lines


def _added(event: Event) -> Told:
    return "added", [_word(event.args, "fields")]


def _cut(event: Event) -> Told:
    return "cut", [_word(event.args, "fields")]


def _changed(event: Event) -> Told:
    args = event.args
    detail = f": {_word(args, 'detail')}" if args.get("detail") else ""
    count = f", {_word(args, 'recipients')} recipients" if args.get("recipients") else ""
    return "operator", [f"{_word(args, 'change')}{detail}   by {_word(args, 'by')}{count}"]


def _refused(event: Event) -> Told:
    """What was refused a client: with what words, then from whom to whom, and why."""
    args = event.args
    what = _word(args, "command")
    words = _word(args, "reply") or _word(args, "why") or _word(args, "reason")
    if event.code == "not-kept" or not words:
        return "refused", [str(event)]
    begun = "cut off: " if event.code == "unfinished" else f"{what}: " if what else ""
    lines = [f"{_word(args, 'client')}   {begun}{words}"]
    if "sender" in args:
        to = f"<{_word(args, 'address')}>" if "address" in args else _some_of(args.get("recipients"), args.get("count"))
        lines.append(f"from <{_word(args, 'sender')}>  to {to}")
    for name in ("said", "why"):
        if args.get(name) and _word(args, name) != words:
            lines.append(_word(args, name))
    return "refused", lines


_EVENTS: Final[Mapping[str, Callable[[Event], Told]]] = {
    "accepted": _accepted,
    "committed": _committed,
    "expanded": _expanded,
    "routed": _routed,
    "attempt": _attempt,
    "bounced": _told_sender,
    "changed": _changed,
    "header-added": _added,
    "header-cut": _cut,
    "held": _held,
    "not-bounced": _not_told,
    "policy": _policy,
    "reported": _told_sender,
    **dict.fromkeys(sorted(KEPT | {events.NOT_KEPT.code}), _refused),
    "spawned": _spawned,
}


def what_next(
    row: Row,
    envelope: Envelope | None,
    rules: Retries | None,
    catalog: Catalog,
    pause: Pause | None,
    now: int,
    *,
    running: bool,
) -> Iterator[str]:
    """What comes next for a recipient that waits, and on whose side the trouble is."""
    recipient, progress = row.recipient, row.recipient.progress
    who = escape(str(recipient.address))
    yield f"NEXT         <{who}> {_step(row, pause, now, running)}"
    times = [] if envelope is None or rules is None else list(_times(row, envelope, rules, now))
    if times and not recipient.hold:
        yield f"             {'; '.join(times)}"
    if "reply" not in progress:
        return
    outcome = outcome_of(recipient, Status.DEFERRED)
    found = explain(recipient, outcome)
    yield f"WHY          {catalog.say(f'cause.{found.cause}')}"
    side = catalog.say(f"side.{found.side}").rstrip(".")
    yield f"WHOSE SIDE   {side if found.side != 'yours' else side.replace('yours', 'the sender' + chr(39) + 's', 1)}"
    if their_words(outcome):
        yield f"             {escape(str(outcome.attempt.get('host', '')))} said: {escape(str(outcome.reply))}"


def _step(row: Row, pause: Pause | None, now: int, running: bool) -> str:
    recipient, progress = row.recipient, row.recipient.progress
    number = recipient.attempts + 1
    by = f", by {escape(str(recipient.destination))}"
    if recipient.hold:
        return f"held until somebody releases it: {escape(recipient.hold)}"
    if "bounce" in progress:
        return f"is given up as soon as it is its turn: {escape(str(progress['bounce']))}"
    if pause is not None:
        return f"waits: {escape(pause.place)} is paused by {escape(pause.by)}{by}"
    if row.claimed and running:
        return f"try {number} is under way, or next when its destination has room{by}"
    if put_off(recipient):
        return f"try {number} as soon as its destination, which could not be reached, is reached again{by}"
    due = int(progress.get("try", recipient.due)) if progress.get("look") == recipient.due else recipient.due
    if due <= now:
        when = "as soon as its destination has room" if running else "when the service is started"
        return f"try {number} {when}{by}"
    return f"try {number} at {show.moment(due, now)}, in {show.age(due - now)}{by}"


def _times(row: Row, envelope: Envelope, rules: Retries, now: int) -> Iterator[str]:
    """Retry rule, warning, expiry."""
    recipient, progress = row.recipient, row.recipient.progress
    trouble, since = str(progress.get("trouble", "")), int(progress.get("since", 0))
    rule = rules.rule(trouble, recipient.address.domain)
    if rule.name:
        yield f"retry rule: {escape(rule.name)}"
    begins = max(envelope.arrived, envelope.hold_until)
    warning = next((begins + round(s * 1000) for s in rule.warn_after if begins + round(s * 1000) > now), 0)
    if warning:
        yield f"warning {show.moment(warning, now)}"
    if envelope.deliver_by > now:
        yield f"the sender wants it by {show.moment(envelope.deliver_by, now)}"
    yield f"expires {show.moment(rule.expires(envelope, since), now)}"
