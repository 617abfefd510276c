"""txmta as the benchmark runs it: its defaults, but for the limits that the load itself must not meet.

With the way ``accept`` the queue takes nothing up (``queue.active = 0``) until ``release``, which starts the daemon
anew: what it has kept has come through a restart by then.
"""

from __future__ import annotations

import shutil
import subprocess
from itertools import chain
from pathlib import Path
from typing import Final

from benchmarks.rows import ACCOUNT, LARGEST, Need
from tests.integration.surroundings import free_port
from tests.integration.tools import Daemon, program

_IDLE, _AT_WORK = "active = 0\n", "active = 20000\n"
#: The brake is for those who send much.
_SUBMISSION: Final = """\
[[listen]]
name = "submission"
endpoint = "tcp:{port}:interface=127.0.0.1"
service = "submission"
[accounts.staff]
type = "file"
path = "accounts"
[brake]
messages_per_hour = 0
messages_per_day = 0
recipients_per_hour = 0
recipients_per_day = 0
new_recipients_per_hour = 0
"""
_SIGNED: Final = """\
[dkim]
algorithms = {algorithms}
[policy.sign]
type = "dkim"
[service.mx]
policy = ["sign"]
"""
NAME: Final = "txmta"
MAILBOXES: Final = 100


class Txmta:
    """One daemon.  ``settings`` are options of its command line, such as ``workers=2``."""

    name = NAME

    def __init__(self, need: Need, sink: int, tls: Path, settings: tuple[str, ...] = ()) -> None:
        accept = need.way == "accept"
        self._submission = free_port() if need.login else 0
        self._daemon = Daemon(
            '[relay]\nnetworks = ["127.0.0.0/8"]\n'
            f"[limits]\nconnections_per_client = {need.connections}\nconnections = {max(need.connections, 5000)}\n"
            f'recipients = {need.recipients}\nmessage_size = "{LARGEST}B"\n'
            + (f'[tls]\ncertificate = "{tls}"\nkey = "{tls}"\n' if need.tls else "")
            + (f"[queue]\n{_IDLE}" if accept else "")
            + (_SUBMISSION.format(port=self._submission) if need.login else "")
            + (_SIGNED.format(algorithms=list(need.signed)) if need.signed else ""),
            internet=f'[delivery.internet]\ntype = "smtp"\nhost = "127.0.0.1"\nport = {sink}\n',
            arguments=tuple(chain.from_iterable(("--set", setting) for setting in settings)),
        )
        names = ["postmaster", *(f"to{number}" for number in range(MAILBOXES))]
        (self._daemon.folder / "mailboxes").write_text("\n".join(names) + "\n")
        if need.login:
            self._mta("account", "add", ACCOUNT.partition(":")[0], "--stdin", said=ACCOUNT.partition(":")[2])
        if need.signed:
            self._mta("dkim", "keygen", "sender.example")
            self._mta("dkim", "rotate", "--now", "sender.example")
        self._daemon.__enter__()

    def _mta(self, *arguments: str, said: str = "") -> None:
        command = [program("mta"), "--config", str(self._daemon.configuration), *arguments]
        done = subprocess.run(command, input=f"{said}\n", capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"mta {' '.join(arguments)}: {done.stdout}{done.stderr}")

    @property
    def pid(self) -> int:
        assert self._daemon.process is not None
        return self._daemon.process.pid

    @property
    def port(self) -> int:
        return self._submission or self._daemon.port

    @property
    def mail(self) -> Path:
        """Where the Maildirs are."""
        return self._daemon.mail / "ours.example"

    def waiting(self) -> int:
        """Recipients that are in the queue."""
        return int(self._daemon.audit()["queued"])

    kept = waiting

    def release(self) -> None:
        self._again(_IDLE, _AT_WORK)

    def keep(self) -> None:
        """After ``release``: as before it."""
        self._again(_AT_WORK, _IDLE)

    def _again(self, old: str, new: str) -> None:
        self._daemon.stop()
        self._daemon.change(old, new)
        self._daemon.start()

    def forget(self) -> None:
        """Throw away what is kept."""
        self._daemon.stop()
        shutil.rmtree(self._daemon.state)
        self._daemon.start()

    def faults(self) -> str:
        """What is wrong by its own account."""
        lost = self._daemon.audit()["unaccounted"]
        return f"mta audit: {lost} recipients unaccounted for" if lost else ""

    def stop(self) -> None:
        self._daemon.__exit__()
