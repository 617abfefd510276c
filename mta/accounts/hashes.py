"""Passwords as they are kept: one is made (argon2id, RFC 9106), the forms that other programs made are checked.

What it is: ``made`` hashes a password, ``right`` compares one with what is stored, ``outdated`` says whether it should
be hashed anew.  All of it blocks, for tens of milliseconds: it is called in threads.
Contract: what is stored is text as other programs write it: PHC strings (``$argon2id$...``), those of crypt(3)
(``$y$``, ``$2b$``, ``$6$`` ...), and forms with a scheme before them as LDAP and Dovecot have it (``{SSHA512}...``,
``{ARGON2ID}$argon2id$...``, ``{SCRAM-SHA-256}...``, ``{PLAIN}...``).  Text without any of these is no password: nobody
logs in with a password that somebody wrote in clear by mistake.
How it fails: ``UnknownHash`` for what cannot be checked here; ``str()`` never shows what is stored.
Limits: argon2 of at most ``MOST_MEMORY`` and ``MOST_PASSES``, PBKDF2 of ``MOST_ITERATIONS``, crypt(3) of
``MOST_ROUNDS``: what is stored may come from a database that others write.
"""

from __future__ import annotations

import ctypes
import hashlib
import hmac
import os
import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from mta.accounts.values import ScramKeys
from mta.routing.tables.optional import package

MOST_MEMORY: Final = 1 << 20  # KiB
MOST_PASSES: Final = 100
MOST_LANES: Final = 64
MOST_ITERATIONS: Final = 10_000_000
_SCHEME: Final = re.compile(r"\{([A-Za-z0-9-]{1,32})\}")
_ARGON2: Final = re.compile(r"\$argon2(id|i|d)\$v=(\d+)\$m=(\d+),t=(\d+),p=(\d+)\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+\Z")
_CRYPT: Final = re.compile(r"\$[0-9a-z]{1,7}\$[!-~]{1,370}\Z")
#: The rounds of SHA-crypt, the exponent of bcrypt.
_CRYPT_COST: Final = re.compile(r"\$(?:[56]\$rounds=(\d{1,10})\$|2[abxy]\$(\d\d)\$)")
MOST_ROUNDS: Final = 1_500_000  # or an exponent of 15: seconds
#: What libxcrypt's crypt_r needs beside it (struct crypt_data has 32,768 octets), with room to spare.
_CRYPT_DATA: Final = 1 << 17
_SALT: Final = 16


class UnknownHash(ValueError):
    """What is stored is no form of a password that can be checked here."""


class Cost(NamedTuple):
    """What one password costs; RFC 9106 4 has larger ones, for machines that do nothing else."""

    memory: int = 19 << 10  # KiB
    passes: int = 2
    lanes: int = 1
    iterations: int = 4096  # of SCRAM's PBKDF2: the client does them


def made(password: bytes, cost: Cost) -> str:
    """The password as it is kept."""
    argon2 = package("argon2.low_level")
    octets: bytes = argon2.hash_secret(
        password,
        os.urandom(_SALT),
        time_cost=cost.passes,
        memory_cost=cost.memory,
        parallelism=cost.lanes,
        hash_len=32,
        type=argon2.Type.ID,
    )
    return octets.decode("ascii")


def outdated(stored: str, cost: Cost) -> bool:
    """Whether it is not what ``made`` would make."""
    found = _ARGON2.match(stored)
    return found is None or (found[1], *map(int, found.group(3, 4, 5))) != ("id", *cost[:3])


@lru_cache(maxsize=4)
def nobodys(cost: Cost) -> str:
    """A password that nobody has: with it, who is unknown costs what the others do."""
    return made(os.urandom(_SALT), cost)


