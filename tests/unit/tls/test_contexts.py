"""What a client gets to see: the certificate for the name it asks for, versions, ciphers, tickets."""

from __future__ import annotations

import ssl
import tempfile
import warnings
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from mta.tls.certificates import Certificate, CertificateError, Source, read
from mta.tls.contexts import TICKET_KEYS, Contexts, Policy, make_context, reasons, wrong_ciphers
from mta.tls.negotiated import negotiated
from tests.certificates import Authority, put, rsa_key

AUTHORITY = Authority()


def certificate(*names: str, days: float = 90, key: Any = None) -> Certificate:
    """A value whose file is gone again."""
    issued = AUTHORITY.issue(*names, days=days, key=key)
    with tempfile.TemporaryDirectory() as folder:
        path = str(put(Path(folder) / "a.pem", issued.both))
        return read(Source(path, path))


MAIL = certificate("mail.ours.example")
WILD = certificate("*.wild.example", "wild.example")
OTHER = certificate("other.example")


class Handshake:
    """A client of the standard library against a server connection, in memory."""

    def __init__(self, contexts: Contexts, name: str | None, client: ssl.SSLContext | None = None, **more: Any) -> None:
        self.server = contexts.serverConnectionForTLS(None)  # type: ignore[arg-type]
        self.server.set_accept_state()
        self.into, self.out = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client or plain()
        self.client = client.wrap_bio(self.into, self.out, server_hostname=name, **more)
        done = [False, False]
        for _ in range(10):
            done[0] = done[0] or self.step(self.client.do_handshake, ssl.SSLWantReadError)
            self.pump()
            done[1] = done[1] or self.step(self.server.do_handshake, SSL.WantReadError)
            self.pump()
        assert all(done)

    @staticmethod
    def step(do: Any, waits: type[Exception]) -> bool:
        try:
            do()
        except waits:
            return False
        return True

    def pump(self) -> None:
        if octets := self.out.read():
            self.server.bio_write(octets)
        try:
            self.into.write(self.server.bio_read(1 << 16))
        except SSL.WantReadError:
            pass

    @property
    def shown(self) -> bytes:
        """The certificate that the client saw."""
        octets = self.client.getpeercert(binary_form=True)
        assert octets is not None
        return octets


def plain() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def der(one: Certificate) -> bytes:
    return one.leaf.public_bytes(Encoding.DER)


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 1000.0
        self.contexts = Contexts(lambda: self.now)
        self.contexts.use([MAIL, WILD, OTHER], MAIL, Policy())

    def shown(self, name: str | None) -> bytes:
        return Handshake(self.contexts, name).shown


class Names(Case):
    def test_by_name(self) -> None:
        # RFC 6066 3
        for name, expected in (
            ("mail.ours.example", MAIL),
            ("OTHER.example", OTHER),  # RFC 4343
            ("wild.example", WILD),
            ("a.wild.example", WILD),
            # RFC 6125 6.4.3: a wildcard stands for one label.
            ("a.b.wild.example", MAIL),
            ("unknown.example", MAIL),
            (None, MAIL),
        ):
            self.assertEqual(self.shown(name), der(expected), name)

    def test_for_both_versions(self) -> None:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            client = plain()
            client.maximum_version = client.minimum_version = version
            done = Handshake(self.contexts, "other.example", client)
            self.assertEqual(done.shown, der(OTHER))
            self.assertTrue(negotiated(done.server).startswith(version.name.replace("_", ".")))

    def test_names_that_are_none(self) -> None:
        """What a client may put there: nothing of it raises, and it gets the default."""
        for name in (
            "*.wild.example",
            ".",
            "..",
            "",
            "a..example",
            ".wild.example",
            "x" * 300,
            "\x00",
            "ü.example",
            "*",
        ):
            found = self.contexts.for_name(name)
            if name == "*.wild.example":
                self.assertIsNotNone(found)
            else:
                self.assertIsNone(found, name)

    def test_octets_of_any_kind_as_a_name(self) -> None:
        class Asks:
            changed = False

            def __init__(self, name: bytes | None) -> None:
                self.name = name

            def get_servername(self) -> bytes | None:
                return self.name

            def set_context(self, context: object) -> None:
                self.changed = True

        for octets in (None, b"", b"\xff\xfe", b"\x00.wild.example\x00", b"a" * 70000, b"." * 300):
            asks: Any = Asks(octets)
            self.contexts._choose(asks)
        known: Any = Asks(b"A.Wild.Example.")
        self.contexts._choose(known)
        self.assertTrue(known.changed)

    def test_of_two_for_a_name_the_one_that_lasts(self) -> None:
        short, long = certificate("twice.example", days=5), certificate("twice.example", days=50)
        for order in ([short, long], [long, short]):
            self.contexts.use([MAIL, *order], MAIL, Policy())
            self.assertEqual(self.shown("twice.example"), der(long))

    def test_others_are_taken_over_for_new_connections(self) -> None:
        self.assertEqual(self.shown("other.example"), der(OTHER))
        self.contexts.use([OTHER], OTHER, Policy())
        self.assertEqual(self.shown("mail.ours.example"), der(OTHER))

    def test_chain_goes_along(self) -> None:
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.load_verify_locations(cadata=AUTHORITY.pem.decode())
        self.assertEqual(Handshake(self.contexts, "a.wild.example", client).shown, der(WILD))


