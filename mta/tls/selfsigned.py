"""A certificate of our own making, for a server that was given none.

What it is: ``ensure`` makes one under the state folder, or keeps the one that is there while it will do.
Contract: its key never leaves the file (0600, in a folder 0700), which is written whole or not at all.
Most MTAs take any certificate on port 25 (RFC 7435: some protection most of the time): it keeps mail from being read
on its way by those who only listen.  It proves nothing to anybody.
How it fails: ``OSError``.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mta.tls.certificates import CertificateError, Source, read

#: Days for which it is made, and those before its end from which on a new one is made.
DAYS: Final = 730
RENEW: Final = 30
_DAY_MS: Final = 86_400_000


def place(state: str) -> str:
    """Where it is."""
    return os.path.join(state, "tls", "self-signed.pem")


def ensure(state: str, hostname: str, now: int) -> str:
    """Make it, if there is none that will do for the next ``RENEW`` days; its path.  ``now`` is UTC milliseconds."""
    path = place(state)
    try:
        found = read(Source(path, path))
        if found.names == (hostname,) and found.expires - now > RENEW * _DAY_MS:
            return path
    except CertificateError:
        pass  # there is none, or something else lies there
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    temporary = f"{path}.new"
    if os.path.lexists(temporary):
        os.unlink(temporary)
    with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o600)) as file:
        file.write(_make(hostname, now))
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, path)
    return path


def _make(hostname: str, now: int) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    # RFC 5280 A.1: a common name has at most 64 characters; who asks for a name looks at the extension.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:64])])
    today = datetime.fromtimestamp(now // 1000, UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))  # for peers whose clock is slow
        .not_valid_after(today + timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private + certificate.public_bytes(Encoding.PEM)
