"""What a connection has for logins: both ends of one in memory, OpenSSL on each."""

from __future__ import annotations

import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from mta.accounts.credentials import ClientCertificate
from mta.tls.certificates import Source, read
from mta.tls.channel import TlsChannel, client_certificate, end_point
from mta.tls.contexts import Contexts, Policy
from tests.certificates import Authority, Issued, put

OURS, THEIRS = Authority(), Authority("Clients")


def server(authorities: bytes = b"", also: str = "other.example") -> Contexts:
    """The contexts of a listener; ``also`` has a certificate of its own."""
    contexts = Contexts(lambda: 0.0)
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for name in ("mail.ours.example", also):
            path = str(put(Path(folder) / f"{name}.pem", OURS.issue(name).both))
            found.append(read(Source(path, path)))
    contexts.use(found, found[0], Policy(authorities=authorities))
    return contexts


def connected(
    contexts: Contexts, certificate: Issued | None = None, version: int = SSL.TLS1_3_VERSION, name: bytes = b""
) -> tuple[SSL.Connection, SSL.Connection]:
    """Both ends after the handshake, the server's first.  Raises ``SSL.Error``."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(version)
    if certificate is not None:
        context.use_certificate(x509.load_pem_x509_certificate(certificate.certificate))
        key: Any = load_pem_private_key(certificate.key, None)
        context.use_privatekey(key)
    protocol: Any = None
    ours, theirs = contexts.serverConnectionForTLS(protocol), SSL.Connection(context)
    ours.set_accept_state()
    theirs.set_connect_state()
    if name:
        theirs.set_tlsext_host_name(name)
    for _ in range(6):
        for one, other in ((theirs, ours), (ours, theirs)):
            try:
                one.do_handshake()
            except SSL.WantReadError:
                pass
            try:
                other.bio_write(one.bio_read(65536))
            except SSL.WantReadError:
                pass
    return ours, theirs


class Bindings(SynchronousTestCase):
    def test_exporter(self) -> None:
        # RFC 9266 2
        ours, theirs = connected(server())
        bindings = TlsChannel(ours).bindings
        self.assertEqual(bindings["tls-exporter"], theirs.export_keying_material(b"EXPORTER-Channel-Binding", 32))
        self.assertEqual(len(bindings["tls-exporter"]), 32)
        other, _ = connected(server())
        self.assertNotEqual(TlsChannel(other).bindings["tls-exporter"], bindings["tls-exporter"])

    def test_before_tls_1_3_there_is_no_exporter(self) -> None:
        # RFC 9266 4.2
        ours, _ = connected(server(), version=SSL.TLS1_2_VERSION)
        self.assertEqual(list(TlsChannel(ours).bindings), ["tls-server-end-point"])

    def test_server_end_point(self) -> None:
        # RFC 5929 4.1: of the certificate that was shown
        for name in (b"", b"other.example"):
            ours, theirs = connected(server(), name=name)
            shown = theirs.get_peer_certificate(as_cryptography=True)
            assert shown is not None
            digest = sha256(shown.public_bytes(Encoding.DER)).digest()
            self.assertEqual(TlsChannel(ours).bindings["tls-server-end-point"], digest)

    def test_a_signature_without_a_hash(self) -> None:
        # RFC 5929 4.1: undefined
        key = ed25519.Ed25519PrivateKey.generate()
        known = x509.load_pem_x509_certificate(OURS.pem)
        signed = (
            x509.CertificateBuilder()
            .subject_name(known.subject)
            .issuer_name(known.subject)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(known.not_valid_before_utc)
            .not_valid_after(known.not_valid_after_utc)
            .sign(key, None)
        )
        self.assertIsNone(end_point(signed))


class Certificates(SynchronousTestCase):
    ann = THEIRS.issue("ann@ours.example", common_name="Ann")

    def test_one_that_the_authority_has_signed(self) -> None:
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            for name in (b"", b"other.example"):
                ours, _ = connected(server(THEIRS.pem), self.ann, version, name)
                found = TlsChannel(ours).certificate
                assert found is not None
                self.assertEqual((found.subject, found.names), ("Ann", ("ann@ours.example",)))
                der = x509.load_pem_x509_certificate(self.ann.certificate).public_bytes(Encoding.DER)
                self.assertEqual(found.fingerprint, sha256(der).hexdigest())

    def test_none(self) -> None:
        # RFC 8446 4.4.2.4
        ours, _ = connected(server(THEIRS.pem))
        self.assertIsNone(TlsChannel(ours).certificate)

    def test_nobody_asks(self) -> None:
        ours, _ = connected(server(), self.ann)
        self.assertIsNone(TlsChannel(ours).certificate)

    def test_one_of_somebody_else_ends_the_handshake(self) -> None:
        for stranger in (
            OURS.issue("ann@ours.example"),
            THEIRS.issue("host.example"),
            THEIRS.issue("a@b.example", days=-0.5),
        ):
            for name in (b"", b"other.example"):
                with self.assertRaises(SSL.Error):
                    connected(server(THEIRS.pem), stranger, name=name)

    def test_what_it_says(self) -> None:
        said = client_certificate(x509.load_pem_x509_certificate(OURS.issue("host.example").certificate))
        self.assertIsInstance(said, ClientCertificate)
        self.assertEqual((said.subject, said.names), ("test", ()))
