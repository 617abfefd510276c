"""The book of accounts of a configuration: its sources, made in their order.

How it fails: as the sources do that are made: ``ValueError`` and its kind, ``OSError``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack

from mta.accounts.book import Book
from mta.accounts.checker import as_source
from mta.accounts.logins import Logins
from mta.config.account_options import LoginOptions
from mta.config.section import Section
from mta.interfaces import IAccountSource
from mta.plugin import Services


def book(
    sections: Mapping[str, Section], options: LoginOptions, services: Callable[[str], Services], logins: Logins
) -> Book | None:
    """The book; None where no accounts are configured."""
    if not sections:
        return None
    sources: dict[str, IAccountSource] = {}
    with ExitStack() as undo:
        for name, section in sections.items():
            sources[name] = as_source(section.provider(section.options, services(name)), name)
            undo.callback(sources[name].close)
        world = services("accounts")
        made = Book(sources, options, reactor=world.reactor, now=world.now, logins=logins, emit=world.emit)
        undo.pop_all()
    return made
