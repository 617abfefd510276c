"""The options of a mailing list: ``[lists."NAME@DOMAIN"]``, by custom in a file of its own in ``etc/lists/``.

Contract: what is said of one list alone is checked here; what concerns other sections, in ``mta.config.list_check``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal

from mta.address import Address, AddressError
from mta.config.option import Options, TableName, at_least, option
from mta.lists.values import ListRule, Posting
from mta.routing.disclosure import Askers
from mta.routing.patterns import DomainPatterns

_WORDS: Final = tuple(word.value for word in Posting)
_TAG: Final = re.compile(r"[\x21-\x7e]+(?: [\x21-\x7e]+)*\Z")
_MOST_TEXT: Final = 200
_TEXT: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\"\\<>]*\Z")


def _posting(value: tuple[str | None, ...]) -> str | None:
    for one in value:
        if one is None or one in _WORDS:
            continue
        try:
            if "@" in one:
                Address.parse(one, utf8=True)
            elif "." in one:
                DomainPatterns((one,))
            else:
                raise ValueError(one)
        except ValueError:
            known = ", ".join(f'"{word}"' for word in _WORDS)
            return f'has "{one}", which is none of {known}, no address, no domain and no "*.domain"'
    return None if value else 'is empty; write posting = "nobody" if nobody may'


def _tag(value: str) -> str | None:
    return None if not value or _TAG.match(value) else "is not ASCII text on one line; write one such as [team]"


def _description(value: str) -> str | None:
    if len(value) > _MOST_TEXT:
        return f"is longer than {_MOST_TEXT} characters; write less"
    return None if _TEXT.match(value) else "holds quotes, angle brackets, backslashes or line breaks; leave them out"


def _reply_to(value: str) -> str | None:
    if value in ("", "list"):
        return None
    try:
        address = Address.parse(value)
    except AddressError as error:
        return f'is neither "list" nor an address: {error}'
    return None if str(address).isascii() else "is not ASCII"


class MailingList(Options):
    """A mailing list: what is sent to its address goes to all members, with the list as its sender.

    Reports go to `NAME-bounces`, which leads to the owner as `NAME-owner` does.  See docs/lists.rst.
    """

    owner: Address = option(
        doc="Who looks after it: gets the reports about members that cannot be reached, and what is sent to "
        "`NAME-owner` and `NAME-bounces`.",
        example='"ann@example.org"',
    )
    description: str = option("", doc="A few words for List-Id.", example='"The team"', check=_description)
    members: tuple[Address, ...] = option(
        (), doc="Members, here in the file. A member may be another list.", example='["ann@example.org"]'
    )
    members_from: tuple[TableName, ...] = option(
        (),
        doc="Tables of members: each key is one, a name without a domain is of the list's domain. Only tables that "
        "can tell all that they hold: files, static ones, and databases, directories and hosts that are told how "
        "(`list_query`, `list_filter`, `list_url`), chains of these too.",
        example='["file:team"]',
    )
    posting: tuple[str, ...] = option(
        (Posting.MEMBERS.value, Posting.OWNER.value),
        doc='Who may send to it, by the envelope\'s sender: "anyone", "members", "owner", "nobody"; "networks" and '
        '"authenticated" are clients that may send anywhere; else addresses, domains, or "*.example.org" for all below '
        "one. All others: 550 5.7.2.",
        check=_posting,
    )
    expn: Askers = option(
        "nobody",
        doc='Who is told the members by EXPN: "networks" are clients of `relay.networks` and authenticated ones.',
    )
    subject_tag: str = option(
        "",
        doc="Put in front of the subject where it is not in it. It breaks a DKIM signature of the author's.",
        example='"[team]"',
        check=_tag,
    )
    reply_to: str = option(
        "",
        doc='Where answers go: "list", or an address. Left out: where the author wants them.',
        example='"list"',
        check=_reply_to,
    )
    sender: bool = option(
        False,
        doc="Put a field Sender with `NAME-bounces` in place of the author's. Some programs then show the author as "
        '"on behalf of", and a DKIM signature that covers Sender breaks.',
        example="true",
    )
    rewrite_from: Literal["auto", "never", "always"] = option(
        "auto",
        doc='Put the list into From in place of the author, who is then in Reply-To: with "auto" where the author\'s '
        "domain would have the message refused from here (DMARC).",
    )
    max_members: int = option(
        100_000,
        doc="The most members, those of lists within it included. Mail to more is refused with 452 4.5.3, as far as "
        "they can be counted at RCPT (in files and here); else it is held, and the postmaster is told.",
        unit="members",
        check=at_least(1),
    )

    def contradictions(self) -> Iterator[tuple[str, str, str]]:
        """See ``Options``."""
        if not self.members and not self.members_from:
            yield "members", "has no members", "write members = [...] or members_from = [...]; a table may be empty"
        if len(self.members) > self.max_members:
            yield "members", f"has more than max_members = {self.max_members}", "write a larger max_members"


def list_rule(address: Address, options: MailingList) -> ListRule:
    """What the options come to."""
    others = [one for one in options.posting if one not in _WORDS]
    return ListRule(
        address=address,
        owner=options.owner,
        description=options.description,
        members=options.members,
        tables=options.members_from,
        posting=frozenset(Posting(one) for one in options.posting if one in _WORDS),
        senders=frozenset(Address.parse(one, utf8=True) for one in others if "@" in one),
        domains=tuple(one for one in others if "@" not in one),
        expn=options.expn,
        subject_tag=options.subject_tag,
        reply_to=options.reply_to,
        sender=options.sender,
        rewrite_from=options.rewrite_from,
        max_members=options.max_members,
    )
