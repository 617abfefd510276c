"""What ``mta check`` says of accounts: files that others may read or that are wrong, sockets that are not there.

Contract: as ``mta.config.advice``, but that the world is looked at; nothing is changed.  Errors are what a start
refuses; whether a socket will be there by then cannot be known: that is a warning.  A file of accounts that is not
there yet is none: `mta account add` makes it, and until then its logins get 454.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Final

from mta.accounts import editing
from mta.config.account_options import (
    DovecotAccountsOptions,
    FileAccountsOptions,
    LdapAccountsOptions,
    PamAccountsOptions,
)
from mta.config.schema import Configuration
from mta.config.tree import key_path

Told = tuple[str, str, str]  # key path, what, what instead
_PAM: Final = "/etc/pam.d"


def wrong_accounts(configuration: Configuration) -> Iterator[Told]:
    """What a start would refuse."""
    for name, section in configuration.accounts.items():
        if isinstance(section.options, FileAccountsOptions):
            path = f"{key_path('accounts', name)}.path"
            try:
                editing.read(section.options.path)
            except FileNotFoundError:
                continue
            except ValueError as error:
                what, _, instead = str(error).partition("; ")
                yield path, what, instead or "correct it, or take it from a backup"
            except OSError as error:
                yield path, f"{section.options.path} cannot be read: {error.strerror or error}", "correct its rights"


def doubtful_accounts(configuration: Configuration) -> Iterator[Told]:
    """What is hardly meant."""
    last = next(iter([*configuration.accounts][-1:]), "")
    for name, section in configuration.accounts.items():
        path, options = key_path("accounts", name), section.options
        if isinstance(options, LdapAccountsOptions):
            if options.tls == "none" and options.url.startswith("ldap://"):
                what = "passwords go to the directory in the clear"
                yield f"{path}.tls", what, "leave it out, or write ldaps:// or ldapi://"
        elif isinstance(options, DovecotAccountsOptions):
            yield from _sockets(path, options)
            if options.users is None and options.attributes is None and name != last:
                what = "every name counts as one of Dovecot's, so none of those after it is ever asked"
                yield path, what, "write it last, or name its users"
        elif isinstance(options, PamAccountsOptions) and not os.path.exists(os.path.join(_PAM, options.service)):
            what = f"there is no {_PAM}/{options.service}: PAM then goes by {_PAM}/other"
            yield f"{path}.service", what, "make it, as docs/accounts.rst shows"


def _sockets(path: str, options: DovecotAccountsOptions) -> Iterator[Told]:
    for key, socket in (("socket", options.socket), ("users", options.users)):
        try:
            there = socket is None or stat.S_ISSOCK(os.stat(socket).st_mode)
        except OSError:
            there = False
        if not there:
            yield f"{path}.{key}", f"{socket} is no socket now", "start Dovecot, or correct the path"
