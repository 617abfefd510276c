"""The parameters of MAIL and RCPT: text in, values out (RFC 5321 4.1.1.11 and the RFCs of the extensions).

What it is: ``read_mail`` for what MAIL wishes for the whole message, ``read_rcpt`` for what RCPT wishes for one
recipient; SIZE and BODY, which nearly every client sends, have readers of their own.  The grammar (grammar.py) has
split them into keywords and values before.
Contract: what comes back is valid, decoded and free of control characters; everything else raises
``PermanentFailure`` with the reply for the client.  Whether a client may use a parameter is decided by who asks.
Limits: those of the RFCs on each value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mta.address import Address, AddressError
from mta.reply import PermanentFailure
from mta.smtp import replies

BODIES: Final = frozenset({"7BIT", "8BITMIME", "BINARYMIME"})
MAX_ENVID: Final = 100  # RFC 3461 4.4
MAX_ORCPT: Final = 500  # RFC 3461 4.2
MAX_AUTH: Final = 500  # RFC 4954 3
_NOTIFY: Final = frozenset({"SUCCESS", "FAILURE", "DELAY"})
# RFC 3461 4: xchar and hexchar.
_XTEXT = re.compile(r"(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+[0-9A-F]{2})*\Z")
_HEXCHAR = re.compile(r"\+([0-9A-F]{2})")
# RFC 6533 3: QUCHAR and EmbeddedUnicodeChar; hexchar too, since RFC 3461 4.2 has any address in xtext.
_UTF8_ADDRESS = re.compile(
    r"(?:[\x21-\x2a\x2c-\x3c\x3e-\x5b\x5d-\x7e\x80-\U0010ffff]|\\x\{[0-9A-Fa-f]{2,6}\}|\+[0-9A-F]{2})*\Z"
)
_ENCODED = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}|\+([0-9A-F]{2})")
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*\Z")
# RFC 2852 4: by-time, by-mode and by-trace.
_BY = re.compile(r"([+-]?[0-9]{1,9});([NR])(T?)\Z", re.IGNORECASE)
# RFC 4865 3: future-release-integer.
_INTEGER = re.compile(r"[1-9][0-9]{0,8}\Z")
# RFC 3339 5.6: date-time; RFC 4865 3: in UTC.
_DATE_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-]00:00)\Z",
    re.IGNORECASE,
)
_LEAP_SECOND = re.compile(r"(T23:59):60")
# RFC 6710 7: priority-value.
_PRIORITY = re.compile(r"(?:0|-?[1-9])\Z")


@dataclass(slots=True, kw_only=True)
class Wishes:
    """What MAIL said beside reverse-path, SIZE and BODY; each "", 0 or None where it said nothing.

    ``by`` is the time of DELIVERBY in seconds from now, with ``by_mode`` as in ``Envelope``; ``hold_for`` is in
    seconds from now, ``hold_until`` in UTC milliseconds, of which one may stand.
    """

    ret: str = ""
    envid: str = ""
    smtputf8: bool = False
    requiretls: bool = False
    by: int | None = None
    by_mode: str = ""
    hold_for: int = 0
    hold_until: int = 0
    priority: int | None = None
    auth: bool = False  # AUTH stood there


def _wrong() -> PermanentFailure:
    return PermanentFailure(replies.PARAMETER_SYNTAX)


@contextmanager
def _named(keyword: str) -> Iterator[None]:
    """Whatever is wrong is said of this parameter."""
    try:
        yield
    except PermanentFailure as failure:
        if failure.reply is replies.PARAMETER_SYNTAX:
            raise PermanentFailure(replies.bad_parameter(keyword)) from None
        raise


def read_mail(parameters: Mapping[str, str | None]) -> Wishes:
    """The parameters of MAIL (keywords in capitals, each once), SIZE and BODY left aside."""
    wishes = Wishes()
    for keyword, value in parameters.items():
        if keyword in ("SIZE", "BODY"):
            continue
        reader = _MAIL.get(keyword)
        if reader is None:
            # RFC 5321 4.1.1.11
            raise PermanentFailure(replies.unknown_parameter(keyword))
        with _named(keyword):
            reader(wishes, value)
    if wishes.hold_for and wishes.hold_until:
        # RFC 4865 4.2: one of the two.
        raise PermanentFailure(replies.repeated_parameter("HOLDFOR or HOLDUNTIL"))
    return wishes


def read_rcpt(parameters: Mapping[str, str | None]) -> tuple[str, str]:
    """The parameters of RCPT: ``orcpt`` and ``notify`` as ``Recipient`` has them.

    RFC 6533 3: characters outside ASCII may stand in an ORCPT of the type utf-8, and nowhere else.
    """
    orcpt = notify = ""
    for keyword, value in parameters.items():
        with _named(keyword):
            if keyword == "NOTIFY":
                notify = parse_notify(value)
            elif keyword == "ORCPT":
                orcpt = parse_orcpt(value)
            else:
                raise PermanentFailure(replies.unknown_parameter(keyword))
    return orcpt, notify


def decode_xtext(text: str) -> str:
    """RFC 3461 4.  What it decodes to may hold nothing but printable ASCII and spaces."""
    if not _XTEXT.match(text):
        raise _wrong()
    decoded = _HEXCHAR.sub(lambda match: chr(int(match[1], 16)), text)
    if not (decoded.isascii() and decoded.isprintable()):
        # CVE-2020-28021: a CR and LF here would be lines of our own reports and headers.
        raise _wrong()
    return decoded


def decode_utf8_address(text: str) -> str:
    """utf-8-addr-xtext, utf-8-addr-unitext and utf-8-address (RFC 6533 3).

    What it decodes to may hold nothing that is not printed: an address needs none of it.
    """
    if not _UTF8_ADDRESS.match(text):
        raise _wrong()
    try:
        decoded = _ENCODED.sub(_character, text)
        decoded.encode("utf-8")  # a surrogate is no character
    except (ValueError, OverflowError):
        raise _wrong() from None
    if not decoded.isprintable():
        raise _wrong()
    return decoded


def _character(match: re.Match[str]) -> str:
    number = int(match[1] or match[2], 16)
    if match[2] and number > 0x7E:
        raise ValueError("RFC 3461 4.2: xtext is of ASCII")
    return chr(number)


def parse_size(value: str | None) -> int:
    """SIZE of MAIL: 1 to 20 digits (RFC 1870 3)."""
    if value is None or not (value.isascii() and value.isdigit()) or len(value) > 20:
        raise PermanentFailure(replies.bad_parameter("SIZE"))
    return int(value)


def parse_body(value: str | None) -> str:
    """BODY of MAIL, in capitals (RFC 6152 3, RFC 3030 3)."""
    if value is None or value.upper() not in BODIES:
        raise PermanentFailure(replies.bad_parameter("BODY"))
    return value.upper()


def parse_notify(value: str | None) -> str:
    """NOTIFY of RCPT, in capitals: NEVER alone, or some of the others (RFC 3461 4.1).

    RFC 822 2.7, which the grammar goes by, lets a list have the same element twice, and empty ones.
    """
    text = (value or "").upper()
    words = dict.fromkeys([word for word in text.split(",") if word])
    if text != "NEVER" and not (words and _NOTIFY.issuperset(words)):
        raise _wrong()
    return ",".join(words)


def parse_orcpt(value: str | None) -> str:
    """ORCPT of RCPT: the type of address as it is written, and the address decoded (RFC 3461 4.2, RFC 6533 3)."""
    kind, mark, address = (value or "").partition(";")
    if value is None or not mark or not address or len(value) > MAX_ORCPT or not _ADDRESS_TYPE.match(kind):
        raise _wrong()
    # RFC 3461 5.2.1 (d): no letter of it changes its case on the way.
    return f"{kind};{decode_utf8_address(address) if kind.lower() == 'utf-8' else decode_xtext(address)}"


def _ret(wishes: Wishes, value: str | None) -> None:
    # RFC 3461 4.3
    if value is None or value.upper() not in ("FULL", "HDRS"):
        raise _wrong()
    wishes.ret = value.upper()


def _envid(wishes: Wishes, value: str | None) -> None:
    # RFC 3461 4.4
    if not value or len(value) > MAX_ENVID:
        raise _wrong()
    wishes.envid = decode_xtext(value)


def _smtputf8(wishes: Wishes, value: str | None) -> None:
    # RFC 6531 3.4: it takes no value.
    if value is not None:
        raise _wrong()
    wishes.smtputf8 = True


def _requiretls(wishes: Wishes, value: str | None) -> None:
    # RFC 8689 2: it takes no value.
    if value is not None:
        raise _wrong()
    wishes.requiretls = True


def _by(wishes: Wishes, value: str | None) -> None:
    match = _BY.match(value or "")
    if match is None:
        raise _wrong()
    wishes.by = int(match[1])
    wishes.by_mode = (match[2] + match[3]).upper()
    if wishes.by <= 0 and wishes.by_mode[0] == "R":
        # RFC 2852 4: what is late already cannot be wanted back when it is late.
        raise _wrong()


def _hold_for(wishes: Wishes, value: str | None) -> None:
    if value is None or not _INTEGER.match(value):
        raise _wrong()
    wishes.hold_for = int(value)


def _hold_until(wishes: Wishes, value: str | None) -> None:
    if value is None or not _DATE_TIME.match(value):
        raise _wrong()
    # RFC 3339 5.6: "t" and "z" may be small.  RFC 3339 5.7: our clock counts a leap second as the one after it.
    text, leap = _LEAP_SECOND.subn(r"\1:59", value.upper())
    try:
        wishes.hold_until = round(datetime.fromisoformat(text).timestamp() * 1000) + leap * 1000
    except (ValueError, OverflowError):
        raise _wrong() from None
    if wishes.hold_until <= 0:
        raise _wrong()


def _priority(wishes: Wishes, value: str | None) -> None:
    if value is None or not _PRIORITY.match(value):
        raise _wrong()
    wishes.priority = int(value)


def _auth(wishes: Wishes, value: str | None) -> None:
    # RFC 4954 5: an address in xtext, or "<>".  We believe nobody in it, so it is read and let be.
    if not value or len(value) > MAX_AUTH:
        raise _wrong()
    said = decode_xtext(value)
    if said != "<>":
        try:
            Address.parse(said)
        except AddressError:
            raise _wrong() from None
    wishes.auth = True


_MAIL: Final[Mapping[str, Callable[[Wishes, str | None], None]]] = {
    "RET": _ret,
    "ENVID": _envid,
    "SMTPUTF8": _smtputf8,
    "REQUIRETLS": _requiretls,
    "BY": _by,
    "HOLDFOR": _hold_for,
    "HOLDUNTIL": _hold_until,
    "MT-PRIORITY": _priority,
    "AUTH": _auth,
}
