"""Signatures for messages that we write ourselves: reports, and the copies of lists.

Contract: called when all octets are written and before the seal: what comes back are the edits with the signature on
top, and the event that tells of it.
How it fails: as ``Signer.sign``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mta.dkim.signer import Choose, Signer
from mta.events import Event
from mta.interfaces import IIncoming
from mta.message.edits import Edit, merge


class Own(NamedTuple):
    """All edits of the message, and what is to be told in its story."""

    edits: tuple[Edit, ...]
    story: tuple[Event, ...] = ()


async def sign_own(signer: Signer, incoming: IIncoming, edits: Sequence[Edit], choose: Choose, now: int) -> Own:
    """See the module's text.  ``edits`` are those so far, in order."""
    signed = await signer.sign(incoming.open(edits), choose)
    return Own(merge(signed.edits, edits), signed.story(now))
