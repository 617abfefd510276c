"""LHLO, the greeting of LMTP in place of HELO and EHLO (RFC 2033 4.1)."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from mta.reply import Reply
from mta.smtp import replies
from mta.smtp.commands.ehlo import ehlo

if TYPE_CHECKING:
    from mta.smtp.session import Session


def lhlo(session: Session, argument: bytes) -> Reply | Coroutine[Any, Any, Reply]:
    """RFC 2033 4.1: "identical semantics to the EHLO command"."""
    return ehlo(session, argument)


def not_by_lmtp(session: Session, argument: bytes) -> Reply:
    """HELO and EHLO: so a client that expects SMTP finds out before it sends mail."""
    return replies.SAY_LHLO
