"""The header fields of a list's copy: a pure decision, as edits over the octets that came in.

Contract: what the list says of itself comes in front, so that a signature of the author's below it stays as it was;
the fields of another list that the message came through are cut, since each may stand once (RFC 2369 3, RFC 2919 3).
Nothing else is touched unless the list's options ask for it: ``subject_tag``, ``reply_to`` and ``sender`` do, and may
break a signature that covers those fields.
How it fails: not at all, whatever the header holds.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from mta.lists.values import ListRule, Posting
from mta.message.edits import Edit, merge
from mta.message.header import Header
from mta.message.words import seven_bit
from mta.reply import Reply

#: What other lists, and lists of ours that the message came through before, say of themselves.
_THEIRS: Final = (
    b"list-id",
    b"list-help",
    b"list-subscribe",
    b"list-unsubscribe",
    b"list-unsubscribe-post",
    b"list-post",
    b"list-owner",
    b"list-archive",
    b"precedence",
)
_MANY: Final = frozenset({Posting.ANYONE, Posting.MEMBERS, Posting.NETWORKS, Posting.AUTHENTICATED})
_LINE: Final = 74
LOOPS: Final = Reply.of(554, "5.4.6", "The message has been through this list before")


def been_through(rule: ListRule, header: Header) -> bool:
    """The message was sent by this list before: it is in a loop (RFC 5321 6.3).

    By List-Id, and by a field that other lists leave where it is: two lists of different hosts may be members of each
    other.
    """
    angle = f"<{rule.id}>".encode()
    own = str(rule.address).encode()
    return any(header.value(field).lower().endswith(angle) for field in header.all(b"list-id")) or any(
        header.value(field).lower() == own for field in header.all(b"x-beenthere")
    )


def list_fields(rule: ListRule, header: Header) -> tuple[Edit, ...]:
    """The edits, in the octets that ``header`` was scanned from."""
    groups = [(Edit(0, 0, _own(rule)),), *(header.cuts(name) for name in _THEIRS)]
    if rule.reply_to:
        groups.append(header.cuts(b"reply-to"))
    if rule.sender:
        groups.append(header.cuts(b"sender"))
    if rule.subject_tag:
        groups.append(_tagged(rule.subject_tag, header))
    return merge(*groups)


def _own(rule: ListRule) -> bytes:
    contact = f"mailto:{_in_url(str(rule.contact))}"
    # RFC 2369 3.4: of an announcement whose members do not post.
    post = f"<mailto:{_in_url(str(rule.address))}>" if rule.posting & _MANY else "NO"
    lines = [
        _list_id(rule),
        f"List-Post: {post}\r\n",
        # RFC 2369 3.1: the field that users need most; here it is a person who helps.
        f"List-Help: <{contact}?subject=help>\r\n",
        f"List-Owner: <{contact}>\r\n",
        "Precedence: list\r\n",
        f"X-BeenThere: {rule.address}\r\n",
    ]
    if rule.sender:
        lines.append(f"Sender: <{rule.bounces}>\r\n")
    if rule.reply_to:
        lines.append(f"Reply-To: <{rule.address if rule.reply_to == 'list' else rule.reply_to}>\r\n")
    return "".join(lines).encode("ascii")


def _in_url(address: str) -> str:
    return quote(address, safe="@.")


def _list_id(rule: ListRule) -> str:
    """RFC 2919 2, 3: the description is a phrase."""
    plain = f"List-Id: <{rule.id}>\r\n"
    if not rule.description:
        return plain
    if rule.description.isascii():
        phrase = f'List-Id: "{rule.description}"'
        # RFC 5322 2.1.1
        fold = " " if len(phrase) + len(rule.id) < _LINE else "\r\n\t"
        return f"{phrase}{fold}<{rule.id}>\r\n"
    encoded = seven_bit(b"list-id", f'List-Id: "{rule.description}" <{rule.id}>\r\n'.encode())
    return plain if encoded is None else encoded.decode("ascii")


def _tagged(tag: str, header: Header) -> tuple[Edit, ...]:
    subject = header.all(b"subject")
    if not subject:
        return (Edit(0, 0, f"Subject: {tag}\r\n".encode("ascii")),)
    if tag.lower().encode("ascii") in header.value(subject[0]).lower():
        return ()  # an answer: the tag is there
    start = subject[0].value_start
    space = "" if header.octets[start : start + 1] in (b" ", b"\t", b"\r") else " "
    return (Edit(start, 0, f" {tag}{space}".encode("ascii")),)
