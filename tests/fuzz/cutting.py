"""How one string of octets becomes a stream and the cuts in it, so that whoever makes octets makes both."""

from __future__ import annotations

import itertools

#: Cuts in one stream, at most.
MOST_CUTS = 7


def divide(raw: bytes) -> tuple[bytes, list[bytes]]:
    """The stream, and the same in pieces: the first octet says how many cuts, the next ones where.

    A cut is given in 256ths of the stream: so few octets reach every part of it, and all of a short one.
    """
    if not raw:
        return b"", [b""]
    count = raw[0] % (MOST_CUTS + 1)
    stream = raw[1 + count :]
    edges = [0, *sorted(octet * len(stream) // 256 for octet in raw[1 : 1 + count]), len(stream)]
    return stream, [stream[start:end] for start, end in itertools.pairwise(edges)]


def octet_by_octet(stream: bytes) -> list[bytes]:
    """Cut everywhere."""
    return [stream[place : place + 1] for place in range(len(stream))]
