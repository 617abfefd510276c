"""The grammar of command arguments: bytes in, frozen values out (RFC 5321 4.1).

Contract: what comes back is valid; everything else raises ``PermanentFailure`` with the reply for the client.
The common forms of MAIL and RCPT take a short way that gives the same result as the full grammar.
Tolerances, each for clients that exist: white space after ``FROM:`` and ``TO:`` (old Outlook, many scripts), an
address without angle brackets (printers and scanners), any printable word as the EHLO name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from mta.address import Address, AddressError, ReversePath, normal_domain
from mta.reply import PermanentFailure, Reply
from mta.smtp import replies

Parameters = Mapping[str, str | None]

_NO_PARAMETERS: Final[Parameters] = {}
# The common form: no quoting, no route, no literal; dots in the local part and the domain are checked apart.
_COMMON = re.compile(
    r"([A-Za-z]+):<([A-Za-z0-9!#$%&'*+\-/=?^_`{|}~.]{1,64})@([A-Za-z0-9.-]{1,255})>(?: (.*))?\Z", re.DOTALL
)
# RFC 5321 4.1.1.11: esmtp-param; the value may not be empty nor hold "=".
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([\x21-\x3c\x3e-\x7e]+))?\Z")
# RFC 6531 3.3: esmtp-value may hold UTF-8 too.
_PARAMETER_UTF8 = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([\x21-\x3c\x3e-\x7e\u00a1-\U0010ffff]+))?\Z")
# C1 controls and the two separators of Unicode: nothing that an address needs, and line ends to some programs.
_INVISIBLE = re.compile(r"[\x80-\x9f\u2028\u2029]")
# RFC 5321 4.1.2: A-d-l, the source route, is read and dropped (RFC 5321 4.1.1.3, appendix C).
_SOURCE_ROUTE = re.compile(r"@[^\s@,:<>\"]+(?:,@[^\s@,:<>\"]+)*:")


class PathCommand(NamedTuple):
    """MAIL or RCPT: the path and the parameters (keywords in capitals)."""

    path: ReversePath
    parameters: Parameters


def parse_mail(argument: bytes) -> PathCommand:
    """``FROM:<reverse-path> [parameters]`` (RFC 5321 4.1.1.2); the parameter SMTPUTF8 lets the path hold more than
    ASCII (RFC 6531 3.4)."""
    return _parse_common(argument, "FROM") or _parse_full(argument, "FROM:", replies.MAIL_SYNTAX)


def parse_rcpt(argument: bytes, utf8: bool = False) -> PathCommand:
    """``TO:<forward-path> [parameters]`` (RFC 5321 4.1.1.3); the path is never None.

    ``utf8``: MAIL had SMTPUTF8, so the path may hold more than ASCII (RFC 6531 3.3); an ORCPT always may (RFC 6533 3).
    """
    command = _parse_common(argument, "TO") or _parse_full(argument, "TO:", replies.RCPT_SYNTAX, utf8)
    if command.path is None:
        raise PermanentFailure(replies.RCPT_SYNTAX)
    return command


def _parse_common(argument: bytes, word: str) -> PathCommand | None:
    match = _COMMON.match(argument.decode("latin-1"))
    if match is None:
        return None
    found, local, domain, rest = match.groups()
    if found.upper() != word or local[0] == "." or local[-1] == "." or ".." in local:
        return None
    known = _plain_domain(domain)
    if known is None or (rest is not None and not rest.isascii()):
        return None
    return PathCommand(Address(local, known), _parameters(rest) if rest else _NO_PARAMETERS)


@lru_cache(maxsize=4096)
def _plain_domain(text: str) -> str | None:
    """The domain in its normal form, or None where the full grammar must say what is wrong with it."""
    try:
        return normal_domain(text)
    except AddressError:
        return None


def _parse_full(argument: bytes, word: str, syntax: Reply, utf8: bool = False) -> PathCommand:
    try:
        text = argument.decode("utf-8")
    except UnicodeDecodeError:
        raise PermanentFailure(syntax) from None
    if text[: len(word)].upper() != word:
        raise PermanentFailure(syntax)
    path, rest = _split_path(text[len(word) :].lstrip(" "), syntax)
    if rest and not rest.startswith(" "):
        raise PermanentFailure(syntax)
    sender = word == "FROM:"
    utf8 = utf8 or (sender and "SMTPUTF8" in rest.upper().split(" "))
    parameters = _parameters(rest, utf8 or not sender)
    if not path:
        return PathCommand(None, parameters)
    if not utf8 and not path.isascii():
        # RFC 6531 3.5
        raise PermanentFailure(replies.SENDER_NEEDS_SMTPUTF8 if sender else replies.RECIPIENT_NEEDS_SMTPUTF8)
    try:
        address = _mailbox(path, bare_postmaster=not sender)
    except AddressError as error:
        refuse = replies.bad_sender if sender else replies.bad_recipient
        raise PermanentFailure(refuse(str(error))) from None
    return PathCommand(address, parameters)


def _split_path(text: str, syntax: Reply) -> tuple[str, str]:
    """The path without its angle brackets, and what follows it."""
    if not text.startswith("<"):
        path, space, rest = text.partition(" ")
        if not path or ">" in path:
            raise PermanentFailure(syntax)
        return path, space + rest
    # The path ends at the first ">" that is not inside a quoted string.
    quoted = escaped = False
    for index in range(1, len(text)):
        letter = text[index]
        if escaped:
            escaped = False
        elif quoted and letter == "\\":
            escaped = True
        elif letter == '"':
            quoted = not quoted
        elif letter == ">" and not quoted:
            return text[1:index], text[index + 1 :]
    raise PermanentFailure(syntax)


def _mailbox(path: str, bare_postmaster: bool) -> Address:
    route = _SOURCE_ROUTE.match(path)
    if route is not None:
        path = path[route.end() :]
    if bare_postmaster and path.lower() == "postmaster":
        # RFC 5321 4.1.1.3: the one address without a domain.
        return Address(path, "")
    return parse_mailbox(path)


def parse_mailbox(text: str) -> Address:
    """A Mailbox, of more than ASCII where the caller lets it be (RFC 6531 3.3).  Raises ``AddressError``."""
    if _INVISIBLE.search(text):
        raise AddressError("the address has a control character")
    return Address.parse(text, utf8=True)


def _parameters(text: str, utf8: bool = False) -> Parameters:
    found: dict[str, str | None] = {}
    for word in text.split(" "):
        if not word:
            continue
        match = (_PARAMETER_UTF8 if utf8 else _PARAMETER).match(word)
        if match is None:
            raise PermanentFailure(replies.PARAMETER_SYNTAX)
        keyword = match[1].upper()
        if keyword in found:
            raise PermanentFailure(replies.repeated_parameter(keyword))
        found[keyword] = match[2]
    return found


class Chunk(NamedTuple):
    """BDAT: how many octets follow, and whether they are the last; ``wellformed``: there is nothing else."""

    size: int
    last: bool
    wellformed: bool = True


def parse_bdat(argument: bytes) -> Chunk | None:
    """``chunk-size [LAST]`` (RFC 3030 2); None where the size cannot be read."""
    words = argument.split()
    if not words or not words[0].isdigit() or len(words[0]) > 20:
        return None
    last = len(words) == 2 and words[1].upper() == b"LAST"
    return Chunk(int(words[0]), last, wellformed=last or len(words) == 1)


def parse_greeting(argument: bytes) -> str:
    """The name in HELO or EHLO.

    RFC 5321 4.1.4 lets no server refuse mail for a wrong name, and wrong names are common; so any word of
    printable ASCII is taken, domains and literals in their normal form.
    """
    try:
        name = argument.decode("ascii")
    except UnicodeDecodeError:
        raise PermanentFailure(replies.NEEDS_NAME) from None
    if not name or len(name) > 255 or " " in name or not name.isprintable():
        raise PermanentFailure(replies.NEEDS_NAME)
    try:
        return normal_domain(name)
    except AddressError:
        return name
