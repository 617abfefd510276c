"""The server side of SASL: which mechanisms a client may use, and the exchange of the one that it chose.

What it is: ``Offer`` is what a listener's configuration says; ``Channel`` what the connection of a client has.
Contract: a mechanism is offered only where it can succeed: somebody can judge its credentials, and the connection has
what it takes.  Without TLS nothing is offered (RFC 4954 4) unless ``Offer.without_tls`` says so; tokens, PLUS and
EXTERNAL not even then (RFC 6750 5.3, RFC 5802 6).
How it fails: ``begin`` returns None for a mechanism that is not offered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from twisted.cred.credentials import IUsernameHashedPassword, IUsernamePassword

from mta.accounts.credentials import ClientCertificate, IBearerToken, IClientCertificate, IProved
from mta.sasl.bearer import Bearer, XOAuth2
from mta.sasl.exchange import Exchange
from mta.sasl.external import External
from mta.sasl.passwords import CramMd5Exchange, Login, Plain, cram_nonce
from mta.sasl.scram import SHA1, SHA256, Scram, scram_nonce

#: All that there are, the strongest first, with who judges them.
MECHANISMS: Final[Mapping[str, Any]] = {
    "SCRAM-SHA-256-PLUS": IProved,
    "SCRAM-SHA-1-PLUS": IProved,
    "SCRAM-SHA-256": IProved,
    "SCRAM-SHA-1": IProved,
    "EXTERNAL": IClientCertificate,
    "OAUTHBEARER": IBearerToken,
    "XOAUTH2": IBearerToken,
    "PLAIN": IUsernamePassword,
    "LOGIN": IUsernamePassword,
    "CRAM-MD5": IUsernameHashedPassword,
}
#: A server that offers this one keeps passwords as they are.
DEFAULT: Final = tuple(name for name in MECHANISMS if name != "CRAM-MD5")
#: They need TLS, whatever the configuration says.
_TLS_ONLY: Final = frozenset({"SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "EXTERNAL", "OAUTHBEARER", "XOAUTH2"})


class Channel(Protocol):
    """What the connection of a client has, once it is encrypted."""

    @property
    def bindings(self) -> Mapping[str, bytes]:
        """What both ends know of the connection and nobody else, by kind (RFC 5929, RFC 9266)."""

    @property
    def certificate(self) -> ClientCertificate | None:
        """That of the client, if TLS has verified one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a listener's configuration says of logins.

    ``tries``: failures after which a session ends.  ``scope``, ``discovery``: what a client is told whose token is
    refused (RFC 7628 3.2.2).
    """

    hostname: str
    mechanisms: tuple[str, ...] = DEFAULT
    without_tls: bool = False
    tries: int = 5
    scope: str = ""
    discovery: str = ""
    scram_nonce: Callable[[], str] = scram_nonce
    cram_nonce: Callable[[], str] = cram_nonce


def offered(offer: Offer, takes: frozenset[Any], channel: Channel | None) -> tuple[str, ...]:
    """The mechanisms for a client, the strongest first.  ``channel``: None in clear."""
    if channel is None and not offer.without_tls:
        return ()
    return tuple(
        name
        for name, judge in MECHANISMS.items()
        if name in offer.mechanisms
        and judge in takes
        and (name not in _TLS_ONLY or (channel is not None and _able(name, channel)))
    )


def _able(name: str, channel: Channel) -> bool:
    if name.endswith("-PLUS"):
        return bool(channel.bindings)
    return name != "EXTERNAL" or channel.certificate is not None


def begin(name: str, offer: Offer, names: tuple[str, ...], channel: Channel | None) -> Exchange | None:
    """An exchange by this mechanism, if it is one of ``names``, which ``offered`` gave."""
    if name not in names:
        return None
    if name.startswith("SCRAM-"):
        plain = name.removesuffix("-PLUS")
        return Scram(
            SHA256 if plain == "SCRAM-SHA-256" else SHA1,
            plus=name != plain,
            bindings=channel.bindings if channel is not None else {},
            offers_plus=f"{plain}-PLUS" in names,
            nonce=offer.scram_nonce,
        )
    if name == "EXTERNAL":
        assert channel is not None
        assert channel.certificate is not None
        return External(channel.certificate)
    if name == "CRAM-MD5":
        return CramMd5Exchange(offer.hostname, offer.cram_nonce)
    if name in ("OAUTHBEARER", "XOAUTH2"):
        return (Bearer if name == "OAUTHBEARER" else XOAuth2)(offer.scope, offer.discovery)
    return Plain() if name == "PLAIN" else Login()
