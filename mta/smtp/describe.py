"""Writes ``docs/extensions.rst`` from the one table of extensions (extensions.py).

What it is: so nothing is offered that is not documented, and nothing documented that is not offered; a test compares
the two.  ``python -m mta.config.describe`` writes it below the current folder, beside the reference of options.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Final

from mta.smtp.extensions import EXTENSIONS, Extension

_WIDTH: Final = 100
_HEAD: Final = """\
SMTP extensions
===============

.. This file is written by ``python -m mta.config.describe``; change mta/smtp/extensions.py instead.

What txmta offers in its reply to EHLO (and LHLO), in that order, and what it makes of the offers of other hosts.  An
extension that is not listed here is neither offered nor used; a parameter of MAIL or RCPT that belongs to none of
them gets ``555 5.5.4``.
"""


def extensions() -> str:
    """The text of ``docs/extensions.rst``."""
    lines = [*_HEAD.splitlines(), "", *_table(), ""]
    for extension in EXTENSIONS.values():
        lines += [*_entry(extension), ""]
    return "\n".join(lines).rstrip() + "\n"


def _table() -> Iterator[str]:
    rows = [("Keyword", "Source", "Server", "Client", "Parameters and commands")]
    rows += [
        (
            f"``{extension.keyword}``",
            extension.rfc,
            "yes" if extension.server else "",
            "yes" if extension.client else "",
            ", ".join(f"``{word}``" for word in (*extension.mail, *extension.rcpt, *extension.verbs)),
        )
        for extension in EXTENSIONS.values()
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rule = "  ".join("=" * width for width in widths)
    for number, row in enumerate(rows):
        if number < 2:
            yield rule
        # An empty first column would go on with the row above; others may be empty.
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield rule


def _entry(extension: Extension) -> Iterator[str]:
    yield f"``{extension.keyword}``: {extension.title} (`{extension.rfc} <{_address(extension.rfc)}>`__)"
    for what, text in (
        ("Server", extension.server),
        ("Client", extension.client),
        ("Behind the keyword in EHLO", extension.argument),
        ("Parameters of MAIL", _words(extension.mail)),
        ("Parameters of RCPT", _words(extension.rcpt)),
        ("Commands", _words(extension.verbs)),
    ):
        if text:
            yield from textwrap.wrap(
                f"* {what}: {text}.",
                _WIDTH,
                initial_indent="    ",
                subsequent_indent="      ",
                break_on_hyphens=False,
            )


def _address(source: str) -> str:
    """Where "RFC 1870" or "Postfix XCLIENT_README" is found."""
    publisher, _, name = source.partition(" ")
    if publisher == "RFC":
        return f"https://www.rfc-editor.org/rfc/rfc{name}"
    return f"https://www.postfix.org/{name}.html"


def _words(words: tuple[str, ...]) -> str:
    return ", ".join(f"``{word}``" for word in words)
