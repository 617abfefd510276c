"""``pipe``: delivery by a program, which reads the message and whose exit status says what became of it.

Contract: docs/pipe.rst, for those who write such programs.  Arguments never pass a shell (``mta.delivery.pipe_argv``);
the message comes on standard input as ``mta.delivery.running`` has it; ``MTA_KEY`` is the same at each retry.
How it fails: see ``mta.delivery.programs``.  A program may get a message twice: where it was stopped, or the service
died, between its work and our record of it.
"""

from __future__ import annotations

from typing import Literal

from zope.interface import implementer

from mta.config.option import at_least
from mta.config.program_options import ProgramOptions
from mta.delivery.pipe_argv import check_argv
from mta.delivery.programs import Form, Programs
from mta.delivery.values import Batch, Limits
from mta.interfaces import IDeliveryService
from mta.plugin import Services, option, provider
from mta.routing.values import Route


def _exits(value: tuple[int, ...]) -> str | None:
    return None if all(0 < one < 256 for one in value) else "has one that is no exit status; write 1 to 255"


def _recipients(value: int) -> str | None:
    return None if 0 < value <= 100 else "is not from 1 to 100"


class PipeOptions(ProgramOptions):
    """``pipe``: mail that comes here is given to a program. See `docs/pipe.rst`."""

    command: tuple[str, ...] = option(
        doc="The program, by its full path, and its arguments; no shell reads them. {recipient}, {local_part}, "
        "{domain}, {tag}, {original} (the address that the sender used), {mailbox} (the value in the mailbox table), "
        "{sender} and {id} are put in, within one argument whatever they hold. `{{` is a brace.",
        example='["/usr/local/bin/deliver", "-f", "{sender}", "--", "{recipient}"]',
        check=check_argv,
    )
    recipients: int = option(
        1,
        doc="How many recipients of a message one run may have. Arguments that name one are repeated for each.",
        unit="recipients",
        check=_recipients,
    )
    concurrency: int = option(
        4,
        doc="How many run at once.",
        unit="programs",
        check=at_least(1),
    )
    envelope: bool = option(
        True,
        doc="Whether Return-Path and, in a run for one recipient, Delivered-To and X-Original-To go before it.",
    )
    from_line: bool = option(False, doc='Whether the line "From sender date" of mbox files goes before it.')
    line_ends: Literal["lf", "crlf"] = option(
        "lf", doc='How lines end: "lf", as programs expect, or "crlf", byte for byte as mail travels.'
    )
    fails_for_ever: tuple[int, ...] = option(
        (),
        doc="Exit statuses beside those of sysexits.h that mean that it will never work: the sender gets a report. "
        "With all others the message waits.",
        example="[1]",
        check=_exits,
    )


@provider("delivery", "pipe", PipeOptions)
@implementer(IDeliveryService)
class Pipe:
    """See the module's text."""

    #: Mail ends here: docs/decisions/held-not-bounced.rst.
    final = True

    def __init__(self, options: PipeOptions, services: Services) -> None:
        self.name = services.name
        self._options = options
        self._lasting = frozenset(options.fails_for_ever)
        form = Form(options.envelope, options.from_line, options.line_ends == "lf")
        self._programs = Programs(options, services, options.concurrency, form)

    def limits(self, route: Route) -> Limits:
        """As configured."""
        return Limits(recipients=self._options.recipients, concurrency=self._options.concurrency)

    async def deliver(self, batch: Batch) -> None:
        """See ``IDeliveryService``."""
        await self._programs.deliver(batch, self._options.command, self._lasting)

    async def stop(self, deadline: float) -> None:
        """See ``IDeliveryService``."""
        await self._programs.stop(deadline)
