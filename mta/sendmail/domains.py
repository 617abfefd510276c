"""Names without a domain in the header of a message of this machine, such as ``To: root``.  Pure.

Contract: each gets the domain, and nothing else is changed; what does not read as a name stays as it is.
"""

from __future__ import annotations

import re
from typing import Final

from mta.message.mailboxes import bare

_NAMES: Final = rb"(?:resent-)?(?:from|sender|reply-to|to|cc|bcc)"
_FIELD: Final = re.compile(rb"^(" + _NAMES + rb"[ \t]*:)([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)", re.IGNORECASE | re.MULTILINE)


def with_domains(header: bytes, domain: str) -> bytes:
    """The header section with the domain where one is missing; "": as it is."""
    if not domain:
        return header
    put = b"@" + domain.encode("ascii")

    def complete(match: re.Match[bytes]) -> bytes:
        value, start, pieces = match[2], 0, [match[1]]
        for end in bare(value):
            pieces += [value[start:end], put]
            start = end
        return b"".join([*pieces, value[start:]])

    return _FIELD.sub(complete, header)
