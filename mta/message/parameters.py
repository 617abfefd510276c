"""Content-Type and its kin, read (RFC 2045 5.1).  Pure.

Contract: ``read_type`` returns what the field says if all readers would read it so, else None: a parameter that
stands twice, a comment inside, what is left over.  Unquoted values with characters that ought to be quoted are
taken (``boundary=----=_Part_1`` is written by old versions of JavaMail).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

_TOKEN: Final = rb"[!#-'*+.0-9A-Z^_`a-z{|}~-]+"
TYPE = re.compile(rb"[ \t]*(" + _TOKEN + rb")/(" + _TOKEN + rb")[ \t]*")
PARAMETER = re.compile(rb"[ \t]*;[ \t;]*(" + _TOKEN + rb'\*?)[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^;" \t]+)[ \t]*')
_COMMENT = re.compile(rb"\([^()\\\"]*\)")


class ContentType(NamedTuple):
    """All in lower case but the values of the parameters."""

    main: bytes
    sub: bytes
    parameters: Mapping[bytes, bytes]

    @property
    def full(self) -> bytes:
        return self.main + b"/" + self.sub


def unquote(value: bytes) -> bytes:
    """The content of a quoted-string; other text as it is."""
    if not value.startswith(b'"'):
        return value
    return re.sub(rb"\\(.)", rb"\1", value[1:-1], flags=re.DOTALL)


def without_comments(value: bytes) -> bytes:
    """Plain comments taken away; where quotes or nesting make it doubtful what is one, nothing is."""
    return _COMMENT.sub(b" ", value) if b"(" in value and b'"' not in value else value


def read_type(value: bytes) -> ContentType | None:
    """The unfolded value of a Content-Type field; None where it cannot be read for sure."""
    value = without_comments(value)
    head = TYPE.match(value)
    if head is None:
        return None
    parameters: dict[bytes, bytes] = {}
    position, end = head.end(), len(value.rstrip(b"; \t"))
    while position < end:
        parameter = PARAMETER.match(value, position)
        if parameter is None:
            return None
        name = parameter[1].lower()
        if name in parameters:
            return None
        parameters[name] = unquote(parameter[2])
        position = parameter.end()
    return ContentType(head[1].lower(), head[2].lower(), parameters)
