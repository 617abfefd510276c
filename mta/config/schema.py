"""The whole configuration: every option with its type, its text for people, its default, unit and check.

What it is: frozen dataclasses, one a section; ``Configuration`` is all of it.  ``etc/mta.toml`` and
``docs/configuration.rst`` are generated from here (``mta.config.describe``).
Contract: a key stands here from the day on which something uses it.  Durations are seconds, sizes are octets,
paths are absolute, domains are as by ``normal_domain``.  What concerns more than one option is in ``check``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Literal

from mta.address import Address
from mta.config.account_options import LoginOptions
from mta.config.auth_options import AUTH, CLIENT_AUTHORITY, PLAIN_WITHOUT_TLS
from mta.config.call_ahead_options import CallAheadOptions
from mta.config.client_options import ClientOptions
from mta.config.command_options import CommandOptions
from mta.config.dkim_options import DkimOptions
from mta.config.domain_options import Domain
from mta.config.forward_options import Forward, SrsOptions
from mta.config.list_options import MailingList
from mta.config.local_options import LocalOptions, local_listener
from mta.config.log_options import Log, Privacy
from mta.config.moved_options import MovedOptions
from mta.config.option import (
    DomainName,
    DomainPattern,
    Duration,
    Endpoint,
    ListName,
    Name,
    Network,
    Options,
    Path,
    Server,
    Size,
    at_least,
    option,
)
from mta.config.pace_options import Pace
from mta.config.policy_options import once_each
from mta.config.problems import Problem
from mta.config.queue_options import Queue, Retry
from mta.config.render import as_toml, walk
from mta.config.report_options import ReportOptions
from mta.config.rewrite_options import RewriteOptions
from mta.config.section import AccountsSection, DeliverySection, PolicySection, TableSection
from mta.config.service_options import ServiceOptions
from mta.config.submission_options import BrakeOptions, Identity
from mta.config.verify_options import VerifyOptions
from mta.tls.contexts import CIPHERS, wrong_ciphers

_MINUTE = 60.0
_HOUR = 3600.0
_DAY = 86400.0
#: Each takes some megabytes and shares of all limits; a queue id has room for 256.
MOST_WORKERS = 64


def _known_format(value: int) -> str | None:
    return None if value == 1 else "is not a format that this version knows; write 1"


def _host_name(value: str) -> str | None:
    if value.startswith("[") or "." not in value or "_" in value or value.replace(".", "").isdigit():
        return 'is not a fully qualified domain name; write one such as "mail.example.org"'
    return None


def _service(value: str) -> str | None:
    return None if value in ("mx", "submission", "lmtp") else 'is not a kind; write "mx", "submission" or "lmtp"'


def _workers(value: int) -> str | None:
    return None if 1 <= value <= MOST_WORKERS else f"is not a number from 1 to {MOST_WORKERS}"


def _some(value: tuple[object, ...]) -> str | None:
    return None if value else "is empty; write at least one"


def _whole_seconds(value: float) -> str | None:
    # RFC 2852 4, RFC 4865 3: seconds, of at most nine digits.
    return None if 0 <= value < 1e9 and value == int(value) else 'is not in whole seconds; write such as "1h"'


def _ciphers(value: str) -> str | None:
    wrong = wrong_ciphers(value)
    return f"{wrong}; leave it out, or see: openssl ciphers -v" if wrong else None


def _patience(value: float) -> str | None:
    # RFC 5321 4.5.3.2: clients wait five minutes for a greeting or the reply to RCPT; many give up sooner.
    return None if 0 <= value <= _MINUTE else 'is not from "0s" to "60s"; clients would not wait for longer'


class Listen(Options):
    """Where mail comes in: one `[[listen]]` for each port or socket."""

    name: Name = option(doc="Stands in logs and stories; unique.", example='"mx"', shown=True)
    endpoint: Endpoint = option(
        doc="A Twisted server endpoint of a plain kind: `tcp`, `tcp6`, `unix` or `systemd`. A real site listens "
        'on "tcp6:25", which takes IPv4 too (or "tcp:25", which takes nothing else).',
        example='"tcp:2525:interface=127.0.0.1"',
        shown=True,
    )
    service: str = option(
        "mx",
        doc='What is spoken there: "mx" is SMTP and takes mail from other hosts, on the port 25 of a real site; '
        '"submission" is SMTP for mail programs, which log in (RFC 6409), on the ports 587 (tls = "starttls") and 465 '
        '(tls = "implicit"); "lmtp" is LMTP (RFC 2033), for programs and hosts beside this one that hand over mail for '
        "the domains here. `relay.networks` counts on mx alone.",
        check=_service,
        example='"mx"',
        shown=True,
    )
    policy: tuple[Name, ...] | None = option(
        None,
        doc="The policies that are asked here, in order, in place of those of `[service.X]`.",
        example='["known-senders"]',
        check=once_each,
    )
    identity: Identity | None = option(
        None,
        doc="In whose name accounts send here, if not as `service.submission.identity` says.",
        example='"relaxed"',
    )
    tls: Literal["none", "starttls", "implicit"] = option(
        "starttls",
        doc='"starttls" offers TLS and takes mail without it too, as port 25 must; "implicit" speaks nothing else from '
        'the first octet; "none" offers none.',
    )
    auth: bool = AUTH
    plain_without_tls: bool = PLAIN_WITHOUT_TLS
    client_authority: Path | None = CLIENT_AUTHORITY
    proxy: tuple[Network, ...] = option(
        (),
        doc="Proxies before us, such as HAProxy: their connections must begin with a header of the PROXY protocol, "
        "version 1 or 2, and the client is who that names. From all others such a header ends the connection.",
        example='["192.0.2.10"]',
    )
    xclient: tuple[Network, ...] = option(
        (),
        doc="Who may say with XCLIENT who the client is, name and login included: proxies that speak SMTP, such as "
        "nginx. They are believed in everything, so list nobody else.",
        example='["192.0.2.11"]',
    )
    xforward: tuple[Network, ...] = option(
        (),
        doc="Who may say with XFORWARD where a message came from, for the log and its story alone: filters that give "
        "mail back to us.",
        example='["127.0.0.1"]',
    )


class Tls(Options):
    """Encryption of sessions: certificates, and what is spoken. Files are read again when they change."""

    certificate: Path | None = option(
        None,
        doc="The default certificate: a PEM file with the certificate of this host first, then those above it. It is "
        "shown to clients that ask for no name, or for one that no other certificate is for. Left out: the one of "
        "`certificates` that is for the hostname, else the first.",
        example='"tls/cert.pem"',
    )
    key: Path | None = option(
        None,
        doc="Its private key, which nobody but its owner and group may read. Left out: it is in the same file.",
        example='"tls/key.pem"',
    )
    certificates: Path | None = option(
        None,
        doc="A folder of certificates, chosen by the name that a client asks for: `NAME.pem` with key and chain, "
        "`NAME.crt` with `NAME.key`, or folders as certbot makes them (`fullchain.pem`, `privkey.pem`). What they are "
        "for stands in them.",
        example='"tls"',
    )
    self_signed: bool = option(
        True,
        doc="Without a certificate, one of our own making, in the state folder: most hosts take any on port 25, and "
        "mail is not read on its way by those who only listen. false: no certificate, no TLS.",
    )
    minimum: Literal["TLSv1.2", "TLSv1.3"] = option("TLSv1.2", doc="The oldest version that is spoken.")
    ciphers: str = option(
        CIPHERS,
        doc="The ciphers of TLS 1.2, as OpenSSL writes them; those of TLS 1.3 are all good.",
        check=_ciphers,
    )
    handshake_timeout: Duration = option(
        _MINUTE,
        doc="How long a handshake may take. Then the connection is closed.",
        check=at_least(1, "1s"),
    )
    warn_before: Duration = option(
        14 * _DAY, doc="How long before its end a certificate is warned of, in the log and by `mta check`."
    )


class Limits(Options):
    """What a client may take of us. A limit that is passed has a reply; none ever cuts a message off."""

    message_size: Size = option(
        50 << 20,
        doc="The largest message; told as SIZE in the answer to EHLO. Beyond: 552 5.3.4.",
        check=at_least(1 << 10, "1KiB"),
    )
    recipients: int = option(
        1000,
        doc="The most recipients of one transaction; RFC 5321 wants 100 at least. Beyond: 452 4.5.3.",
        unit="recipients",
        check=at_least(1),
    )
    connections: int = option(
        5000,
        doc="The most connections of all listeners together. Beyond: 421.",
        unit="connections",
        check=at_least(1),
    )
    connections_per_client: int = option(
        50,
        doc="The most connections of one IPv4 address, or of one /64 of IPv6. Beyond: 421.",
        unit="connections",
        check=at_least(1),
    )
    command_line: Size = option(
        512,
        doc="The longest command line with its CRLF; 512 octets are what RFC 5321 asks for. What the parameters of "
        "extensions may need comes on top. Beyond: 500 5.5.2.",
        check=at_least(512, "512B"),
    )
    header: Size = option(256 << 10, doc="The largest header section. Beyond: 552.", check=at_least(1 << 10, "1KiB"))
    data_line: Size = option(
        64 << 10,
        doc="The longest line of a message. Lines over 998 octets are against RFC 5321, but real mail has them: "
        "they are relayed unchanged up to this. Beyond: 554 5.6.0.",
        check=at_least(1000, "1000B"),
    )
    memory: Size = option(
        1 << 30,
        doc="What messages on their way in may take of memory together: bodies, headers, recipients where there are "
        "many. Beyond: 452 4.3.1 to DATA, to the first BDAT and to a 50th recipient.",
        check=at_least(1 << 20, "1MiB"),
    )
    proxy_timeout: Duration = option(
        10.0,
        doc="How long a proxy of `listen.proxy` may take to send its header. Then: closed. The PROXY protocol wants 3 "
        "seconds at least, for a packet that is sent again.",
        check=at_least(3, "3s"),
    )
    greet_delay: Duration = option(
        0.0,
        doc="How long the greeting is kept back. RFC 5321 4.3.1 has clients wait for it; one that speaks before it, as "
        'much malware does, gets 554 5.5.1 in its place and may only leave. With "0s" nobody waits.',
        check=_patience,
    )
    slow_after: int = option(
        10,
        doc="After so many recipients that were refused for good, a session waits longer and longer for each further "
        "reply of that kind: whoever tries a dictionary of names learns little. They count as `errors` too.",
        unit="recipients",
        check=at_least(1),
    )
    slow_most: Duration = option(
        20.0,
        doc='The longest such wait; the first is one second, each next one is twice as long. With "0s" nobody waits.',
        check=_patience,
    )
    errors: int = option(
        20, doc="After so many refused commands a session ends with 421.", unit="commands", check=at_least(1)
    )
    idle_commands: int = option(
        100,
        doc="How many commands that carry no mail (NOOP, RSET, VRFY, HELP ...) may stand between two messages. "
        "Beyond: 421.",
        unit="commands",
        check=at_least(1),
    )
    transactions: int = option(
        10_000, doc="How many messages one session may send.", unit="messages", check=at_least(1)
    )
    received_hops: int = option(
        100,
        doc="A message with so many Received lines is in a loop (RFC 5321 6.3). Beyond: 554 5.4.6.",
        unit="lines",
        check=at_least(1),
    )
    deliver_by: Duration = option(
        _MINUTE,
        doc="The shortest time after which a client may want a message back that is not delivered yet (DELIVERBY, "
        'RFC 2852); told in the answer to EHLO. Below: 555 5.5.4. With "0s" any time is taken.',
        check=_whole_seconds,
    )
    future_release: Duration = option(
        30 * _DAY,
        doc="The longest time for which a client that may send anywhere can have a message kept in the queue before "
        'it is sent (FUTURERELEASE, RFC 4865). Beyond: 501 5.5.4. With "0s" it is not offered.',
        check=_whole_seconds,
    )
    command_timeout: Duration = option(
        5 * _MINUTE,
        doc="How long the next command may be awaited; RFC 5321 4.5.3.2.7 wants 5 minutes at least. Then: 421.",
        check=at_least(1, "1s"),
    )
    data_timeout: Duration = option(
        5 * _MINUTE,
        doc="How long the next piece of a message may be awaited. Then: 421.",
        check=at_least(1, "1s"),
    )
    transaction_timeout: Duration = option(
        2 * _HOUR,
        doc="How long one message may take, from MAIL to its end, so that one octet every minute does not hold a "
        "connection for days. Then: 421.",
        check=at_least(1, "1s"),
    )
    session_timeout: Duration = option(
        12 * _HOUR, doc="How long a connection may last. Then: 421.", check=at_least(1, "1s")
    )


class Dns(Options):
    """Where DNS questions go. A resolver on this machine that validates DNSSEC is best."""

    servers: tuple[Server, ...] = option(
        (), doc="Servers to ask, in order. Left out: those of the system.", example='["127.0.0.1:53"]'
    )
    timeout: Duration = option(
        10.0, doc="How long a question may take with all servers; then mail waits.", check=at_least(0.1, "100ms")
    )
    trust_ad: bool = option(
        False,
        doc="Whether a server on another machine is believed when it says that an answer is authentic (DNSSEC): only "
        "where nobody can change what it sends on its way to us. One on this machine is always believed.",
        example="true",
    )


class Relay(Options):
    """Who may send to domains that are not ours."""

    networks: tuple[Network, ...] = option(
        (),
        doc="Clients that may send anywhere. The two that the shipped file has are for a demonstration; a real "
        "site starts with none.",
        example='["127.0.0.0/8", "::1/128"]',
        shown=True,
    )
    own_addresses: tuple[IPv4Address | IPv6Address, ...] = option(
        (),
        doc="IP addresses under which this host is reached that are not those of its interfaces, as behind NAT. Mail "
        "is never sent to an MX host that is ourselves, nor to one that is no nearer (RFC 5321 5.1).",
        example='["203.0.113.25"]',
    )


class Route(Options):
    """Which mail goes by which delivery service. The first that matches is taken; a route never permits."""

    name: Name = option(doc="Stands in stories and in `mta explain`; unique.", example='"partner"')
    to: tuple[DomainPattern, ...] = option(
        doc='Recipient domains: "partner.example" alone, "*.partner.example" for all below it, "*" for all, ours too.',
        example='["partner.example", "*.partner.example"]',
        check=_some,
    )
    via: Name = option(doc="The `[delivery.X]` to take.", example='"partner"')


class Plugins(Options):
    """Python modules that add delivery services and tables. Installed ones (`mta/plugins/`) are found anyway."""

    paths: tuple[Path, ...] = option((), doc="Folders whose Python files are loaded.", example='["plugins/"]')


class Configuration(Options):
    """All of it. ``fingerprint`` tells one from another; ``files`` are those that it was read from."""

    format: int = option(doc="The version of this file's form.", example="1", shown=True, check=_known_format)
    hostname: DomainName = option(
        doc="This host's full name, as DNS has it: in greeting, HELO, Received and reports.",
        example='"mail.example.org"',
        shown=True,
        check=_host_name,
    )
    postmaster: Address = option(
        doc="Gets reports that nobody else can get, and mail to `postmaster` without a domain. It must reach a "
        "mailbox.",
        example='"postmaster@example.org"',
        shown=True,
    )
    state: Path = option(doc="The folder of the queue and the control socket.", example='"../var"', shown=True)
    workers: int = option(
        1,
        doc="How many processes take and deliver mail, each with a spool of its own: at most one for each core. Limits "
        "count for all together. With more than one there is another process, which watches over them.",
        unit="processes",
        check=_workers,
    )
    include: tuple[str, ...] = option(
        (),
        doc="Further files, in sorted order. Their tables are joined with those here; a key that stands twice is "
        "an error.",
        example='["conf.d/*.toml", "domains/*.toml", "lists/*.toml"]',
        shown=True,
    )
    listen: tuple[Listen, ...] = option(doc="Listeners.", check=_some)
    service: ServiceOptions = option(factory=ServiceOptions, doc="What the kinds of listeners do.")
    local: LocalOptions = option(factory=LocalOptions, doc="Mail of programs of this machine.")
    brake: BrakeOptions = option(factory=BrakeOptions, doc="The brake on accounts that send much.")
    accounts: Mapping[Annotated[str, Name], AccountsSection] = option(
        factory=dict, doc="Where the accounts are that may log in, in the order in which they are asked."
    )
    login: LoginOptions = option(factory=LoginOptions, doc="Logins.")
    tls: Tls = option(factory=Tls, doc="Encryption of sessions.")
    limits: Limits = option(factory=Limits, doc="Limits of a session.")
    dns: Dns = option(factory=Dns, doc="DNS.")
    relay: Relay = option(factory=Relay, doc="Relaying.")
    tables: Mapping[Annotated[str, Name], TableSection] = option(factory=dict, doc="Look-ups by name, as `table:NAME`.")
    domains: Mapping[Annotated[str, DomainName], Domain] = option(factory=dict, doc="Domains that we are the end for.")
    lists: Mapping[Annotated[str, ListName], MailingList] = option(
        factory=dict, doc="Mailing lists.", example='"team@example.org"'
    )
    delivery: Mapping[Annotated[str, Name], DeliverySection] = option(
        factory=dict, doc="Ways out, by name. `internet` is the one for every domain that nothing else is said of."
    )
    policy: Mapping[Annotated[str, Name], PolicySection] = option(
        factory=dict, doc="Who is asked whether mail may come in or leave, by name. Listeners and the queue name them."
    )
    route: tuple[Route, ...] = option((), doc="Rules that come before the domains' `deliver`.")
    srs: SrsOptions = option(factory=SrsOptions, doc="Return paths of forwarded mail.")
    forward: tuple[Forward, ...] = option((), doc="In whose name forwarded mail goes on.")
    call_ahead: CallAheadOptions = option(factory=CallAheadOptions, doc="Whether addresses exist at the next host.")
    rewrite: RewriteOptions = option(factory=RewriteOptions, doc="Addresses in another form.")
    verify: VerifyOptions = option(factory=VerifyOptions, doc="VRFY and EXPN.")
    queue: Queue = option(factory=Queue, doc="The queue.")
    commands: CommandOptions = option(factory=CommandOptions, doc="Commands and files of aliases.")
    moved: MovedOptions = option(factory=MovedOptions, doc="People who have moved.")
    pace: tuple[Pace, ...] = option((), doc="How fast mail goes to one place.")
    retry: tuple[Retry, ...] = option((), doc="Retry rules that come before `queue.retry`.")
    dkim: DkimOptions = option(factory=DkimOptions, doc="Signatures.")
    clients: ClientOptions = option(factory=ClientOptions, doc="What mail programs are told.")
    reports: ReportOptions = option(factory=ReportOptions, doc="Reports.")
    privacy: Privacy = option(factory=Privacy, doc="Privacy.")
    log: Log = option(factory=Log, doc="The log.")
    plugins: Plugins = option(factory=Plugins, doc="Plugins.")

    fingerprint: str = field(default="", compare=False)
    files: tuple[str, ...] = field(default=(), compare=False)
    warnings: tuple[Problem, ...] = field(default=(), compare=False)

    @property
    def listeners(self) -> tuple[Listen, ...]:
        """Those of the configuration, and that of local programs, which is bound by itself (mta/local/)."""
        local = local_listener(self.local)
        return self.listen if local is None else (*self.listen, Listen(**local))

    def items(self) -> Iterator[tuple[str, str]]:
        """Every option that is set, with its key path and its value as TOML; secrets are not shown."""
        for leaf in walk(self):
            if leaf.value is not None:
                yield leaf.path, as_toml(leaf.value, leaf.kind)
