"""How fast the wire code reads and writes message data: ``python -m benchmarks.wire``.

One large message, in the chunks that the network gives, through the decoder of DATA, that of BDAT and the dot stuffer;
the check of line lengths, bare newlines, NUL and 8-bit octets included.  Medians, in MB (10^6 octets) a second.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

from mta.smtp.wire import ChunkDecoder, DataDecoder, DotStuffer

#: What Twisted reads at once.
CHUNK = 65536
LINE = b"The quick brown fox jumps over the lazy dog, and back again. \r\n"
SIZE = 100_000_000
LIMIT = 998 + 2


def _chunks(octets: bytes) -> Iterator[bytes]:
    return (octets[start : start + CHUNK] for start in range(0, len(octets), CHUNK))


def _body() -> bytes:
    return (LINE * 20 + b".a line with a dot\r\n") * (SIZE // (len(LINE) * 20 + 20))


def decode_data(body: bytes) -> float:
    """Seconds to take it in by DATA."""
    data = DotStuffer().feed(body) + b".\r\n"
    decoder = DataDecoder(LIMIT)
    start = time.perf_counter()
    size = sum(len(decoder.feed(chunk)) for chunk in _chunks(data))
    seconds = time.perf_counter() - start
    assert decoder.done
    assert size == len(body)
    return seconds


def decode_chunks(body: bytes) -> float:
    """Seconds to take it in by one BDAT."""
    decoder = ChunkDecoder(LIMIT)
    decoder.begin(len(body))
    start = time.perf_counter()
    size = sum(len(decoder.feed(chunk)) for chunk in _chunks(body))
    seconds = time.perf_counter() - start
    assert decoder.done
    assert size == len(body)
    return seconds


def stuff(body: bytes) -> float:
    """Seconds to make it ready for DATA."""
    stuffer = DotStuffer()
    start = time.perf_counter()
    size = sum(len(stuffer.feed(chunk)) for chunk in _chunks(body)) + len(stuffer.end())
    seconds = time.perf_counter() - start
    assert size > len(body)
    return seconds


def rates(runs: int = 3) -> dict[str, float]:
    """Median MB/s of each."""
    body = _body()
    works: dict[str, Callable[[bytes], float]] = {
        "DATA in": decode_data,
        "BDAT in": decode_chunks,
        "DATA out": stuff,
    }
    return {name: len(body) / 1e6 / statistics.median(work(body) for _ in range(runs)) for name, work in works.items()}


def report() -> list[str]:
    return ["the wire code alone: " + ", ".join(f"{name} {rate:.0f} MB/s" for name, rate in rates().items())]


if __name__ == "__main__":
    print("\n".join(report()))
