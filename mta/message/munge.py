"""From-munging: a message that goes on in the name of whoever forwards it, since its own author's policy (DMARC) would
have it refused from here.  Edits, as for everything that is changed.

What it is: ``From: Ann <ann@a.example>`` becomes ``From: "Ann via example.org" <info@example.org>``; what stood there
is kept in X-Original-From, and becomes Reply-To where the message has none, so that replies reach the author.
Contract: edits count in the octets that were scanned.  Encoded words and octets over 127 stay as they are; only what
the site says itself, ``via``, is added, in ASCII.  Signatures stay, though they no longer hold: they are evidence.
Several From fields (which RFC 5322 3.6 forbids) become one.
How it fails: there are no edits where the header section does not end, so that nothing would be sure.
"""

from __future__ import annotations

import re
from typing import Final

from mta.address import Address
from mta.message.edits import Edit
from mta.message.header import Field, Header
from mta.message.mailboxes import Mailbox, mailboxes
from mta.message.parameters import unquote

#: Octets of an author's name that are taken over.
MAX_NAME: Final = 200
_ENCODED = re.compile(rb"=\?[^? ]+\?[BbQq]\?[^? ]*\?=")
_BETWEEN = re.compile(rb"(?<=\?=)[ \t]+(?==\?)")
# RFC 5322 3.2.5: a phrase of atoms, dots among them, and quoted-strings; what a comment holds may be none.
_PHRASE = re.compile(rb'(?:"(?:[^"\\]|\\.)*"|[A-Za-z0-9!#$%&\'*+\-/=?^_`{|}~.\x80-\xff]+|[ \t]+)+\Z')
# RFC 5322 3.2.4; octets over 127 by RFC 6532 3.2.
_UNFIT = re.compile(rb"[\x00-\x1f\x7f]+")


def munge(header: Header, author: Address, via: str, *, reply_to: bool = True) -> tuple[Edit, ...]:
    """See the module's text.  ``author``: the new one; ``via`` is shown behind the name, and is ASCII.  ``reply_to``
    false: whoever calls sees to Reply-To."""
    if not header.complete:
        return ()
    fields = header.all(b"from")
    if not fields:
        return (Edit(header.end - 2, 0, b"From: " + _mailbox(None, 0, author, via)),)
    found = [mailbox for field in fields for mailbox in mailboxes(header.value(field))]
    put = b"From: " + _mailbox(found[0] if found else None, len(found), author, via)
    if reply_to and not header.count(b"reply-to") and any(mailbox.address for mailbox in found):
        put += b"Reply-To:" + _value(header, fields[0])
    put += b"".join(b"X-Original-From:" + _value(header, field) for field in fields)
    first, *more = fields
    return (
        Edit(first.start, first.end - first.start, put),
        *[Edit(field.start, field.end - field.start, b"") for field in more],
    )


def _value(header: Header, field: Field) -> bytes:
    """As it stands, folds and all, with its line end."""
    value = header.octets[field.value_start : field.end]
    return (value if value[:1] in (b" ", b"\t") else b" " + value).removesuffix(b"\r\n") + b"\r\n"


def _mailbox(old: Mailbox | None, count: int, author: Address, via: str) -> bytes:
    """The new mailbox: name on the first line, address on the next, so that neither is too long for one."""
    others = " and others" if count > 1 else ""
    tail = f"{others} via {via}".encode()
    name = b"" if old is None else old.name or old.address.rpartition(b"@")[0]
    if _ENCODED.search(name) and _PHRASE.match(name):
        # RFC 2047 5 (3): an encoded word may not stand in a quoted-string, so it stays beside ours.
        phrase = _BETWEEN.sub(b"\r\n ", name) + b"\r\n " + _quoted(tail.strip())
    else:
        phrase = _quoted(b" ".join((_plain(name) + tail).split()))
    return phrase + b"\r\n <" + str(author).encode() + b">\r\n"


def _plain(name: bytes) -> bytes:
    """A phrase of atoms and quoted-strings, or the text of a comment, as text."""
    words = re.findall(rb'"(?:[^"\\]|\\.)*"|[^"]+', name)
    text = b"".join(unquote(word) if len(word) > 1 else b"" if word == b'"' else word for word in words)
    text = _UNFIT.sub(b" ", text).strip()
    return text if len(text) <= MAX_NAME else text[:MAX_NAME].decode("utf-8", "ignore").encode()


def _quoted(text: bytes) -> bytes:
    return b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
