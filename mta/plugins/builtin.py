"""The providers that come with txmta; they are found here as any plugin is."""

from __future__ import annotations

from mta.delivery.discard import Discard
from mta.delivery.lmtp import LmtpDelivery
from mta.delivery.maildir import Maildir
from mta.delivery.pipe import Pipe
from mta.delivery.smtp import SmtpDelivery
from mta.routing.tables.cached import CachedTable
from mta.routing.tables.chain import ChainTable
from mta.routing.tables.cidr import CidrTable
from mta.routing.tables.file import FileTable
from mta.routing.tables.http import HttpTable
from mta.routing.tables.ldap import LdapTable
from mta.routing.tables.postgresql import PostgresqlTable
from mta.routing.tables.regexp import RegexpTable
from mta.routing.tables.sqlite import SqliteTable
from mta.routing.tables.static import StaticTable

__all__ = [
    "CachedTable",
    "ChainTable",
    "CidrTable",
    "Discard",
    "FileTable",
    "HttpTable",
    "LdapTable",
    "LmtpDelivery",
    "Maildir",
    "Pipe",
    "PostgresqlTable",
    "RegexpTable",
    "SmtpDelivery",
    "SqliteTable",
    "StaticTable",
]
