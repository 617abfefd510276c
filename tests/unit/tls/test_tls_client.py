"""TLS as a client, against OpenSSL as a server, over memory: what is negotiated and what a certificate is worth."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from mta.tls.client import Negotiated, TlsClient, TlsLevel, TlsSetupError, reason
from tests.certificates import Authority, Issued, put

AUTHORITY = Authority()
HOST = "mx.b.example"


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)
        self.ca_file = str(put(self.folder / "ca.pem", AUTHORITY.pem))

    def server(self, issued: Issued, newest: int = SSL.TLS1_3_VERSION, ask: bool = False) -> SSL.Connection:
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_max_proto_version(newest)
        context.use_certificate(load_pem_x509_certificate(issued.certificate))
        context.use_privatekey(_key(issued))
        if ask:
            context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        self.asked_for: list[bytes | None] = []
        context.set_tlsext_servername_callback(lambda connection: self.asked_for.append(connection.get_servername()))
        connection = SSL.Connection(context, None)
        connection.set_accept_state()
        return connection

    def negotiate(self, client: TlsClient, server: SSL.Connection, host: str = HOST) -> Negotiated:
        self.handshake = client.handshake(host)
        connection = self.handshake.clientConnectionForTLS(None)
        connection.set_connect_state()
        self.end = connection
        done = 0
        for _ in range(10):
            done = sum(_step(one) for one in (connection, server))
            _pump(connection, server)
            _pump(server, connection)
            if done == 2:
                break
        self.assertEqual(done, 2)
        return self.handshake.result()

    def judged(self, issued: Issued, host: str = HOST, **options: Any) -> Negotiated:
        return self.negotiate(TlsClient(ca_file=self.ca_file, **options), self.server(issued), host)


def _key(issued: Issued) -> Any:
    return load_pem_private_key(issued.key, None)


def _step(connection: SSL.Connection) -> bool:
    try:
        connection.do_handshake()
    except SSL.WantReadError:
        return False
    return True


def _pump(source: SSL.Connection, sink: SSL.Connection) -> None:
    try:
        sink.bio_write(source.bio_read(1 << 16))
    except SSL.WantReadError:
        pass


class Certificates(Case):
    def test_verified(self) -> None:
        found = self.judged(AUTHORITY.issue(HOST))
        self.assertEqual((found.protocol, found.trouble, found.level), ("TLSv1.3", "", TlsLevel.VERIFY))
        self.assertRegex(str(found), r"^TLSv1.3 TLS_\w+ verified$")
        self.assertEqual(self.asked_for, [HOST.encode()])

    def test_wildcard_and_further_names(self) -> None:
        # RFC 9525 6.3
        self.assertEqual(self.judged(AUTHORITY.issue("*.b.example")).trouble, "")
        self.assertEqual(self.judged(AUTHORITY.issue("*.b.example"), "a.mx.b.example").level, TlsLevel.ENCRYPT)
        self.assertEqual(self.judged(AUTHORITY.issue("other.example"), names=("other.example",)).trouble, "")

    def test_the_name_is_another(self) -> None:
        found = self.judged(AUTHORITY.issue("other.example"), names=("third.example",))
        self.assertEqual(found.trouble, "the certificate is not for mx.b.example or third.example")
        self.assertEqual(found.level, TlsLevel.ENCRYPT)
        self.assertTrue(str(found).endswith(" unverified"))

    def test_a_common_name_is_no_name(self) -> None:
        # RFC 9525 2
        self.assertNotEqual(self.judged(AUTHORITY.issue(common_name=HOST)).trouble, "")

    def test_addresses(self) -> None:
        # RFC 6066 3: no address is asked for by name
        for address in ("192.0.2.1", "2001:db8::1"):
            self.assertEqual(self.judged(AUTHORITY.issue(address), address).trouble, "")
            self.assertEqual([name for name in self.asked_for if name], [])
            self.assertNotEqual(self.judged(AUTHORITY.issue("192.0.2.2"), address).trouble, "")
        self.assertNotEqual(self.judged(AUTHORITY.issue(HOST), "192.0.2.1").trouble, "")

    def test_chains_that_prove_nothing(self) -> None:
        for issued, why in (
            (Authority("Another").issue(HOST), "its issuer is unknown"),
            (AUTHORITY.issue(HOST, days=-1, before=3), "it has expired"),
            (AUTHORITY.issue(HOST, days=3, before=-1), "it is not valid yet"),
        ):
            self.assertEqual(self.judged(issued).trouble, f"the certificate cannot be trusted: {why}")

    def test_trouble_of_one_connection_is_not_that_of_the_next(self) -> None:
        client = TlsClient(ca_file=self.ca_file)
        for issued, trouble in ((Authority("Another").issue(HOST), True), (AUTHORITY.issue(HOST), False)) * 2:
            self.assertEqual(bool(self.negotiate(client, self.server(issued)).trouble), trouble)

    def test_the_system_does_not_know_our_authority(self) -> None:
        self.assertNotEqual(self.negotiate(TlsClient(), self.server(AUTHORITY.issue(HOST))).trouble, "")


class Protocols(Case):
    def test_oldest(self) -> None:
        issued = AUTHORITY.issue(HOST)
        found = self.negotiate(TlsClient(), self.server(issued, SSL.TLS1_2_VERSION))
        self.assertEqual(found.protocol, "TLSv1.2")
        for client, newest in ((TlsClient(), SSL.TLS1_1_VERSION), (TlsClient(minimum="TLSv1.3"), SSL.TLS1_2_VERSION)):
            error = self.assertRaises(SSL.Error, self.negotiate, client, self.server(issued, newest))
            self.assertNotEqual(reason(error), "")

    def test_channel_binding(self) -> None:
        # RFC 9266 3, 4.2: the same on both sides, another on each connection, none before TLS 1.3
        client, bindings = TlsClient(), set()
        for _ in range(2):
            server = self.server(AUTHORITY.issue(HOST))
            self.negotiate(client, server)
            binding = self.handshake.binding()
            self.assertEqual(binding, server.export_keying_material(b"EXPORTER-Channel-Binding", 32, b""))
            bindings.add(binding)
        self.assertEqual([len(bindings), *map(len, bindings)], [2, 32, 32])
        self.negotiate(client, self.server(AUTHORITY.issue(HOST), SSL.TLS1_2_VERSION))
        self.assertEqual(self.handshake.binding(), b"")

    def test_certificate_of_our_own(self) -> None:
        own = AUTHORITY.issue("out.a.example")
        path = str(put(self.folder / "own.pem", own.both))
        server = self.server(AUTHORITY.issue(HOST), ask=True)
        self.negotiate(TlsClient(certificate=path), server)
        self.end.send(b"x")
        _pump(self.end, server)
        self.assertEqual(server.recv(1), b"x")
        shown = server.get_peer_certificate(as_cryptography=True)
        assert shown is not None
        self.assertEqual(shown.public_bytes(Encoding.PEM), own.certificate)


class Files(Case):
    def test_files_that_cannot_be_used(self) -> None:
        empty = str(put(self.folder / "empty.pem", b""))
        other = str(put(self.folder / "key.pem", AUTHORITY.issue("x.example").key))
        for options, named in (
            ({"ca_file": empty}, empty),
            ({"ca_file": "/nowhere/ca.pem"}, "/nowhere/ca.pem"),
            ({"certificate": empty}, empty),
            ({"certificate": self.ca_file, "key": other}, other),
            ({"certificate": self.ca_file, "key": empty}, empty),
        ):
            error = self.assertRaises(TlsSetupError, TlsClient(**options).make_context)
            self.assertIn(named, str(error))

    def test_what_openssl_says(self) -> None:
        self.assertEqual(reason(SSL.Error([("SSL routines", "", "wrong version number")])), "wrong version number")
        self.assertEqual(reason(SSL.SysCallError(-1, "Unexpected EOF")), "-1")
        self.assertEqual(reason(SSL.Error([])), "no reason is known")
        self.assertEqual(reason(SSL.ZeroReturnError()), "ZeroReturnError")
