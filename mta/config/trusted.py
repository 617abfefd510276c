"""What aliases can have us do, and who else could change it: programs, folders of files, files that are included.

Contract: ``doubtful`` tells of all that somebody but root and the user of the service could change.  A file of aliases
that may hold commands, and one that is included, is refused for that where it is used (``mta.routing.trust``); here an
operator hears of it before mail waits for it.
How it fails: what cannot be looked at is told by those who use it.
Limits: of each table of aliases the first ``MOST_FILES`` included files, and not what those include.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Final

from mta.config.program_options import ProgramOptions
from mta.config.rules import allowed_in
from mta.config.schema import Configuration
from mta.config.tree import key_path
from mta.routing.aliases import ADDRESSES, Include, parse_targets
from mta.routing.tables import TableError, read_table
from mta.routing.trust import untrusted, untrusted_folder

MOST_FILES: Final = 100
_INSTEAD: Final = "give it to root, or to the user of the service, and let nobody else write to it"

Told = tuple[str, str, str]  # key path, what, what instead


def doubtful(configuration: Configuration, user: int) -> Iterator[Told]:
    """See the module's text.  ``user``: that of the service."""
    commands = configuration.commands
    for program in commands.programs:
        yield from _told("commands.programs", program, untrusted, user)
    for folder in commands.folders:
        yield from _told("commands.folders", folder, untrusted_folder, user)
    for name, section in configuration.delivery.items():
        if isinstance(section.options, ProgramOptions):
            for program in tuple(getattr(section.options, "command", ()))[:1]:
                yield from _told(f"{key_path('delivery', name)}.command", program, untrusted, user)
    allowed = allowed_in(configuration.tables, (domain.aliases for domain in configuration.domains.values()))
    for name, domain in configuration.domains.items():
        if domain.aliases in allowed:
            for path in _included(configuration, domain.aliases, name):
                yield from _told(f"{key_path('domains', name)}.aliases", path, untrusted, user)


def _told(key: str, path: str, look: Callable[[str, int], str], user: int) -> Iterator[Told]:
    try:
        why = look(path, user)
    except OSError:
        return
    if why:
        what, _, how = why.partition("; ")
        yield key, f"{path}: {what}", how or _INSTEAD


def _included(configuration: Configuration, table: str, domain: str) -> list[str]:
    """The files that aliases of a table name, each once."""
    kind, _, path = table.partition(":")
    if kind == "table":
        path = getattr(configuration.tables[path].options, "path", "")
    try:
        entries = read_table(path).entries
    except (TableError, OSError):
        return []
    found: dict[str, None] = {}
    for _, text in entries.pairs():
        if ":include:" not in text.lower():
            continue
        try:
            targets = parse_targets(text, domain, ADDRESSES._replace(commands=True, folder=os.path.dirname(path)))
        except ValueError:
            continue
        found.update(dict.fromkeys(target.path for target in targets if isinstance(target, Include)))
        if len(found) >= MOST_FILES:
            break
    return list(found)[:MOST_FILES]
