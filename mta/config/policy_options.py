"""The options that every ``[policy.X]`` has, whatever its type, and what ``[service.X]`` has for policies."""

from __future__ import annotations

from typing import Literal

from mta.config.option import Duration, Name, Options, option

#: RFC 5321 4.5.3.2: a client waits five minutes for the reply to MAIL and RCPT, ten for that to a message.
_LONGEST = 240.0


def _timeout(value: float) -> str | None:
    return None if 0 < value <= _LONGEST else 'is not from "1ms" to "4m"; clients would not wait for longer'


def once_each(names: tuple[str, ...]) -> str | None:
    """A check: no name stands twice."""
    return None if len(set(names)) == len(names) else "names one twice; it would be asked twice"


class PolicyOptions(Options):
    """What every policy has, whatever its type: how long it may take, and what counts when it fails."""

    timeout: Duration = option(
        10.0, doc="How long it may take. Then, and when it fails, `on_error` counts.", check=_timeout
    )
    on_error: Literal["defer", "accept", "reject"] = option(
        "defer",
        doc='What counts when it fails, is too slow or cannot know: "defer" has the client come again (451), "accept" '
        'goes on as if it were not there, "reject" refuses for good (550).',
    )
    shadow: bool = option(
        False,
        doc="It is asked, and what it says stands in the log and in the story of each message, and changes nothing: "
        "so a new policy is tried.",
    )


class Mx(Options):
    """Listeners that take mail from other hosts."""

    policy: tuple[Name, ...] = option(
        (),
        doc="The policies that are asked, in order: names of `[policy.X]`. See `docs/policies.rst`.",
        example='["known-senders"]',
        check=once_each,
    )


class Lmtp(Options):
    """Listeners for LMTP."""

    policy: tuple[Name, ...] = option(
        (),
        doc="The policies that are asked, in order, as for `service.mx`.",
        example='["known-senders"]',
        check=once_each,
    )
