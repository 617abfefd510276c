"""An address list read by its grammar (RFC 5322 3.4, 4.4; RFC 6854; RFC 6532), or refused.  Pure.

What it is: the strict twin of ``mta.message.author.mailboxes``: for decisions in which two readers must not see
different people.  What no two readers would take for the same is ``Malformed``.
Contract: with the addresses comes what a reader may see beside them: display names as they stand, names of groups,
comments.
Of the obsolete forms those are read that are only spelled otherwise: comments and folds between the parts, empty list
elements, dots in a phrase.  A source route is refused: it names hosts that are nobody's address, and nothing that sends
today writes one (RFC 5322 4.4 has it only to be ignored).
How it fails: ``Malformed``, with the reason in plain words.
Limits: ``MOST`` mailboxes, ``MAX_DEPTH`` comments within each other; the work is linear in the octets.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, NoReturn

from mta.address import Address, AddressError

#: More than anybody's message has authors.
MOST: Final = 200
MAX_DEPTH: Final = 20

# RFC 5322 3.2.3, RFC 6532 3.2; octets that are no UTF-8 are surrogates here.
_ATEXT = r"A-Za-z0-9!#$%&'*+\-/=?^_`{|}~\u0080-\U0010ffff"
_TOKEN = re.compile(
    rf"(?P<space>[ \t]+|\r\n(?=[ \t]))|(?P<atom>[{_ATEXT}]+)|(?P<quoted>\"(?:[^\"\\\r\n\x00]|\\[^\r\n\x00])*\")"
    r"|(?P<literal>\[[^\[\]\\\r\n\x00]*\])|(?P<comment>\()|(?P<sign>[<>@,:;.])"
)
_COMMENT = re.compile(r"(?:[^()\\\r\n\x00]|\\[^\r\n\x00]|\r\n(?=[ \t]))+")
_PAIR = re.compile(r"\\(.)", re.DOTALL)
_FOLD = re.compile(r"\r\n(?=[ \t])")
_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class Malformed(ValueError):
    """It is no address list; ``str()`` says why, without repeating it."""


class Listed(NamedTuple):
    """The addresses, those in groups too; and what stands beside them for people: display names and names of groups as
    they stand, quotes and all, and comments."""

    addresses: tuple[Address, ...]
    shown: tuple[str, ...] = ()


class _Token(NamedTuple):
    kind: str
    text: str
    spaced: bool = False  # something stood between it and the one before


def read_addresses(value: bytes) -> Listed:
    """An address list; it may be folded.  Raises ``Malformed``.

    An empty list, or one of empty groups, gives no address.
    """
    text = value.decode("utf-8", "surrogateescape")
    if _CONTROL.search(text):
        raise Malformed("it has a control character")
    comments: list[str] = []
    reader = _Reader(_tokens(text, comments))
    reader.read()
    return Listed(tuple(reader.addresses), (*reader.shown, *comments))


def _tokens(text: str, comments: list[str]) -> list[_Token]:
    found: list[_Token] = []
    position, spaced = 0, False
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            _refuse_sign(text[position])
        position, kind = match.end(), str(match.lastgroup)
        if kind == "space":
            spaced = True
        elif kind == "comment":
            end = _comment(text, position)
            comments.append(_FOLD.sub("", _PAIR.sub(r"\1", text[position : end - 1])))
            position, spaced = end, True
        else:
            found.append(_Token(kind, match[0], spaced))
            spaced = False
    found.append(_Token("end", ""))
    return found


def _refuse_sign(sign: str) -> NoReturn:
    what = {'"': "a quoted text has no end", "[": "an address literal has no end", ")": "a comment has no beginning"}
    raise Malformed(what.get(sign, "it has a character that may not stand there"))


def _comment(text: str, position: int) -> int:
    """Behind the comment whose parenthesis is open (RFC 5322 3.2.2)."""
    depth = 1
    while depth:
        match = _COMMENT.match(text, position)
        if match is not None:
            position = match.end()
        sign = text[position : position + 1]
        if sign == "(":
            depth += 1
        elif sign == ")":
            depth -= 1
        else:
            raise Malformed("a comment has no end")
        if depth > MAX_DEPTH:
            raise Malformed("it has too many comments within each other")
        position += 1
    return position


class _Reader:
    """Goes through the tokens once."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self.addresses: list[Address] = []
        self.shown: list[str] = []

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def read(self) -> None:
        """The whole list."""
        in_group = False
        while True:
            token = self._next
            if token.kind == "end":
                if in_group:
                    raise Malformed("a group has no end")
                return
            if token.text == "," and token.kind == "sign":
                self._at += 1  # RFC 5322 4.4: nothing may stand between two commas
            elif token.text == ";" and token.kind == "sign" and in_group:
                self._at += 1
                in_group = False
                self._separated(in_group)
            elif self._element(in_group):
                in_group = True
            else:
                self._separated(in_group)

    def _separated(self, in_group: bool) -> None:
        """Behind a mailbox or a group."""
        token = self._next
        ends = ",;" if in_group else ","
        if token.kind != "end" and not (token.kind == "sign" and token.text in ends):
            raise Malformed("something stands behind an address")

    def _element(self, in_group: bool) -> bool:
        """A mailbox; or the name of a group up to its colon, then True."""
        words = self._words()
        token = self._next
        if token.kind == "sign" and token.text == ":":
            if in_group:
                raise Malformed("a group stands within a group")
            if not words:
                raise Malformed("a group has no name")
            self._show(words)
            self._at += 1
            return True
        if token.kind == "sign" and token.text == "<":
            self._at += 1
            if self._next.kind == "sign" and self._next.text in "@,":
                raise Malformed("it has a source route")
            address = self._address(self._words())
            if not (self._next.kind == "sign" and self._next.text == ">"):
                raise Malformed("an address has no closing bracket")
            self._at += 1
            self._show(words)
        else:
            address = self._address(words)
        if len(self.addresses) >= MOST:
            raise Malformed(f"it has over {MOST} addresses")
        self.addresses.append(address)
        return False

    def _show(self, phrase: list[_Token]) -> None:
        if phrase:
            self.shown.append("".join(f"{' ' * word.spaced}{word.text}" for word in phrase).strip())

    def _words(self) -> list[_Token]:
        """Atoms, quoted texts and dots: a phrase, or a local part."""
        start = self._at
        while self._next.kind in ("atom", "quoted") or (self._next.kind == "sign" and self._next.text == "."):
            self._at += 1
        return self._tokens[start : self._at]

    def _address(self, words: list[_Token]) -> Address:
        """Up to the end of an addr-spec whose local part was read."""
        if not (self._next.kind == "sign" and self._next.text == "@"):
            raise Malformed("an address has no domain" if words else "an address is missing")
        local = "".join(_unquoted(word) for word in _dotted(words, "a local part"))
        self._at += 1
        token = self._next
        if token.kind == "literal":
            self._at += 1
            domain = token.text
        else:
            labels = self._words()
            if any(label.kind == "quoted" for label in labels):
                raise Malformed("a domain has a quoted text")
            domain = "".join(label.text for label in _dotted(labels, "a domain"))
        if _SURROGATE.search(local + domain):
            raise Malformed("an address has octets that are no UTF-8")
        try:
            return Address.parse(f"{Address(local, '')}@{domain}", utf8=True)
        except AddressError as error:
            raise Malformed(f"an address is wrong: {error}") from None


def _dotted(words: list[_Token], what: str) -> list[_Token]:
    """Words with a dot between each two, and no others (RFC 5322 3.4.1, 4.4)."""
    for index, word in enumerate(words):
        if (word.kind == "sign") is not (index % 2 == 1):
            raise Malformed(f"{what} is not well formed")
    if not len(words) % 2:
        raise Malformed(f"{what} is not well formed")
    return words


def _unquoted(word: _Token) -> str:
    return _PAIR.sub(r"\1", word.text[1:-1]) if word.kind == "quoted" else word.text
