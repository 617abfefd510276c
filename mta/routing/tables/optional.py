"""Packages that only some tables need, and that come with an extra of the distribution.

Contract: ``missing`` is asked when a configuration is read, so that a table whose package is not there stops the
start with the command that installs it; ``package`` imports it, not before a table needs it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any


def missing(name: str, extra: str) -> Iterator[tuple[str, str, str]]:
    """A contradiction of options (``Options.contradictions``) where the package is not installed."""
    if find_spec(name) is None:
        yield "type", f"needs the Python package {name}", f'run: pip install "txmta[{extra}]"'


def package(name: str) -> Any:
    """The module."""
    return importlib.import_module(name)
