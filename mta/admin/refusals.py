"""What was refused lately, kept so that ``mta explain ADDRESS`` can say why mail never got a queue id.

What it is: ``Refusals`` writes the events that refuse something as lines of JSON into ``refused/`` of the state folder;
``refused_events`` reads them, with the service running or stopped; ``erase_refused`` takes out the lines of an address.
Contract: addresses are written as ``privacy.addresses`` says, which is in the name of a file; those of another way of
writing are removed.  Of the two files of a worker, ``N-full`` and ``N-full.old``, none has a line older than
``privacy.history``, once ``tidy`` has been called.  Nothing here can hinder mail.
Each file is changed by one process: its worker, or the first where there is no such worker any more.
How it fails: what cannot be written is dropped: the log has it too.  A line that cannot be read is passed over.
Limits: half of ``privacy.refused`` a file; ``MOST_OF_ONE`` lines an hour of one client (a /64 of IPv6), so that one who
tries a dictionary does not push out all others; ``MOST_WAITING`` lines in memory.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Final

from mta import events
from mta.admin.logfile import named
from mta.events import Event
from mta.spool.masking import Mask, masked
from mta.spool.settle import mailbox
from mta.workers.place import Place

FOLDER: Final = "refused"
MOST_OF_ONE: Final = 100
MOST_WAITING: Final = 500
#: Clients that are counted at a time; then all begin anew.
MOST_CLIENTS: Final = 20_000
#: Seconds for which lines may wait to be written together.
DELAY: Final = 0.1
_HOUR: Final = 3_600_000
#: One process is the whole service.
ALONE: Final = Place()
#: Octets of a file that are read at most, whatever wrote it.
_MOST_READ: Final = 256 << 20

#: The events that are kept.
KEPT: Final = frozenset(
    kind.code
    for kind in (
        events.CONNECTION_REFUSED,
        events.COMMAND_REFUSED,
        events.RECIPIENT_REFUSED,
        events.REFUSED,
        events.UNFINISHED,
        events.SPOKE_EARLY,
        events.TLS_FAILED,
    )
)


class Refusals:
    """See the module's text.  Nothing is kept before ``configure``."""

    def __init__(
        self, state: str, *, now: Callable[[], int], call_later: Callable[..., Any] | None = None, place: Place = ALONE
    ) -> None:
        self._state = state
        self._place = place
        self._now = now
        self._call_later = call_later
        self._mask: Mask | None = None
        self._size = 0
        self._history = 0
        self._name("full")
        self._lines: list[bytes] = []
        self._counts: Counter[str] = Counter()
        self._hour = 0

    def _name(self, mode: str) -> None:
        self._file = Path(self._state) / FOLDER / f"{self._place.number}-{mode}"
        self._old = self._file.with_suffix(".old")

    def configure(self, mode: str, mask: Mask | None, size: int, history: int) -> None:
        """``privacy.addresses`` with its mask, ``privacy.refused`` in octets, ``privacy.history`` in milliseconds."""
        self.flush()
        self._name(mode)
        self._mask, self._size, self._history = mask, size, history
        try:
            for path in refused_files(self._state):
                if self._mine(path) and path.stem.partition("-")[2] != mode:
                    path.unlink(missing_ok=True)
        except OSError:
            pass  # told where it is read

    def note(self, event: Event) -> None:
        """Something was refused."""
        if not self._size:
            return
        now = self._now()
        if now - self._hour >= _HOUR or len(self._counts) >= MOST_CLIENTS:
            self._hour = now
            self._counts.clear()
        who = client_key(str(event.args.get("client", "")))
        self._counts[who] += 1
        if self._counts[who] > MOST_OF_ONE:
            if self._counts[who] > MOST_OF_ONE + 1:
                return
            until = datetime.fromtimestamp((self._hour + _HOUR) / 1000, UTC)
            event = events.NOT_KEPT(client=who, until=f"{until:%H:%M} UTC")
        args: Any = event.args if self._mask is None else masked(self._mask, event.args)
        self._lines.append(json.dumps({"at": now, "code": event.code, "args": args}, default=str).encode() + b"\n")
        if self._call_later is None or len(self._lines) >= MOST_WAITING:
            self.flush()
        elif len(self._lines) == 1:
            self._call_later(DELAY, self.flush)

    def flush(self) -> None:
        """Write what waits."""
        if not self._lines:
            return
        text = b"".join(self._lines)
        self._lines.clear()
        try:
            self._file.parent.mkdir(0o700, exist_ok=True)
            descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
            try:
                os.write(descriptor, text)
                size = os.fstat(descriptor).st_size
            finally:
                os.close(descriptor)
            if size > self._size // 2:
                os.replace(self._file, self._old)
        except OSError:
            pass  # a full disk, or one that is gone: mail goes on without this

    def _mine(self, path: Path) -> bool:
        """Does no other process change this file?  Those of workers that there are no longer are the first's."""
        number, place = path.name.partition("-")[0], self._place
        whose = int(number) if number.isdigit() else 0
        return place.number == (whose if whose < place.workers else 0)

    def erase(self, address: str, hashed: str) -> int:
        """As ``erase_refused``, in the files of this process: the others do theirs."""
        self.flush()
        return erase_refused(self._state, address, hashed, self._mine)

    def tidy(self) -> None:
        """Let go of what is older than the history, or no longer to be kept."""
        self.flush()
        half = self._now() - self._history // 2
        try:
            if not self._size or _last(self._old) < half:
                self._old.unlink(missing_ok=True)
            if not self._size:
                self._file.unlink(missing_ok=True)
            elif _first(self._file) < half:
                os.replace(self._file, self._old)
        except OSError:
            pass


