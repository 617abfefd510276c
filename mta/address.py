"""Mailbox addresses and domains as values (RFC 5321 4.1.2, 4.1.3; RFC 5890).

What it is: ``Address`` is a mailbox; two addresses are equal when mail to them is mail to the same place:
the domain is kept as lower-case A-labels without a trailing dot, the local part exactly as it was sent.
Failure: anything that is not an address raises ``AddressError`` with the reason in plain words.
Limits: a domain has at most 255 octets and 63 a label (RFC 1035 2.3.4), a local part at most 256:
RFC 5321 4.5.3.1.1 guarantees 64, and 4.5.3.1 asks not to enforce that (VERP and SRS senders exceed it).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

import idna

MAX_LOCAL: Final = 256
MAX_DOMAIN: Final = 255


class AddressError(ValueError):
    """The text is not a mailbox or domain; ``str()`` of it says why, without repeating the text."""


# The underscore is not in RFC 5321, but hosts named by Windows administrators send with it in EHLO and MAIL.
_DOMAIN = re.compile(
    r"(?=.{1,255}\Z)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*\Z"
)
_ATEXT = r"A-Za-z0-9!#$%&'*+\-/=?^_`{|}~"
_DOT_STRING_UTF8 = re.compile(rf"[{_ATEXT}\u0080-\U0010ffff]+(?:\.[{_ATEXT}\u0080-\U0010ffff]+)*\Z")
# RFC 5321 4.1.2 Quoted-string: qtextSMTP and quoted-pairSMTP; control characters never.
_QUOTED = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e\u0080-\U0010ffff]|\\[\x20-\x7e])*)"\Z')
_UNQUOTE = re.compile(r"\\(.)", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def normal_domain(text: str) -> str:
    """The form in which domains are compared: lower-case A-labels, no trailing dot; literals canonical.

    Raises ``AddressError``.  Source: RFC 5321 2.3.5, 4.1.3; RFC 5891 4.4 by way of UTS 46 mapping.
    """
    if text.startswith("["):
        return _literal(text)
    lowered = text.lower()
    if lowered.endswith("."):
        lowered = lowered[:-1]
    if _DOMAIN.match(lowered) and "xn--" not in lowered:
        return lowered
    if not lowered:
        raise AddressError("the domain is empty")
    if lowered.isascii() and "xn--" not in lowered:
        raise AddressError("the domain has a wrong character or a wrong length")
    try:
        encoded = idna.encode(lowered, uts46=True, std3_rules=False).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError) as error:
        raise AddressError("the international domain name is not valid") from error
    if not _DOMAIN.match(encoded):
        raise AddressError("the domain has a wrong character or a wrong length")
    return encoded


def _literal(text: str) -> str:
    # RFC 5321 4.1.3: IPv4 plain, IPv6 with its tag; General-address-literal has no registered user.
    if not text.endswith("]"):
        raise AddressError("the address literal has no closing bracket")
    inner = text[1:-1]
    try:
        if inner[:5].lower() == "ipv6:":
            return f"[IPv6:{IPv6Address(inner[5:]).compressed}]"
        return f"[{IPv4Address(inner)}]"
    except ValueError as error:
        raise AddressError("the address literal holds no IP address") from error


def literal_address(domain: str) -> IPv4Address | IPv6Address | None:
    """The IP address in a normalised domain literal, or None for a name."""
    if not domain.startswith("["):
        return None
    return ip_address(domain[1:-1].removeprefix("IPv6:"))


def host_literal(host: str) -> str:
    """An IP address as a domain literal, for greetings and Received (RFC 5321 4.1.3)."""
    return f"[IPv6:{host}]" if ":" in host else f"[{host}]"


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A mailbox.  ``local`` is the local part without its quoting; ``domain`` as by ``normal_domain``.

    The domain is empty in one case: ``postmaster`` alone (RFC 5321 4.5.1).  The null reverse-path is no
    address: it is ``None`` wherever a reverse-path may stand.
    """

    local: str
    domain: str

    @classmethod
    def parse(cls, text: str, *, utf8: bool = False) -> Address:
        """Read a Mailbox (RFC 5321 4.1.2; with ``utf8`` RFC 6531 3.3).  Raises ``AddressError``."""
        if not utf8 and not text.isascii():
            raise AddressError("the address has characters outside ASCII")
        local, at, domain = text.rpartition("@")
        if not at:
            raise AddressError("the address has no domain")
        return cls(_local_part(local), normal_domain(domain))

    def __str__(self) -> str:
        """The Mailbox as it goes on the wire, quoted only where it must be."""
        return _mailbox_text(self.local, self.domain)

    @property
    def is_postmaster(self) -> bool:
        """RFC 5321 4.5.1: the reserved mailbox, in any case of letters."""
        return self.local.lower() == "postmaster"


@lru_cache(maxsize=4096)  # each message needs the text of its addresses several times
def _mailbox_text(local: str, domain: str) -> str:
    if not _DOT_STRING_UTF8.match(local):
        escaped = local.replace("\\", "\\\\").replace('"', '\\"')
        local = f'"{escaped}"'
    return f"{local}@{domain}" if domain else local


def unicode_text(address: Address) -> str:
    """The Mailbox with U-labels in its domain, for people and where SMTPUTF8 is in use (RFC 6531 3.7)."""
    if "xn--" not in address.domain:
        return str(address)
    labels = [_u_label(label) if label.startswith("xn--") else label for label in address.domain.split(".")]
    return f"{Address(address.local, '')}@{'.'.join(labels)}"


def _u_label(label: str) -> str:
    try:
        return idna.ulabel(label)
    except (idna.IDNAError, UnicodeError):
        return label


def _local_part(text: str) -> str:
    if _DOT_STRING_UTF8.match(text):
        local = text
    else:
        quoted = _QUOTED.match(text)
        if quoted is None:
            if _CONTROL.search(text):
                raise AddressError("the local part has a control character")
            raise AddressError("the local part is not well formed")
        local = _UNQUOTE.sub(r"\1", quoted.group(1))
    if not local or len(local) > MAX_LOCAL:
        raise AddressError("the local part is empty or too long")
    return local


#: A reverse-path: a mailbox, or None for ``<>``.
ReversePath = Address | None


def show_path(path: ReversePath) -> str:
    """A path with its angle brackets, as in MAIL FROM, logs and stories."""
    return f"<{path}>" if path is not None else "<>"


def client_key(host: str) -> str:
    """Whom a limit on one client counts: an IPv4 address, or the /64 of an IPv6 address (RFC 4291 2.5.4): a customer
    has all of that.  ``host`` is as by ``normal_ip``."""
    if ":" not in host:
        return host
    try:
        return IPv6Address(int(IPv6Address(host)) >> 64 << 64).compressed + "/64"
    except ValueError:
        return host


def normal_ip(host: str) -> str:
    """The address under which a peer is known everywhere: an IPv4-mapped peer is an IPv4 peer.

    Source: RFC 4291 2.5.5.2.  A scope (``%eth0``) is dropped.  Text that is no IP address is returned as is
    (a UNIX socket has none).
    """
    if ":" not in host:
        return host
    try:
        address = IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    return str(address.ipv4_mapped or address)
