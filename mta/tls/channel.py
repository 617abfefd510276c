"""What a connection over TLS has for logins: channel bindings, and the client's certificate.

What it is: ``TlsChannel`` reads them from OpenSSL when somebody asks, once.
Contract: ``tls-exporter`` (RFC 9266) is there with TLS 1.3 alone: before it two connections could have the same
(RFC 9266 4.2), and OpenSSL does not tell us which.  ``tls-server-end-point`` (RFC 5929 4) is the hash of our
certificate, by the hash of its signature, or SHA-256 for MD5 and SHA-1; one whose signature has no hash has none.
A certificate of a client is there only if TLS has verified it: a listener that asks for one with an authority refuses
every other in the handshake.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import MD5, SHA1, SHA256, HashAlgorithm
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from mta.accounts.credentials import ClientCertificate

_LABEL: Final = b"EXPORTER-Channel-Binding"  # RFC 9266 2
_OCTETS: Final = 32


class TlsChannel:
    """See the module's text."""

    def __init__(self, connection: SSL.Connection) -> None:
        self._connection = connection

    @cached_property
    def bindings(self) -> Mapping[str, bytes]:
        """By the names that SCRAM has for them."""
        found = {}
        if self._connection.get_protocol_version_name() == "TLSv1.3":
            found["tls-exporter"] = self._connection.export_keying_material(_LABEL, _OCTETS)
        ours = self._connection.get_certificate(as_cryptography=True)
        point = None if ours is None else end_point(ours)
        if point is not None:
            found["tls-server-end-point"] = point
        return found

    @cached_property
    def certificate(self) -> ClientCertificate | None:
        """The client's, if there is one."""
        found = self._connection.get_peer_certificate(as_cryptography=True)
        return None if found is None else client_certificate(found)


def end_point(certificate: x509.Certificate) -> bytes | None:
    """RFC 5929 4.1."""
    try:
        algorithm: HashAlgorithm | None = certificate.signature_hash_algorithm
    except Exception:  # one that nobody here knows
        return None
    if algorithm is None:
        return None
    return certificate.fingerprint(SHA256() if isinstance(algorithm, MD5 | SHA1) else algorithm)


def client_certificate(certificate: x509.Certificate) -> ClientCertificate:
    """What it says of its holder; what cannot be read says nothing."""
    try:
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        subject = str(common[0].value) if len(common) == 1 else ""
    except ValueError:
        subject = ""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        addresses = tuple(names.get_values_for_type(x509.RFC822Name))
    except (x509.ExtensionNotFound, ValueError):
        addresses = ()
    return ClientCertificate(fingerprint=certificate.fingerprint(SHA256()).hex(), subject=subject, names=addresses)
