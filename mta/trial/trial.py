"""One message through the real session code of a configuration, into a spool that is thrown away.

What it is: ``Trial`` has a listener's context with a spool in memory and a queue that only looks; everything that
decides is the configuration's own.
Contract: nothing is stored, bound or sent.  Waits that are nothing but time (``limits.greet_delay``) are over at once.
How it fails: as a session: whatever goes wrong is a reply.  Where ``run`` has to wait, somebody whom the answerer asks
has to be waited for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from mta.config.option import Duration
from mta.deciding import Deciding, Surroundings, session_context
from mta.delivery.values import Foresight
from mta.envelope import Envelope, Recipient
from mta.events import Event
from mta.interfaces import IQueue, IResolver
from mta.policy.made import MadePolicies
from mta.queue.placing import find_routes
from mta.reply import Reply, failure_reply
from mta.routing.ask import Answerer
from mta.routing.recipients import Leads
from mta.routing.values import EXPANSION, NOTE, Route
from mta.smtp.context import MemoryBudget
from mta.smtp.factory import Connections, SmtpFactory
from mta.spool.memory import MemorySpool
from mta.spool.values import Claim, Lease
from mta.trial.answers import AskedTable
from mta.trial.values import Copy, Mail, Result
from mta.trial.wire import converse

#: Recipients whose services are asked what they foresee.
MOST_FORESEEN: Final = 200
_EVER: Final = 1 << 60


@implementer(IQueue)
class OnlyLooks:
    """In place of the queue: keeps where the recipients lead."""

    def __init__(self) -> None:
        self.leads: Leads | None = None
        self.lease: Lease | None = None

    def birth_claim(self, leads: Leads | None = None, envelope: Envelope | None = None) -> Claim | None:
        """See ``IQueue``."""
        return Claim("trial", _EVER)

    def take(self, lease: Lease | None, leads: Leads | None = None) -> None:
        """See ``IQueue``."""
        self.leads, self.lease = leads, lease

    def refuses(self, envelope: Envelope) -> Reply | None:
        """See ``IQueue``: nothing waits here."""
        return None

    def accepted(self, envelope: Envelope, recipients: int) -> None:
        """See ``IQueue``."""

    def flush(self, domain: str, subdomains: bool) -> Deferred[int]:
        """See ``IQueue``."""
        return succeed(0)


class Trial:
    """See the module's text.  ``resolver`` is asked for mail hosts (None: nobody is), ``names`` for the client's name;
    ``answerer`` is in place of the configuration's own, and of the tables of its policies.
    """

    def __init__(
        self,
        decides: Deciding,
        *,
        resolver: IResolver | None,
        names: IResolver,
        now: Callable[[], int],
        answerer: Answerer | None = None,
    ) -> None:
        self._policies: MadePolicies | None = None
        decides = replace(decides, submission=decides.submission.apart())
        if answerer is not None:
            self._policies = decides.policies.apart(partial(AskedTable, answerer))
            decides = replace(decides, answerer=answerer, policies=self._policies)
        self.decides = decides
        self._resolver = resolver
        self._names = names
        self._now = now

    def close(self) -> None:
        """Policies that were made for it alone let go of what they hold."""
        if self._policies is not None:
            self._policies.close()

    async def run(self, mail: Mail, foresee: bool = True) -> Result:
        """What comes of one message.  ``foresee``: delivery services are asked too.

        Raises ``LookupError`` for a listener that there is not, ``ValueError`` for what no client could send.
        """
        spool, queue, clock = MemorySpool(now=self._now), OnlyLooks(), Clock()
        events: list[Event] = []
        around = Surroundings(
            limits=replace(self.decides.configuration.limits, greet_delay=Duration(0.0)),
            resolver=self._names,
            spool=spool,
            queue=queue,
            memory=MemoryBudget(),
            seconds=clock.seconds,
            sleep=lambda seconds: succeed(None),
            now=self._now,
            emit=lambda event, id: events.append(event),
        )
        # The client is who it is said to be: nobody stands between.
        context = replace(session_context(self._listener(mail), self.decides, around), proxy=())
        factory = SmtpFactory(context, Connections(), clock.callLater)
        heard = await converse(factory, mail)
        copies: list[Copy] = []
        header = b""
        for record in spool.records.values():
            found: Any = record.message.header()
            header = found
            copies = await self._copies(queue, record.envelope, foresee)
        return Result(
            opening=tuple(heard.opening),
            mail=heard.mail,
            rcpt=tuple(heard.rcpt),
            data=tuple(heard.data),
            rights=heard.rights,
            copies=tuple(copies),
            header=header,
            events=tuple(events),
        )

    def _listener(self, mail: Mail) -> str:
        listeners = self.decides.configuration.listen
        if not mail.listener:
            return next((one.name for one in listeners if one.service == "mx"), listeners[0].name)
        if all(one.name != mail.listener for one in listeners):
            raise LookupError(f"there is no listener {mail.listener}")
        return mail.listener

    async def _copies(self, queue: OnlyLooks, envelope: Envelope, foresee: bool) -> list[Copy]:
        leads, copies = queue.leads, list[Copy]()
        if leads is None:
            return copies
        routes, troubles = await self._routes(queue.lease)
        for recipient, first in zip(leads.recipients, leads.routes, strict=True):
            if recipient.destination == EXPANSION or recipient.destination.service == NOTE:
                continue  # for the report that its sender asked for, or a note to him
            route = routes.get(recipient.id, first)
            ask = foresee and not route.hold and len(copies) < MOST_FORESEEN
            foresight = await self._foresee(recipient, route, envelope) if ask else None
            copies.append(Copy(recipient, route, foresight, troubles.get(recipient.id)))
        return copies

    async def _routes(self, lease: Lease | None) -> tuple[dict[int, Route], dict[int, Reply]]:
        """As the queue routes those that go out at once: forwarded mail may go on in another name."""
        if lease is None:
            return {}, {}
        decides = self.decides
        groups, troubles = await find_routes(decides.router, decides.answerer, lease, decides.forwarding)
        routes = {recipient.id: route for route, recipients in groups for recipient in recipients}
        return routes, {recipient.id: failure_reply(error) for recipient, error in troubles}

    async def _foresee(self, recipient: Recipient, route: Route, envelope: Envelope) -> Foresight | None:
        service: Any = self.decides.services.get(route.destination.service)
        foresee = getattr(service, "foresee", None)
        if foresee is None:
            return None
        found = foresee(recipient.address, route, envelope, self._resolver)
        return found if isinstance(found, Foresight) else await found
