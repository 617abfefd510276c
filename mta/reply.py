"""SMTP replies as values, and the errors that carry one (RFC 5321 4.2, RFC 2034, RFC 3463).

Contract: a ``Reply`` that we make is valid on the wire by construction; one read from a peer keeps the
peer's text, bounded by the reply parser.  What is unknown is temporary: an error without a reply is 451.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

_BREAKING = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_UNSAFE = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply: the code, the enhanced status code (``""`` for none) and its lines of text.

    ``wire`` is the reply as it goes out, made once.  Characters that may not stand in a reply (RFC 5321 4.2:
    textstring) are sent as ``?``, so no text can add a line of its own.
    """

    code: int
    enhanced: str = ""
    lines: tuple[str, ...] = ("",)
    wire: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        prefix = f"{self.enhanced} " if self.enhanced else ""
        if len(self.lines) == 1 and self.lines[0].isascii() and self.lines[0].isprintable():
            object.__setattr__(self, "wire", f"{self.code} {prefix}{self.lines[0]}\r\n".encode("ascii"))
            return
        last = len(self.lines) - 1
        parts = [
            f"{self.code}{' ' if index == last else '-'}{prefix}{_UNSAFE.sub('?', line)}\r\n"
            for index, line in enumerate(self.lines)
        ]
        object.__setattr__(self, "wire", "".join(parts).encode("ascii"))

    @classmethod
    def of(cls, code: int, enhanced: str, *lines: str) -> Reply:
        """The short way to write one: ``Reply.of(550, "5.1.1", "no such mailbox")``."""
        return cls(code, enhanced, lines or ("",))

    @classmethod
    def in_utf8(cls, code: int, enhanced: str, *lines: str) -> Reply:
        """One whose text may be UTF-8, for a client that asked for it (RFC 6531 3.7.4.2); no line breaks in it."""
        reply = cls(code, enhanced, lines)
        texts = [f"{enhanced} {_BREAKING.sub('?', line)}\r\n" for line in lines]
        wire = "".join(f"{code}-{text}" for text in texts[:-1]) + f"{code} {texts[-1]}"
        object.__setattr__(reply, "wire", wire.encode("utf-8", "replace"))
        return reply

    @property
    def positive(self) -> bool:
        """2yz or 3yz."""
        return self.code < 400

    @property
    def temporary(self) -> bool:
        """4yz: the same may succeed later."""
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        """5yz: the same will fail again."""
        return self.code >= 500

    @property
    def text(self) -> str:
        """All lines as one."""
        return " ".join(self.lines).strip()

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.code), self.enhanced, self.text) if part)


class MailFailure(Exception):
    """Something failed, and this is what a peer or a sender is told.

    ``reply`` is public; ``reason`` is for the operator alone (log, story) and never goes on the wire.  ``steps`` are
    the events that tell how it came to that, where the decision knows them.
    """

    steps: tuple[Any, ...] = ()

    def __init__(self, reply: Reply, reason: str = "") -> None:
        super().__init__(str(reply) + (f" ({reason})" if reason else ""))
        self.reply = reply
        self.reason = reason


class TemporaryFailure(MailFailure):
    """It may succeed later: 4yz."""


class PermanentFailure(MailFailure):
    """It will fail again: 5yz."""


#: For trouble that nobody foresaw: temporary, never silence (RFC 3463 X.3.0).
LOCAL_ERROR = Reply.of(451, "4.3.0", "Local error, please try again later")


def failure_reply(error: BaseException) -> Reply:
    """The reply that an exception stands for; unknown trouble is temporary."""
    return error.reply if isinstance(error, MailFailure) else LOCAL_ERROR
