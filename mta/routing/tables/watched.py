"""Files of tables, read anew when they change.

What it is: ``Watched`` holds what a file says; ``read`` is how a file is read, also by ``mta check``.
Contract: ``current`` is what the last right version of the file says.  Whether it has changed is looked for at most
once a second, by whoever asks; what it held stays in force until all of the new is read and right.
How it fails: ``TableError`` names file and line; it stops the start, and is told by ``TABLE_REFUSED`` later.  A
file that cannot be read is ``TemporaryFailure`` for whoever asks: nobody is unknown because a disk is away.
Limits: ``MAX_OCTETS`` a file; one over ``INLINE_OCTETS`` is read again outside of the reactor's thread, in blocks,
since one call on all of a large text would keep the interpreter to itself (measured: the reactor is 10 ms late at
most).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, Final, Generic, NamedTuple, Protocol, TypeVar
from weakref import WeakValueDictionary

from mta import events
from mta.config.option import Options, Path, option
from mta.plugin import Services
from mta.reply import Reply, TemporaryFailure
from mta.routing.tables.entries import TableError
from mta.waiting import background

MAX_OCTETS: Final = 128 << 20
INLINE_OCTETS: Final = 256 << 10  # some 10 ms
CHECK_SECONDS: Final = 1.0
#: A file that was changed so recently may be in the middle of being written.
SETTLE_SECONDS: Final = 1.0
#: Octets that are read at a time: a millisecond of work.
BLOCK: Final = 64 << 10

#: What no key need ever carry: controls, line separators, halves of surrogate pairs.
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
TABLE_FAILED: Final = Reply.of(451, "4.3.0", "Temporary lookup failure, please try again later")


class Sized(Protocol):
    """What a file says, however it is kept."""

    def __len__(self) -> int: ...


T = TypeVar("T", bound=Sized)
#: Makes entries of blocks of lines: (blocks, lines at most, path).
Parser = Callable[[Iterable[bytes], int, str], T]


class FileOptions(Options):
    """Options of a table that is a text file."""

    path: Path = option(doc="The file.", example='"table"')


class Signature(NamedTuple):
    """What tells one version of a file from another."""

    modified: int
    changed: int
    size: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Signature:
        return cls(status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)


class Version(Generic[T]):
    """One version of a file: what it says."""

    __slots__ = ("__weakref__", "entries", "signature")

    def __init__(self, signature: Signature, entries: T) -> None:
        self.signature = signature
        self.entries = entries


#: Versions that somebody has: a reload of the configuration reads no file that has not changed.
_known: Final[WeakValueDictionary[tuple[str, object], Version[Sized]]] = WeakValueDictionary()


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # else a FIFO in its place would hold the reactor up for ever


def read(path: str, parse: Parser[T]) -> Version[T]:
    """What a file says.  Raises ``TableError``, ``OSError``."""
    with open(path, "rb", opener=_opener) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise TableError(path, 0, "it is no regular file")
        signature = Signature.of(status)
        known: Version[T] | None = _known.get((path, parse))  # type: ignore[assignment]  # kept by its parser
        if known is not None and known.signature == signature:
            return known
        if signature.size > MAX_OCTETS:
            raise TableError(path, 0, f"{signature.size} octets are over the limit of {MAX_OCTETS}")
        lines = sum(block.count(b"\n") for block in iter(lambda: file.read(BLOCK), b"")) + 1
        file.seek(0)
        entries = parse(_blocks(file, signature.size), lines, path)
        if Signature.of(os.fstat(file.fileno())) != signature:
            raise TableError(path, 0, "it was changed while it was read")
    version = Version(signature, entries)
    _known[path, parse] = version  # type: ignore[assignment]  # as above: under its parser
    return version


#: Versions that were read to be checked, until the table is made of them: a large file is read once at a start.
_kept: Final[dict[tuple[str, object], Version[Any]]] = {}


def examine(path: str, parse: Parser[T]) -> None:
    """See whether a file is right, and keep what it says for the ``Watched`` that is made next.  Raises as ``read``."""
    _kept[path, parse] = read(path, parse)


def blocks_of(text: str) -> Iterator[bytes]:
    """A text as ``read`` gives it to a parser."""
    yield text.removeprefix("\ufeff").encode("utf-8", "surrogatepass")


def _blocks(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Whole lines, without the end of the last."""
    left, kept = size, b""
    if file.read(3) == b"\xef\xbb\xbf":
        left -= 3
    else:
        file.seek(0)
    while left > 0 and (octets := file.read(min(BLOCK, left))):
        left -= len(octets)
        whole, newline, rest = octets.rpartition(b"\n")
        if newline:
            yield kept + whole
            kept = rest
        else:
            kept += octets
    yield kept


class Watched(Generic[T]):
    """See the module's text.  Making one reads the file: ``TableError`` and ``OSError`` stop the start."""

    def __init__(self, path: str, parse: Parser[T], services: Services) -> None:
        self.path = path
        self._parse = parse
        self._services = services
        self._seconds = services.reactor.seconds
        self._version = read(path, parse)
        _kept.pop((path, parse), None)
        self._seen = self._version.signature  # of the version last read, or last found wrong
        self._trouble = ""
        self._loading = False
        self._next_check: float = self._seconds() + CHECK_SECONDS

    @property
    def signature(self) -> Signature:
        """Of the version that ``current`` gives."""
        return self._version.signature

    def current(self) -> T:
        """What the file says.  Raises ``TemporaryFailure``."""
        now = self._seconds()
        if now >= self._next_check:
            self._next_check = now + CHECK_SECONDS
            self._check()
        if self._trouble:
            raise TemporaryFailure(TABLE_FAILED, self._trouble)
        return self._version.entries

    def _check(self) -> None:
        try:
            signature = Signature.of(os.stat(self.path))
            if signature != self._seen and not self._loading and not self._in_writing(signature):
                background(self._read(signature), f"reading {self.path}")
            elif signature == self._seen:
                self._trouble = ""
        except OSError as error:
            self._unreadable(error)

    def _in_writing(self, signature: Signature) -> bool:
        # A file put in place by rename is whole; one that is written where it stands may not be yet.
        if signature.inode != self._seen.inode:
            return False
        age = self._services.now() / 1000 - signature.modified / 1e9
        return 0 <= age < SETTLE_SECONDS

    async def _read(self, signature: Signature) -> None:
        self._loading = True
        try:
            if signature.size <= INLINE_OCTETS:
                version = read(self.path, self._parse)
            else:
                version = await self._services.in_thread(read, self.path, self._parse)
        except TableError as error:
            self._refuse(error, signature)
        except OSError as error:
            self._unreadable(error)
        else:
            self._version, self._seen, self._trouble = version, version.signature, ""
            self._services.emit(events.TABLE_LOADED(table=self._services.name, entries=len(version.entries)), "")
        finally:
            self._loading = False

    def _refuse(self, error: TableError, signature: Signature) -> None:
        self._seen, self._trouble = signature, ""
        self._services.emit(events.TABLE_REFUSED(table=self._services.name, error=str(error)), "")

    def _unreadable(self, error: OSError) -> None:
        self._trouble = f"{self.path}: {error.strerror or error}"
