"""The options of the delivery service ``smtp``, with their checks."""

from __future__ import annotations

from ipaddress import ip_address

from mta.address import AddressError, normal_domain
from mta.config.option import Duration, Network, Options, at_least, option


def _host_name(value: str) -> str | None:
    if not value:
        return None
    try:
        normal_domain(value)
    except AddressError as error:
        return f"is no host name ({error}); write one such as smtp.example.org"
    return None


def _host(value: str) -> str | None:
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


def _port(value: int) -> str | None:
    return None if 0 < value < 65536 else "is no port; write a number from 1 to 65535"


class SmtpOptions(Options):
    """Sends by SMTP: to the MX hosts of each recipient's domain, or with ``host`` to that host."""

    host: str = option("", doc="A smart host: everything goes there, without an MX lookup.", check=_host)
    port: int = option(25, doc="The port to connect to.", unit="port", check=_port)
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
