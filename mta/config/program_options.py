"""What every program that is run for mail has of options: as whom it runs, where, and how much it may take.

Contract: a user or group that this machine does not know is a problem; whether the service may become that user only
the start can tell (``mta.config.programs``).
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterator
from typing import Final

from mta.config.option import Duration, Options, Path, Size, at_least, option
from mta.delivery.pipe_argv import check_environment

#: Of every program's environment.
FIXED: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "SHELL": "/bin/sh"}


def user_id(name: str) -> int:
    """Its number; -1 where there is none (any more)."""
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return -1


def known_user(name: str | None) -> str | None:
    """A check: there is such a user."""
    if name is None or user_id(name) >= 0:
        return None
    return "is no user of this machine; make one: useradd --system"


def known_group(name: str | None) -> str | None:
    """A check: there is such a group."""
    try:
        if name is not None:
            grp.getgrnam(name)
    except KeyError:
        return "is no group of this machine; make one: groupadd --system"
    return None


class ProgramOptions(Options):
    """How a program runs."""

    user: str | None = option(
        None,
        doc="As whom it runs. Left out: as the service itself, unless that is root. Another user takes a service that "
        "is started by root and gives that up (`docs/pipe.rst`); what is changed here then needs a restart.",
        example='"nobody"',
        check=known_user,
    )
    group: str | None = option(None, doc="The group. Left out: that of the user.", example='"mail"', check=known_group)
    folder: Path = option(Path("/"), doc="The folder in which it is started.", example='"/var/spool/fax"')
    environment: tuple[str, ...] = option(
        (),
        doc="Further variables of its environment; those there are, `docs/pipe.rst` lists.",
        example='["TZ=UTC"]',
        check=check_environment,
    )
    time_limit: Duration = option(
        300.0,
        doc="How long it may take. Then it gets SIGTERM, and SIGKILL five seconds later, and the message waits.",
        check=at_least(1, "1s"),
    )
    cpu_time: Duration = option(0.0, doc='How much time of a CPU it may take. "0s": no such limit.')
    memory: Size = option(1 << 30, doc='How much memory (address space) it may take. "0B": no such limit.')
    file_size: Size = option(0, doc='How large a file it may write. "0B": no such limit.')
    processes: int = option(
        0,
        doc="How many processes its user may have when it makes another, all of the user's counted. 0: no such limit.",
        unit="processes",
        check=at_least(0),
    )

    def fixed_variables(self) -> dict[str, str]:
        """What of the environment is the same for all messages."""
        try:
            entry = pwd.getpwnam(self.user) if self.user else pwd.getpwuid(os.geteuid())
            home, user = entry.pw_dir, entry.pw_name
        except KeyError:
            home, user = self.folder, self.user or str(os.geteuid())
        given = (one.partition("=") for one in self.environment)
        return {**FIXED, "HOME": home, "USER": user, "LOGNAME": user, **{key: value for key, _, value in given}}

    def limits(self) -> dict[str, int]:
        """As ``mta.delivery.launch`` has them: those that there are."""
        found = {"memory": self.memory, "file_size": self.file_size, "processes": self.processes}
        limits: dict[str, int] = {key: number for key, number in found.items() if number}
        if self.cpu_time:
            limits["cpu_time"] = max(1, round(self.cpu_time))
        return limits

    def contradictions(self) -> Iterator[tuple[str, str, str]]:
        """See ``Options``."""
        if self.group is not None and self.user is None:
            yield "group", "a group without a user", "name the user too, or leave it out"
