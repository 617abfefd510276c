"""Keys that sign: RSA and Ed25519, as PEM in a file and as the record that DNS shows (RFC 6376 3.6.1, RFC 8463).  Pure.

Contract: ``PrivateKey.sign`` takes the octets that the signature is over (RFC 6376 3.7) and gives it back raw.  RSA
signs them by SHA-256; Ed25519 their SHA-256 digest (RFC 8463 3).
How it fails: ``WrongKey`` says what is wrong with a key, never what stands in it.
Limits: RSA of 1024 bits at least (RFC 8301 3.2), 2048 for keys that are made here; 4096 at most: what is larger has
no room in many a verifier.
"""

from __future__ import annotations

import base64
from enum import StrEnum
from hashlib import sha256
from typing import Final, NamedTuple

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

LEAST_BITS: Final = 1024
MOST_BITS: Final = 4096


class Algorithm(StrEnum):
    """As ``a=`` of a signature has it; ``rsa-sha1`` must not be used (RFC 8301 3.1)."""

    RSA = "rsa-sha256"
    ED25519 = "ed25519-sha256"

    @property
    def family(self) -> str:
        """As ``k=`` of the record has it."""
        return self.value.partition("-")[0]


class WrongKey(ValueError):
    """A key cannot be used; ``str()`` says why."""


class PrivateKey(NamedTuple):
    """A key that signs."""

    algorithm: Algorithm
    secret: RSAPrivateKey | Ed25519PrivateKey

    def sign(self, octets: bytes) -> bytes:
        """See the module's text.  Half a millisecond for RSA with 2048 bits, during which other threads run."""
        if isinstance(self.secret, RSAPrivateKey):
            return self.secret.sign(octets, PKCS1v15(), hashes.SHA256())
        return self.secret.sign(sha256(octets).digest())

    @property
    def public(self) -> str:
        """``p=`` of the record, in base64."""
        key = self.secret.public_key()
        if isinstance(self.secret, RSAPrivateKey):
            # RFC 6376 3.6.1 means RSAPublicKey and its examples show SubjectPublicKeyInfo (erratum 3017), which all do.
            form = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        else:
            # RFC 8463 4.2: the 32 octets as they are.
            form = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return base64.b64encode(form).decode("ascii")

    @property
    def bits(self) -> int:
        """The size of the key."""
        return self.secret.key_size if isinstance(self.secret, RSAPrivateKey) else 256

    def pem(self) -> bytes:
        """The key as a file holds it, PKCS #8 without a pass phrase."""
        return self.secret.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def make(algorithm: Algorithm, bits: int = 2048) -> PrivateKey:
    """A new key; ``bits`` of RSA."""
    if algorithm is Algorithm.ED25519:
        return PrivateKey(algorithm, Ed25519PrivateKey.generate())
    return PrivateKey(algorithm, generate_private_key(65537, bits))


def read(pem: bytes) -> PrivateKey:
    """A key from PEM, whatever program made it.  Raises ``WrongKey``."""
    try:
        secret = serialization.load_pem_private_key(pem, password=None)
    except TypeError:
        raise WrongKey("it has a pass phrase, which nobody would be there to give") from None
    except Exception:  # what cryptography raises for broken octets is of several kinds
        raise WrongKey("it is no private key in PEM") from None
    if isinstance(secret, Ed25519PrivateKey):
        return PrivateKey(Algorithm.ED25519, secret)
    if not isinstance(secret, RSAPrivateKey):
        raise WrongKey("it is neither an RSA key nor an Ed25519 key, and DKIM knows no other")
    if not LEAST_BITS <= secret.key_size <= MOST_BITS:
        raise WrongKey(f"an RSA key of {secret.key_size} bits; {LEAST_BITS} to {MOST_BITS} are good")
    return PrivateKey(Algorithm.RSA, secret)


def record(algorithm: Algorithm, public: str) -> str:
    """The TXT record at ``SELECTOR._domainkey.DOMAIN`` (RFC 6376 3.6.1)."""
    return f"v=DKIM1; k={algorithm.family}; p={public}"
