"""A message on its way into a mailbox or program, in pieces: the Return-Path that came along cut out, lines as wanted.

Contract: ``pieces`` gives what ``IMessage.open`` gives but for that (RFC 5321 4.4), each piece as soon as it is read.
How it fails: ``Damaged``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from mta.address import ReversePath
from mta.envelope import Recipient
from mta.interfaces import IMessage
from mta.message.edits import EditedStream
from mta.message.header import scan
from mta.message.lines import LfStream, to_lf
from mta.message.trace import delivered_to, original_to, return_path


def envelope_fields(reverse_path: ReversePath, recipients: tuple[Recipient, ...], *, lf: bool) -> bytes:
    """Return-Path, and for a single recipient Delivered-To and X-Original-To (RFC 5321 7.2: none tells of others)."""
    fields = return_path(reverse_path)
    if len(recipients) == 1:
        fields += delivered_to(recipients[0].address)
        if recipients[0].original != recipients[0].address:
            fields += original_to(recipients[0].original)
    return to_lf(fields) if lf else fields


async def pieces(message: IMessage, *, lf: bool) -> AsyncGenerator[bytes, None]:
    """See the module's text.  ``lf``: each CRLF becomes LF."""
    header = message.header()
    scanned = scan(header if isinstance(header, bytes) else await header)
    # A section that the limit cut short could end within the field.
    edited = EditedStream(scanned.cuts(b"return-path") if scanned.complete else ())
    lines = LfStream()
    chunks = message.open()
    try:
        while True:
            piece = chunks.next()
            octets = piece if isinstance(piece, bytes) else await piece
            out = edited.feed(octets) if octets else edited.finish()
            if lf:
                out = lines.feed(out)
            if not octets:
                yield out + lines.finish()
                return
            yield out
    finally:
        chunks.close()
