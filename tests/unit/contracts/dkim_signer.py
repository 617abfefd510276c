"""A signer with the keys of RFC 8463, and whether another implementation takes what it signs."""

from __future__ import annotations

import os
from typing import Any

import dkim
from rfc8463 import ED25519, RECORDS, RSA
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock

from mta.dkim.keys import Algorithm
from mta.dkim.ledger import Entry, Ledger
from mta.dkim.ring import KeyRing
from mta.dkim.signer import Signer
from mta.dkim.store import KeyFiles

NOW = 1_795_546_800_000


class Pieces:
    """Octets in pieces; each comes later if it is told to."""

    def __init__(self, octets: bytes, size: int = 20, waits: bool = False) -> None:
        self.left = [octets[at : at + size] for at in range(0, len(octets), size)]
        self.waits = waits
        self.closed = False

    def next(self) -> Any:
        piece = self.left.pop(0) if self.left else b""
        return maybeDeferred(lambda: piece) if self.waits else piece

    def close(self) -> None:
        self.closed = True


def signer(domain: str = "example.org", parents: bool = False, in_thread: Any = maybeDeferred) -> Signer:
    files = KeyFiles(os.path.abspath("dkim"))
    keys = {"r": RSA, "e": ED25519}
    entries = tuple(
        Entry(selector=name, algorithm=key.algorithm, public=key.public, made=NOW, used=NOW)
        for name, key in keys.items()
    )
    with files.changing(domain):
        files.put(domain, Ledger(entries), keys)
    return Signer(KeyRing(files, Clock().seconds), lambda: NOW, in_thread, parents)


def verified(octets: bytes) -> list[bool]:
    """Of each signature on top."""

    def dns(name: bytes, timeout: float = 5) -> bytes:
        return RECORDS[Algorithm.RSA if name.startswith(b"r.") else Algorithm.ED25519].encode()

    found = dkim.DKIM(octets, minkey=1024)
    count = octets.count(b"DKIM-Signature:")
    return [found.verify(number, dnsfunc=dns) for number in range(count)]
