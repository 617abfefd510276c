"""``-bv``: would the service take mail for these addresses?  It is asked as a message would, and nothing is sent.

Contract: a line for each address; the exit status is 0, or that of the first refusal.  ``mta route`` says more: the
way of each address, with all reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mta.sendmail.arguments import Asked
from mta.sendmail.statuses import OK, TEMPFAIL, USAGE, Trouble
from mta.sendmail.submit import Dialogue, NotRunning, connect


def verify(path: str, asked: Asked, recipients: Sequence[str], caller: str, tell: Callable[[str], None]) -> int:
    """``caller``: the sender where none was named."""
    if not recipients:
        raise Trouble(USAGE, "-bv takes the addresses that are to be looked at")
    sender = caller if asked.sender is None else asked.sender
    utf8 = "" if all(one.isascii() for one in (sender, *recipients)) else " SMTPUTF8"
    try:
        dialogue = Dialogue(connect(path), tell if asked.verbose else lambda text: None)
    except NotRunning as why:
        raise Trouble(TEMPFAIL, f"the service takes no mail now: {why}; see mta route") from None
    status = OK
    try:
        begun = dialogue.ask(f"MAIL FROM:<{sender}>{utf8}")
        if not begun.positive:
            raise Trouble(begun.status, f"<{sender}>: {begun}")
        for recipient in recipients:
            reply = dialogue.ask(f"RCPT TO:<{recipient}>")
            tell(f"{recipient}... {'deliverable' if reply.positive else reply}")
            if not (reply.positive or status):
                status = reply.status
        dialogue.ask("QUIT")
    finally:
        dialogue.close()
    return status
