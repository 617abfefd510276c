"""Reading a stored message whole, for those who need it so and know that it is small."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mta.interfaces import IMessage


async def read_whole(message: IMessage) -> bytes:
    """All octets of the message, its edits applied.  Raises ``Damaged``.  The caller has looked at its size."""
    chunks = message.open()
    pieces: list[bytes] = []
    try:
        while True:
            piece = chunks.next()
            octets = piece if isinstance(piece, bytes) else await piece
            if not octets:
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)
            pieces.append(octets)
    finally:
        chunks.close()
