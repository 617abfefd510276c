"""Who wrote a message, as its header says: mailboxes of From, and who signed it (RFC 5322 3.4, 3.6.2; RFC 6376).  Pure.

Contract: any octets are read and nothing raises: what cannot be understood is left out.  Names come back as they stand,
encoded words and octets over 127 among them; nothing is decoded in order to be written again.
How it fails: no author, which whoever asks must take for unknown.
Limits: the caller bounds the octets; no signature is verified here.
"""

from __future__ import annotations

import re
from typing import Final

from mta.address import AddressError, normal_domain
from mta.message.header import Header
from mta.message.mailboxes import mailboxes

#: Signatures that are looked at, the first ones; each is a field of its own.
MAX_SIGNATURES: Final = 20
_TAG_D = re.compile(rb"(?:\A|;)[ \t\r\n]*d[ \t\r\n]*=([^;]*)")
_SPACE = re.compile(rb"[ \t\r\n]+")


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
