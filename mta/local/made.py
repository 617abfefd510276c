"""What local programs are served with, made from a configuration."""

from __future__ import annotations

from collections.abc import Callable

from mta.config.load import Configuration
from mta.interfaces import ITable
from mta.local.accounts import LocalAccounts, Users


def local_domain(configuration: Configuration) -> str:
    """What names without a domain get."""
    return configuration.local.domain or configuration.postmaster.domain


def local_accounts(
    configuration: Configuration, table: Callable[[str], ITable], seconds: Callable[[], float]
) -> LocalAccounts | None:
    """The users of this machine; None where their programs are not served."""
    options = configuration.local
    if options.folder is None:
        return None
    domains = dict.fromkeys((local_domain(configuration), configuration.hostname))
    return LocalAccounts(
        Users(seconds),
        tuple(domains),
        frozenset(options.trusted),
        None if options.senders is None else table(options.senders),
    )
