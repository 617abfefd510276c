"""A state that no service has, with messages that wait in it, and the command line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.admin.main import main
from mta.admin.offline import now_there
from mta.envelope import Destination, Envelope, Origin, Recipient, Right
from mta.spool.lanes import Inline
from mta.spool.sqlite import SqliteSpool

CONFIGURATION = """\
format = 1
hostname = "mail.ours.example"
postmaster = "postmaster@ours.example"
state = "state"

[[listen]]
name = "mx"
endpoint = "tcp:2525:interface=127.0.0.1"

[domains."ours.example"]
mailboxes = "file:mailboxes"
deliver = "local"

[delivery.local]
type = "maildir"
path = "mail"

[delivery.internet]
type = "smtp"
"""


class Reactor:
    """Nothing happens later."""

    def callFromThread(self, call: Any, *args: Any) -> None:
        call(*args)

    def callLater(self, delay: float, call: Any, *args: Any) -> Any:
        return self

    def cancel(self) -> None:
        """What was to be later."""


class StoppedState(SynchronousTestCase):
    """``more`` is added to the configuration; ``time`` is UTC milliseconds, when messages arrive and are due."""

    more = ""
    time = 1_700_000_000_000

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        (self.folder / "mta.toml").write_text(CONFIGURATION + self.more)
        (self.folder / "mailboxes").write_text("ann\npostmaster\n")
        self.state = str(self.folder / "state")
        os.mkdir(self.state, 0o700)

    def spool(self) -> SqliteSpool:
        spool = SqliteSpool(
            self.state,
            reactor=Reactor(),
            now=lambda: self.time,
            reserve_bytes=0,
            reserve_inodes=0,
            lanes=Inline(),
        )
        spool.open()
        return spool

    def put(self, spool: SqliteSpool, *to: str, sender: str, age: int = 0, **more: Any) -> str:
        """A message that waits for ``internet``; ``age`` in milliseconds.  Returns its id."""
        incoming = spool.begin(0)
        now_there(_wait(incoming.write(b"Subject: x\r\n\r\nhello\r\n")))
        addresses = [Address.parse(text) for text in to]
        incoming.add_recipients(
            [
                Recipient(
                    id=number,
                    address=one,
                    original=one,
                    destination=Destination("internet", one.domain),
                    due=self.time,
                    **more,
                )
                for number, one in enumerate(addresses)
            ]
        )
        envelope = Envelope(
            origin=Origin(listener="mx", protocol="ESMTP"),
            reverse_path=Address.parse(sender),
            arrived=self.time - age,
            rights=frozenset({Right.NETWORK}),
        )
        now_there(_wait(incoming.seal(envelope, (), ())))
        now_there(spool.commit(incoming, None))
        return incoming.id

    def run_mta(self, *arguments: str, input: str = "") -> Result:
        return CliRunner().invoke(main, ["--config", str(self.folder / "mta.toml"), *arguments], input=input)

    def ok(self, *arguments: str, input: str = "") -> str:
        result = self.run_mta(*arguments, input=input)
        self.assertEqual(result.exit_code, 0, result.output)
        return result.output

    def refused(self, *arguments: str, input: str = "") -> str:
        result = self.run_mta(*arguments, input=input)
        self.assertNotEqual(result.exit_code, 0, result.output)
        self.assertNotIn("Traceback", result.output)
        return result.output

    def asked(self, *arguments: str) -> Any:
        return json.loads(self.run_mta(*arguments, "--json").stdout)


async def _wait(maybe: Any) -> None:
    if maybe is not None:
        await maybe
