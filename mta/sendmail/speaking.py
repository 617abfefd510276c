"""``-bs``: SMTP on standard input and output, by handing octets on to the service and back.

Contract: the service speaks; nothing is looked at.  Where no service runs, the program is told 421.
"""

from __future__ import annotations

import os
import select
import socket
from typing import Final

from mta.sendmail.statuses import OK, TEMPFAIL
from mta.sendmail.submit import NotRunning, connect

_PIECE: Final = 65536


def speak(path: str) -> int:
    """Until either side ends."""
    try:
        sock = connect(path)
    except NotRunning:
        os.write(1, b"421 4.3.2 The service is not running; try again later\r\n")
        return TEMPFAIL
    try:
        sock.settimeout(None)
        sources: list[int] = [0, sock.fileno()]
        while True:
            ready, _, _ = select.select(sources, [], [])
            if sock.fileno() in ready:
                octets = sock.recv(_PIECE)
                if not octets:
                    return OK
                _write(octets)
            elif 0 in ready:
                octets = os.read(0, _PIECE)
                if octets:
                    sock.sendall(octets)
                else:
                    sources.remove(0)
                    sock.shutdown(socket.SHUT_WR)
    except (BrokenPipeError, ConnectionError):
        return TEMPFAIL
    finally:
        sock.close()


def _write(octets: bytes) -> None:
    while octets:
        octets = octets[os.write(1, octets) :]
