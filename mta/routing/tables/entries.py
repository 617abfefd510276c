"""The entries of a table file, a million of them as well as ten: the file's own text, and an index into it.

What it is: ``build`` reads lines into an ``Entries``.  One entry a line, ``key: value`` or a key alone; a line that
begins with white space goes on with the one before (the classic aliases file is a file of this form); ``#`` at its
begin makes a line a comment.
Contract: keys are kept as by ``mta.routing.keys.table_key``, and are asked for in that form.  A look-up is one probe
of a hash table; the line of an entry is counted when somebody asks for it, from a mark before it (some microseconds).
How it fails: ``TableError`` with file and line.
Limits: the index has 32 bits, so a text has below 4 GiB; ``mta.routing.tables.watched`` allows far less.
Measured (``python -m benchmarks.tables``): 75 octets an entry where a ``dict`` of strings takes 191.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from mta.routing.keys import table_key

# Most lines: a key that needs no more than lower case (as mta.routing.keys has it), and what stands behind it.
_PLAIN: Final = re.compile(rb"([\w+\-.]+(?:@[A-Za-z0-9\-.]*[A-Za-z0-9])?)[ \t]*(?::[ \t]*(.*))?\Z")
# A key ends at the first colon outside of a quoted local part and of an address literal.
_ENTRY: Final = re.compile(r'((?:"(?:\\.|[^"\\])*"|\[[^\]]*\]|[^\s:"\[])+)\s*(?::\s*(.*))?\Z')
#: Ends a key in the text: it may stand in no key and no value.
_END: Final = b"\0"
#: So many lines are counted at most to tell the line of an entry.
MARK: Final = 128


class TableError(ValueError):
    """A table file that is wrong: file, line (0: the whole file) and what is wrong with it."""

    def __init__(self, path: str, line: int, problem: str) -> None:
        super().__init__(f"{path}:{line}: {problem}" if line else f"{path}: {problem}")
        self.path = path
        self.line = line
        self.problem = problem


class Entries(Mapping[str, str]):
    """See the module's text.  The text has a line for each of the file: ``key NUL value``, or nothing."""

    __slots__ = ("_before", "_count", "_marks", "_mask", "_slots", "_text")

    def __init__(self, text: bytearray, slots: array[int], count: int, marks: array[int], before: array[int]) -> None:
        self._text = text
        self._marks = marks  # places in it
        self._before = before  # the lines before each
        self._slots = slots  # where an entry begins, counted from 1; 0: free
        self._mask = len(slots) - 1
        self._count = count

    def _find(self, key: str) -> tuple[int, int]:
        """Where the entry and its value begin; -1 where there is none."""
        octets = key.encode("utf-8", "surrogatepass")
        begin = octets + _END
        text, slots, mask = self._text, self._slots, self._mask
        slot = hash(octets) & mask
        while at := slots[slot]:
            if text.startswith(begin, at - 1):
                return at - 1, at - 1 + len(begin)
            slot = (slot + 1) & mask
        return -1, -1

    def __getitem__(self, key: str) -> str:
        value = self._find(key)[1]
        if value < 0:
            raise KeyError(key)
        return self._text[value : self._text.index(b"\n", value)].decode()

    def line(self, key: str) -> int:
        """The line in which the entry begins; 0: there is none."""
        at = self._find(key)[0]
        if at < 0:
            return 0
        block = bisect_right(self._marks, at) - 1
        return self._before[block] + self._text.count(b"\n", self._marks[block], at) + 1

    def __iter__(self) -> Iterator[str]:
        return (key for key, _ in self.pairs())

    def pairs(self) -> Iterator[tuple[str, str]]:
        """What ``items`` gives, without a look-up for each."""
        text, begin = self._text, 0
        while (end := text.find(b"\n", begin)) >= 0:
            if end > begin:
                key, _, value = text[begin:end].partition(_END)
                yield key.decode(), value.decode()
            begin = end + 1

    def __len__(self) -> int:
        return self._count


def build(blocks: Iterable[bytes], lines: int, path: str) -> Entries:
    """Entries from octets, each block of whole lines without the end of its last; ``lines`` of them at most.

    Raises ``TableError``.
    """
    builder = _Builder(lines, path)
    for block in blocks:
        builder.add(block)
    return builder.end()


