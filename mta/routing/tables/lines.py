"""Lines of table files that are no ``key: value``: patterns and networks, each in a line of its own.

Contract: comments and empty lines are left out; every line keeps its number.
How it fails: ``TableError`` for what is not UTF-8, and for a line that is indented: it would be taken for one that
goes on with the one before, which these files do not have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mta.routing.tables.entries import TableError


def content_lines(blocks: Iterable[bytes], path: str) -> Iterator[tuple[int, str]]:
    """Number and content of each line that has any."""
    number = 0
    for block in blocks:
        for octets in block.split(b"\n"):
            number += 1
            try:
                line = octets.decode("utf-8").rstrip()
            except UnicodeDecodeError as error:
                raise TableError(path, number, "the text is not UTF-8") from error
            if not line or line.lstrip().startswith("#"):
                continue
            if line[0] in " \t":
                raise TableError(path, number, "the line is indented: each entry has one line")
            if "\0" in line:
                raise TableError(path, number, "there is a NUL character")
            yield number, line
