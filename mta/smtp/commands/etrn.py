"""ETRN (RFC 1985): a client asks for the mail that waits for a domain; it is tried now.

Contract: for clients that may send anywhere, and nobody else: the mail goes to where the routes say, never to the
client, but each try costs.  ``@domain`` asks for all below the domain too; ``#queue`` is not known (RFC 1985 5.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mta.address import AddressError, normal_domain
from mta.reply import MailFailure, Reply
from mta.smtp import replies
from mta.smtp.commands.plain import count_idle

if TYPE_CHECKING:
    from mta.smtp.session import Session


async def etrn(session: Session, argument: bytes) -> Reply:
    count_idle(session)
    if not session.helo:
        return replies.NEEDS_LHLO if session.context.lmtp else replies.NEEDS_EHLO
    if session.transaction is not None:
        return replies.NOT_IN_TRANSACTION
    subdomains = argument.startswith(b"@")
    try:
        domain = normal_domain((argument[1:] if subdomains else argument).decode("ascii"))
    except (AddressError, UnicodeDecodeError):
        return replies.ETRN_SYNTAX
    if "." not in domain or domain.startswith("["):
        # RFC 1985 5: "must be a fully qualified domain name"
        return replies.ETRN_SYNTAX
    if not session.rights:
        return replies.ETRN_NOT_ALLOWED
    try:
        count = await session.context.queue.flush(domain, subdomains)
    except MailFailure:
        return replies.ETRN_FAILED
    return replies.etrn_started(count, domain)
