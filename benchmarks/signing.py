"""What a DKIM signature costs, alone: ``python -m benchmarks.signing``; figures of CPU time, of one process.

What it is: messages of 1 and 100 KiB signed one after another by ``mta.dkim.signer``, with RSA-2048 in the reactor's
thread and in one beside it, with Ed25519, and with both; the same by dkimpy; and bodies through the canonical form.
CPU time of the process and of the reactor's thread are told apart: the difference is what a thread takes off it.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import dkim
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.threads import deferToThread

from mta.dkim.canon import RelaxedBody
from mta.dkim.keys import Algorithm, PrivateKey, make
from mta.dkim.sign import Signatory
from mta.dkim.signer import Signer
from mta.dkim.store import Signing

COUNT = 2000
AT_ONCE = 50
PIECE = 128 << 10
LINE = b"The quick brown fox jumps over the lazy dog and goes on.\r\n"
HEADER = (
    b"From: Ann <ann@example.org>\r\nTo: bob@b.example\r\nSubject: hello there\r\n"
    b"Date: Tue, 24 Nov 2026 19:00:00 +0000\r\nMessage-ID: <x@example.org>\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n"
)
BODIES = {
    "text": LINE,
    "base64": base64.b64encode(bytes(range(57))) + b"\r\n",
    "runs of spaces": b"sit  amet\t\tconsectetur \t adipiscing  \r\n",
}


class Ring(NamedTuple):
    """Keys in memory, as ``mta.dkim.ring.KeyRing`` has them."""

    keys: tuple[Signing, ...]

    def signing(self, domain: str) -> tuple[Signing, ...]:
        return self.keys


class Chunks:
    """A message in memory, as ``IChunks``."""

    def __init__(self, octets: bytes) -> None:
        self._left: Iterator[bytes] = iter([octets[at : at + PIECE] for at in range(0, len(octets), PIECE)])

    def next(self) -> bytes:
        return next(self._left, b"")

    def close(self) -> None:
        """Nothing is held."""


async def sign_many(signer: Signer, octets: bytes) -> tuple[float, float]:
    """Microseconds of CPU a message: of the process, and of this thread."""
    process, thread = time.process_time(), time.thread_time()
    for _ in range(COUNT // AT_ONCE):
        chunks: list[Any] = [Chunks(octets) for _ in range(AT_ONCE)]
        for signing in [Deferred.fromCoroutine(signer.sign(one, signer.author)) for one in chunks]:
            await signing
    return (time.process_time() - process) / COUNT * 1e6, (time.thread_time() - thread) / COUNT * 1e6


def speed(line: bytes) -> float:
    """MB/s of a body of such lines through the canonical form."""
    body = line * ((8 << 20) // len(line))
    relaxed, started = RelaxedBody(len), time.process_time()
    for at in range(0, len(body), PIECE):
        relaxed.feed(body[at : at + PIECE])
    relaxed.finish()
    return len(body) / (time.process_time() - started) / 1e6


def dkimpy(key: PrivateKey, octets: bytes) -> float:
    """Microseconds of CPU a message."""
    if key.algorithm is Algorithm.RSA:
        secret = key.secret.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    else:
        secret = base64.b64encode(key.secret.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))
    started = time.process_time()
    for _ in range(100):
        dkim.sign(octets, b"s", b"example.org", secret, signature_algorithm=key.algorithm.encode())
    return (time.process_time() - started) / 100 * 1e6


async def run() -> None:
    keys = {algorithm: make(algorithm) for algorithm in Algorithm}
    by = {name: Signing(Signatory("example.org", "s", name), key) for name, key in keys.items()}
    rsa, ed25519 = by[Algorithm.RSA], by[Algorithm.ED25519]
    rows: list[tuple[str, tuple[Signing, ...], Callable[..., Any]]] = [
        ("RSA-2048, in the reactor's thread", (rsa,), maybeDeferred),
        ("RSA-2048, in a thread", (rsa,), deferToThread),
        ("Ed25519", (ed25519,), maybeDeferred),
        ("both, RSA in a thread", (rsa, ed25519), deferToThread),
    ]
    for size in (1 << 10, 100 << 10):
        octets = HEADER + LINE * (size // len(LINE))
        for name, chosen, in_thread in rows:
            ring: Any = Ring(chosen)
            process, thread = await sign_many(Signer(ring, lambda: 0, in_thread), octets)
            print(f"{size >> 10:4} KiB  {name:36} {process:7.0f} us, of the reactor's thread {thread:7.0f} us")
        for algorithm, key in keys.items():
            print(f"{size >> 10:4} KiB  dkimpy, {algorithm:28} {dkimpy(key, octets):7.0f} us")
    for name, line in BODIES.items():
        print(f"canonical form, {name:30} {speed(line):7.0f} MB/s")


def main() -> None:
    """See the module's text."""
    reactor: Any = global_reactor
    work = Deferred.fromCoroutine(run())
    work.addErrback(lambda failure: failure.printTraceback())
    work.addBoth(lambda _: reactor.callWhenRunning(reactor.stop))
    reactor.run()


if __name__ == "__main__":
    main()
