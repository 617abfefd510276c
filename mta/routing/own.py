"""Which IP addresses are this machine's own, as mail must never be sent to them by MX (RFC 5321 5.1).

Contract: ``is_own`` asks the system by which address it would reach another: an address of its own it reaches by that
itself.  Nothing is sent.  (Whether a socket can be bound to it would tell nothing where ``ip_nonlocal_bind`` is set.)
How it fails: an address that cannot be reached is not ours.
Limits: an address that is translated on the way to us, as behind NAT, is known from the configuration alone.
"""

from __future__ import annotations

import socket
from typing import Final

#: The port "discard": one has to be named, and nothing is sent to it.
_PORT: Final = 9


def is_own(address: str) -> bool:
    """Is it an address of one of this machine's interfaces?  ``address`` is an IP address as text."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.connect((address, _PORT))
            here: str = asking.getsockname()[0]
    except OSError:
        return False
    return here == address
