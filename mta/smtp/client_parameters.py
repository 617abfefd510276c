"""The parameters of MAIL and RCPT as our client writes them: values in, text out; ``parameters`` reads them.

Contract: what comes back is printable and without white space, whatever the values hold: it can neither end a
command line nor begin another parameter.  ``parameters`` reads the same values back.
"""

from __future__ import annotations

import re
from typing import Final

from mta.address import Address
from mta.smtp.xtext import encode_xtext

# RFC 6533 3: all but QCHAR.
_NO_QCHAR = re.compile(r"[^\x21-\x2a\x2c-\x3c\x3e-\x5b\x5d-\x7e]")
# The same, where UTF-8 may stand as it is: but for controls and what ends lines to some programs.
_NO_QUCHAR = re.compile(r"[^\x21-\x2a\x2c-\x3c\x3e-\x5b\x5d-\x7e\xa1-\u2027\u202a-\ud7ff\ue000-\U0010ffff]")
#: RFC 3461 4.2: characters of the whole of ORCPT.
_MOST_ORCPT: Final = 500
_NOTIFY: Final = frozenset({"NEVER", "SUCCESS", "FAILURE", "DELAY"})


def encode_utf8_address(text: str, native: bool = False) -> str:
    """utf-8-addr-xtext (RFC 6533 3): the form that also a server without SMTPUTF8 takes; utf-8-addr-unitext with
    ``native``."""
    unfit = _NO_QUCHAR if native else _NO_QCHAR
    return unfit.sub(lambda match: f"\\x{{{ord(match[0]):02X}}}", text)


def mail_dsn(ret: str, envid: str) -> str:
    """RET and ENVID, each with the space before it (RFC 3461 4.3, 4.4)."""
    text = f" RET={ret}" if ret in ("FULL", "HDRS") else ""
    return f"{text} ENVID={encode_xtext(envid)}" if envid else text


def rcpt_dsn(notify: str, orcpt: str, native: bool = False) -> str:
    """NOTIFY and ORCPT, each with the space before it (RFC 3461 4.1, 4.2).  ``native``: SMTPUTF8 goes with them."""
    text = f" NOTIFY={notify}" if notify and _NOTIFY.issuperset(notify.split(",")) else ""
    kind, mark, address = orcpt.partition(";")
    if not mark or not address or not kind.isascii() or not kind.replace("-", "").isalnum():
        return text
    # RFC 6533 3: an address of type utf-8 has an encoding of its own.
    encoded = encode_utf8_address(address, native) if kind.lower() == "utf-8" else encode_xtext(address)
    if len(kind) + 1 + len(encoded) > _MOST_ORCPT:
        return text  # the recipient would be refused for it
    return f"{text} ORCPT={kind};{encoded}"


def notify_of_delay(notify: str) -> str:
    """NOTIFY for a host that can keep no time, but tell of delays (RFC 2852 4.1.4.2)."""
    if not notify:
        return "FAILURE,DELAY"
    return notify if notify == "NEVER" or "DELAY" in notify.split(",") else f"{notify},DELAY"


def original_recipient(address: Address) -> str:
    """ORCPT for a recipient whose sender gave none, decoded: the address that RCPT had (RFC 3461 5.2.1 (d))."""
    text = str(address)
    return f"rfc822;{text}" if text.isascii() else f"utf-8;{text}"


def deliver_by(seconds: int, mode: str) -> str:
    """BY, with the space before it: what is left of the time, which mode N lets be past (RFC 2852 4.1.4)."""
    # RFC 2852 4: by-time has at most nine digits.
    bounded = max(-999_999_999, min(999_999_999, seconds))
    return f" BY={bounded};{mode}"
