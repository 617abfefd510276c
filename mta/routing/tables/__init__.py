"""Look-ups from text to text: the kinds of tables that a configuration may name (docs/tables.rst).

What it is: one module a kind, each a provider as a plugin's would be; what several need stands in modules of its own:
``watched`` (files that change), ``remote`` (what has to be waited for: time limit, cache, back-off), ``query`` (SQL),
``threads``; ``made`` makes the tables of a configuration.
"""

from mta.routing.tables.entries import Entries, TableError
from mta.routing.tables.file import FileTable, FileTableOptions, parse_table, read_table
from mta.routing.tables.static import MemoryTable

__all__ = [
    "Entries",
    "FileTable",
    "FileTableOptions",
    "MemoryTable",
    "TableError",
    "parse_table",
    "read_table",
]
