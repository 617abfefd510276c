"""The contract of ``ISpool``, for any provider: see mta/interfaces.py.

A provider's test inherits from the classes here and ``SynchronousTestCase`` and says how to make a spool
(``make_spool``) whose work is done when a call returns, on the clock ``self.clock``; how to open the same one
again as after a crash (``crash``), and how to lose a message's octets (``lose_body``).
"""

from __future__ import annotations

from spool_case import (
    ANN,
    BOB,
    CAROL,
    DONE,
    LARGE,
    LATER,
    MINUTE,
    NEVER,
    NORTH,
    SMALL,
    SOUTH,
    START,
    SpoolCase,
    Time,
    envelope,
    outcome,
    recipient,
)
from spool_coming import AcceptanceContract, LeaseContract
from spool_fair import TurnsContract, WaitingContract
from spool_going import FinishContract, OperatorContract

__all__ = [
    "ANN",
    "BOB",
    "CAROL",
    "DONE",
    "LARGE",
    "LATER",
    "MINUTE",
    "NEVER",
    "NORTH",
    "SMALL",
    "SOUTH",
    "START",
    "AcceptanceContract",
    "FinishContract",
    "LeaseContract",
    "OperatorContract",
    "SpoolCase",
    "Time",
    "TurnsContract",
    "WaitingContract",
    "envelope",
    "outcome",
    "recipient",
]
