"""TLS contexts of the server side, and the choice among them by the name that a client asks for (SNI).

What it is: ``make_context`` turns a certificate into what OpenSSL works with; ``Contexts`` is what a listener hands to
``startTLS``: it begins each connection with the default certificate and changes to the one for the name.
Contract: TLS 1.2 or newer, forward secrecy and authenticated encryption alone (the "intermediate" list of Mozilla's
server side TLS), our order of ciphers, no compression (RFC 7525 3.3), no renegotiation, no early data.
Sessions are resumed by tickets (RFC 5077) and nothing of them is kept here; the keys of tickets live for at most
``TICKET_KEYS`` seconds.  A name that no certificate is for gets the default one: a client that cares will see.
How it fails: ``CertificateError`` where OpenSSL does not take a certificate; nothing that a client sends raises.
Limits: one certificate a name; of several that are for it, the one that expires last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cryptography import x509
from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from zope.interface import implementer

from mta.tls.certificates import Certificate, CertificateError, normal_name

if TYPE_CHECKING:
    from twisted.protocols.tls import TLSMemoryBIOProtocol

#: Seconds for which tickets of one key are taken: who steals the key can read no session that is older.
TICKET_KEYS: Final = 12 * 3600.0

MINIMUM: Final = {"TLSv1.2": SSL.TLS1_2_VERSION, "TLSv1.3": SSL.TLS1_3_VERSION}
#: For TLS 1.2; the suites of TLS 1.3 are all good.  Without finite-field Diffie-Hellman: it needs parameters, it is
#: slow, and who has no elliptic curves has no TLS 1.2 worth the name.
CIPHERS: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)


class Policy(NamedTuple):
    """What is spoken: the lowest version, and the ciphers of TLS 1.2 as OpenSSL writes them.

    ``authorities``: clients are asked for a certificate that one of these has signed, as PEM; b"": they are not."""

    minimum: str = "TLSv1.2"
    ciphers: str = CIPHERS
    authorities: bytes = b""


def wrong_ciphers(ciphers: str) -> str:
    """What is wrong with a list of ciphers, or ""."""
    try:
        SSL.Context(SSL.TLS_SERVER_METHOD).set_cipher_list(ciphers.encode("ascii", "replace"))
    except SSL.Error:
        return "is no list of ciphers that OpenSSL knows"
    return ""


def make_context(
    certificate: Certificate, policy: Policy, choose: Callable[[SSL.Connection], None] | None = None
) -> SSL.Context:
    """A context; ``choose`` is called when a client has named the host that it wants.  ``CertificateError``."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(MINIMUM[policy.minimum])
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE)
    # Buffers are given back while a connection is idle: 34 KiB each.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    # Tickets alone: nothing is kept for a client who may come back.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(b"txmta")
    try:
        context.set_cipher_list(policy.ciphers.encode("ascii"))
        context.use_certificate(certificate.leaf)
        for above in certificate.chain:
            context.add_extra_chain_cert(above)
        context.use_privatekey(certificate.key)
        context.check_privatekey()
    except SSL.Error as error:
        raise CertificateError(f"{certificate.place}: OpenSSL does not take it: {reasons(error)}") from None
    if policy.authorities:
        _ask_clients(context, policy.authorities)
    if choose is not None:
        context.set_tlsext_servername_callback(choose)
    return context


def _ask_clients(context: SSL.Context, pem: bytes) -> None:
    """Have clients asked for a certificate; who has none goes on without (RFC 8446 4.4.2.4)."""
    store = context.get_cert_store()
    for authority in x509.load_pem_x509_certificates(pem):
        if store is not None:
            store.add_cert(X509.from_cryptography(authority))
        context.add_client_ca(authority)
    context.set_verify(SSL.VERIFY_PEER)


def reasons(error: SSL.Error) -> str:
    """What OpenSSL says, without its inner names."""
    queue: Any = error.args[0] if error.args else ()
    if not isinstance(queue, list | tuple):
        return str(error) or type(error).__name__
    return ", ".join(str(entry[-1]) for entry in queue) or type(error).__name__


@implementer(IOpenSSLServerConnectionCreator)
class Contexts:
    """See the module's text.  Until ``use`` is called there is nothing that could be handed out."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._policy = Policy()
        self._default: Certificate | None = None
        self._first: SSL.Context | None = None  # what connections begin with; it has the keys of the tickets
        self._first_made = 0.0
        self._made: dict[int, tuple[Certificate, SSL.Context]] = {}
        self._names: dict[str, SSL.Context] = {}

    @property
    def ready(self) -> bool:
        """There is a certificate."""
        return self._first is not None

    def use(self, certificates: Sequence[Certificate], default: Certificate, policy: Policy) -> None:
        """These from now on, for new connections.  Raises ``CertificateError`` before anything has changed."""
        kept = self._made if policy == self._policy else {}
        # By identity: a certificate that was read again is another.  Each is kept, so its id stays its own.
        made = {id(one): kept[id(one)] if id(one) in kept else (one, make_context(one, policy)) for one in certificates}
        first = make_context(default, policy, self._choose)
        names: dict[str, SSL.Context] = {}
        for one in sorted(certificates, key=lambda one: one.expires):
            for name in one.names:
                names[name] = made[id(one)][1]
        self._policy, self._default, self._made, self._names = policy, default, made, names
        self._first, self._first_made = first, self._seconds()

    def for_name(self, name: str) -> SSL.Context | None:
        """The context of a certificate for this host: by its name, or by a wildcard in place of its first label."""
        found = self._names.get(name)
        if found is None:
            # RFC 6125 6.4.3: the wildcard is the whole of the left-most label and stands for just one.
            first, dot, rest = name.partition(".")
            if first and dot:
                found = self._names.get(f"*.{rest}")
        return found

    def _choose(self, connection: SSL.Connection) -> None:
        # RFC 6066 3.  The octets are the client's: what is no name is for the default certificate.
        asked = connection.get_servername() or b""
        found = self.for_name(normal_name(asked.decode("ascii", "replace")))
        if found is not None:
            connection.set_context(found)

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """A new connection of ours."""
        if self._seconds() - self._first_made >= TICKET_KEYS and self._default is not None:
            self._first, self._first_made = make_context(self._default, self._policy, self._choose), self._seconds()
        assert self._first is not None, "no listener offers TLS before there is a certificate"
        return SSL.Connection(self._first)
