"""In whose name a list's copy goes on: its author's, or the list's, where the author's domain demands it (DMARC).

What it is: the same question as for a forwarded message (``mta.routing.forwarding``), answered once for all members, so
that there is one copy.  The return path is the list's in any case.
Contract: with ``auto`` the author stays where his domain has no policy that demands more, where it is ours, and where a
signature of its own speaks for the message and the list changes nothing that such a signature usually covers.
How it fails: what DNS cannot say changes nothing.
Limits: signatures are looked at, not verified.
"""

from __future__ import annotations

from collections.abc import Container
from typing import NamedTuple

from mta.lists.values import ListRule
from mta.message.author import aligned, author_domain, signers
from mta.message.edits import Edit
from mta.message.header import Header
from mta.message.munge import munge
from mta.routing.sender_policy import dmarc
from mta.routing.values import Facts, Needs


class Author(NamedTuple):
    """The edits, none where the author stays; and why he does not."""

    edits: tuple[Edit, ...] = ()
    why: str = ""


def list_author(rule: ListRule, header: Header, ours: Container[str], facts: Facts) -> Author | Needs:
    """See the module's text.  ``ours``: our domains, for which the list may speak."""
    if rule.rewrite_from == "never":
        return Author()
    why = "rewrite_from = always"
    if rule.rewrite_from == "auto":
        domain = author_domain(header)
        if not domain or domain in ours or (_signed(header, domain) and not _breaks(rule)):
            return Author()
        said = dmarc(domain, facts)
        if isinstance(said, Needs):
            return said
        if not said.demands:
            return Author()
        why = said.text
    return Author(munge(header, rule.address, rule.address.local, reply_to=not rule.reply_to), why)


def _signed(header: Header, domain: str) -> bool:
    return any(aligned(signer, domain) for signer in signers(header))


def _breaks(rule: ListRule) -> bool:
    return bool(rule.subject_tag or rule.reply_to or rule.sender)
