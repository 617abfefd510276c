"""A 7-bit form of a message for a host that takes no other: also of one that we have signed, which is signed anew.

What it is: ``mta.message.convert`` leaves alone what is signed, since the signature would break.  Where all signatures
are our own, they are taken out, the message is converted, and they are made again (RFC 6376 5.3).
Contract: only of mail that came from somebody who may send through us, or from ourselves; a signature of somebody else
stays, and so does the message.
How it fails: as ``convert``, and as ``Signer.sign``.
Limits: such a message is read three times more.
"""

from __future__ import annotations

from collections.abc import Callable

from mta.dkim.signer import Signer
from mta.interfaces import IChunks, IMessage
from mta.message.author import MAX_SIGNATURES, signers
from mta.message.convert import CannotConvert, Conversion, convert
from mta.message.edits import Edit
from mta.message.header import CRLF, Header, scan


async def seven_bit(
    message: IMessage, open: Callable[[], IChunks], signer: Signer | None
) -> Conversion | CannotConvert:
    """See the module's text.  ``open`` opens the message as it would be sent."""
    found = await convert(open)
    if not isinstance(found, CannotConvert) or signer is None or not message.envelope.rights:
        return found
    read = message.header()
    header = scan(read if isinstance(read, bytes) else await read)
    domains = _ours(header, signer)
    if not domains:
        return found
    unsigned = await convert(Conversion(open, 0, header.cuts(b"dkim-signature")).open)
    if isinstance(unsigned, CannotConvert):
        return unsigned
    fields = b"".join([await _signature(signer, unsigned, domain) for domain in domains])
    return Conversion(unsigned.open, unsigned.size + len(fields), (Edit(0, 0, fields),))


async def _signature(signer: Signer, conversion: Conversion, domain: str) -> bytes:
    return (await signer.sign(conversion.open(), lambda header: domain)).fields


def _ours(header: Header, signer: Signer) -> list[str]:
    """The domains in whose name it is signed, if we can sign for all of them."""
    fields = header.all(b"dkim-signature")
    if not 0 < len(fields) <= MAX_SIGNATURES:
        return []
    each = [signers(scan(header.octets[field.start : field.end] + CRLF)) for field in fields]
    domains = sorted(frozenset().union(*each))
    return domains if all(each) and all(signer.able(name) == name for name in domains) else []
