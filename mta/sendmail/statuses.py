"""The exit statuses of sysexits.h, and which one an SMTP reply comes to.  Values only.

Contract: what may succeed later is ``TEMPFAIL``; unknown trouble is.
"""

from __future__ import annotations

from typing import Final

OK: Final = 0
USAGE: Final = 64
DATAERR: Final = 65
NOINPUT: Final = 66
NOUSER: Final = 67
NOHOST: Final = 68
UNAVAILABLE: Final = 69
SOFTWARE: Final = 70
OSERR: Final = 71
IOERR: Final = 74
TEMPFAIL: Final = 75
NOPERM: Final = 77
CONFIG: Final = 78

#: By the enhanced code without its class (RFC 3463); a shorter one is for all that begin so.
_BY_DETAIL: Final = {
    "1.1": NOUSER,
    "1.2": NOHOST,
    "1.3": DATAERR,
    "1.6": NOUSER,
    "1.7": DATAERR,
    "1.10": NOHOST,
    "2.1": NOUSER,
    "3.4": DATAERR,
    "6": DATAERR,
    "7": NOPERM,
}


class Trouble(Exception):
    """It ends here: ``status`` is the exit status, ``str()`` what is said on standard error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def status_of(code: int, enhanced: str) -> int:
    """The exit status for a reply that is a refusal; ``enhanced`` is "" where it has no such code."""
    if not 500 <= code <= 599:
        return TEMPFAIL
    _, _, detail = enhanced.partition(".")
    return _BY_DETAIL.get(detail) or _BY_DETAIL.get(detail.partition(".")[0]) or UNAVAILABLE
