"""Delivery by a program: one run for a batch, from the message's octets to each recipient's outcome.

What it is: what the service ``pipe`` and the commands of aliases have in common.
Contract: as ``IDeliveryService.deliver``.  The exit status is the outcome of all recipients of the run
(``mta.delivery.sysexits``).  At most ``concurrency`` run at once; the others wait here.
How it fails: a message that cannot be read ends the program at once, by SIGKILL and before the end of its input, and is
deferred, scope message; so is a delivery that is cancelled.  Whatever a program did before that it may do again.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from twisted.internet.defer import DeferredSemaphore

from mta.config.program_options import ProgramOptions
from mta.delivery.copying import envelope_fields, pieces
from mta.delivery.pipe_argv import Unsafe, arguments, values_of, variables
from mta.delivery.running import Program, Run
from mta.delivery.sysexits import Meaning, meaning
from mta.delivery.under_way import UnderWay
from mta.delivery.values import Batch
from mta.envelope import Outcome, Recipient, Scope, Status
from mta.message.lines import CRLF
from mta.message.mbox import from_line
from mta.plugin import Services
from mta.reply import Reply
from mta.spool.values import Damaged

UNREADABLE: Final = Reply.of(451, "4.3.0", "The stored message cannot be read")
STOPPED: Final = Reply.of(451, "4.3.2", "The service was stopped")


class Form(NamedTuple):
    """How the message is written to the program."""

    envelope: bool  # Return-Path, Delivered-To and X-Original-To in front
    from_line: bool  # the line that begins a message in mbox files
    lf: bool


class Programs:
    """See the module's text."""

    def __init__(self, options: ProgramOptions, services: Services, concurrency: int, form: Form) -> None:
        self._options = options
        self._services = services
        self._places = DeferredSemaphore(concurrency)
        self._form = form
        self._limits = options.limits()
        self._runs: set[Run] = set()
        self._deliveries = UnderWay()
        self._closed = False

    async def deliver(self, batch: Batch, template: tuple[str, ...], lasting: frozenset[int] = frozenset()) -> None:
        """Run the program for all recipients of the batch, and report them."""
        with self._deliveries:
            await self._places.acquire()
            try:
                await self._deliver(batch, template, lasting)
            finally:
                self._places.release()

    async def _deliver(self, batch: Batch, template: tuple[str, ...], lasting: frozenset[int]) -> None:
        attempt = {"host": "", "tls": "", "stage": template[0]}
        if self._closed:
            batch.report_all(Status.DEFERRED, STOPPED, Scope.HOST, attempt)
            return
        taken, values = self._taken(batch, template, attempt)
        if not taken:
            return
        program = self._program(batch, template, values)
        started = self._services.reactor.seconds()
        try:
            found = await self._run(batch, taken, program, lasting)
        except Damaged as damaged:
            attempt["error"] = str(damaged)
            batch.report_all(Status.DEFERRED, UNREADABLE, Scope.MESSAGE, attempt)
            return
        if found.error:
            attempt["error"] = found.error
        seconds = round(self._services.reactor.seconds() - started, 3)
        for recipient in batch.pending:
            batch.report(
                Outcome(
                    recipient=recipient.id,
                    status=found.status,
                    reply=found.reply,
                    scope=found.scope,
                    # It may have done its work before it failed.
                    may_duplicate=found.status is Status.DEFERRED and found.scope is Scope.MESSAGE,
                    attempt={**attempt, "seconds": seconds},
                )
            )

    def _taken(
        self, batch: Batch, template: tuple[str, ...], attempt: dict[str, str]
    ) -> tuple[tuple[Recipient, ...], list[dict[str, str]]]:
        """Whom the program may be told of, and their values; the others are reported, each alone."""
        taken, found = [], []
        for recipient in batch.recipients:
            try:
                values = values_of(batch, recipient)
                arguments(template, [values])
            except Unsafe as unsafe:
                batch.report(
                    Outcome(
                        recipient=recipient.id,
                        status=Status.FAILED if unsafe.reply.permanent else Status.DEFERRED,
                        reply=unsafe.reply,
                        scope=Scope.RECIPIENT,
                        attempt={**attempt, "error": str(unsafe)},
                    )
                )
            else:
                taken.append(recipient)
                found.append(values)
        return tuple(taken), found

    def _program(self, batch: Batch, template: tuple[str, ...], recipients: list[dict[str, str]]) -> Program:
        options = self._options
        environment = {**variables(batch, recipients), **options.fixed_variables()}
        argv = arguments(template, recipients)
        return Program(argv, environment, options.folder, self._limits, options.user or "", options.group or "")

    async def _run(
        self, batch: Batch, taken: tuple[Recipient, ...], program: Program, lasting: frozenset[int]
    ) -> Meaning:
        run = Run(self._services.reactor, self._options.time_limit)
        self._runs.add(run)
        try:
            self._services.launch(program, run)
            await self._feed(batch, taken, run)
            return meaning(await run.ended, lasting)
        except BaseException:
            run.kill("the delivery was given up")
            raise
        finally:
            self._runs.discard(run)

    async def _feed(self, batch: Batch, taken: tuple[Recipient, ...], run: Run) -> None:
        form, envelope = self._form, batch.message.envelope
        front = from_line(envelope.reverse_path, envelope.arrived) if form.from_line else b""
        if not form.lf:
            front = front.replace(b"\n", CRLF)
        if form.envelope:
            front += envelope_fields(envelope.reverse_path, taken, lf=form.lf)
        await run.write(front)
        octets = pieces(batch.message, lf=form.lf)
        try:
            async for piece in octets:
                if not await run.write(piece):
                    return
        finally:
            await octets.aclose()
        await run.finish()

    async def stop(self, deadline: float) -> None:
        """Wait for what runs, at most so long; then end it."""
        await self._deliveries.over(deadline, self._services.reactor)
        self._closed = True
        for run in list(self._runs):
            run.kill("the service stops")
