"""The brake and the hold on accounts, at work: what a message is counted for, whose mail is held, who is told, and what
goes on when an account may send again.

What it is: ``Brakes`` is a message policy (``at_end``) and answers for the dispatch of what waits (``why``); ``tick``,
once a minute, sends notices that could not be sent and releases mail whose account is active again.
Contract: the message that crosses a limit, and each one after it, is taken in and held until ``release``; owner and
postmaster are told once.  All of it is in the state: a restart changes nothing, and several processes count together.
How it fails: ``TemporaryFailure`` of the state; a notice that cannot be written is tried again at each ``tick``.
Limits: an answer of ``why`` is remembered for ``FRESH`` seconds.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final, NamedTuple, TypeAlias

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from mta import events
from mta.accounts.values import Account, State
from mta.events import Event
from mta.interfaces import Maybe
from mta.policy.values import MessageContext
from mta.state.sqlite import SqliteState
from mta.state.values import Get, Put
from mta.submission.brake import (
    DAY,
    Crossed,
    Limits,
    bounces_alone,
    crossed,
    failed,
    forgotten,
    tallied,
)
from mta.submission.holding import held, held_reason
from mta.verdict import Verdict
from mta.waiting import background

log = Logger()

#: An account by its name, as ``IAccounts.find``.
Find: TypeAlias = Callable[[str], Maybe[Account | None]]

#: Seconds.
FRESH: Final = 5.0
TICK: Final = 60.0
_FOR_EVER: Final = 3650.0 * DAY
#: What waits for its account is asked for so long.
_WAITS: Final = 365.0 * DAY
#: Accounts that one ``tick`` looks at, and answers that are remembered.
MOST: Final = 1000


class Told(NamedTuple):
    """What owner and postmaster are told: whose mail is held since when, and why.  ``owner``: the main address of the
    account, "" where it has none."""

    account: str
    owner: str
    why: str
    at: int


class Outside(NamedTuple):
    """``now`` is UTC milliseconds, ``seconds`` monotonic.  ``tell`` writes the notices; ``release`` lets go what is
    held in this process's spool because of an account, and returns how much."""

    now: Callable[[], int]
    seconds: Callable[[], float]
    emit: Callable[[Event, str], None]
    tell: Callable[[Told], Awaitable[None]]
    release: Callable[[str], Awaitable[int]]


