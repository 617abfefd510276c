"""What an operator asks of a service of several processes: each worker is asked, and the answers become one.

Contract: a question (``status``, ``lanes``) is answered by those that run, and ``status`` names those that do not.  A
change is made in every worker that runs; where one is down or fails the answer is an error that says what was done and
what was not, so that nobody takes it for done.  A pause is on disk, and known to all that run, before the answer.  A
reload is checked by all before any puts it to use; a worker that is down reads the new configuration when it starts.
How it fails: ``ControlError``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from twisted.internet.defer import DeferredList

from mta.admin.control import LOOK_TIME, ControlError, Handler
from mta.admin.pausing import Pausing
from mta.workers.child import Child, WorkerDown
from mta.workers.joining import JOINS, joined_status, status_text

#: Seconds for all workers to have read and checked a configuration.
RELOAD_TIME: Final = 120.0


class Asking:
    """See the module's text.  ``children`` are all there are; ``about`` is what ``status`` says of the whole; ``read``
    is how the parent itself takes a configuration: it raises ``ControlError``, or returns what puts it to use."""

    def __init__(
        self,
        children: Callable[[], Iterable[Child]],
        pausing: Pausing,
        *,
        about: Callable[[], Mapping[str, Any]],
        read: Callable[[], Callable[[], None]],
    ) -> None:
        self._children = children
        self._pausing = pausing
        self._about = about
        self._read = read
        self.draining = False

    def handlers(self) -> dict[str, Handler]:
        """By the names on the control socket, without ``stop``."""
        return {
            "status": self.status,
            "lanes": self.lanes,
            "drain": self.drain,
            "change": self.change,
            "erase": self.erase,
            "brakes": self.brakes,
            "lift": self.lift,
            "pause": self.pause,
            "resume": self.resume,
            "pauses": self._pausing.pauses,
            "reload": self.reload,
        }

    async def _all(
        self, command: str, request: Mapping[str, Any], by: str, wait: float | None = None
    ) -> tuple[list[Any], list[Exception]]:
        """What those who could answered, and what the others said."""
        arguments = {key: value for key, value in request.items() if key != "command"}
        more = () if wait is None else (wait,)
        asked = [child.ask(command, by, arguments, *more) for child in self._children() if not child.empty]
        results = await DeferredList(asked, consumeErrors=True)
        good = [result for fine, result in results if fine]
        return good, [failure.value for fine, failure in results if not fine]

    async def _change(self, command: str, request: Mapping[str, Any], by: str) -> dict[str, Any]:
        """All of them, or an error."""
        good, bad = await self._all(command, request, by)
        joined = JOINS[command](good) if good else {}
        if bad:
            done = ", ".join(f"{key} {value}" for key, value in joined.items()) or "nothing"
            raise ControlError(f"not in all workers ({_text(bad)}); done in the others: {done}")
        return joined

    # --- questions -----------------------------------------------------------------------------------------

    async def status(self, request: Mapping[str, Any], by: str) -> dict[str, Any]:
        """All of it, and how each worker does."""
        good, bad = await self._all("status", request, by, LOOK_TIME / 2)
        figures = joined_status(good) if good else {}
        workers = [child.values() for child in self._children()]
        shown = status_text({**figures, **self._about()}) if figures else dict(self._about())
        return {**shown, "workers": workers, "down": _text(bad)}

    async def lanes(self, request: Mapping[str, Any], by: str) -> dict[str, Any]:
        """Of those that run."""
        good, _ = await self._all("lanes", request, by, LOOK_TIME / 2)
        return JOINS["lanes"](good) if good else {}

    async def brakes(self, request: Mapping[str, Any], by: str) -> dict[str, Any]:
        """See ``Logins``; each worker knows of all failures."""
        good, _ = await self._all("brakes", request, by, LOOK_TIME / 2)
        return JOINS["brakes"](good) if good else {"brakes": [], "more": 0}

    # --- changes -------------------------------------------------------------------------------------------

    async def drain(self, request: Mapping[str, Any], by: str) -> dict[str, Any]:
        """See draining.py; a worker that starts later is told too."""
        on = request.get("on")
        if isinstance(on, bool):
            self.draining = on
        return await self._change("drain", request, by)

    async def change(self, request: Mapping[str, Any], by: str) -> dict[str, Any]:
        """See ``Operations``."""
        return await self._change("change", request, by)

    async def erase(self, request: Mapping[str, Any], by: str) -> dict[str, Any]:
        """See ``Operations``."""
        return await self._change("erase", request, by)

    async def lift(self, request: Mapping[str, Any], by: str) -> dict[str, Any]:
        """See ``Logins``."""
        return await self._change("lift", request, by)

    async def pause(self, request: Mapping[str, Any], by: str) -> dict[str, Any]:
        """See ``Pausing``: the file is the parent's, the workers read it again."""
        answer = await self._pausing.pause(request, by)
        await self._reread("the pause", by)
        return answer

    async def resume(self, request: Mapping[str, Any], by: str) -> dict[str, Any]:
        """See ``Operations``."""
        answer = await self._pausing.resume(request, by)
        await self._reread("the end of the pause", by)
        return answer

    async def _reread(self, what: str, by: str) -> None:
        _, bad = await self._all("reread-pauses", {}, by)
        # One that is down reads the file when it starts.
        if wrong := [error for error in bad if not isinstance(error, WorkerDown)]:
            raise ControlError(f"{what} is kept, but not all workers know of it: {_text(wrong)}; say it again")

    async def reload(self, request: Mapping[str, Any], by: str) -> str:
        """See the module's text."""
        use = self._read()
        _, wrong = await self._all("check", request, by, RELOAD_TIME)
        for error in wrong:
            if not isinstance(error, WorkerDown):
                raise error
        use()
        good, bad = await self._all("reload", request, by, RELOAD_TIME)
        if any(not isinstance(error, WorkerDown) for error in bad):
            raise ControlError(f"not in all workers: {_text(bad)}")
        note = f"; later, when it runs again: {_text(bad)}" if bad else ""
        return f"{good[0] if good else 'no worker runs'}{note}"


def _text(errors: Iterable[Exception]) -> str:
    return "; ".join(str(error) for error in errors)
