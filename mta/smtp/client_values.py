"""What the SMTP client is told and tells: stages, time-outs, and the trouble with a host.  Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from mta.reply import Reply


class Stage(StrEnum):
    """Where an attempt stands: the step whose reply is waited for.  The text goes into the story."""

    LOOKUP = "DNS"
    CONNECT = "connect"
    GREETING = "greeting"
    HELLO = "EHLO"
    RSET = "RSET"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    BODY = "message data"
    END = "end of data"
    QUIT = "QUIT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds to wait for each step; the defaults are the least that RFC 5321 4.5.3.2 asks for."""

    greeting: float = 300.0  # RFC 5321 4.5.3.2.1
    hello: float = 300.0
    mail: float = 300.0  # RFC 5321 4.5.3.2.2
    rcpt: float = 300.0  # RFC 5321 4.5.3.2.3
    data: float = 120.0  # RFC 5321 4.5.3.2.4
    block: float = 180.0  # RFC 5321 4.5.3.2.5
    end: float = 600.0  # RFC 5321 4.5.3.2.6
    quit: float = 5.0  # the mail is through: nobody waits for a slow good-bye
    of: Mapping[Stage, float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_stage = {
            Stage.GREETING: self.greeting,
            Stage.HELLO: self.hello,
            Stage.RSET: self.mail,
            Stage.MAIL: self.mail,
            Stage.RCPT: self.rcpt,
            Stage.DATA: self.data,
            Stage.BODY: self.block,
            Stage.END: self.end,
            Stage.QUIT: self.quit,
        }
        object.__setattr__(self, "of", by_stage)


class HostTrouble(Exception):
    """The trouble is the host's or the connection's, not a recipient's or the message's.

    ``in_doubt`` are the recipients whose message may have been taken all the same: the connection was lost
    between the final dot and its reply.  ``reply`` is the host's own, or says what happened.
    """

    def __init__(self, reply: Reply, stage: Stage, in_doubt: tuple[int, ...] = ()) -> None:
        super().__init__(f"{stage}: {reply}")
        self.reply = reply
        self.stage = stage
        self.in_doubt = in_doubt


#: RFC 1870 6.1: what the host would have said.
TOO_BIG: Final = Reply.of(552, "5.3.4", "The message is bigger than the host takes")
#: RFC 6152 3
NO_EIGHT_BIT: Final = Reply.of(554, "5.6.3", "The message has an 8-bit body, which the host does not take")
#: RFC 6531 3.2
NO_UTF8: Final = Reply.of(553, "5.6.7", "The address has characters outside ASCII, which the host does not take")
#: An address that would break the command line; none gets through the grammar, one might through a table.
BAD_PATH: Final = Reply.of(553, "5.1.3", "The address has a control character")


def timed_out(stage: Stage) -> Reply:
    """RFC 3463 X.4.2: the connection was there, then nothing came in time."""
    return Reply.of(451, "4.4.2", f"Timed out at {stage}")


def lost(stage: Stage) -> Reply:
    return Reply.of(451, "4.4.2", f"The connection was lost at {stage}")


def no_connection(why: str) -> Reply:
    """RFC 3463 X.4.1"""
    return Reply.of(451, "4.4.1", f"No connection: {why}")


def protocol_error(what: str) -> Reply:
    """RFC 3463 X.5.0"""
    return Reply.of(451, "4.5.0", f"The host does not keep to the protocol: {what}")
