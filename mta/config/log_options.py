"""The options of the log, and of what is kept about people: ``[log]`` and ``[privacy]``."""

from __future__ import annotations

from typing import Literal

from mta.config.option import Duration, Options, Path, Size, at_least, option

_DAY = 86400.0


class Privacy(Options):
    """What is kept about mail that has left."""

    history: Duration = option(
        14 * _DAY, doc="How long `mta explain` knows a message after its end.", check=at_least(0)
    )
    refused: Size = option(
        8 << 20,
        doc="How much room is given to what was refused, for `mta explain ADDRESS`: the oldest goes first, and what is "
        "older than `history`. With 0 nothing is kept, and the log alone has it.",
        check=at_least(0),
    )
    addresses: Literal["full", "domain", "hash"] = option(
        "full",
        doc='How the log names mailboxes, and the history of mail that has ended: "full"; "domain" keeps what is '
        'behind the "@"; "hash" puts a keyed hash in their place, the same for the same address, whose key is in the '
        "state folder: `mta log` and `mta explain` still find an address that you know.",
    )


class Log(Options):
    """The log; it is opened again on SIGUSR1."""

    file: Path | None = option(None, doc="A file. Left out: standard error.", example='"../var/log/mta.log"')
    level: Literal["info", "debug"] = option("info", doc="How much is told.")
    format: Literal["text", "json"] = option(
        "text", doc='"text" is for people; "json" has one JSON object a line, with a field for each detail.'
    )
