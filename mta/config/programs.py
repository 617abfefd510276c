"""As whom programs run by a configuration, and what the helper is started for (docs/decisions/helper.rst).

Contract: ``grants`` are the users and programs that the configuration names, and how they run, with the sections that
do; ``wrong_users`` are problems of those that a service with this user id cannot become, ``wrong_programs`` of programs
that cannot be run or that anybody may write.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from mta.config.account_options import PamAccountsOptions
from mta.config.files import unsafe
from mta.config.program_options import ProgramOptions, user_id
from mta.config.schema import Configuration
from mta.config.tree import key_path
from mta.delivery.launch import Grant


def grants(configuration: Configuration) -> dict[Grant, str]:
    """Each with the key path of its section."""
    found = {}
    for path, options, programs in _sections(configuration):
        if options.user is not None:
            fixed = tuple(sorted(options.fixed_variables().items()))
            limits = tuple(sorted(options.limits().items()))
            for program in programs:
                found[Grant(options.user, options.group or "", program, fixed, options.folder, limits)] = path
    return found


def _sections(configuration: Configuration) -> Iterator[tuple[str, ProgramOptions, tuple[str, ...]]]:
    yield "commands", configuration.commands, configuration.commands.programs
    for name, section in configuration.delivery.items():
        if isinstance(section.options, ProgramOptions):
            yield key_path("delivery", name), section.options, tuple(getattr(section.options, "command", ()))[:1]


def pam_sections(configuration: Configuration) -> Iterator[tuple[str, str]]:
    """The key paths of accounts that PAM is asked about, and the service of PAM."""
    for name, section in configuration.accounts.items():
        if isinstance(section.options, PamAccountsOptions):
            yield key_path("accounts", name), section.options.service


def pam_services(configuration: Configuration) -> tuple[str, ...]:
    """The services of PAM, each once."""
    return tuple(dict.fromkeys(service for _, service in pam_sections(configuration)))


def wrong_programs(configuration: Configuration) -> Iterator[tuple[str, str, str]]:
    """The programs that cannot be run, or must not be: key path, what, what instead."""
    for path, _, programs in _sections(configuration):
        key = f"{path}.{'programs' if path == 'commands' else 'command'}"
        for program in programs:
            try:
                wrong = unsafe(program)
            except OSError as error:
                yield key, f"{program}: {error.strerror or error}", "correct the path, or install it"
            else:
                if wrong is not None:
                    yield key, f"{program}: {wrong.what}", wrong.instead
                elif not os.access(program, os.X_OK):
                    yield key, f"{program} cannot be run", f"run: chmod +x {program}"


def needs_helper(grant: Grant, euid: int) -> bool:
    """It is not for the user that the service has."""
    return bool(grant.group) or user_id(grant.user) != euid


def wrong_users(configuration: Configuration, euid: int) -> Iterator[tuple[str, str, str]]:
    """The users that a service started by ``euid`` cannot become: key path, what, what instead."""
    for grant, path in grants(configuration).items():
        if needs_helper(grant, euid) and configuration.workers > 1:
            what = f"{grant.program} is to run as {grant.user}, and workers have no helper that could start it"
            yield f"{path}.user", what, "leave it out, or write workers = 1"
        elif euid != 0 and needs_helper(grant, euid):
            what = f"only root can start {grant.program} as {grant.user}"
            yield (
                f"{path}.user",
                what,
                "leave it out, or have root start the service, which then gives that up: twistd --uid",
            )
