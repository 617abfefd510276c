"""Certificates for tests, made on the spot: an authority and what it issues, as PEM and as files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: Elliptic, since it is made in no time.
CURVE = ec.SECP256R1()
SERVER = ExtendedKeyUsageOID.SERVER_AUTH


class Issued(NamedTuple):
    """One certificate and its key."""

    certificate: bytes
    key: bytes

    @property
    def both(self) -> bytes:
        return self.key + self.certificate


class Authority:
    """Issues certificates that it alone vouches for."""

    def __init__(self, name: str = "Test authority") -> None:
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(CURVE)
        self.pem = self._sign(self._name, self._key.public_key(), (), days=3650, before=1, ca=True)

    def issue(
        self,
        *names: str,
        days: float = 90,
        before: float = 1,
        key: Any = None,
        password: bytes = b"",
        common_name: str = "test",
    ) -> Issued:
        """A certificate for these names, valid from ``before`` days ago for ``days`` from now, and its key.

        With a mail address among them it is that of a client."""
        key = key or ec.generate_private_key(CURVE)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        sealed = BestAvailableEncryption(password) if password else NoEncryption()
        return Issued(
            self._sign(subject, key.public_key(), names, days, before),
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed),
        )

    def _sign(
        self, subject: x509.Name, key: Any, names: tuple[str, ...], days: float, before: float, ca: bool = False
    ) -> bytes:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=before))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        usage = dict.fromkeys(
            (
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        builder = builder.add_extension(
            x509.KeyUsage(digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, **usage), critical=True
        )
        if not ca:
            ends = [ExtendedKeyUsageOID.CLIENT_AUTH if any("@" in name for name in names) else SERVER]
            builder = builder.add_extension(x509.ExtendedKeyUsage(ends), critical=False)
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
            )
        return builder.sign(self._key, SHA256()).public_bytes(Encoding.PEM)


def _general_name(name: str) -> x509.GeneralName:
    if "@" in name:
        return x509.RFC822Name(name)
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    """A key of a size."""
    return rsa.generate_private_key(65537, bits)


def put(path: Path, octets: bytes, mode: int = 0o600) -> Path:
    """A file with its mode, whole at once."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(path.name + ".part")
    new.write_bytes(octets)
    new.chmod(mode)
    new.rename(path)
    return path
