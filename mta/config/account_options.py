"""The options of ``[accounts.X]`` and ``[login]``: where accounts are, and how guessing is braked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from mta.config.auth_options import AuthOptions
from mta.config.option import DomainName, Duration, Name, Options, Path, Secret, Size, TableName, at_least, option
from mta.routing.tables.ldap import filter_wrong, url_wrong
from mta.routing.tables.optional import missing


class LoginOptions(AuthOptions):
    """Logins: how, and the brakes against guessing, for all mechanisms and sources together. See
    `docs/authentication.rst` and `docs/accounts.rst`."""

    account_failures: int = option(
        10,
        doc="After so many failed logins to one account nobody may try it for a while: 454 4.7.0. Networks that it has "
        "logged in from count apart, so that a stranger cannot lock out its owner. 0: no such brake.",
        unit="failures",
        check=at_least(0),
    )
    address_failures: int = option(
        20,
        doc="The same of one IPv4 address, or of one /64 of IPv6, for whatever accounts: 421 4.7.0.",
        unit="failures",
        check=at_least(0),
    )
    network_failures: int = option(
        60,
        doc="The same of a /24 of IPv4, or of a /56 of IPv6.",
        unit="failures",
        check=at_least(0),
    )
    half_life: Duration = option(
        Duration(900.0),
        doc="The time in which failures fade to half. A brake opens when half of what closed it is left.",
        check=at_least(1, "1s"),
    )
    refuse_after: Duration = option(
        Duration(2.0),
        doc="When a login is refused: so long after it began, or after twice as long and so on if it took longer, so "
        "that the time says nothing of what was wrong.",
        check=at_least(0),
    )
    timeout: Duration = option(
        Duration(30.0), doc="How long a source may take to answer a login. Then: 454 4.7.0.", check=at_least(1, "1s")
    )
    at_once: int = option(500, doc="The most logins under way. Beyond: 454 4.7.0.", unit="logins", check=at_least(1))


def _threads() -> Any:
    return option(
        2, doc="How many logins are worked on at a time, each in a thread.", unit="threads", check=at_least(1)
    )


def _waiting() -> Any:
    return option(
        100, doc="The most logins under way and waiting. Beyond: 454 4.7.0.", unit="logins", check=at_least(1)
    )


class FileAccountsOptions(Options):
    """Accounts in a file that `mta account` writes. It takes the extra `accounts`."""

    path: Path = option(
        doc="The file; nobody but its owner and group may read it.", example='"../var/accounts"', shown=True
    )
    scram: bool = option(
        True,
        doc="Whether keys for SCRAM are kept beside the hash of a password: mail programs then prove that they know it "
        "without sending it.",
    )
    memory: Size = option(
        Size(19 << 20),
        doc="The memory that hashing one password takes (argon2id); more is harder to guess for whoever has stolen the "
        "file. Older hashes are made anew when their owner logs in.",
        check=at_least(8 << 10, "8KiB"),
    )
    passes: int = option(2, doc="The passes over that memory.", unit="passes", check=at_least(1))
    lanes: int = option(1, doc="Into how many parts it is divided.", unit="lanes", check=at_least(1))
    scram_iterations: int = option(
        4096,
        doc="The rounds of PBKDF2 for SCRAM, which mail programs have to do at each login; RFC 7677 wants 4096.",
        unit="rounds",
        check=at_least(4096),
    )
    certificate_names: bool = option(
        False,
        doc="Whether a client certificate from an authority that the listener trusts logs in as the account whose name "
        "is a mail address in it. Those that are listed with an account log in anyway.",
        example="true",
    )

    threads: int = _threads()
    waiting: int = _waiting()

    def contradictions(self) -> Iterable[tuple[str, str, str]]:
        yield from missing("argon2", "accounts")
        if self.memory >> 10 < 8 * self.lanes:
            yield "memory", f"is too small for {self.lanes} lanes", "write 8KiB for each, or more"


class TableAccountsOptions(Options):
    """Accounts in a table of the configuration, such as a database. Under the name of an account stands a hash of its
    password, as `{SSHA512}...`, `$argon2id$...` or `$6$...`, or a JSON object with the keys that `docs/accounts.rst`
    has. It takes the extra `accounts`."""

    table: TableName = option(doc="The table.", example='"table:accounts"')
    scram: bool = option(
        False,
        doc="Whether every password in it has keys for SCRAM: `{SCRAM-SHA-256}...`, or `scram_sha_1` and "
        "`scram_sha_256` beside the hash. A mail program that may use SCRAM uses nothing else.",
        example="true",
    )
    cram_md5: bool = option(
        False,
        doc="Whether every password in it is kept in the clear, as `{PLAIN}...`, so that CRAM-MD5 can be offered.",
    )
    threads: int = _threads()
    waiting: int = _waiting()

    def contradictions(self) -> Iterable[tuple[str, str, str]]:
        yield from missing("argon2", "accounts")


def _attributes() -> Any:
    return option(
        None,
        doc="A table with what else is known of an account, by its name: a JSON object, as "
        '`{"addresses": ["ann@example.org"], "state": "disabled"}`. What is not in it is no account. Left out: whom '
        "the source knows, with its name as its address.",
        example='"table:accounts"',
    )


class LdapAccountsOptions(Options):
    """Accounts in an LDAP directory, which proves a password by a bind as the entry. It takes the extra `ldap`."""

    url: str = option(
        doc='The server, as for a table: "ldap://HOST:PORT", "ldaps://HOST" or "ldapi://PATH".',
        example='"ldap://ldap.example.org"',
        check=url_wrong,
    )
    tls: Literal["starttls", "none"] = option(
        "starttls", doc='Of "ldap://": "starttls" demands TLS; "none" sends passwords in the clear.'
    )
    ca: Path | None = option(
        None,
        doc="The certificates that may have signed the server's. Left out, those that the system trusts.",
        example='"tls/ldap-ca.pem"',
    )
    bind: str = option(
        "", doc="The name under which entries are looked for; without one, nobody's.", example='"cn=mta,dc=example"'
    )
    password: Secret | None = option(None, doc="Its password.", example='{ file = "ldap.password" }')
    base: str = option(doc="Where entries are looked for.", example='"ou=people,dc=example,dc=org"')
    scope: Literal["sub", "one", "base"] = option(
        "sub", doc='All below `base` ("sub"), only what is directly below it ("one"), or itself ("base").'
    )
    filter: str = option(
        doc="Which entry is an account's. `{key}` is its name, `{local}` and `{domain}` the parts of that, escaped.",
        example='"(&(objectClass=inetOrgPerson)(mail={key}))"',
        check=filter_wrong,
    )
    disabled: str = option(
        "",
        doc="Which entries are disabled: a filter without `{key}`.",
        example='"(nsAccountLock=TRUE)"',
        check=lambda value: None if not value or value[0] + value[-1] == "()" else "is to stand in parentheses",
    )
    addresses: str = option("mail", doc="The attribute with the addresses of an account; the first is its main one.")
    full_name: str = option("cn", doc="The attribute with the name of a person.")
    delegated: str = option(
        "",
        doc="The attribute with what else an account may send as: addresses, or `@domain` for all of a domain.",
        example='"mailDelegated"',
    )
    cache: Duration = option(
        Duration(10.0), doc="How long it is remembered what is known of an account; passwords never are."
    )
    timeout: Duration = option(
        Duration(5.0), doc="How long the directory may take. Then: 454 4.7.0.", check=at_least(0.1, "100ms")
    )
    threads: int = _threads()
    waiting: int = _waiting()

    def contradictions(self) -> Iterable[tuple[str, str, str]]:
        yield from missing("ldap", "ldap")
        if self.bind and not self.password:
            # RFC 4513 5.1.2
            yield "bind", "has no password, so the server would take us for nobody", "write password = ..."


def _cache() -> Any:
    return option(Duration(10.0), doc="How long it is remembered whether there is an account; passwords never are.")


class DovecotAccountsOptions(Options):
    """Accounts of a Dovecot on this machine, which is asked through its sockets. See `docs/accounts.rst`."""

    socket: Path = option(
        doc="Its socket for passwords: a `unix_listener` of `service auth`, as for Postfix.",
        example='"/var/spool/postfix/private/auth"',
    )
    users: Path | None = option(
        None,
        doc="Its socket for names, auth-userdb; the service has to be let in by its mode. Without it and without "
        "`attributes` every name counts as one of Dovecot's: then this stands last.",
        example='"/run/dovecot/auth-userdb"',
    )
    attributes: TableName | None = _attributes()
    timeout: Duration = option(
        Duration(10.0), doc="How long Dovecot may take; it lets a refusal wait for 2s. Then: 454 4.7.0."
    )
    cache: Duration = _cache()
    waiting: int = _waiting()


class PamAccountsOptions(Options):
    """Accounts of this machine, by PAM. What asks PAM is a process of its own that has the rights of who starts the
    service: as root it can check anybody's password, else it depends on the modules. See `docs/accounts.rst`."""

    service: Name = option(Name("mta"), doc="The name under which PAM is asked: `/etc/pam.d/mta`.")
    domain: DomainName | None = option(
        None,
        doc="The domain of the users: `ann` has the address `ann@` this, and may also log in by that. Left out: names "
        "of users alone, without an address.",
        example='"example.org"',
    )
    attributes: TableName | None = _attributes()
    least_uid: int = option(
        1000, doc="Users with a lower number (root, services) are no accounts.", unit="", check=at_least(1)
    )
    timeout: Duration = option(
        Duration(10.0), doc="How long PAM may take; some modules let a refusal wait. Then: 454 4.7.0."
    )
    cache: Duration = _cache()
    waiting: int = option(
        20, doc="The most logins under way, each a process. Beyond: 454 4.7.0.", unit="logins", check=at_least(1)
    )
