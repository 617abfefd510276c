"""TLS as a client: contexts, and what came of a handshake.

What it is: ``TlsClient`` holds the context of a delivery service; each connection takes a ``Handshake`` from it,
gives it to the transport's ``startTLS`` and asks it for the ``Negotiated`` afterwards.
Contract: the certificate is always judged (chain, dates, purpose; then the name, RFC 9525), and the judgement never
ends the handshake: who demands a verified host looks at ``Negotiated.trouble`` before it says anything more.  So an
opportunistic connection takes any certificate, and the story still tells what it was worth.
How it fails: ``TlsSetupError`` with a sentence for people when a file cannot be used; the handshake itself fails as
Twisted tells it, through ``connectionLost``.
Limits: TLS 1.2 is the least; no compression, no renegotiation, no resumption of sessions.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from functools import partial
from ipaddress import ip_address
from typing import Any, Final, NamedTuple

from OpenSSL import SSL
from OpenSSL.crypto import X509
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from zope.interface import implementer

#: What both sides should be able to do; forward secrecy first, nothing anonymous or without encryption.
CIPHERS: Final = b"ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:ECDHE+AES:RSA+AESGCM:RSA+AES:!aNULL:!eNULL:!MD5"
MINIMUM: Final = {"TLSv1.2": SSL.TLS1_2_VERSION, "TLSv1.3": SSL.TLS1_3_VERSION}
#: RFC 9266 4.2: the label and length of the channel binding ``tls-exporter``.
_BINDING_LABEL: Final = b"EXPORTER-Channel-Binding"
_BINDING_LENGTH: Final = 32
#: X509_V_ERR_* of OpenSSL that people meet.
_CHAIN_TROUBLE: Final = {
    2: "its issuer is unknown",
    9: "it is not valid yet",
    10: "it has expired",
    18: "it is self-signed",
    19: "its chain ends in an unknown root",
    20: "its issuer is unknown",
    21: "its issuer is unknown",
    23: "it was revoked",
    24: "a certificate in its chain is none of an authority",
    26: "it is not for servers",
}


class TlsLevel(IntEnum):
    """What is demanded of a connection, and (``NONE``, ``ENCRYPT``, ``VERIFY``) what one has."""

    NONE = 0
    OPPORTUNISTIC = 1  # TLS where it can be had, with any certificate; else in clear
    ENCRYPT = 2  # TLS, with any certificate
    VERIFY = 3  # TLS, with a certificate that proves the host's name

    @property
    def required(self) -> bool:
        """In clear is not good enough."""
        return self >= TlsLevel.ENCRYPT


#: The levels as a configuration names them.
LEVELS: Final = {level.name.lower(): level for level in TlsLevel}


class TlsSetupError(Exception):
    """A file that TLS needs cannot be used; ``str()`` is a sentence for people."""


class Negotiated(NamedTuple):
    """What came of a handshake.  ``trouble``: why the certificate proves nothing; "" where it proves the name."""

    protocol: str
    cipher: str
    trouble: str = ""

    @property
    def level(self) -> TlsLevel:
        """``VERIFY`` or ``ENCRYPT``."""
        return TlsLevel.ENCRYPT if self.trouble else TlsLevel.VERIFY

    def __str__(self) -> str:
        return f"{self.protocol} {self.cipher} {'unverified' if self.trouble else 'verified'}"


@implementer(IOpenSSLClientConnectionCreator)
class Handshake:
    """One connection's TLS, for ``startTLS``.  ``names``: any of them in the certificate is good."""

    def __init__(self, context: SSL.Context, host: str, names: Sequence[str]) -> None:
        self._context = context
        self._host = host
        self._names = names
        self._chain_trouble: list[int] = []
        self._connection: SSL.Connection | None = None

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """See ``IOpenSSLClientConnectionCreator``."""
        self._connection = connection = SSL.Connection(self._context, None)
        # Not a method of ours: each connection would be a cycle, and stay until the collector finds it.
        connection.set_verify(SSL.VERIFY_PEER, partial(_judge, self._chain_trouble))
        if not _is_address(self._host):
            # RFC 6066 3: a name and no address.
            connection.set_tlsext_host_name(self._host.encode("ascii"))
        return connection

    def result(self) -> Negotiated:
        """What was negotiated; once the handshake is over."""
        connection = self._connection
        assert connection is not None
        return Negotiated(
            protocol=connection.get_protocol_version_name(),
            cipher=connection.get_cipher_name() or "",
            trouble=self._trouble(connection),
        )

    def binding(self) -> bytes:
        """The channel binding ``tls-exporter`` (RFC 9266); b"" where there is none that is safe to use."""
        connection = self._connection
        assert connection is not None
        if connection.get_protocol_version_name() != "TLSv1.3":
            return b""  # RFC 9266 3: before, it needs the extended master secret, after which nobody can be asked
        return connection.export_keying_material(_BINDING_LABEL, _BINDING_LENGTH, b"")

    def _trouble(self, connection: SSL.Connection) -> str:
        if self._chain_trouble:
            first = self._chain_trouble[0]
            why = _CHAIN_TROUBLE.get(first, f"OpenSSL error {first}")
            return f"the certificate cannot be trusted: {why}"
        try:
            certificate = connection.get_peer_certificate(as_cryptography=True)
            if certificate is None:
                return "the host has no certificate"
            return _mismatch(certificate, self._names)
        except ValueError as error:  # octets that are no certificate to the library
            return f"the certificate cannot be read: {error}"


