"""What a client says of itself to log in: the credentials that ``IAccounts.login`` takes.

What it is: a value for each kind of SASL mechanism, as ``twisted.cred`` wants them: each provides an interface by which
a source of accounts (``ICredentialsChecker``) says what it can check.  Names and passwords are UTF-8 octets as the
client sent them, decoded from base64 and nothing else: whoever compares them prepares them (``mta.accounts.names``).

- PLAIN and LOGIN: ``Password``, the ``UsernamePassword`` of ``twisted.cred``.
- SCRAM: the exchange gets keys from ``IAccounts.scram`` and compares by itself.  It then logs in with ``Proved``,
  or with ``Disproved``, so that a failure counts and is answered as any other.  Only the exchange may make them: what a
  client sends never becomes one.
- OAUTHBEARER and XOAUTH2: ``BearerToken``.  - EXTERNAL: ``ClientCertificate``.  - CRAM-MD5: ``CramMd5``.
Limits: ``MOST_OCTETS`` for a name, a password, a token; the grammar of the exchange refuses what is longer before.
How it fails: it does not; secrets are never part of a ``repr``.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Final

from twisted.cred.credentials import ICredentials, IUsernameHashedPassword, UsernamePassword
from zope.interface import Attribute, implementer

MOST_OCTETS: Final = 8192  # a token may be long; what each source takes of a name or password is far less


class Password(UsernamePassword):
    """PLAIN (RFC 4616) and LOGIN."""

    def __init__(self, username: bytes, password: bytes, mechanism: str = "PLAIN") -> None:
        super().__init__(username, password)
        self.mechanism = mechanism


class IProved(ICredentials):
    """An exchange in which the client has proved, or failed to, that it knows the password."""

    username: bytes = Attribute("as the client sent it")
    mechanism: str = Attribute("of SASL")
    hash_name: str = Attribute('whose keys were used: "sha-1" or "sha-256"')


class IBearerToken(ICredentials):
    """A token of OAuth 2.0 (RFC 6750)."""

    token: bytes = Attribute("as the client sent it")
    username: bytes = Attribute("whose it is as the client says; b'' where it says nothing")


class IClientCertificate(ICredentials):
    """A certificate of the client that TLS has verified, up to an authority that the listener trusts."""

    username: bytes = Attribute("the authorization identity that the client asks for; b'' where it asks for none")
    subject: str = Attribute("common name of the subject, '' for none")
    names: tuple[str, ...] = Attribute("the mail addresses among its alternative names (RFC 5280 4.2.1.6)")
    fingerprint: str = Attribute("SHA-256 of the certificate in DER, as lower-case hexadecimal digits")


@implementer(IProved)
@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """SCRAM: the proof was right.  Made by the exchange alone."""

    username: bytes
    mechanism: str
    hash_name: str
    credential: str = ""  # whose keys it was: "" of the password, else of ``ScramKeys.others``


@implementer(IProved)
@dataclass(frozen=True, slots=True, kw_only=True)
class Disproved:
    """SCRAM: the proof was wrong; always refused, after it has counted."""

    username: bytes
    mechanism: str
    hash_name: str


@implementer(IBearerToken)
@dataclass(frozen=True, slots=True, kw_only=True)
class BearerToken:
    """OAUTHBEARER (RFC 7628) and XOAUTH2."""

    token: bytes = field(repr=False)
    username: bytes = b""
    mechanism: str = "OAUTHBEARER"


@implementer(IClientCertificate)
@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCertificate:
    """EXTERNAL (RFC 4422 appendix A)."""

    fingerprint: str
    subject: str = ""
    names: tuple[str, ...] = ()
    username: bytes = b""
    mechanism: str = "EXTERNAL"


@implementer(IUsernameHashedPassword)
@dataclass(frozen=True, slots=True, kw_only=True)
class CramMd5:
    """CRAM-MD5 (RFC 2195): only a source that has the password itself can check it."""

    username: bytes
    challenge: bytes
    digest: bytes = field(repr=False)  # 32 hexadecimal digits
    mechanism: str = "CRAM-MD5"

    def checkPassword(self, password: bytes) -> bool:
        """Whether the client knows this password."""
        wanted = hmac.new(password, self.challenge, "md5").hexdigest().encode("ascii")
        return hmac.compare_digest(wanted, self.digest.lower())


def mechanism_of(credentials: ICredentials) -> str:
    """The SASL mechanism that they came by."""
    return str(getattr(credentials, "mechanism", "PLAIN"))
