"""In whose name a list's copy is signed (DKIM).  Pure.

What it is: a copy is signed by the list's own domain, as BCP 167 wishes it of a list that changes what it sends
on; by the author's where the message came from somebody who may send through us, since what the list puts into Subject
or Reply-To breaks the signature that the message had from here.
Contract: a stranger who writes in the name of an author of ours gets no signature that would speak for that author
(DMARC, RFC 7489 3.1.1): where the list's domain and the author's may belong to one organisation, there is none at all.
Limits: without the list of public suffixes two domains count as one organisation's where their last two labels agree.
"""

from __future__ import annotations

from collections.abc import Callable

from mta.address import Address
from mta.message.author import author_domain
from mta.message.header import Header


def list_signer(header: Header, address: Address, trusted: bool, munged: bool, able: Callable[[str], str]) -> str:
    """The domain that signs the copy with this header, "" for none.  ``address``: the list's; ``trusted``: the message
    came from somebody who may send through us; ``munged``: the list is its author; ``able``: as ``Signer.able``."""
    author = author_domain(header)
    if (trusted or munged) and (domain := able(author)):
        return domain
    domain = able(address.domain)
    return "" if _may_speak(domain, author) and not (trusted or munged) else domain


def _may_speak(signer: str, author: str) -> bool:
    # Without an author that can be told, whoever verifies may see one.
    return not author or signer.split(".")[-2:] == author.split(".")[-2:]
