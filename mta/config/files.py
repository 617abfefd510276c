"""Reads the files of a configuration: the one that is named and those it includes.

Contract: what comes back is one tree of nodes and all problems; a file that cannot be read is a problem beside the
others.  A file or folder that anybody may write is refused: who can write the configuration is the MTA.
How it fails: it does not raise for what it finds; a file that is missing, no regular file, not UTF-8 or no TOML is
a problem with its line.
Limits: 8 MiB a file.
"""

from __future__ import annotations

import glob
import os
import stat
import tomllib
from typing import Any, Final, NamedTuple

from mta.config.problems import ConfigurationError, Problem, Wrong
from mta.config.tree import Node, Source, key_path, merge, plant
from mta.config.values import text

MAX_FILE: Final = 8 << 20


class Read(NamedTuple):
    """The tree, the files it was read from, and what is wrong with them."""

    root: Node
    files: tuple[str, ...]
    problems: tuple[Problem, ...]


def read(path: str) -> Read:
    """Read ``path`` and what it includes; see the module's text."""
    problems: list[Problem] = []
    main = _read_one(path, problems)
    root = main or Node({}, Source(path, os.path.dirname(os.path.abspath(path))), "")
    files = [path]
    include = root.value.pop("include", None)
    for included in _included(include, path, problems) if include is not None else ():
        files.append(included)
        more = _read_one(included, problems)
        if more is not None:
            if (nested := more.value.pop("include", None)) is not None:
                problems.append(nested.problem("an included file includes others", f"write it in {path}"))
            problems += merge(root, more)
    if main is None:
        # Nothing else can be said of it: what it lacks follows from that.
        raise ConfigurationError(problems)
    if include is not None:
        root.value["include"] = include
    return Read(root, tuple(files), tuple(problems))


def unsafe(path: str, *, folder: bool = False) -> Wrong | None:
    """Why a file (or a folder whose files are all taken) must not be believed, or None.

    A folder in which anybody may put files is safe for a named file that is ours where it has the sticky bit, as
    /tmp has; never where all its files are taken.
    """
    status = os.stat(path)
    if status.st_mode & stat.S_IWOTH:
        return Wrong("anybody may write to it", f"run: chmod o-w {path}")
    if folder:
        return None
    above = os.path.dirname(os.path.abspath(path))
    mode = os.stat(above).st_mode
    if not mode & stat.S_IWOTH or (mode & stat.S_ISVTX and status.st_uid in {0, os.geteuid()}):
        return None
    return Wrong(f"anybody may write to its folder {above}", f"run: chmod o-w {above}")


def contents(path: str, most: int = MAX_FILE) -> bytes:
    """The octets of a regular file that not everybody may write.  Raises ``Wrong``."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise Wrong("is no regular file", "name another")
        trouble = unsafe(path)
        if trouble is not None:
            raise trouble
        with open(path, "rb") as file:
            octets = file.read(most + 1)
    except OSError as error:
        raise Wrong(f"cannot be read: {error.strerror or error}", "correct the path or its permissions") from error
    if len(octets) > most:
        raise Wrong(f"is larger than {most} octets", "divide it, or name another")
    return octets


def _read_one(path: str, problems: list[Problem]) -> Node | None:
    try:
        parsed: dict[str, Any] = tomllib.loads(contents(path).decode("utf-8"))
        return plant(parsed, Source(path, os.path.dirname(os.path.abspath(path))))
    except Wrong as wrong:
        problems.append(Problem(path, "", wrong.what, wrong.instead))
    except ConfigurationError as error:
        problems += error.problems
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        problems.append(Problem(path, f"line {line}", "is not UTF-8", "save the file as UTF-8"))
    except RecursionError:
        problems.append(Problem(path, "", "is nested too deeply", "no option lies so deep"))
    except ValueError as error:  # TOMLDecodeError is one; a number of thousands of digits is a plain one
        problems.append(_syntax(path, str(error)))
    return None


#: What the parser says, and what most often has to be written then.
_INSTEAD: Final = {
    "Cannot overwrite a value": "a key may stand once in a table; leave out one of them",
    "Cannot declare": "a table may stand once; join the two",
    "Invalid value": "text stands in quotes",
}


def _syntax(path: str, said: str) -> Problem:
    what, _, place = said.rpartition(" (at ")
    what = what or said
    instead = next((advice for start, advice in _INSTEAD.items() if what.startswith(start)), "see https://toml.io")
    return Problem(path, place.rstrip(")") if place != said else "", f"is not TOML: {what}", instead)


def _included(node: Node, path: str, problems: list[Problem]) -> list[str]:
    """The files that the patterns of ``include`` match, sorted within each pattern, each once.

    What is no text is passed over: the schema tells of it.
    """
    folder = os.path.dirname(path)
    found: dict[str, None] = {}
    for item in node.value if isinstance(node.value, list) else [node]:
        try:
            pattern = text(item.value)
        except Wrong:
            continue
        wild = glob.has_magic(pattern)
        matches = sorted(glob.glob(_literal(folder, pattern))) if wild else [os.path.join(folder, pattern)]
        found |= dict.fromkeys(match for match in matches if not _same(match, path))
        problems += _unsafe_folders(item, matches) if wild else []
    return list(found)


def _literal(folder: str, pattern: str) -> str:
    """The pattern below the folder, whatever letters the folder's own name has."""
    return os.path.join(glob.escape(folder), pattern)


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _unsafe_folders(item: Node, matches: list[str]) -> list[Problem]:
    problems = []
    for folder in sorted({os.path.dirname(match) for match in matches}):
        trouble = unsafe(folder or ".", folder=True)
        if trouble is not None:
            problems.append(item.problem(f"folder {folder}: {trouble.what}", trouble.instead))
    return problems


__all__ = ["MAX_FILE", "Read", "contents", "key_path", "read", "unsafe"]
