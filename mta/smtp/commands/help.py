"""HELP (RFC 5321 4.1.1.8): what there is, and how a command is written; from the one table of commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from mta.reply import Reply
from mta.smtp import replies
from mta.smtp.commands.plain import count_idle

if TYPE_CHECKING:
    from mta.smtp.session import Session

_COLUMNS = 10


def help_on(topics: Callable[[bool], Mapping[str, tuple[str, str]]]) -> Callable[[Session, bytes], Reply]:
    """The command HELP on topics: the verb in capitals, its syntax and what it does; by SMTP or LMTP."""

    def help_(session: Session, argument: bytes) -> Reply:
        count_idle(session)
        known = topics(session.context.lmtp)
        if not argument:
            names = list(known)
            rows = [" ".join(names[start : start + _COLUMNS]) for start in range(0, len(names), _COLUMNS)]
            return Reply.of(
                214, "2.0.0", "Topics:", *rows, "HELP and a topic tells more; the reply to EHLO what is offered."
            )
        topic = known.get(argument.decode("ascii", "replace").upper())
        return replies.NO_SUCH_TOPIC if topic is None else Reply.of(214, "2.0.0", *topic)

    return help_
