"""The options of the delivery service ``smtp``, with their checks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Annotated, Literal

from mta.address import AddressError, normal_domain
from mta.config.option import DomainPattern, Duration, Network, Options, Path, Secret, at_least, option
from mta.sasl.client import MECHANISMS
from mta.tls.client import TlsClient, TlsSetupError

TlsChoice = Literal["none", "opportunistic", "encrypt", "verify"]


def _host_name(value: str) -> str | None:
    if not value:
        return None
    try:
        normal_domain(value)
    except AddressError as error:
        return f"is no host name ({error}); write one such as smtp.example.org"
    return None


def check_host(value: str) -> str | None:
    try:
        ip_address(value)
    except ValueError:
        return _host_name(value)
    return None


def _addresses(values: tuple[str, ...]) -> str | None:
    for value in values:
        try:
            ip_address(value)
        except ValueError:
            return f"{value!r} is no IP address; write addresses of this machine such as 192.0.2.25"
    return None


def check_port(value: int) -> str | None:
    return None if 0 < value < 65536 else "is no port; write a number from 1 to 65535"


def _names(values: tuple[str, ...]) -> str | None:
    for value in values:
        trouble = check_host(value)
        if trouble is not None:
            return f"{value!r} {trouble}"
    return None


def _mechanisms(values: tuple[str, ...]) -> str | None:
    for value in values:
        if value not in MECHANISMS:
            return f"{value!r} is no mechanism that we know; known are: {', '.join(MECHANISMS)}"
    return None


class SmtpOptions(Options):
    """Sends by SMTP: to the MX hosts of each recipient's domain, or with ``host`` to that host."""

    host: str = option(
        "",
        doc="A smart host: everything goes there, without an MX lookup.",
        example='"smtp.partner.example"',
        check=check_host,
    )
    port: int = option(25, doc="The port to connect to.", unit="port", check=check_port)
    hello: str = option("", doc="The name in EHLO; left out: the hostname.", check=_host_name)
    source: tuple[str, ...] = option(
        (), doc="Addresses of this machine to connect from; one of the right kind is used.", check=_addresses
    )
    private_networks: tuple[Network, ...] = option(
        (), doc="Loopback and private networks in which MX hosts may be; all others of that kind are refused."
    )
    idle: Duration = option(Duration(5.0), doc="How long a connection is kept for the next message.", check=at_least(0))
    messages: int = option(100, doc="Messages on one connection.", unit="messages", check=at_least(1))
    connections: int = option(20, doc="Connections at once to one next hop.", unit="connections", check=at_least(1))
    recipients: int = option(100, doc="Recipients in one transaction.", unit="recipients", check=at_least(1))
    tls: TlsChoice = option(
        "opportunistic",
        doc="What is demanded of a connection.  `none`: no TLS.  `opportunistic`: TLS where the host offers it, with "
        "any certificate, else in clear.  `encrypt`: TLS with any certificate.  `verify`: TLS with a certificate that "
        "proves the host's name.  What is demanded and cannot be had defers the message; it is never sent in clear.",
    )
    tls_rules: Mapping[Annotated[str, DomainPattern], TlsChoice] = option(
        factory=dict,
        doc="What is demanded for domains of recipients in place of `tls`; the pattern that says most counts.",
        example='{ "partner.example" = "verify", "*.bank.example" = "encrypt" }',
    )
    tls_implicit: bool = option(False, doc="TLS begins with the connection (port 465), without STARTTLS.")
    tls_names: tuple[str, ...] = option(
        (), doc="Names that are good in a certificate besides that of the host.", check=_names
    )
    tls_minimum: Literal["TLSv1.2", "TLSv1.3"] = option("TLSv1.2", doc="The oldest version of TLS that is good.")
    ca_file: Path | None = option(
        None,
        doc="Certificates of the authorities that are believed, in PEM; left out: those of the system.",
        example='"tls/authorities.pem"',
    )
    certificate: Path | None = option(
        None,
        doc="A certificate of our own, in PEM with its chain, for hosts that ask for one.",
        example='"tls/cert.pem"',
    )
    key: Path | None = option(
        None, doc="The key of `certificate`, in PEM; left out: it stands in that file.", example='"tls/key.pem"'
    )
    user: str = option("", doc="The name with which we log in at `host`.", example='"our-site"')
    password: Secret | None = option(
        None,
        doc="The password of `user`; it is given away over TLS with a verified certificate only.",
        example='{ file = "smart-host.password" }',
    )
    token_file: Path | None = option(
        None,
        doc="A file that holds an OAuth 2.0 access token of `user`, in place of a password; read for each connection, "
        "since another program renews it.",
        example='"/run/smart-host.token"',
    )
    mechanisms: tuple[str, ...] = option(
        (),
        doc="The mechanisms with which we may log in; left out: all, the strongest that the host offers first.",
        check=_mechanisms,
    )
    auth_in_clear: bool = option(
        False, doc="Log in without TLS too, at a host on a loopback address; elsewhere that is never done."
    )
    happy_eyeballs: Duration = option(
        Duration(0.25),
        doc="The head start of a host's IPv6 address over its IPv4 address (RFC 8305).",
        check=at_least(0.01, "10ms"),
    )
    connect_timeout: Duration = option(
        Duration(30.0), doc="Time for a connection to come about.", check=at_least(1, "1s")
    )
    greeting_timeout: Duration = option(
        Duration(300.0),
        doc="Time for the greeting and the reply to EHLO (RFC 5321 4.5.3.2.1).",
        check=at_least(1, "1s"),
    )
    mail_timeout: Duration = option(
        Duration(300.0), doc="Time for the reply to MAIL (RFC 5321 4.5.3.2.2).", check=at_least(1, "1s")
    )
    rcpt_timeout: Duration = option(
        Duration(300.0), doc="Time for the reply to RCPT (RFC 5321 4.5.3.2.3).", check=at_least(1, "1s")
    )
    data_timeout: Duration = option(
        Duration(120.0), doc="Time for the reply to DATA (RFC 5321 4.5.3.2.4).", check=at_least(1, "1s")
    )
    block_timeout: Duration = option(
        Duration(180.0),
        doc="Time for a piece of the message to be taken (RFC 5321 4.5.3.2.5).",
        check=at_least(1, "1s"),
    )
    dot_timeout: Duration = option(
        Duration(600.0), doc="Time for the reply to the end of data (RFC 5321 4.5.3.2.6).", check=at_least(1, "1s")
    )

    def contradictions(self) -> Iterator[tuple[str, str, str]]:
        """See ``Options``; the files of TLS are read."""
        yield from self._login_contradictions()
        if self.tls_implicit and "none" in (self.tls, *self.tls_rules.values()):
            yield "tls_implicit", "there is no TLS to begin with where tls is none", "leave out one of them"
        if self.key is not None and self.certificate is None:
            yield "key", "there is no certificate that it belongs to", "write certificate = ..."
        files = [path for path in (self.ca_file, self.certificate, self.key) if path is not None]
        if not files or any(os.path.exists(path) and not os.access(path, os.R_OK) for path in files):
            return  # whoever asks about the configuration need not be the one who may read keys
        try:
            self.make_tls().make_context()
        except TlsSetupError as error:
            yield "ca_file" if str(error).startswith(str(self.ca_file)) else "certificate", str(error), "correct it"

    def _login_contradictions(self) -> Iterator[tuple[str, str, str]]:
        given = [key for key in ("password", "token_file") if getattr(self, key) is not None]
        if self.user and not self.named:
            yield "user", "we log in at a host that is named, never at those of MX", "write host = ..., or leave it out"
        if self.user and not given:
            yield "user", "it has neither a password nor a token", "write password = ..."
        if given and not self.user:
            yield given[0], "there is no user that it belongs to", "write user = ..."
        if self.user and self.tls == "none" and not self.auth_in_clear:
            yield "tls", "we log in over verified TLS only", "leave it out"

    @property
    def named(self) -> bool:
        """Everything goes to a server that is named here."""
        return bool(self.host)

    def make_tls(self) -> TlsClient:
        """The TLS of a service with these options."""
        return TlsClient(
            ca_file=self.ca_file or "",
            minimum=self.tls_minimum,
            certificate=self.certificate or "",
            key=self.key or "",
            names=self.tls_names,
        )
