"""What is known of logins and outlives a reload of the configuration: brakes, last uses, the secret of unknown names.

What it is: ``Logins`` is made once in a process, ``configure`` tells it the options in force; ``handlers`` are the
commands of the control socket by which ``mta account`` shows brakes and lifts them.
Contract: of several processes each is told of the failures of the others (``tell``, ``noted``), so that limits are
those of all together.
How it fails: ``open`` raises ``OSError`` and ``ValueError``.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from mta import events
from mta.accounts.brakes import ACCOUNT, Begun, BrakeRules, Brakes, Key
from mta.accounts.names import is_address, name_of
from mta.accounts.used import Used
from mta.config.account_options import LoginOptions
from mta.events import Event

#: Counts that are shown.
MOST_SHOWN: Final = 200
_SECRET: Final = 32
Handler = Callable[[Mapping[str, Any], str], Awaitable[Any]]


class Logins:
    """See the module's text.  ``seconds`` are monotonic."""

    def __init__(self, used: Used, *, seconds: Callable[[], float], emit: Callable[[Event, str], None]) -> None:
        self.brakes = Brakes(BrakeRules())
        self.used = used
        self.secret = secrets.token_bytes(_SECRET)  # until ``open``
        self.tell: Callable[[Mapping[str, Any]], None] = _nobody  # the parent of several processes
        self._opened = False
        self._seconds = seconds
        self._emit = emit

    def configure(self, options: LoginOptions) -> None:
        """The rules from now on."""
        self.brakes.rules = BrakeRules(
            options.account_failures, options.address_failures, options.network_failures, options.half_life
        )

    def open(self, state: str) -> None:
        """The state folder is there.  Idempotent."""
        if self._opened:
            return
        self.secret = _kept_secret(os.path.join(state, "login.key"))
        self.used.open(state)
        self._opened = True

    def refused(self, begun: Begun, name: str, client: str, secret: bytes, shown: str) -> None:
        """A login that had begun was refused; ``shown`` is the name as the log may have it."""
        for closed in self.brakes.failed(begun, name, secret):
            of = shown if closed.kind == ACCOUNT else closed.name
            self._emit(events.LOGIN_BRAKED(kind=closed.kind, name=of, client=client), "")
        self.tell({"noted": {"name": name, "client": client, "weight": begun.weight}})

    def handlers(self) -> dict[str, Handler]:
        """The commands by their names on the control socket."""
        return {"brakes": self._brakes, "lift": self._lift, "noted": self._noted}

    async def _brakes(self, request: Mapping[str, Any], by: str) -> dict[str, Any]:
        shown = [
            {
                "kind": one.key.kind,
                "name": self._shown(one.key),
                "known": one.key.known,
                "failures": round(one.failures, 1),
                "seconds": round(one.seconds),
            }
            for one in self.brakes.counted(self._seconds())
        ]
        shown.sort(key=lambda one: not one["seconds"])
        return {"brakes": shown[:MOST_SHOWN], "more": max(0, len(shown) - MOST_SHOWN)}

    def _shown(self, key: Key) -> str:
        """What nobody has logged in as may be a password, unless it is an address."""
        known = key.kind != ACCOUNT or is_address(key.name) or self.brakes.has_logged_in(key.name)
        return key.name if known else "(a name that nobody has logged in as)"

    async def _lift(self, request: Mapping[str, Any], by: str) -> dict[str, int]:
        which = request.get("which")
        which = which if isinstance(which, str) else ""
        count = self.brakes.lift(which) or (self.brakes.lift(name_of(which)) if name_of(which) else 0)
        self._emit(events.LOGIN_LIFTED(which=which or "all", count=count, by=by), "")
        return {"lifted": count}

    async def _noted(self, request: Mapping[str, Any], by: str) -> None:
        name, client = request["name"], request["client"]
        begun = self.brakes.begin(name, client, b"", self._seconds(), request["weight"])
        self.brakes.failed(begun, name, b"")


def _kept_secret(path: str) -> bytes:
    """Made once, by whichever process comes first."""
    new = f"{path}.{os.getpid()}"
    if not os.path.lexists(path):
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
            file.write(secrets.token_bytes(_SECRET))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(new, path)
        os.unlink(new)
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        found = file.read(_SECRET)
    if len(found) != _SECRET:
        raise ValueError(f"{path} is not a key of {_SECRET} octets: remove it")
    return found


def _nobody(what: Mapping[str, Any]) -> None:
    """There are no other processes."""