def client_key(client: str) -> str:
    """Who counts as one: an IPv4 address, or a /64 of IPv6."""
    if ":" not in client:
        return client
    try:
        return str(ip_network(f"{client}/64", strict=False))
    except ValueError:
        return client


def _last(path: Path) -> float:
    """When the file was written last; far ahead where there is none."""
    return path.stat().st_mtime * 1000 if path.exists() else float("inf")


def _first(path: Path) -> float:
    """The time of its first line; far ahead where there is none."""
    if path.exists():
        for event in _events(path):
            return event.at
    return float("inf")


def refused_files(state: str) -> list[Path]:
    """The files of all workers, the older one of each first."""
    try:
        found = [path for path in (Path(state) / FOLDER).iterdir() if path.suffix in ("", ".old")]
        return sorted(found, key=lambda path: (path.stem, path.suffix == ""))
    except FileNotFoundError:
        return []


def refused_events(state: str) -> list[Event]:
    """All that is kept, oldest first.  Raises ``OSError``."""
    return sorted((event for path in refused_files(state) for event in _events(path)), key=lambda event: event.at)


def _events(path: Path) -> Iterator[Event]:
    with open(path, "rb") as file:
        for line in file.read(_MOST_READ).splitlines():
            try:
                fields = json.loads(line)
                event = Event(str(fields["code"]), dict(fields["args"]), int(fields["at"]))
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
            yield event


class Asked:
    """Does an event concern what somebody asks about: an address, ``@domain``, or a client's address or network?"""

    def __init__(self, text: str, mask: Mask) -> None:
        self._network = None if "@" in text else ip_network(text, strict=False)
        plain = mailbox(text)
        self._domain = plain.casefold() if plain.startswith("@") else ""
        self._forms = {plain.casefold(), mask(plain).casefold()} if "@" in text else set()

    def concerns(self, event: Event) -> bool:
        """Is it about that?"""
        args = event.args
        if self._network is not None:
            return self._in_network(str(args.get("client", "")))
        return any(self._is(one) for one in _addresses(args))

    def _is(self, address: str) -> bool:
        address = address.casefold()
        return address in self._forms or bool(self._domain and address.endswith(self._domain))

    def _in_network(self, client: str) -> bool:
        try:
            if "/" in client:  # the /64 of ``NOT_KEPT``
                return ip_network(client).overlaps(self._network) if self._network is not None else False
            return ip_address(client) in self._network if self._network is not None else False
        except (ValueError, TypeError):
            return False


def _addresses(args: Mapping[str, Any]) -> Iterator[str]:
    recipients = args.get("recipients")
    given = [args.get("sender"), args.get("address"), *(recipients if isinstance(recipients, list) else [])]
    yield from (one for one in given if isinstance(one, str) and one)
    said = args.get("said")
    if isinstance(said, str):
        for word in said.split():
            yield word.rpartition("<")[2].partition(">")[0] if "<" in word else word.partition(":")[2]


def erase_refused(state: str, address: str, hashed: str, mine: Callable[[Path], bool] | None = None) -> int:
    """Take out the lines that name an address, or its hash; how many.  Raises ``OSError``.  ``mine``: in which files,
    as long as others write."""
    forms = [mailbox(address), *([hashed] if hashed else [])]
    count = 0
    for path in filter(mine, refused_files(state)):
        lines = path.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if not any(named(form, _text(line)) for form in forms)]
        if len(kept) < len(lines):
            count += len(lines) - len(kept)
            fresh = path.with_suffix(".new")
            fresh.write_bytes(b"".join(kept))
            os.chmod(fresh, 0o600)
            os.replace(fresh, path)
    return count


def _text(line: bytes) -> str:
    """The strings of a line, apart, so that an address in it stands by itself."""
    try:
        fields: Any = json.loads(line)
    except (ValueError, RecursionError):
        return line.decode("utf-8", "backslashreplace")
    return " ".join(_strings(fields))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
