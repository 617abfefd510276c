"""The daemon as a user starts it, and a far end that says what a test wants; all on loopback.

Nothing here sleeps for luck: everything waits for a condition, up to a deadline that only a broken program meets.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

DEADLINE = 30.0

CONFIGURATION = """\
format = 1
hostname = "mail.ours.example"
postmaster = "postmaster@ours.example"
state = "state"

[[listen]]
name = "mx"
endpoint = "tcp:{port}:interface=127.0.0.1"
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


def free_port() -> int:
    """A port that nobody has just now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def wait_for(what: Callable[[], Any], why: str = "it", deadline: float = DEADLINE) -> Any:
    """Ask until the answer is true; fails with ``why`` after the deadline."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        answer = what()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError(f"waited {deadline} s for {why}")


def program(name: str) -> str:
    """A console script of the environment that runs the tests."""
    return str(Path(sys.executable).parent / name)


class Daemon:
    """One txmta with a folder of its own.

    ``more`` is further configuration; ``internet`` the section of that delivery service; ``top`` goes before the
    first table.
    """

    def __init__(
        self,
        more: str = "",
        *,
        internet: str = INTERNET,
        top: str = "",
        start: bool = True,
        wrap: tuple[str, ...] = (),
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="txmta-"))
        self.port = free_port()
        self.wrap = wrap
        self.process: subprocess.Popen[bytes] | None = None
        self.configuration = self.folder / "mta.toml"
        self.write(top + CONFIGURATION.format(port=self.port) + internet + more)
        (self.folder / "mailboxes").write_text("postmaster\nann\nbob\n")
        (self.folder / "aliases").write_text("info: bob\n")
        self._start = start

    def write(self, text: str) -> None:
        self.configuration.write_text(text)

    def __enter__(self) -> Daemon:
        if self._start:
            self.start()
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
        return [
            *self.wrap,
            program("twistd"),
            "--nodaemon",
            "--pidfile=",
            "mta",
            "--config",
            str(self.configuration),
        ]

    def launch(self) -> subprocess.Popen[bytes]:
        """Start it without waiting for anything."""
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
            )
        return self.process

    def start(self) -> None:
        """Start it and wait until it is up."""
        started = self.log().count(" started: ")
        process = self.launch()
        wait_for(lambda: self.log().count(" started: ") > started or process.poll() is not None, "the daemon to start")
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
        wait_for(lambda: text in self.log(), f"{text!r} in the log:\n{self.log()}")
        return self.log()

    def mta(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """The command line with this configuration."""
        done = subprocess.run(
            [program("mta"), "--config", str(self.configuration), *arguments],
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

    def queue(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(self.mta("queue", "list", "--json").stdout)
        return rows

    def audit(self) -> dict[str, Any]:
        figures: dict[str, Any] = json.loads(self.mta("audit", "--json").stdout)
        return figures

    def mails(self, mailbox: str, domain: str = "ours.example") -> list[bytes]:
        """What lies in new/ of a mailbox."""
        folder = self.mail / domain / mailbox / "new"
        return [path.read_bytes() for path in sorted(folder.glob("*"))] if folder.exists() else []

    def wait_for_mail(self, mailbox: str, count: int = 1) -> list[bytes]:
        wait_for(lambda: len(self.mails(mailbox)) >= count, f"{count} mails for {mailbox}:\n{self.log()}")
        return self.mails(mailbox)


class Dialogue:
    """A raw client: sends octets, reads replies."""

    def __init__(self, port: int, host: str = "127.0.0.1", source: str = "") -> None:
        address = (source, 0) if source else None
        self.sock = socket.create_connection((host, port), timeout=DEADLINE, source_address=address)
        self.file = self.sock.makefile("rb")

    def __enter__(self) -> Dialogue:
        return self

    def __exit__(self, *exception: object) -> None:
        self.file.close()
        self.sock.close()

    def reply(self) -> str:
        """One reply, its lines joined by newlines; "" at the end of the connection."""
        lines = []
        while True:
            line = self.file.readline().decode("ascii", "replace").rstrip("\r\n")
            if line:
                lines.append(line)
            if line[3:4] != "-":
                return "\n".join(lines)

    def say(self, line: str | bytes) -> str:
        octets = line.encode() if isinstance(line, str) else line
        self.sock.sendall(octets + b"\r\n")
        return self.reply()

    def greet(self) -> Dialogue:
        assert self.reply().startswith("220")
        assert self.say("EHLO client.example").startswith("250")
        return self

    def message(self, sender: str, recipients: list[str], octets: bytes) -> str:
        """A transaction with the octets exactly as they are (dots are stuffed); the last reply."""
        for command in (f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{r}>" for r in recipients), "DATA"):
            reply = self.say(command)
            if reply[:1] not in "23":
                self.say("RSET")
                return reply
        stuffed = re.sub(rb"(?m)^\.", b"..", octets)
        self.sock.sendall(stuffed + (b"" if octets.endswith(b"\r\n") else b"\r\n") + b".\r\n")
        return self.reply()


class Sink:
    """A far end: takes mail, or answers at a step what it is told.

    ``script`` maps a step (connect, EHLO, HELO, MAIL, RCPT, DATA, dot) to a reply, or to a function of the line that
    returns one or None; ``close`` as a reply hangs up.  ``messages`` are (envelope lines, octets as sent, unstuffed).
    """

    def __init__(
        self, script: dict[str, Any] | None = None, keywords: tuple[str, ...] = ("PIPELINING", "8BITMIME")
    ) -> None:
        self.script = script or {}
        self.keywords = keywords
        self.messages: list[tuple[list[str], bytes]] = []
        self.commands: list[str] = []
        self.connections = 0
        self._server = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """No more connections."""
        self._server.close()

    def delivery(self, name: str = "internet", more: str = "") -> str:
        """The configuration of a delivery service that leads here."""
        return f'[delivery.{name}]\ntype = "smtp"\nhost = "127.0.0.1"\nport = {self.port}\n{more}'

    def wait_for(self, count: int) -> list[tuple[list[str], bytes]]:
        wait_for(lambda: len(self.messages) >= count, f"{count} messages at the sink, {len(self.messages)} came")
        return self.messages

    def taken(self, envelope: list[str], octets: bytes) -> None:
        """A message to which the answer is 250, just before it is given."""
        self.messages.append((envelope, octets))

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, sock.makefile("rwb") as file:
            try:
                self._session(file)
            except (OSError, ValueError):
                pass

    def _answer(self, step: str, line: str, usual: str) -> str:
        told = self.script.get(step)
        reply = told(line) if callable(told) else told
        return usual if reply is None else str(reply)

    def _session(self, file: Any) -> None:
        def say(reply: str) -> bool:
            if reply == "close":
                return False
            file.write(reply.encode() + b"\r\n")
            file.flush()
            return not reply.startswith("421")

        if not say(self._answer("connect", "", "220 sink.example ESMTP")):
            return
        envelope: list[str] = []
        while line := file.readline():
            text = line.decode("latin-1").rstrip("\r\n")
            self.commands.append(text)
            verb = text.partition(" ")[0].upper()
            ehlo = "\r\n".join([*(f"250-{word}" for word in ("sink.example", *self.keywords)), "250 HELP"])
            # A client that pipelines says DATA before it knows that it has no recipient: RFC 2920 3.1.
            data = "354 go" if len(envelope) > 1 else "554 5.5.1 no valid recipients"
            usual = {"EHLO": ehlo, "DATA": data, "QUIT": "221 bye"}.get(verb, "250 ok")
            reply = self._answer(verb, text, usual)
            if not say(reply) or verb == "QUIT":
                return
            if reply.startswith("250") and verb in ("MAIL", "RCPT"):
                envelope = [text] if verb == "MAIL" else [*envelope, text]
            if verb == "DATA" and reply.startswith("354"):
                octets = self._data(file)
                answer = self._answer("dot", "", "250 taken")
                if answer.startswith("250"):
                    self.taken(envelope, octets)
                if not say(answer):
                    return

    @staticmethod
    def _data(file: Any) -> bytes:
        lines = []
        while (line := file.readline()) != b".\r\n":
            if not line:
                raise ValueError("the connection ended in the data")
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines)


def environment(**more: str) -> dict[str, str]:
    """The environment of this process, with more."""
    return {**os.environ, **more}
