"""Clients that cannot wait, and clients that must: the greeting kept back, replies slowed.

What it is: ``greeting`` waits ``limits.greet_delay`` before the greeting, and refuses who speaks meanwhile;
``slow_down`` makes whoever tries name after name wait longer for each refusal.
Contract: while a client waits nothing of it is read but one segment, and its replies keep their order: a session
waits for these as for a lookup.  When the service stops they end at once.
Source: RFC 5321 4.3.1 has the client wait for the greeting, and 3.1 tells what a server that refuses does: 554 in
place of 220, then 503 to everything but QUIT.  Malware that pushes its mail through in one go does not wait; a
client that got 421 or a closed connection would only come again.  Slow replies: RFC 5321 7.3 and 7.8.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import CancelledError

from mta import events
from mta.reply import Reply
from mta.smtp import replies

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from mta.smtp.commands import Command
    from mta.smtp.session import Session

#: The first wait of ``slow_down``; each next one is twice as long.
FIRST_WAIT: Final = 1.0


async def greeting(
    session: Session, held: Sequence[bytes], welcome: Callable[[Session], Awaitable[Reply]] | None = None
) -> Reply:
    """The greeting, in good time; or 554 where ``held`` has got octets of the client until then.

    ``welcome`` asks whether there is one, and gives it.
    """
    if session.context.limits.greet_delay:
        await _pause(session, session.context.limits.greet_delay)
    if held:
        spoke_early(session)
        session.find = partial(only_quit, session.find)
        return replies.TOO_EARLY
    return session.context.banner if welcome is None else await welcome(session)


def only_quit(find: Callable[[bytes, bool], Command], name: bytes, lmtp: bool) -> Command:
    """RFC 5321 3.1: what a client that was refused may say."""
    return find(name, lmtp) if name == b"QUIT" else _refused


def _refused(session: Session, argument: bytes) -> Reply:
    return replies.ONLY_QUIT


def spoke_early(session: Session) -> None:
    """Octets came before the greeting was sent: an error of the client, counted and told."""
    session.errors += 1
    session.context.emit(events.SPOKE_EARLY(client=session.client), "")


def wait_for(refused: int, after: int, most: float) -> float:
    """Seconds to wait before the reply to the ``refused``-th recipient that is refused for good."""
    steps = refused - after
    if steps <= 0:
        return 0.0
    return min(most, FIRST_WAIT * 2.0 ** min(steps - 1, 30))


async def _pause(session: Session, seconds: float) -> None:
    """Let time pass; the end of the service is not held up by it."""
    session.pause = session.context.sleep(seconds)
    try:
        await session.pause
    except CancelledError:
        if session.closing:
            raise  # nobody is there to be told
    finally:
        session.pause = None


async def slow_down(session: Session) -> None:
    """One more recipient is refused for good."""
    session.standing.refused += 1
    limits = session.context.limits
    seconds = wait_for(session.standing.refused, limits.slow_after, limits.slow_most)
    if seconds:
        await _pause(session, seconds)