class TlsClient:
    """The TLS of one delivery service; the context is made with its first connection.

    ``ca_file``: authorities in PEM, "" for the system's; ``names``: good in a certificate besides the host's own.
    """

    def __init__(
        self,
        *,
        ca_file: str = "",
        minimum: str = "TLSv1.2",
        certificate: str = "",
        key: str = "",
        names: Sequence[str] = (),
    ) -> None:
        self._ca_file = ca_file
        self._minimum = minimum
        self._certificate = certificate
        self._key = key or certificate
        self._names = tuple(names)
        self._context: SSL.Context | None = None

    def prepare(self) -> SSL.Context:
        """The context, made with the first call.  Raises ``TlsSetupError``; never again once it has not."""
        if self._context is None:
            self._context = self.make_context()
        return self._context

    def handshake(self, host: str) -> Handshake:
        """For a connection to this host: a name as by ``normal_domain``, or an address.  Raises as ``prepare``."""
        return Handshake(self.prepare(), host, (host, *self._names))

    def make_context(self) -> SSL.Context:
        """A new context; reads the files.  Raises ``TlsSetupError``."""
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(MINIMUM[self._minimum])
        context.set_cipher_list(CIPHERS)
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # an idle connection keeps no buffers of 34 KiB
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        try:
            if self._ca_file:
                context.load_verify_locations(self._ca_file)
            else:
                context.set_default_verify_paths()
        except SSL.Error as error:
            raise TlsSetupError(f"{self._ca_file}: holds no certificates in PEM, or cannot be read") from error
        if self._certificate:
            self._load_own(context)
        return context

    def _load_own(self, context: SSL.Context) -> None:
        try:
            context.use_certificate_chain_file(self._certificate)
        except SSL.Error as error:
            raise TlsSetupError(f"{self._certificate}: is no certificate in PEM: {reason(error)}") from None
        try:
            context.use_privatekey_file(self._key)
            context.check_privatekey()
        except SSL.Error as error:
            raise TlsSetupError(f"{self._key}: is not the key of {self._certificate}: {reason(error)}") from None


def reason(error: BaseException | None) -> str:
    """What OpenSSL says, for people."""
    found = error.args[0] if error is not None and error.args else ""
    if isinstance(found, list):
        return "; ".join(str(entry[-1]) for entry in found) or "no reason is known"
    return str(found) or type(error).__name__


def _judge(
    trouble: list[int], connection: SSL.Connection, certificate: X509, error: int, depth: int, good: int
) -> bool:
    """Asked by OpenSSL for each certificate of the chain: what is wrong is noted, and the handshake goes on."""
    if not good:
        trouble.append(error)
    return True


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _mismatch(certificate: Any, names: Sequence[str]) -> str:
    """Why the certificate is for none of the names; "" where it is for one (RFC 9525 6)."""
    for name in names:
        check = verify_certificate_ip_address if _is_address(name) else verify_certificate_hostname
        try:
            check(certificate, name)
        except VerificationError:
            continue
        except CertificateError as error:
            return f"the certificate is not well formed: {error}"
        return ""
    return f"the certificate is not for {' or '.join(names)}"
