"""The SMTP service extensions of both sides, in ONE table (RFC 5321 2.2).

What it is: the server makes its reply to EHLO from it (``ehlo_lines``) and knows the parameters of MAIL and RCPT
by it; the client reads the reply to EHLO into ``Capabilities``; the documentation is generated from it.
Contract: an extension that is not in the table is neither offered nor used.
How it fails: what a peer writes wrongly into its EHLO reply counts as not offered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """One service extension.

    ``server`` and ``client`` say what each side does with it, "" where it has no support.  ``mail`` and ``rcpt``
    are the parameters that it brings to MAIL and RCPT; ``argument`` says what stands behind the keyword in EHLO.
    """

    keyword: str
    title: str
    rfc: str
    server: str = ""
    client: str = ""
    mail: tuple[str, ...] = ()
    rcpt: tuple[str, ...] = ()
    argument: str = ""


#: In the order in which EHLO shows them.
EXTENSIONS: Final[Mapping[str, Extension]] = {
    extension.keyword: extension
    for extension in (
        Extension(
            keyword="SIZE",
            title="Message size declaration",
            rfc="RFC 1870",
            server="refuses a message that is declared too big at MAIL, and one that is too big at its end",
            client="declares the size; a message over the host's limit fails without being sent",
            mail=("SIZE",),
            argument="the limit in octets, from limits.message_size",
        ),
        Extension(
            keyword="PIPELINING",
            title="Command pipelining",
            rfc="RFC 2920",
            server="replies in order, all replies to one segment in one",
            client="sends MAIL, every RCPT and DATA in one go",
        ),
        Extension(
            keyword="8BITMIME",
            title="8-bit MIME transport",
            rfc="RFC 6152",
            server="takes octets over 127 and keeps them",
            client="declares an 8-bit body; to a host without it such a message fails",
            mail=("BODY",),
        ),
        Extension(
            keyword="ENHANCEDSTATUSCODES",
            title="Enhanced status codes in replies",
            rfc="RFC 2034",
            server="gives one in each reply, those to the greeting, HELO and EHLO excepted",
            client="reads them from every host and keeps them with the reply",
        ),
    )
}


def ehlo_lines(message_size: int) -> tuple[str, ...]:
    """The lines of our EHLO reply after the first; ``message_size`` is our limit in octets (RFC 1870 3)."""
    arguments = {"SIZE": str(message_size)}
    return tuple(
        f"{extension.keyword} {arguments.get(extension.keyword, '')}".rstrip()
        for extension in EXTENSIONS.values()
        if extension.server
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a host offers.  ``size`` is its limit in octets: 0 says that it has no fixed one (RFC 1870 3)."""

    esmtp: bool = False
    size_offered: bool = False
    size: int = 0
    pipelining: bool = False
    eight_bit_mime: bool = False
    keywords: Mapping[str, str] = field(default_factory=dict)  # all of them, known to us or not

    @classmethod
    def read(cls, lines: Sequence[str]) -> Capabilities:
        """The lines of a host's EHLO reply after its first (RFC 5321 4.1.1.1)."""
        keywords: dict[str, str] = {}
        for line in lines:
            keyword, _, argument = line.strip().partition(" ")
            if keyword:
                keywords[keyword.upper()] = argument.strip()
        used = {keyword for keyword in keywords if keyword in EXTENSIONS and EXTENSIONS[keyword].client}
        return cls(
            esmtp=True,
            size_offered="SIZE" in used,
            size=_number(keywords["SIZE"]) if "SIZE" in used else 0,
            pipelining="PIPELINING" in used,
            eight_bit_mime="8BITMIME" in used,
            keywords=keywords,
        )


def _number(text: str) -> int:
    # RFC 1870 4: at most 20 digits.
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else 0