class Brakes:
    """See the module's text.  ``worker``: the number of this process's spool."""

    def __init__(
        self, state: SqliteState, outside: Outside, limits: Limits, find: Find | None = None, worker: int = 0
    ) -> None:
        self._state = state
        self._outside = outside
        self._worker = worker
        self._known: dict[str, tuple[float, str]] = {}
        self._timer: IDelayedCall | None = None
        self.configure(limits, find)

    def configure(self, limits: Limits, find: Find | None) -> None:
        """From a new configuration: ``find`` knows the accounts, None: nobody does."""
        self._limits = limits
        self._find = find

    # --- a message that comes in ---------------------------------------------------------------------------

    async def at_end(self, about: MessageContext) -> Verdict:
        """Count it; hold it where its account has crossed a limit, now or before."""
        account = about.account
        name = account.name if account is not None else about.origin.login
        if not name:
            return Verdict.none()
        why = await self.why(name)
        if not why:
            now, to, client = self._outside.now(), about.recipients, about.origin.client
            found = await self._state.transact(lambda ask: tallied(ask, name, to, client, now))
            over = crossed(found, _own(self._limits, account), now)
            if over is None:
                return Verdict.none()
            why = await self._close(name, account, over)
        return held(held_reason(name, why))

    async def _close(self, name: str, account: Account | None, over: Crossed) -> str:
        why = f"the brake closed: {over}"
        owner = account.addresses[0] if account is not None and account.addresses else ""
        told = Told(name, owner, why, self._outside.now())
        key = f"brake/{name}"
        before, _ = await self._state.together((Get(key), Put(key, why, _FOR_EVER)))
        self._known.pop(name, None)
        if before is None:
            self._outside.emit(events.BRAKE_CLOSED(account=name, why=str(over)), "")
            await self._state.put(f"tell/{name}", json.dumps(told), _FOR_EVER)
            await self._tell(name)
        return why

    async def _tell(self, name: str) -> None:
        """Whoever takes it out of the state tells it; it is back there where that fails."""
        key = f"tell/{name}"
        text, _ = await self._state.together((Get(key), Put(key, "", 0)))
        if text is None:
            return
        try:
            await self._outside.tell(Told(*json.loads(text)))
        except Exception:
            log.failure("the notice about the account {account} could not be written", account=name)
            await self._state.put(key, text, _FOR_EVER)

    # --- what came of it -----------------------------------------------------------------------------------

    async def failed(self, name: str, recipients: int) -> None:
        """So many recipients of an account's mail have failed for good."""
        now = self._outside.now()
        over = crossed(await self._state.together(failed(name, recipients, now)), bounces_alone(self._limits), now)
        if over is not None and not await self.why(name):
            await self._close(name, await self._account(name), over)

    # --- what waits ----------------------------------------------------------------------------------------

    async def why(self, name: str) -> str:
        """Why mail of the account is held by a brake; "" where it is not."""
        now = self._outside.seconds()
        until, why = self._known.get(name, (0.0, ""))
        if now < until:
            return why
        why = await self._state.get(f"brake/{name}") or ""
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[name] = (now + FRESH, why)
        return why

    async def waits(self, name: str) -> None:
        """Mail is held because of the state of its account: it goes on when that is active again."""
        await self._state.put(f"waits/{self._worker}/{name}", "1", _WAITS)

    async def release(self, name: str) -> str:
        """Open the brake and count anew; why it was closed, "" where it was not.  What is held is not touched."""
        why = await opened(self._state, name, self._outside.now())
        self._known.pop(name, None)
        return why

    def start(self, reactor: IReactorTime) -> None:
        """``tick`` from now on."""

        def again() -> None:
            self._timer = reactor.callLater(TICK, again)
            background(self.tick(), "looking at accounts")

        self._timer = reactor.callLater(TICK, again)

    def stop(self) -> None:
        """No more of that; the state is closed."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._state.close()

    async def tick(self) -> None:
        """See the module's text."""
        for key in await self._state.keys("tell/", MOST):
            await self._tell(key.removeprefix("tell/"))
        prefix = f"waits/{self._worker}/"
        for key in await self._state.keys(prefix, MOST) if self._find is not None else ():
            await self._look(key, key.removeprefix(prefix))

    async def _look(self, key: str, name: str) -> None:
        account = await self._account(name)
        if account is not None and account.state is State.ACTIVE and not await self.why(name):
            # First, so that what is held meanwhile is looked at again.
            await self._state.put(key, "", 0)
            count = await self._outside.release(name)
            if count:
                self._outside.emit(events.ACCOUNT_RELEASED(account=name, recipients=count, by="it is active"), "")

    async def _account(self, name: str) -> Account | None:
        found = None if self._find is None else self._find(name)
        return found if found is None or isinstance(found, Account) else await found


async def opened(state: SqliteState, name: str, now: int) -> str:
    """Open the brake in the state: why it was closed, "" where it was not."""
    key = f"brake/{name}"
    why, *_ = await state.together((Get(key), Put(key, "", 0), *forgotten(name, now)))
    return why or ""


async def opened_here(folder: str, now: Callable[[], int], name: str) -> str:
    """The same in the state of a service that is stopped, at once."""

    async def here(work: Callable[..., Any], *args: Any) -> Any:
        return work(*args)

    state = SqliteState(folder, now, here)
    try:
        return await opened(state, name, now())
    finally:
        state.close()


def _own(limits: Limits, account: Account | None) -> Limits:
    """With the limits that the account has of its own."""
    if account is None or not (account.per_hour or account.per_day):
        return limits
    return replace(
        limits,
        recipients_per_hour=account.per_hour or limits.recipients_per_hour,
        recipients_per_day=account.per_day or limits.recipients_per_day,
    )
