"""Who talks with the daemon: a client that says what it is told, and a far end that answers what it is told."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import suppress
from typing import Any

from tests.integration.surroundings import DEADLINE, wait_for


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
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """No more connections."""
        # The thread must have left accept(): it might go on with the next socket that gets this number.
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(DEADLINE)

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
        try:
            with sock, sock.makefile("rwb") as file:
                self._session(file)
        except (OSError, ValueError):
            pass  # the client has gone

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
