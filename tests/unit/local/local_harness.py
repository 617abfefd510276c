"""The listener of local programs and its pickup folder, in memory but for the folder."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet.address import UNIXAddress

from mta.bounce.decide import Ended
from mta.local.accounts import LocalAccounts, Users
from mta.local.listener import LocalFactory
from mta.policy.engine import Policies
from mta.queue.conclude import Report
from mta.sendmail.users import User
from mta.submission.identity import Mode
from mta.submission.made import Listening, Submission
from tests.unit.smtp.harness import Client, ClientTransport, Server

USERS = {0: User(0, "root"), 33: User(33, "www-data", "Web"), 1000: User(1000, "ann", "Ann")}


class PeerTransport(ClientTransport):
    """A UNIX socket whose other end is a user."""

    def __init__(self, uid: int) -> None:
        super().__init__()
        self._uid = uid

    def getHandle(self) -> Any:
        return self

    def getsockopt(self, *what: Any) -> bytes:
        return struct.pack("=iII", 4711, self._uid, self._uid)


class LocalClient(Client):
    """A program of a user."""

    def __init__(self, server: LocalServer, uid: int) -> None:
        self.server = server
        self.transport = PeerTransport(uid)
        self.transport.protocol = server.factory.buildProtocol(UNIXAddress(None))
        self.protocol.makeConnection(self.transport)


class Reporter:
    """Keeps what it was to tell."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, list[tuple[str, str]]]] = []
        self.again = False

    async def report(self, message: Any, ended: list[Ended], now: int) -> Report:
        if self.again:
            return Report(again=True)
        self.told.append((message, [(str(one.address), str(outcome.reply)) for one, outcome in ended]))
        return Report()


class LocalServer(Server):
    """ours.example as in ``Server``; users are ``USERS``; root may send as anybody."""

    def __init__(self, folder: Path, table: Any = None, mode: Mode = Mode.RELAXED, **limits: Any) -> None:
        super().__init__(**limits)
        users = Users(self.clock.seconds, lambda uid: USERS.get(uid, User(uid, str(uid))))
        accounts = LocalAccounts(users, ("ours.example", "mail.ours.example"), frozenset({"root"}), table)
        submission = Submission(
            rules=self.context.router.rules,  # type: ignore[attr-defined]
            answerer=self.context.answerer,
            hostname="mail.ours.example",
            listeners={"local": Listening(mode=mode, accounts=accounts)},
            accounts=None,
            brakes=None,
        )
        self.context = replace(
            self.context,
            listener="local",
            networks=(),
            submission=True,
            accounts=accounts,
            qualify="ours.example",
            policies=Policies(
                submission.of_listener("local"),
                self.clock.callLater,
                self.clock.seconds,
                self.now,
                lambda event, id: self.events.append((id, event)),
            ),
        )
        self.reporter = Reporter()
        self.folder = folder
        (folder / "pickup").mkdir(parents=True)
        (folder / "refused").mkdir()
        self.factory: LocalFactory = LocalFactory(
            self.context,
            self.connections,
            self.clock.callLater,
            folder=str(folder),
            user_of=users.get,
            reporter=self.reporter,
        )

    def program(self, uid: int) -> LocalClient:
        return LocalClient(self, uid)

    def told(self, code: str) -> list[dict[str, Any]]:
        """The arguments of the events of a kind."""
        return [event.args for _, event in self.events if event.code == code]
