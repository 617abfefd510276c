"""Whose mail a message is: those between whom the queue is fair.  Pure.

Contract: each sender has its turn for ``QUANTUM`` recipients, and one place in ``SHARE`` is for the lower priorities:
in memory (``mta.queue.turns``) and in the spool (``mta.spool.fairness``).  ``sender_of`` is a name for people and
memory, ``sender_key`` the same as a number for an index.
Limits: two senders with one number (``KEY_OCTETS``) take their turns as one.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Final

from mta.address import client_key
from mta.envelope import Envelope, Right

#: Recipients of one sender before it is the next one's turn.
QUANTUM: Final = 10
#: One of so many is taken from the lower priorities.
SHARE: Final = 8
#: SQLite keeps a number of so many octets in them.
KEY_OCTETS: Final = 6
_WHOSE_PATH: Final = frozenset({Right.NETWORK, Right.OURSELVES})
#: What stands behind one of these in a local part differs between messages of one sender (VERP, subaddresses).
_DETAIL: Final = str.maketrans("+=-", "+++")


def sender_of(envelope: Envelope) -> str:
    """The login; of those who may send anywhere because of where they are, the reverse-path without its detail, since
    one machine has many programs, and this one many lists; of a stranger, whose reverse-path may be anything, the
    client's address."""
    origin = envelope.origin
    if origin.login:
        return origin.login
    if envelope.reverse_path is None or _WHOSE_PATH.isdisjoint(envelope.rights):
        return client_key(origin.client)
    path = envelope.reverse_path
    return f"{path.local.translate(_DETAIL).partition('+')[0]}@{path.domain}"


def sender_key(envelope: Envelope) -> int:
    """At least 1: 0 stands for mail of a time before senders were told apart."""
    return _key(sender_of(envelope))


@lru_cache(maxsize=4096)
def _key(sender: str) -> int:
    digest = blake2b(sender.encode("utf-8", "surrogatepass"), digest_size=KEY_OCTETS).digest()
    return int.from_bytes(digest, "big") >> 1 | 1
