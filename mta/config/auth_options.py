"""The options of logins by SASL: those of ``[login]`` (``mechanisms``, ``tries``) and of a ``[[listen]]``.

What it is: ``offer_of`` makes of them what a listener offers (``mta.sasl.server.Offer``); ``logins`` is the part of
``mta.config.check`` that looks at them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509

from mta.config.files import contents
from mta.config.option import Options, at_least, option
from mta.config.problems import Problem, Wrong
from mta.sasl.server import DEFAULT, MECHANISMS, Offer

if TYPE_CHECKING:
    from mta.config.check import Draft
    from mta.config.schema import Configuration, Listen

_KINDS: Final = ("mx", "submission")


def _mechanisms(value: tuple[str, ...]) -> str | None:
    unknown = [name for name in value if name not in MECHANISMS]
    if unknown or not value:
        return f"has {', '.join(unknown) or 'nothing'}; there are {', '.join(MECHANISMS)}"
    return None


def _authority(value: str | None) -> str | None:
    if value is None:
        return None
    try:
        x509.load_pem_x509_certificates(contents(value))
    except Wrong as wrong:
        return f"{wrong.what}; {wrong.instead}"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    except ValueError:
        return "has no certificates in PEM; write all from BEGIN to END"
    return None


class AuthOptions(Options):
    """The part of ``[login]`` that says how a client logs in."""

    mechanisms: tuple[str, ...] = option(
        DEFAULT,
        doc="The mechanisms of SASL that may be offered; each is, where somebody can judge what it carries and the "
        "connection has what it takes. CRAM-MD5 needs passwords that are kept in clear, and is off unless it stands "
        "here.",
        example='["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN", "CRAM-MD5"]',
        check=_mechanisms,
    )
    tries: int = option(5, doc="How many logins of one session may fail. Then: 421.", unit="logins", check=at_least(1))


#: Keys of a ``[[listen]]``; each stands in the schema once.
AUTH: Any = option(
    False,
    doc='Whether clients may log in on a listener "mx". On "submission" they have to, on "lmtp" they cannot.',
    example="true",
)
PLAIN_WITHOUT_TLS: Any = option(
    False,
    doc="Whether passwords are taken without TLS, where whoever listens reads them: for a listener behind a proxy that "
    "has ended TLS, or one for programs on this machine. Tokens are not, even then.",
    example="true",
)
CLIENT_AUTHORITY: Any = option(
    None,
    doc="A file with the certificates of an authority whose clients may log in with theirs (EXTERNAL). Clients are "
    "then asked for a certificate; they need not have one, but one that the authority has not signed ends the "
    "connection.",
    example='"tls/clients.pem"',
    check=_authority,
)


def offer_of(configuration: Configuration, listener: Listen) -> Offer | None:
    """What a listener offers; None: nobody logs in there."""
    if not configuration.accounts or not (
        listener.service == "submission" or (listener.service == "mx" and listener.auth)
    ):
        return None
    told = _told(configuration)
    return Offer(
        hostname=configuration.hostname,
        mechanisms=configuration.login.mechanisms,
        without_tls=listener.plain_without_tls,
        tries=configuration.login.tries,
        scope=told.get("scope", ""),
        discovery=told.get("discovery", ""),
    )


def _told(configuration: Configuration) -> Mapping[str, str]:
    """What a client is told whose token is refused: by the first source of tokens."""
    for section in configuration.accounts.values():
        if section.type_name == "oauth":
            options: Any = section.options
            return {"scope": options.scope, "discovery": options.discovery}
    return {}


def logins(draft: Draft) -> Iterator[Problem]:
    """What is wrong with logins; as ``mta.config.check``, of which it is a part."""
    for index, listener in enumerate(draft.listen):
        if listener is None:
            continue
        place = f"listen[{index}]"
        if listener.auth and listener.service not in _KINDS:
            yield draft.problem(f"{place}.auth", f'nobody logs in on a listener "{listener.service}"', "leave it out")
        elif listener.auth and not draft.found.get("accounts"):
            yield draft.problem(
                f"{place}.auth", "there are no accounts", "write [accounts.NAME]; see docs/accounts.rst"
            )
        if listener.client_authority and listener.tls == "none":
            yield draft.problem(
                f"{place}.client_authority", "certificates come with TLS alone", 'write tls = "starttls"'
            )
