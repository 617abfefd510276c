"""Who wrote a message, as its header says: mailboxes of From, and who signed it (RFC 5322 3.4, 3.6.2; RFC 6376).  Pure.

Contract: any octets are read and nothing raises: what cannot be understood is left out.  Names come back as they stand,
encoded words and octets over 127 among them; nothing is decoded in order to be written again.
How it fails: no author, which whoever asks must take for unknown.
Limits: the caller bounds the octets; no signature is verified here.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from mta.address import AddressError, normal_domain
from mta.message.header import Header

#: Signatures that are looked at, the first ones; each is a field of its own.
MAX_SIGNATURES: Final = 20
#: A quoted-string, a comment (nested ones by ``_comment``), what stands in angle brackets, a sign, a word.
_TOKEN = re.compile(
    rb'[ \t\r\n]+|(?P<quoted>"(?:[^"\\]|\\.)*")|(?P<angle><[^<>]*>)|(?P<comment>\()|(?P<sign>[,:;])'
    rb'|(?P<word>[^ \t\r\n"()<>,:;]+)|(?P<other>.)',
    re.DOTALL,
)
_TAG_D = re.compile(rb"(?:\A|;)[ \t\r\n]*d[ \t\r\n]*=([^;]*)")
_SPACE = re.compile(rb"[ \t\r\n]+")


class Mailbox(NamedTuple):
    """``name`` as it stands, quotes too, b"" for none; ``address`` without its angle brackets."""

    name: bytes
    address: bytes


def mailboxes(value: bytes) -> list[Mailbox]:
    """The mailboxes of an address list, those in groups too; the name of an empty group is one without an address."""
    found: list[Mailbox] = []
    words: list[bytes] = []
    comment = address = group = b""
    before = 0  # mailboxes before the group

    def end() -> None:
        nonlocal words, comment, address
        if address:
            found.append(Mailbox(b" ".join(words) or comment, address))
        elif words:
            found.append(Mailbox(comment, b"".join(words)))
        words, comment, address = [], b"", b""

    position = 0
    while position < len(value):
        match = _TOKEN.match(value, position)
        assert match is not None  # "other" takes anything
        position = match.end()
        kind, text = match.lastgroup, match[0]
        if kind == "comment":
            position = _comment(value, position)
            comment = _SPACE.sub(b" ", value[match.end() : position - 1]).strip()
        elif kind == "angle":
            address = _SPACE.sub(b"", text[1:-1])
        elif text == b":":
            group, words, before = b" ".join(words), [], len(found)
        elif kind == "sign":
            end()
            if text == b";":
                if group and len(found) == before:
                    found.append(Mailbox(group, b""))
                group = b""
        elif kind in ("word", "quoted"):
            words.append(text)
    end()
    return found


def _comment(value: bytes, position: int) -> int:
    """Behind the comment that has begun; comments nest (RFC 5322 3.2.2)."""
    depth = 1
    while position < len(value) and depth:
        sign = value[position : position + 1]
        if sign == b"\\":
            position += 1
        elif sign == b"(":
            depth += 1
        elif sign == b")":
            depth -= 1
        position += 1
    return position


def author_domain(header: Header) -> str:
    """The domain of the one author, as by ``normal_domain``; "" where there is none, or more than one domain.

    It is the one whose DMARC policy counts (RFC 7489 6.6.1).
    """
    fields = header.all(b"from")
    if len(fields) != 1:
        return ""
    found = [mailbox.address.rpartition(b"@") for mailbox in mailboxes(header.value(fields[0]))]
    domains = {_domain(domain) if at else "" for _, at, domain in found}
    return domains.pop() if len(domains) == 1 else ""


def signers(header: Header) -> frozenset[str]:
    """The domains in whose name the message says that it is signed by DKIM (RFC 6376 3.5, ``d=``)."""
    found = set()
    for field in header.all(b"dkim-signature")[:MAX_SIGNATURES]:
        tag = _TAG_D.search(header.value(field))
        if tag is not None:
            found.add(_domain(_SPACE.sub(b"", tag[1])))
    return frozenset(found - {""})


def aligned(signer: str, author: str) -> bool:
    """Does a signature of the one speak for the other in the relaxed mode of DMARC (RFC 7489 3.1.1)?

    Both must belong to one organisation; here, as near as one comes without the list of public suffixes, one is the
    other or lies below it.
    """
    return signer == author or signer.endswith(f".{author}") or ("." in signer and author.endswith(f".{signer}"))


def _domain(octets: bytes) -> str:
    try:
        return normal_domain(octets.decode("utf-8"))
    except (UnicodeDecodeError, AddressError):
        return ""
