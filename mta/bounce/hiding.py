"""What a sender is not told: the address that the one it wrote to leads to (docs/decisions/what-bounces-name.rst).

Contract: in a report to a sender every recipient goes by the address that was accepted (RFC 3464 2.3.2), and replies
of other hosts that name the further address name that instead.  The postmaster is told all.
Limits: a host that writes the address in another form, or has a telling name, tells it.
"""

from __future__ import annotations

import re
from dataclasses import replace

from mta.address import unicode_text
from mta.bounce.decide import Ended, Notice


def for_sender(notice: Notice) -> Notice:
    """The notice as its reader may have it."""
    if notice.kind.to_postmaster or all(recipient.original == recipient.address for recipient, _ in notice.ended):
        return notice
    return notice._replace(ended=tuple(_hidden(pair) for pair in notice.ended))


def _hidden(pair: Ended) -> Ended:
    recipient, outcome = pair
    if recipient.original == recipient.address:
        return pair
    forms = {str(recipient.address), unicode_text(recipient.address)}
    pattern = re.compile("|".join(map(re.escape, sorted(forms))), re.IGNORECASE)
    reply = outcome.reply
    lines = tuple(pattern.sub(lambda match: str(recipient.original), line) for line in reply.lines)
    if lines != reply.lines:
        outcome = replace(outcome, reply=replace(reply, lines=lines))
    return replace(recipient, address=recipient.original), outcome