class _Builder:
    def __init__(self, lines: int, path: str) -> None:
        self._path = path
        self._lines = lines
        self._slots = array("I", bytes(4 << max(3, (2 * lines).bit_length())))
        self._text = bytearray()
        self._marks = array("I")
        self._before = array("I")
        self._count = 0
        self._number = 0
        self._last = 0  # where the value of the last entry ends; 0: there is none
        self._bare = False  # the last entry was a key alone

    def add(self, block: bytes) -> None:
        """Some lines more.  The loop runs for every line of every table: two seconds for a million of them."""
        if _END in block:
            bad = self._number + block.count(b"\n", 0, block.index(_END)) + 1
            raise TableError(self._path, bad, "there is a NUL character")
        plain = block.isascii()
        if not plain:
            self._decode(block)
        lines = block.split(b"\n")
        first = self._number + 1
        if first + len(lines) - 1 > self._lines:
            raise TableError(self._path, 0, "it was changed while it was read")
        for start in range(0, len(lines), MARK):
            self._marks.append(len(self._text))
            self._before.append(first + start - 1)
            self._add(lines[start : start + MARK], first + start, plain)
        self._number = first + len(lines) - 1

    def _add(self, lines: Sequence[bytes], first: int, plain: bool) -> None:
        slots, text, match = self._slots, self._text, _PLAIN.match
        mask = len(slots) - 1
        for number, line in enumerate(lines, first):
            found = match(line.rstrip())
            if found is None or not (plain or line.isascii()):
                self._number = number
                self._other(line)
                continue
            key, value = found.groups(b"")
            key = key.lower()
            if b"xn--" in key:
                key = table_key(key.decode()).encode()
            begin = key + _END
            slot = hash(key) & mask
            while at := slots[slot]:
                if text.startswith(begin, at - 1):
                    self._twice(key, at, number)
                slot = (slot + 1) & mask
            slots[slot] = len(text) + 1
            text += begin
            text += value
            self._last, self._bare = len(text), found[2] is None
            self._count += 1
            text += b"\n"

    def _decode(self, block: bytes) -> None:
        try:
            block.decode("utf-8")
        except UnicodeDecodeError as error:
            line = self._number + block.count(b"\n", 0, error.start) + 1
            raise TableError(self._path, line, "the text is not UTF-8") from error

    def _twice(self, key: bytes, at: int, number: int) -> None:
        line = self._text.count(b"\n", 0, at) + 1
        raise TableError(self._path, number, f"the key {key.decode()} stands already in line {line}")

    def _other(self, octets: bytes) -> None:
        """A line that is not plain: nothing, a comment, one that goes on with an entry, or an entry beyond ASCII."""
        line = octets.decode()
        content = line.strip()
        if not content or content.startswith("#"):
            self._text += b"\n"
        elif line[0] in " \t":
            self._go_on(content)
        else:
            self._entry(content)

    def _go_on(self, content: str) -> None:
        if not self._last:
            raise TableError(self._path, self._number, "the first entry is indented: it would go on with a line before")
        if self._bare:
            what = f'the line before is a key alone, and this one goes on with it: "{content[:60]}"'
            raise TableError(self._path, self._number, what)
        empty = self._text[self._last - 1 : self._last] == _END
        more = ("" if empty else " ") + content
        octets = more.encode()
        self._text[self._last : self._last] = octets
        for block in range(len(self._marks) - 1, -1, -1):
            if self._marks[block] <= self._last:
                break
            self._marks[block] += len(octets)  # it goes on with an entry before that mark
        self._last += len(octets)
        self._text += b"\n"

    def _entry(self, content: str) -> None:
        found = _ENTRY.match(content)
        if found is None:
            raise TableError(self._path, self._number, f'"{content[:60]}" is not "key: value" nor a single key')
        key = table_key(found[1]).encode()
        slots, mask = self._slots, len(self._slots) - 1
        slot = hash(key) & mask
        while at := slots[slot]:
            if self._text.startswith(key + _END, at - 1):
                self._twice(key, at, self._number)
            slot = (slot + 1) & mask
        slots[slot] = len(self._text) + 1
        self._text += key + _END + (found[2] or "").encode()
        self._last, self._bare = len(self._text), found[2] is None
        self._count += 1
        self._text += b"\n"

    def end(self) -> Entries:
        return Entries(self._text, self._slots, self._count, self._marks, self._before)
