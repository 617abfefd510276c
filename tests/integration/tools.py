"""The daemon as a user starts it; the peers and surroundings of it come along.  All on loopback.

Nothing here sleeps for luck: everything waits for a condition, up to a deadline that only a broken program meets.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Protocol, Self

from click.testing import CliRunner

from mta.admin.main import main
from tests.integration.peers import Dialogue, Sink
from tests.integration.surroundings import (
    DEADLINE,
    deaf_port,
    deaf_udp_port,
    failing_disk,
    free_port,
    mounted,
    wait_for,
)

__all__ = [
    "DEADLINE",
    "INTERNET",
    "MESSAGE",
    "Daemon",
    "Dialogue",
    "Sink",
    "deaf_port",
    "deaf_udp_port",
    "failing_disk",
    "free_port",
    "mounted",
    "program",
    "wait_for",
]

CONFIGURATION = """\
format = 1
hostname = "mail.ours.example"
postmaster = "postmaster@ours.example"
state = "state"

[[listen]]
name = "mx"
endpoint = "{endpoint}"
service = "mx"

[domains."ours.example"]
mailboxes = "file:mailboxes"
aliases = "file:aliases"
deliver = "local"

[delivery.local]
type = "maildir"
path = "mail/{{domain}}/{{local_part}}"
"""

INTERNET = """\
[delivery.internet]
type = "smtp"
"""


MESSAGE = b"From: ann@ours.example\r\nSubject: hello\r\n\r\nIt works.\r\n"


def program(name: str) -> str:
    """A console script of the environment that runs the tests."""
    return str(Path(sys.executable).parent / name)


class Process(Protocol):
    """As much of ``subprocess.Popen`` as a test needs."""

    pid: int

    @property
    def returncode(self) -> Any: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, sig: int, /) -> None: ...

    def kill(self) -> None: ...


class Daemon:
    """One txmta with a folder of its own.

    ``more`` is further configuration; ``internet`` the section of that delivery service; ``top`` goes before the
    first table; ``endpoint`` is where it listens; ``starter`` what comes before ``mta`` on its command line and
    ``arguments`` after all else; ``wrap`` goes before all commands; ``bin`` is the folder of the program ``mta``.
    """

    def __init__(
        self,
        more: str = "",
        *,
        internet: str = INTERNET,
        top: str = "",
        endpoint: str = "tcp:{port}:interface=127.0.0.1",
        start: bool = True,
        starter: tuple[str, ...] = (program("twistd"), "--nodaemon", "--pidfile="),
        arguments: tuple[str, ...] = (),
        wrap: tuple[str, ...] = (),
        bin: Path | None = None,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="txmta-"))
        self.port = free_port()
        self.starter = starter
        self.arguments = arguments
        self.wrap = wrap
        self.bin = bin or Path(sys.executable).parent
        self.process: Process | None = None
        self.configuration = self.folder / "mta.toml"
        # A backslash quotes in endpoints, and in TOML.
        where = endpoint.format(port=self.port).replace("\\", "\\\\")
        self.write(top + CONFIGURATION.format(endpoint=where) + internet + more)
        (self.folder / "mailboxes").write_text("postmaster\nann\nbob\n")
        (self.folder / "aliases").write_text("info: bob\n")
        self._start = start

    def write(self, text: str) -> None:
        """A new configuration."""
        self.configuration.write_text(text)

    def add(self, text: str) -> None:
        """More configuration."""
        self.write(self.configuration.read_text() + text)

    def change(self, old: str, new: str) -> None:
        """Other configuration."""
        text = self.configuration.read_text()
        assert old in text, f"{old!r} is not in the configuration"
        self.write(text.replace(old, new))

    def __enter__(self) -> Self:
        try:
            if self._start:
                self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def mail(self) -> Path:
        return self.folder / "mail"

    def command(self) -> list[str]:
        return [*self.wrap, *self.starter, "mta", "--config", str(self.configuration), *self.arguments]

    def launch(self) -> Process:
        """Start it without waiting for anything."""
        with open(self.folder / "log", "ab") as log:
            self.process = process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
            )
        return process

    def starts(self) -> int:
        """How often it has come up; Twisted's own runner logs in JSON where it is not on a terminal."""
        return len(re.findall(r' started: |"code": "started"', self.log()))

    def start(self) -> None:
        """Start it and wait until it is up."""
        before = self.starts()
        process = self.launch()
        wait_for(
            lambda: self.starts() > before or process.poll() is not None,
            lambda: f"the daemon to start:\n{self.log()}",
        )
        if process.poll() is not None:
            raise AssertionError(f"the daemon ended with {process.returncode}:\n{self.log()}")

    def stop(self) -> int:
        """SIGTERM, and its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE)

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(DEADLINE)

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def wait_for_log(self, text: str) -> str:
        """Wait until the log holds the text; returns the log."""
        wait_for(lambda: text in self.log(), lambda: f"{text!r} in the log:\n{self.log()}")
        return self.log()

    def refused(self) -> str:
        """Start it; it must end by itself with status 1.  What it said, which is no traceback."""
        said = len(self.log())
        status = self.launch().wait(DEADLINE)
        text = self.log()[said:]
        assert status == 1, f"status {status}:\n{text}"
        assert "Traceback" not in text, text
        return text

    def take(self, *recipients: str, sender: str = "ann@ours.example", octets: bytes = MESSAGE) -> str:
        """Give it a message that it must take; the queue id."""
        with Dialogue(self.port) as client:
            reply = client.greet().message(sender, list(recipients), octets)
        assert reply.startswith("250 2.0.0 Ok: queued as "), f"{reply}\n{self.log()}"
        return reply.split()[-1]

    def mta(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """The command line with this configuration."""
        done = subprocess.run(
            [*self.wrap, str(self.bin / "mta"), "--config", str(self.configuration), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=self.folder,
        )
        if check and done.returncode:
            raise AssertionError(
                f"mta {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}\n{self.log()}"
            )
        return done

    def asked(self, *arguments: str) -> Any:
        """What the command line answers as JSON; without a process of its own, since tests ask again and again."""
        done = CliRunner().invoke(main, ["--config", str(self.configuration), *arguments, "--json"])
        assert done.exit_code == 0, f"mta {' '.join(arguments)}: {done.output}\n{self.log()}"
        return json.loads(done.stdout)

    def queue(self) -> list[dict[str, Any]]:
        """The recipients that wait."""
        rows: list[dict[str, Any]] = self.asked("queue", "list", "--limit", "0")
        return rows

    def tried(self, count: int = 1, words: str = "") -> list[dict[str, Any]]:
        """Wait until so many recipients wait with a last reply that holds the words."""

        def found() -> list[dict[str, Any]]:
            rows = [row for row in self.queue() if row["reply"] and words in row["reply"]]
            return rows if len(rows) >= count else []

        rows: list[dict[str, Any]] = wait_for(found, lambda: f"{count} deferred with {words!r}:\n{self.log()}")
        return rows

    def drained(self) -> None:
        """Wait until nothing waits."""
        wait_for(lambda: not self.queue(), lambda: f"the queue to be empty:\n{self.log()}")

    def audit(self) -> dict[str, Any]:
        figures: dict[str, Any] = self.asked("audit")
        return figures

    def mails(self, mailbox: str, domain: str = "ours.example") -> list[bytes]:
        """What lies in new/ of a mailbox."""
        folder = self.mail / domain / mailbox / "new"
        return [path.read_bytes() for path in sorted(folder.glob("*"))] if folder.exists() else []

    def wait_for_mail(self, mailbox: str, count: int = 1) -> list[bytes]:
        wait_for(lambda: len(self.mails(mailbox)) >= count, lambda: f"{count} mails for {mailbox}:\n{self.log()}")
        return self.mails(mailbox)