class Policies(Case):
    def refused(self, client: ssl.SSLContext) -> None:
        with self.assertRaises((SSL.Error, ssl.SSLError)):
            Handshake(self.contexts, None, client)

    def test_nothing_older_than_the_minimum(self) -> None:
        client = plain()
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        Handshake(self.contexts, None, client)
        self.contexts.use([MAIL], MAIL, Policy(minimum="TLSv1.3"))
        self.refused(client)
        Handshake(self.contexts, None)

    def test_nothing_older_than_1_2_by_default(self) -> None:
        client = plain()
        client.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            client.minimum_version = client.maximum_version = ssl.TLSVersion.TLSv1_1
        with self.assertRaises(SSL.Error) as caught:
            Handshake(self.contexts, None, client)
        self.assertEqual(reasons(caught.exception), "unsupported protocol")

    def test_our_order_of_ciphers(self) -> None:
        client = plain()
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        client.set_ciphers("ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256")
        done = Handshake(self.contexts, None, client)
        self.assertEqual(negotiated(done.server), "TLSv1.2 ECDHE-ECDSA-AES128-GCM-SHA256")

    def test_only_good_ciphers(self) -> None:
        client = plain()
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        client.set_ciphers("AES128-SHA:ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384:@SECLEVEL=0")
        self.refused(client)

    def test_no_compression(self) -> None:
        # RFC 7525 3.3
        self.assertIsNone(Handshake(self.contexts, None).client.compression())

    def test_no_renegotiation(self) -> None:
        client = plain()
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        done = Handshake(self.contexts, None, client)
        with self.assertRaises(SSL.Error) as caught:
            done.server.renegotiate()
        self.assertEqual(reasons(caught.exception), "no renegotiation")

    def test_sessions_are_resumed_by_tickets_of_one_key_for_a_time(self) -> None:
        # RFC 5077
        client = plain()
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        session = Handshake(self.contexts, None, client).client.session
        self.assertTrue(Handshake(self.contexts, None, client, session=session).client.session_reused)
        self.now += TICKET_KEYS
        self.assertFalse(Handshake(self.contexts, None, client, session=session).client.session_reused)

    def test_ciphers_are_checked(self) -> None:
        self.assertEqual(wrong_ciphers("HIGH"), "")
        for wrong in ("nonsense", "", "ü"):
            self.assertIn("no list of ciphers", wrong_ciphers(wrong), wrong)

    def test_key_that_openssl_finds_too_small(self) -> None:
        with self.assertRaises(CertificateError) as caught:
            make_context(certificate("a.example", key=rsa_key(1024)), Policy())
        self.assertIn("OpenSSL does not take it", str(caught.exception))
        self.assertIn("key too small", str(caught.exception))

    def test_wrong_one_changes_nothing(self) -> None:
        bad = certificate("bad.example", key=rsa_key(1024))
        with self.assertRaises(CertificateError):
            self.contexts.use([bad], bad, Policy())
        self.assertEqual(self.shown("other.example"), der(OTHER))

    def test_rsa(self) -> None:
        one = certificate("rsa.example", key=rsa_key(2048))
        self.contexts.use([one], one, Policy())
        self.assertEqual(self.shown(None), der(one))

    def test_nothing_is_there_before_the_first(self) -> None:
        self.assertFalse(Contexts(lambda: 0.0).ready)
        self.assertTrue(self.contexts.ready)