def right(stored: str, password: bytes) -> bool:
    """Whether it is the password.  Raises ``UnknownHash``."""
    scheme = _SCHEME.match(stored)
    if scheme is None:
        if stored.startswith("$argon2"):
            return _argon2(stored, password)
        return _crypt(stored, password)
    check = _SCHEMES.get(scheme[1].upper())
    if check is None:
        raise UnknownHash(f"nothing is known of the scheme {{{scheme[1]}}}")
    return check(stored[scheme.end() :], password)


def plain(stored: str) -> bytes | None:
    """The password itself, where it is kept in clear."""
    scheme = _SCHEME.match(stored)
    if scheme is None or scheme[1].upper() not in ("PLAIN", "CLEARTEXT"):
        return None
    return stored[scheme.end() :].encode()


# --- SCRAM ---------------------------------------------------------------------------------------------------------

#: By the names of RFC 5802 and 7677.
DIGESTS: Final[Mapping[str, str]] = {"sha-1": "sha1", "sha-256": "sha256"}


def scram_keys(password: bytes, hash_name: str, iterations: int, salt: bytes = b"") -> ScramKeys:
    """RFC 5802 3."""
    digest = DIGESTS[hash_name]
    salt = salt or os.urandom(_SALT)
    salted = hashlib.pbkdf2_hmac(digest, password, salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", digest)
    return ScramKeys(
        salt=salt,
        iterations=iterations,
        stored_key=hashlib.new(digest, client_key).digest(),
        server_key=hmac.digest(salted, b"Server Key", digest),
    )


def nobodys_keys(secret: bytes, name: str, hash_name: str, iterations: int) -> ScramKeys:
    """Keys that no password has: always the same for a name, so that nobody sees that there is none (RFC 5802 9)."""
    digest = DIGESTS[hash_name]
    said = f"{hash_name} {name} ".encode()
    return ScramKeys(
        salt=hmac.digest(secret, said + b"salt", "sha256")[:_SALT],
        iterations=iterations,
        stored_key=hmac.digest(secret, said + b"stored", digest),
        server_key=hmac.digest(secret, said + b"server", digest),
    )


def scram_text(keys: ScramKeys) -> str:
    """As Dovecot writes them: iterations, salt, stored key, server key."""
    return ",".join([str(keys.iterations), *(b64encode(one).decode("ascii") for one in keys_of(keys))])


def keys_of(keys: ScramKeys) -> tuple[bytes, bytes, bytes]:
    """The octets of them, in the order in which they are written."""
    return keys.salt, keys.stored_key, keys.server_key


def scram_from(text: str) -> ScramKeys:
    """What ``scram_text`` wrote.  Raises ``UnknownHash``."""
    iterations, *parts = text.split(",")
    octets = [_base64(part) for part in parts]
    if (
        len(octets) != 3
        or not (iterations.isascii() and iterations.isdigit() and len(iterations) < 9)
        or not all(octets)
    ):
        raise UnknownHash("keys of SCRAM are iterations, salt, stored key and server key, with commas between")
    if not 1 <= int(iterations) <= MOST_ITERATIONS:
        raise UnknownHash(f"{iterations} iterations are out of bounds")
    return ScramKeys(salt=octets[0], iterations=int(iterations), stored_key=octets[1], server_key=octets[2])


def stored_keys(stored: str, hash_name: str) -> ScramKeys | None:
    """The keys for SCRAM that a stored password gives; None where it gives none.  Raises ``UnknownHash``."""
    scheme = _SCHEME.match(stored)
    if scheme is None or scheme[1].upper() != f"SCRAM-{hash_name.upper()}":
        return None
    return scram_from(stored[scheme.end() :])


# --- the forms -----------------------------------------------------------------------------------------------------


def _argon2(stored: str, password: bytes) -> bool:
    found = _ARGON2.match(stored)
    if found is None:
        raise UnknownHash("it begins as argon2 and is not well formed")
    memory, passes, lanes = map(int, found.group(3, 4, 5))
    if memory > MOST_MEMORY or passes > MOST_PASSES or lanes > MOST_LANES:
        raise UnknownHash("its argon2 would cost too much")
    argon2, errors = package("argon2.low_level"), package("argon2.exceptions")
    kind = {"id": argon2.Type.ID, "i": argon2.Type.I, "d": argon2.Type.D}[found[1]]
    try:
        return bool(argon2.verify_secret(stored.encode("ascii"), password, kind))
    except errors.VerifyMismatchError:
        return False
    except (errors.VerificationError, errors.InvalidHashError) as error:
        raise UnknownHash(f"argon2 cannot check it: {error}") from None


@lru_cache(maxsize=1)
def _crypt_r() -> Callable[..., bytes | None] | None:
    """crypt_r(3): Python 3.13 has no crypt module any more, and the library knows more forms than that did."""
    for name in ("libcrypt.so.1", "libcrypt.so.2"):
        try:
            call = ctypes.CDLL(name).crypt_r
        except (OSError, AttributeError):
            continue
        call.restype = ctypes.c_char_p
        call.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p)
        found: Callable[..., bytes | None] = call
        return found
    return None


