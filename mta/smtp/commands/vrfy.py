"""VRFY (RFC 5321 3.5, 4.1.1.6): for now the answer that says nothing, to everybody (7.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mta.reply import Reply
from mta.smtp import replies
from mta.smtp.commands.plain import count_idle

if TYPE_CHECKING:
    from mta.smtp.session import Session


def vrfy(session: Session, argument: bytes) -> Reply:
    if not argument:
        return replies.VRFY_SYNTAX
    count_idle(session)
    return replies.CANNOT_VERIFY
