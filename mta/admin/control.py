"""The control socket: how commands reach the running service.

What it is: a UNIX socket in the state folder, mode 0660.  One JSON object a line each way: a request is
``{"command": NAME, ...arguments}``, its answer ``{"ok": true, "result": ...}`` or ``{"ok": false, "error": ...}``.
Contract: who asks is known by the peer's credentials and recorded with what was changed.
Limits: a request has at most ``MAX_REQUEST`` octets.
"""

from __future__ import annotations

import json
import os
import pwd
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.logger import Logger

from mta.waiting import background

log = Logger()

MAX_REQUEST: Final = 1 << 20
#: unix(7): octets of a socket's name.
MAX_PATH: Final = 107
#: Seconds that a command line waits for the answer to a change, which may be one of a million recipients.
ANSWER_TIME: Final = 600.0
#: The same for a question.
LOOK_TIME: Final = 10.0

Handler = Callable[[Mapping[str, Any], str], Awaitable[Any]]


class ControlError(Exception):
    """The service refused a request, or cannot be reached; ``str()`` says why."""


class NotRunning(ControlError):
    """No service listens on the control socket."""


def peer_name(sock: Any) -> str:
    """Who is at the other end of a UNIX socket: the user's name, or its number."""
    data = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", data)
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


async def answer(handlers: Mapping[str, Handler], request: Any, by: str) -> dict[str, Any]:
    """What a request is answered, whatever it is."""
    try:
        handler = handlers[request["command"]]
    except (KeyError, TypeError):
        return {"ok": False, "error": "no such command"}
    try:
        return {"ok": True, "result": await handler(request, by)}
    except ControlError as error:
        return {"ok": False, "error": str(error)}
    except Exception as error:
        log.failure("the control request {command} failed", command=request["command"])
        return {"ok": False, "error": f"{type(error).__name__}: {error}"}


class _Control(Protocol):
    """One client of the socket."""

    def __init__(self, factory: ControlFactory) -> None:
        self._handlers = factory.handlers
        self._buffer = b""

    def connectionMade(self) -> None:
        transport: Any = self.transport
        self._by = peer_name(transport.getHandle())

    def dataReceived(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            background(self._serve(line), "control request")
        if len(self._buffer) > MAX_REQUEST:
            self._answer({"ok": False, "error": "the request is too long"})
            transport: Any = self.transport
            transport.loseConnection()

    async def _serve(self, line: bytes) -> None:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            request = None
        self._answer(await answer(self._handlers, request, self._by))

    def _answer(self, answer: Mapping[str, Any]) -> None:
        transport: Any = self.transport
        transport.write(json.dumps(answer).encode("ascii") + b"\n")


class ControlFactory(ServerFactory):
    """Serves ``handlers``: by name, a function of the request and the asking user's name."""

    noisy = False

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self.handlers = handlers

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return _Control(self)


def socket_path(state: str) -> str:
    """Where the socket of a state folder is."""
    return os.path.join(state, "control")


def too_long(state: str) -> str:
    """What is wrong where the socket of this state would have a name that no socket can have; "" where it is right."""
    path = socket_path(state)
    if (octets := len(os.fsencode(path))) <= MAX_PATH:
        return ""
    return f"the control socket {path} would have a name of {octets} octets, and a socket's has {MAX_PATH} at most"


def request(state: str, command: str, wait: float = ANSWER_TIME, **arguments: Any) -> Any:
    """Ask the service that runs on this state, and wait so many seconds at most.  Raises ``ControlError``."""
    path = socket_path(state)
    if why := too_long(state):
        raise NotRunning(f"the service is not running: {why}")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(wait)
            sock.connect(path)
            sock.sendall(json.dumps({"command": command, **arguments}).encode("ascii") + b"\n")
            with sock.makefile("rb") as file:
                line = file.readline()
    except FileNotFoundError:
        raise NotRunning("the service is not running (there is no control socket)") from None
    except ConnectionRefusedError:
        raise NotRunning("the service is not running (nobody listens on its control socket)") from None
    except TimeoutError:
        raise ControlError(f"the service did not answer within {wait:.0f} s: see its log (stalled)") from None
    except PermissionError:
        raise ControlError(f"you may not use {path}: be the service's user, of its group, or root") from None
    except OSError as error:
        raise ControlError(f"the control socket cannot be used: {error}") from error
    if not line:
        raise ControlError("the service closed the connection without an answer")
    try:
        answer = json.loads(line)
        good, result = answer["ok"], answer.get("result")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ControlError(f"what listens on {path} is no txmta, or one of another version") from None
    if not good:
        raise ControlError(answer["error"])
    return result