def _crypt(stored: str, password: bytes) -> bool:
    if not _CRYPT.match(stored):
        raise UnknownHash("it is no form of a password that is known; one in clear begins with {PLAIN}")
    cost = _CRYPT_COST.match(stored)
    if cost is not None and int(cost[1] or 0) + int(cost[2] or 0) * 100_000 > MOST_ROUNDS:
        raise UnknownHash("its hash would cost too much")
    crypt_r = _crypt_r()
    if crypt_r is None:
        raise UnknownHash("there is no libcrypt here that could check it")
    wanted = stored.encode("ascii")
    found = crypt_r(password, wanted, ctypes.create_string_buffer(_CRYPT_DATA))
    if found is None or found.startswith(b"*"):
        raise UnknownHash("libcrypt does not know its form")
    return hmac.compare_digest(found, wanted)


def _in_clear(stored: str, password: bytes) -> bool:
    return hmac.compare_digest(stored.encode(), password)


def _digest(name: str, *, salted: bool) -> Callable[[str, bytes], bool]:
    """As LDAP writes them (RFC 2307 5.3, and its salted sisters): the digest, then the salt."""
    size = hashlib.new(name).digest_size

    def check(stored: str, password: bytes) -> bool:
        octets = _base64(stored)
        digest, salt = octets[:size], octets[size:]
        if len(digest) < size or bool(salt) != salted:
            raise UnknownHash("it has not the length of its scheme")
        return hmac.compare_digest(hashlib.new(name, password + salt).digest(), digest)

    return check


def _scram(hash_name: str) -> Callable[[str, bytes], bool]:
    def check(stored: str, password: bytes) -> bool:
        keys = scram_from(stored)
        return hmac.compare_digest(
            scram_keys(password, hash_name, keys.iterations, keys.salt).stored_key, keys.stored_key
        )

    return check


_SCHEMES: Final[Mapping[str, Callable[[str, bytes], bool]]] = {
    "PLAIN": _in_clear,
    "CLEARTEXT": _in_clear,
    "SHA": _digest("sha1", salted=False),
    "SHA256": _digest("sha256", salted=False),
    "SHA512": _digest("sha512", salted=False),
    "SSHA": _digest("sha1", salted=True),
    "SSHA256": _digest("sha256", salted=True),
    "SSHA512": _digest("sha512", salted=True),
    "ARGON2I": _argon2,
    "ARGON2ID": _argon2,
    "ARGON2": _argon2,
    "CRYPT": _crypt,
    "BLF-CRYPT": _crypt,
    "SHA256-CRYPT": _crypt,
    "SHA512-CRYPT": _crypt,
    "SCRAM-SHA-1": _scram("sha-1"),
    "SCRAM-SHA-256": _scram("sha-256"),
}


def _base64(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (Base64Error, ValueError):
        raise UnknownHash("it is not base64") from None
