"""TLS and logins of the delivery service ``smtp`` on real sockets, against aiosmtpd: a server that we did not write."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from surroundings import free_port
from test_smtp_aiosmtpd import LARGE, SMALL, Handler, Sending
from twisted.internet.defer import Deferred, inlineCallbacks

from mta.config.option import Path as OptionPath
from tests.certificates import Authority, put

AUTHORITY = Authority()
HOST = "mx.b.example"


class TlsHandler(Handler):
    """Keeps how each message came, too."""

    def __init__(self) -> None:
        super().__init__()
        self.tls: list[str] = []
        self.users: list[Any] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        found = server.transport.get_extra_info("ssl_object")
        self.tls.append(found.version() if found is not None else "")
        self.users.append(session.auth_data)
        return await super().handle_DATA(server, session, envelope)


class TlsCase(Sending):
    def setUp(self) -> None:
        self.handler = TlsHandler()
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)
        self.ca_file = OptionPath(str(put(self.folder / "ca.pem", AUTHORITY.pem)))

    def context(self, *names: str, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
        path = put(self.folder / f"{'-'.join(names)}.pem", AUTHORITY.issue(*names).both)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = newest
        context.load_cert_chain(path)
        return context

    def serve(self, *, implicit: ssl.SSLContext | None = None, **options: Any) -> int:
        port = free_port()
        server = Controller(
            self.handler,
            hostname="127.0.0.1",
            port=port,
            ssl_context=implicit,
            data_size_limit=8_000_000,
            decode_data=False,
            **options,
        )
        server.start()
        self.addCleanup(server.stop)
        return port

    @staticmethod
    def log_in(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        good = (data.login, data.password) == (b"ann", b"pencil")
        return AuthResult(success=good, handled=False, auth_data=(mechanism, data.login))


class Encrypted(TlsCase):
    @inlineCallbacks
    def test_verified(self) -> Generator[Deferred[Any], Any, None]:
        self.service = self.make_service(self.serve(tls_context=self.context(HOST)), tls="verify", ca_file=self.ca_file)
        for octets in (SMALL, LARGE, SMALL):
            outcomes = yield self.deliver(octets, "bob@b.example")
            self.assertEqual(outcomes[0].status, "relayed", outcomes[0].reply)
            self.assertRegex(outcomes[0].attempt["tls"], r"^TLSv1\.3 \w+ verified$")
            self.assertEqual(self.handler.taken[-1], (["bob@b.example"], octets))
        self.assertEqual(self.handler.tls, ["TLSv1.3"] * 3)
        self.assertEqual(len(self.handler.sessions), 1)

    @inlineCallbacks
    def test_from_the_beginning(self) -> Generator[Deferred[Any], Any, None]:
        port = self.serve(implicit=self.context(HOST, newest=ssl.TLSVersion.TLSv1_2))
        self.service = self.make_service(port, tls="verify", ca_file=self.ca_file, tls_implicit=True)
        outcomes = yield self.deliver(LARGE, "bob@b.example")
        self.assertEqual(outcomes[0].status, "relayed", outcomes[0].reply)
        self.assertEqual((self.handler.taken[-1][1], self.handler.tls), (LARGE, ["TLSv1.2"]))

    @inlineCallbacks
    def test_any_certificate_will_do(self) -> Generator[Deferred[Any], Any, None]:
        self.service = self.make_service(self.serve(tls_context=self.context("other.example")))
        outcomes = yield self.deliver(SMALL, "bob@b.example")
        self.assertEqual((outcomes[0].status, self.handler.tls), ("relayed", ["TLSv1.3"]))
        self.assertRegex(outcomes[0].attempt["tls"], "unverified$")

    @inlineCallbacks
    def test_name_of_another(self) -> Generator[Deferred[Any], Any, None]:
        self.service = self.make_service(
            self.serve(tls_context=self.context("other.example")), tls="verify", ca_file=self.ca_file
        )
        outcomes = yield self.deliver(SMALL, "bob@b.example")
        self.assertEqual((outcomes[0].status, outcomes[0].reply.enhanced), ("deferred", "4.7.5"))
        self.assertIn("is not for mx.b.example", outcomes[0].reply.text)
        self.assertEqual(self.handler.taken, [])

    @inlineCallbacks
    def test_version_that_is_too_old(self) -> Generator[Deferred[Any], Any, None]:
        """Opportunistic: on a new connection in clear; required: not at all."""
        port = self.serve(tls_context=self.context(HOST, newest=ssl.TLSVersion.TLSv1_2))
        self.service = self.make_service(port, tls_minimum="TLSv1.3", tls="encrypt")
        outcomes = yield self.deliver(SMALL, "bob@b.example")
        self.assertEqual((outcomes[0].status, outcomes[0].reply.enhanced), ("deferred", "4.7.5"))
        self.service = self.make_service(port, tls_minimum="TLSv1.3")
        outcomes = yield self.deliver(SMALL, "bob@b.example")
        self.assertEqual((outcomes[0].status, outcomes[0].attempt["tls"], self.handler.tls), ("relayed", "", [""]))


class SmartHost(TlsCase):
    @inlineCallbacks
    def test_logins(self) -> Generator[Deferred[Any], Any, None]:
        # RFC 4954 4, RFC 4616
        port = self.serve(tls_context=self.context("127.0.0.1"), authenticator=self.log_in, auth_required=True)
        for mechanism in ("PLAIN", "LOGIN"):
            self.service = self.make_service(
                port,
                host="127.0.0.1",
                ca_file=self.ca_file,
                user="ann",
                password="pencil",
                mechanisms=(mechanism,),
            )
            outcomes = yield self.deliver(SMALL, "bob@b.example")
            self.assertEqual(outcomes[0].status, "relayed", outcomes[0].reply)
            self.assertEqual(self.handler.users[-1], (mechanism, b"ann"))

    @inlineCallbacks
    def test_wrong_password(self) -> Generator[Deferred[Any], Any, None]:
        port = self.serve(tls_context=self.context("127.0.0.1"), authenticator=self.log_in, auth_required=True)
        self.service = self.make_service(port, host="127.0.0.1", ca_file=self.ca_file, user="ann", password="wrong")
        outcomes = yield self.deliver(SMALL, "bob@b.example")
        self.assertEqual((outcomes[0].status, outcomes[0].attempt["stage"]), ("deferred", "AUTH"))
        self.assertIn("535 5.7.8", outcomes[0].reply.text)

    @inlineCallbacks
    def test_host_that_nobody_vouches_for(self) -> Generator[Deferred[Any], Any, None]:
        tried: list[str] = []

        def log_in(*arguments: Any) -> AuthResult:
            tried.append(arguments[3])
            return AuthResult(success=True)

        port = self.serve(tls_context=self.context("127.0.0.1"), authenticator=log_in)
        self.service = self.make_service(port, host="127.0.0.1", user="ann", password="pencil")
        outcomes = yield self.deliver(SMALL, "bob@b.example")
        self.assertEqual((outcomes[0].status, outcomes[0].attempt["stage"], tried), ("deferred", "TLS", []))
