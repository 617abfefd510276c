"""The options of ``[accounts.X] type = "oauth"``: whose tokens are believed, and whose account one is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from mta.config.option import Duration, Options, Path, Secret, at_least, option
from mta.config.problems import Wrong
from mta.config.values import url
from mta.routing.tables.optional import missing

#: Only signatures with a key pair: who can check one of these cannot make it (RFC 8725 2.1).
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")

_NEAR: Final = ("127.0.0.1", "::1", "localhost")


def _secure(value: str) -> str | None:
    try:
        url(value or "https://none.example")
        parts = urlsplit(value or "https://none.example")
    except Wrong as wrong:
        return f"is not the address of a web service; {wrong.instead}"
    if parts.username is not None or (parts.scheme != "https" and parts.hostname not in _NEAR):
        return 'is to begin with "https://HOST/", without a user; "http://" will do on this machine alone'
    return None


def _algorithms(value: tuple[str, ...]) -> str | None:
    unknown = [name for name in value if name not in ALGORITHMS]
    return f"has {', '.join(unknown) or 'nothing'}; there are {', '.join(ALGORITHMS)}" if unknown or not value else None


class OAuthOptions(Options):
    """Accounts that log in with a token of OAuth 2.0 (OAUTHBEARER, XOAUTH2): a JWT that a key of its issuer has signed,
    or any token that its issuer can be asked about. It takes the extra `oauth`. See `docs/authentication.rst`."""

    issuer: str = option(
        doc="Who gives the tokens: `iss` in them has to be this, letter by letter.",
        example='"https://id.example.org/realms/mail"',
    )
    audience: tuple[str, ...] = option(
        doc="For whom they are: `aud` in them has to name one of these. A token for another service is none for us.",
        example='["mail"]',
    )
    keys: Path | None = option(
        None,
        doc="A file with the issuer's keys (JWKS, RFC 7517); it is read again when it changes.",
        example='"tls/issuer.json"',
    )
    keys_url: str = option(
        "",
        doc='In place of a file: where they are fetched, such as "https://id.example.org/realms/mail/certs".',
        check=_secure,
    )
    introspection: str = option(
        "",
        doc="In place of keys: where the issuer says of each token whether it counts (RFC 7662), such as "
        '"https://id.example.org/realms/mail/introspect".',
        check=_secure,
    )
    client: str = option("", doc="Who we are there.", example='"mail"')
    secret: Secret | None = option(None, doc="And our password.", example='{ file = "introspection.secret" }')
    ca: Path | None = option(
        None,
        doc="The certificates that may have signed that of `keys_url` and `introspection`. Left out, those that the "
        "system trusts.",
        example='"tls/issuer-ca.pem"',
    )
    scope: str = option("", doc="What a token has to be good for; each of these words.", example='"mail.send"')
    name: str = option(
        "email",
        doc="What in a token says whose it is: the account of that name is let in. An address that the issuer has not "
        "verified (`email_verified` is false) is nobody's.",
        example='"preferred_username"',
    )
    discovery: str = option(
        "",
        doc="What a client is told whose token is refused: where it learns how to get one (RFC 7628 3.2.2).",
        example='"https://id.example.org/realms/mail/.well-known/openid-configuration"',
    )
    algorithms: tuple[str, ...] = option(
        ALGORITHMS,
        doc="How tokens may be signed.",
        check=_algorithms,
    )
    leeway: Duration = option(
        Duration(30.0), doc="By how much the issuer's clock and ours may differ.", check=at_least(0)
    )
    cache: Duration = option(
        Duration(3600.0),
        doc="How long fetched keys are used before they are fetched again. A token with a key that is not among them "
        "has them fetched sooner, once a minute at most.",
        check=at_least(60, "1m"),
    )
    recheck: Duration = option(
        Duration(60.0),
        doc="How long what introspection said is believed: so long a token that was revoked may still send.",
        check=at_least(0),
    )
    timeout: Duration = option(Duration(5.0), doc="How long keys or an answer may take.", check=at_least(0.1, "100ms"))
    accounts: bool = option(
        False,
        doc="Whether names are accounts that no other `[accounts.X]` knows: then everybody to whom the issuer gives a "
        "token may send, as the address that is the name. Let it stand last.",
        example="true",
    )

    def contradictions(self) -> Iterable[tuple[str, str, str]]:
        ways = [name for name in ("keys", "keys_url", "introspection") if getattr(self, name)]
        if len(ways) != 1:
            yield "keys", f"stands with {len(ways)} of keys, keys_url and introspection", "write just one of them"
        if self.introspection and not (self.client and self.secret):
            yield "introspection", "wants to know who asks (RFC 7662 2.1)", "write client and secret"
        if not self.audience:
            yield "audience", "is empty: any token of the issuer would do", "write one at least"
        if not self.introspection:
            yield from missing("jwt", "oauth")
        if not self.keys:
            yield from missing("treq", "oauth")
