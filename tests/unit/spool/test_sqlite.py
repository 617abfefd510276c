"""The SQLite spool by the contract of all."""

from __future__ import annotations

from spool_contract import AcceptanceContract, FinishContract, LeaseContract, OperatorContract
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
