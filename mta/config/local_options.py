"""The options of ``[local]``: mail of programs of this machine."""

from __future__ import annotations

import grp
import re
from collections.abc import Iterator
from typing import Any, Final

from mta.config.option import DomainName, Options, Path, TableName, option
from mta.config.submission_options import Identity
from mta.sendmail.place import socket_of

_MODE: Final = re.compile(r"0?[0-7]{3}\Z")


#: The name of the listener of local programs.
LISTENER: Final = "local"


def _mode(value: str) -> str | None:
    if not _MODE.match(value):
        return 'is no mode in octal; write such as "666"'
    return None if int(value, 8) & 0o600 == 0o600 else "lets not even the service itself use it"


def group_id(name: str) -> int | None:
    """The number of a group, None where there is none of that name."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def _group(value: str) -> str | None:
    if not value or group_id(value) is not None:
        return None
    return "is no group of this machine; make it (groupadd), or name another"


class LocalOptions(Options):
    """Mail of programs of this machine, by `mta-sendmail`: cron, PHP, mail programs. See `docs/local-mail.rst`."""

    folder: Path | None = option(
        None,
        doc="Where they reach the service: a folder with its `socket`, and with `pickup` for mail that waits until the "
        "service runs. It is made by the service, and all who send have to be able to read this file. Left out: no "
        "mail of local programs.",
        example='"../var/local"',
        shown=True,
    )
    mode: str = option(
        "666",
        doc='Who may use the socket: "666" is everybody, "660" the service\'s user and the members of `group`.',
        check=_mode,
    )
    group: str = option(
        "",
        doc="Its members may leave mail also while the service does not run. The service's user has to be one of them. "
        "Left out: root and that user alone may.",
        check=_group,
        example='"mail"',
    )
    domain: DomainName | None = option(
        None,
        doc="What is put behind names without a domain, as in `mail ann`. Left out: the domain of `postmaster`.",
        example='"example.org"',
    )
    senders: TableName | None = option(
        None,
        doc="Who may send as what: a user's name or number, and addresses, `@example.org` for a domain, or `*` for "
        "any. What a user has beside that is its own name at `domain` and at `hostname`.",
        example='"file:local-senders"',
    )
    trusted: tuple[str, ...] = option(
        ("root",),
        doc="Users who may send as anybody, as if the table had `*` for them.",
        example='["root", "www-data"]',
    )
    identity: Identity = option(
        "relaxed",
        doc="What of a message has to be the user's: the words are those of `service.submission.identity`.",
    )

    def contradictions(self) -> Iterator[tuple[str, str, str]]:
        """See ``Options``."""
        if self.mode.lstrip("0") != "666" and int(self.mode, 8) & 0o060 and not self.group:
            yield "group", f"the mode {self.mode} is for a group, and none is named", "name it"


def local_listener(options: LocalOptions) -> dict[str, Any] | None:
    """The listener of local programs, as ``Listen`` has it; None: there is none."""
    if options.folder is None:
        return None
    return {
        "name": LISTENER,
        "endpoint": f"unix:{socket_of(options.folder)}",
        "service": LISTENER,
        "tls": "none",
        "identity": options.identity,
    }
