"""The pickup folder: mail that programs of this machine left while no service ran, taken in by the one that runs now.

What it is: looks into the folder every ``LOOK`` seconds and takes each message that is whole through a session of the
user whose file it is (feeding.py), so that the same limits, policies and replies hold.
Contract: a file is gone only when its message is in the spool, or its sender is told.  What is refused for good comes
back to the sender as a report (to the user itself, where it may not be the sender); what is refused for now waits for
longer and longer, up to ``EXPIRE``.  Users are served in turn.  Of several processes one has the folder.
How it fails: a file that is none of ours (another's by a hard link, a pipe, of another form) is set aside in
``refused`` and told of in the log.  Killed between the spool and the file's end, it takes the message a second time.
Limits: ``MOST_FILES`` at one look, and the next ones at the next: who puts very many there delays the others, and keeps
nobody out; ``MOST_REFUSED`` are kept aside.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mta import events
from mta.local.folder import REFUSED
from mta.local.left import Left, NotOurs, read_left
from mta.local.taking import Taken, Taking
from mta.reply import LOCAL_ERROR, MailFailure, Reply
from mta.sendmail.dropped import READY
from mta.sendmail.place import pickup_of
from mta.sendmail.users import User
from mta.smtp.context import Context
from mta.waiting import background

log = Logger()

LOOK: Final = 5.0
#: Where there were more files than one look takes.
SOON: Final = 0.1
#: Seconds until the first look: the service has other things to do then.
FIRST: Final = 1.0
MOST_FILES: Final = 1000
MOST_REFUSED: Final = 1000
#: Seconds after which a file that was never finished belongs to a program that died.
UNFINISHED: Final = 86400.0
#: Seconds for which a message may be refused for now.
EXPIRE: Final = 5 * 86400.0
_WAITS: Final = (10.0, 60.0, 300.0, 900.0, 3600.0)


@dataclass(slots=True)
class _Progress:
    """What is known of a file that could not be taken yet: ``due`` in monotonic seconds; what has been done of it."""

    tries: int = 0
    due: float = 0.0
    taken: Taken | None = None


class Pickup:
    """See the module's text.  ``context`` gives the newest; ``closed``: no mail is taken now; ``wall``: UTC seconds."""

    def __init__(
        self,
        folder: str,
        *,
        context: Callable[[], Context],
        user_of: Callable[[int], User],
        taking: Taking,
        call_later: Callable[..., Any],
        closed: Callable[[], bool],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._pickup = pickup_of(folder)
        self._refused = os.path.join(folder, REFUSED)
        self._context = context
        self._user_of = user_of
        self._taking = taking
        self._call_later = call_later
        self._closed = closed
        self._wall = wall
        self._lock = -1
        self._known: dict[str, _Progress] = {}
        self._entries: Iterator[os.DirEntry[str]] | None = None  # where the last look ended
        self._gone: set[str] = set()  # of those that are known, who was not seen since the beginning of the folder
        self._working: Deferred[Any] | None = None
        self._stopping = False
        self._stopped: list[Deferred[None]] = []
        self._timer = call_later(FIRST, self._look)

    def stop(self) -> Deferred[None]:
        """No more looks; fires when what is under way has ended."""
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        done: Deferred[None] = Deferred()
        if self._working is None:
            self._let_go()
            done.callback(None)
        else:
            self._stopped.append(done)
        return done

    def abort(self) -> None:
        """Now."""
        if self._working is not None:
            self._working.cancel()

    def _let_go(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _look(self) -> None:
        self._timer = None
        self._working = working = background(self.look(), "looking into the pickup folder")
        working.addBoth(self._looked)

    def _looked(self, result: Any) -> None:
        self._working = None
        if not self._stopping:
            self._timer = self._call_later(LOOK if self._entries is None else SOON, self._look)
            return
        self._let_go()
        for done in self._stopped:
            done.callback(None)

    async def look(self) -> None:
        """One look: take what is there."""
        if self._closed() or not self._have_it():
            return
        for name in _in_turn(self._files()):
            if self._stopping:
                return
            known = self._known.get(name)
            if known is None or known.due <= self._context().seconds():
                await self._try(name)

    def _have_it(self) -> bool:
        """Of several processes the first has the folder, as long as it lives."""
        if self._lock >= 0:
            return True
        descriptor = os.open(self._refused, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._lock = descriptor
        return True

    def _files(self) -> Mapping[str, os.stat_result]:
        """Those that come next, in the folder's own order."""
        if self._entries is None:
            self._entries = os.scandir(self._pickup)
            self._gone = set(self._known)
        found: dict[str, os.stat_result] = {}
        entries = list(islice(self._entries, MOST_FILES))
        for entry in entries:
            try:
                found[entry.name] = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
        self._gone.difference_update(found)
        if len(entries) < MOST_FILES:
            self._entries = None
            for name in self._gone:
                self._known.pop(name, None)
        return found

    async def _try(self, name: str) -> None:
        """Take one file; whatever is wrong with it, the others are not kept from their turn."""
        path = os.path.join(self._pickup, name)
        uid = -1
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        except OSError as error:
            self._set_aside(name, uid, f"it cannot be opened: {error.strerror or error}")
            return
        try:
            found = os.fstat(descriptor)
            uid = found.st_uid
            if not self._ready(path, found):
                return
            await self._take(path, found, read_left(descriptor, found.st_size))
        except NotOurs as why:
            self._set_aside(name, uid, str(why))
        except MailFailure as failure:
            self._wait(name, uid, failure.reply)
        except OSError as error:
            self._wait(name, uid, Reply.of(451, "4.3.0", error.strerror or str(error)))
        except Exception:
            log.failure("{path} cannot be taken", path=path)
            self._wait(name, uid, LOCAL_ERROR)
        finally:
            os.close(descriptor)

    def _ready(self, path: str, found: os.stat_result) -> bool:
        """Is it whole?  Raises ``NotOurs`` for what no program of ours has written."""
        if not stat.S_ISREG(found.st_mode):
            raise NotOurs("it is no plain file")
        if found.st_nlink != 1:
            # Whose file it is says who sent it: another name for somebody else's file would say that he did.
            raise NotOurs("it has another name")
        mode = stat.S_IMODE(found.st_mode)
        if mode & ~0o700 == 0 and mode != READY:
            if self._wall() - found.st_ctime > UNFINISHED:
                os.unlink(path)
            return False
        if mode != READY:
            raise NotOurs(f"its mode is {mode:04o}, not {READY:04o}")
        return True

    async def _take(self, path: str, found: os.stat_result, left: Left) -> None:
        name, uid = os.path.basename(path), found.st_uid
        known = self._known.setdefault(name, _Progress())
        taken = known.taken or Taken(tuple(left.envelope.recipients))
        late = self._wall() - found.st_mtime > EXPIRE
        taken = known.taken = await self._taking.take(self._user_of(uid), left, taken, late)
        if taken.waiting:
            self._wait(name, uid, taken.last)
            return
        if taken.refused and not taken.told:
            try:
                taken = known.taken = await self._taking.tell(self._user_of(uid), name, left, taken)
            except MailFailure as failure:
                self._wait(name, uid, failure.reply)
                return
        os.unlink(path)
        self._known.pop(name, None)
        self._context().emit(events.PICKED_UP(file=name, uid=uid, refused=len(taken.refused)), "")

    def _wait(self, name: str, uid: int, reply: Reply) -> None:
        known = self._known.setdefault(name, _Progress())
        seconds = _WAITS[min(known.tries, len(_WAITS) - 1)]
        known.tries += 1
        known.due = self._context().seconds() + seconds
        self._context().emit(events.PICKUP_WAITS(file=name, uid=uid, seconds=round(seconds), reply=str(reply)), "")

    def _set_aside(self, name: str, uid: int, why: str) -> None:
        path = os.path.join(self._pickup, name)
        where = os.path.join(self._refused, name)
        try:
            with os.scandir(self._refused) as entries:
                full = sum(1 for _ in islice(entries, MOST_REFUSED)) == MOST_REFUSED
            if full and not os.path.isdir(path):
                os.unlink(path)
                where = "gone, since too many lie there already"
            else:
                os.rename(path, where)
        except OSError as error:
            self._wait(name, uid, Reply.of(451, "4.3.0", f"{why}; {error.strerror or error}"))
            return
        self._known.pop(name, None)
        self._context().emit(events.PICKUP_REFUSED(file=name, uid=uid, why=why, where=where), "")


def _in_turn(files: Mapping[str, os.stat_result]) -> list[str]:
    """The oldest of each user first, then the second of each."""
    turns: Counter[int] = Counter()
    order: list[tuple[int, int, str]] = []
    for name, found in sorted(files.items(), key=lambda item: (item[1].st_mtime_ns, item[0])):
        order.append((turns[found.st_uid], found.st_mtime_ns, name))
        turns[found.st_uid] += 1
    return [name for _, _, name in sorted(order)]
