"""The providers that come with txmta; they are found here as any plugin is."""

from __future__ import annotations

from mta.accounts.dovecot import DovecotAccounts
from mta.accounts.file import FileAccounts
from mta.accounts.ldap import LdapAccounts
from mta.accounts.oauth import OAuthAccounts
from mta.accounts.pam import PamAccounts
from mta.accounts.table import TableAccounts
from mta.delivery.discard import Discard
from mta.delivery.lmtp import LmtpDelivery
from mta.delivery.maildir import Maildir
from mta.delivery.pipe import Pipe
from mta.delivery.smtp import SmtpDelivery
from mta.dkim.policy import DkimPolicy
from mta.policy.table import TableAtConnect, TableAtGreeting, TableAtRecipient, TableAtSender
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
    "DkimPolicy",
    "DovecotAccounts",
    "FileAccounts",
    "FileTable",
    "HttpTable",
    "LdapAccounts",
    "LdapTable",
    "LmtpDelivery",
    "Maildir",
    "OAuthAccounts",
    "PamAccounts",
    "Pipe",
    "PostgresqlTable",
    "RegexpTable",
    "SmtpDelivery",
    "SqliteTable",
    "StaticTable",
    "TableAccounts",
    "TableAtConnect",
    "TableAtGreeting",
    "TableAtRecipient",
    "TableAtSender",
]
