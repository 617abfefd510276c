"""How addresses are written where ``privacy.addresses`` says: whole, as their domain, or as a keyed hash.

Contract: a ``Mask`` takes any text and returns it with each address replaced; the same address always gives the same,
and what is replaced already stays as it is.  Of the hash nobody without the key gets back to the address by trying.
How it fails: ``OSError`` where the key can be neither read nor made.
Limits: an address is what looks like one in running text: no white space and no brackets around a single "@".
"""

from __future__ import annotations

import os
import secrets
from hashlib import blake2b
from pathlib import Path
from typing import Final

from mta.spool.masking import ADDRESS, Mask
from mta.spool.settle import mailbox

KEY_FILE: Final = "privacy.key"
KEY_SIZE: Final = 32
_DIGITS: Final = 8  # octets of a hash
#: What stands in the place of a local part.
NAMELESS: Final = "*"


def full(text: str) -> str:
    """Nothing is replaced."""
    return text


def domain_only(text: str) -> str:
    """Addresses without their local parts."""
    return ADDRESS.sub(lambda match: f"{NAMELESS}@{match[0].rpartition('@')[2]}", text) if "@" in text else text


class Hash:
    """A mask with a key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __call__(self, text: str) -> str:
        return ADDRESS.sub(lambda match: self._one(match[0]), text) if "@" in text else text

    def _one(self, address: str) -> str:
        digest = blake2b(mailbox(address).encode("utf-8", "surrogatepass"), digest_size=_DIGITS, key=self._key)
        return f"#{digest.hexdigest()}"


def mask_of(mode: str, state: str) -> Mask:
    """The mask of ``privacy.addresses``; the key of a hash is made where there is none.  Raises ``OSError``."""
    if mode == "domain":
        return domain_only
    if mode == "hash":
        return Hash(_key(Path(state) / KEY_FILE))
    return full


def known_hash(address: str, state: str) -> str:
    """The hash that stands for an address in what this state folder holds; "" where there never was one."""
    path = Path(state) / KEY_FILE
    return Hash(_key(path))(address) if path.exists() else ""


def _key(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        key = path.read_bytes()
        if len(key) != KEY_SIZE:
            raise OSError(
                f"{path} is not a key of {KEY_SIZE} octets: remove it, and earlier hashes mean nothing"
            ) from None
        return key
    try:
        key = secrets.token_bytes(KEY_SIZE)
        os.write(descriptor, key)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return key
