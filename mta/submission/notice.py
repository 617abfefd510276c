"""What the owner of an account and the postmaster are told when its mail is held.  Pure: values in, octets out.

Contract: a message of ASCII lines; no name or address in it can add a line (they are shown escaped).
"""

from __future__ import annotations

from email.utils import formatdate
from textwrap import wrap

from mta.address import Address
from mta.events import escape
from mta.message.quoted import encode, is_plain
from mta.message.trace import date_text
from mta.submission.brakes import Told

_COLUMNS = 76


def notice(told: Told, to: Address, postmaster: Address, hostname: str, id: str, now: int) -> bytes:
    """The message to one of them; ``now`` is UTC milliseconds."""
    account = escape(told.account)
    for_owner = to != postmaster
    whose = "your account" if for_owner else f"the account {account}"
    at = formatdate(told.at / 1000)
    paragraphs = [
        f"The mail that {whose}{f' ({account})' if for_owner else ''} sends is held here since {at}.",
        f"Why: {escape(told.why)}.",
        "Nothing is lost: what was sent, and what is sent from now on, waits until the postmaster lets it go.",
        *(_to_owner(postmaster) if for_owner else _to_postmaster(told)),
    ]
    text = "\r\n\r\n".join("\r\n".join(_lines(paragraph)) for paragraph in paragraphs) + "\r\n"
    body = text.encode("utf-8", "replace")
    plain = is_plain(body)
    head = (
        f"From: Mail Delivery System <MAILER-DAEMON@{hostname}>",
        f"To: <{escape(str(to))}>",
        f"Subject: Mail of {'your account' if for_owner else 'an account'} is held",
        f"Date: {date_text(now)}",
        f"Message-ID: <{id}@{hostname}>",
        # RFC 3834 5
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        f"Content-Type: text/plain; charset={'us-ascii' if plain else 'utf-8'}",
        f"Content-Transfer-Encoding: {'7bit' if plain else 'quoted-printable'}",
    )
    return "\r\n".join((*head, "", "")).encode("utf-8", "replace") + (body if plain else encode(body))


def _lines(paragraph: str) -> list[str]:
    """A command, which is indented, stays on its line."""
    return [paragraph] if paragraph.startswith(" ") else wrap(paragraph, _COLUMNS)


def _to_owner(postmaster: Address) -> list[str]:
    return [
        "If it was not you who sent this, somebody else knows your password: change it now.",
        f"If it was you, write to {escape(str(postmaster))}: this account cannot do so until it is released.",
    ]


def _to_postmaster(told: Told) -> list[str]:
    account = escape(told.account)
    return [
        "What waits:",
        f'    mta queue list --held --reason "account {account} is "',
        "To let it go, once it is known who sent it:",
        f"    mta account release {account}",
        "To drop it:",
        f"    mta account release {account} --drop",
    ]
