"""The SQLite spool by the contract of all."""

from __future__ import annotations

from spool_contract import (
    AcceptanceContract,
    FinishContract,
    LeaseContract,
    OperatorContract,
    TurnsContract,
    WaitingContract,
)
from sqlite_case import SqliteCase
from twisted.trial.unittest import SynchronousTestCase


class SqliteAcceptance(SqliteCase, AcceptanceContract, SynchronousTestCase):
    """From the first octet to the commit."""


class SqliteLeases(SqliteCase, LeaseContract, SynchronousTestCase):
    """Who gets what."""


class SqliteFinish(SqliteCase, FinishContract, SynchronousTestCase):
    """What results make of recipients."""


class SqliteOperator(SqliteCase, OperatorContract, SynchronousTestCase):
    """Looking and changing."""


class SqliteTurns(SqliteCase, TurnsContract, SynchronousTestCase):
    """Fair between senders and priorities."""


class SqliteWaiting(SqliteCase, WaitingContract, SynchronousTestCase):
    """What waits, due or not."""
