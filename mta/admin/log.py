"""The log: events through ``twisted.logger``, and a quick way to write them.

What it is: ``emit`` gives an event to ``twisted.logger`` as a field, with its queue id; it is formatted by
whoever shows it.  ``LogWriter`` is the observer of the daemon: one line an event, to standard error or a file
that is opened again on SIGUSR1.
Contract: what a stranger sent is escaped (``mta.events.escape``); one event is one line, but for a traceback of the
text format.  With ``as_json`` a line is a JSON object (ASCII) with ``time``, ``level``, ``id`` (the queue id, if there
is one), ``code`` and ``text``, and the details of the event by their names under ``args``.  ``mask`` is how addresses
are written.
Limits: lines are written together, at most ``DELAY`` seconds late; errors at once, with all before them.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from io import TextIOWrapper
from typing import Any, Final, TextIO

from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, formatEvent
from zope.interface import implementer

from mta import events
from mta.admin.refusals import KEPT
from mta.events import Event, escape
from mta.spool.masking import Mask, masked

#: Seconds for which lines may wait to be written together.
DELAY: Final = 0.05
#: Characters that are written to standard error at once; nearly all are one octet.
PIECE: Final = 4000

#: Told only at level "debug": what a busy server would log for each connection and step.
QUIET: Final = frozenset(
    kind.code
    for kind in (
        events.CONNECTED,
        events.DISCONNECTED,
        events.TLS_STARTED,
        events.RENAMED,
        events.COMMITTED,
        events.ROUTED,
        events.HEADER_ADDED,
    )
)
_LOUD: Final = frozenset(
    kind.code
    for kind in (
        events.SPOOL_TROUBLE,
        events.SPOOL_DAMAGE,
        events.STALLED,
        events.RELOAD_REFUSED,
        events.CERTIFICATE_REFUSED,
        events.CERTIFICATE_EXPIRES,
        events.BACKGROUND_FAILED,
    )
)

_log = Logger(namespace="mta")


class _Settings:
    """Whether quiet events are worth making; set by the observer that wants them."""

    debug = False
    #: Takes what refused something: ``mta.admin.refusals``.
    refused: Callable[[Event], None] | None = None


_settings = _Settings()


def emit(event: Event, id: str) -> None:
    """Log an event; ``id`` is the queue id, "" where there is none."""
    code = event.code
    if code in QUIET:
        if not _settings.debug:
            return
        level = LogLevel.debug
    else:
        level = LogLevel.error if code in _LOUD else LogLevel.info
        if code in KEPT and _settings.refused is not None:
            _settings.refused(event)
    # What Logger.emit makes, without its detours: two events a message are a twentieth of all work.
    _log.observer(
        {
            "mta_event": event,
            "code": code,
            "id": id,
            "log_logger": _log,
            "log_level": level,
            "log_namespace": _log.namespace,
            "log_source": None,
            "log_format": "{id} {code}: {mta_event}",
            "log_time": time.time(),
        }
    )


def keep_refused(keep: Callable[[Event], None] | None) -> None:
    """From now on hand the events that refuse something to ``keep`` too."""
    _settings.refused = keep


@implementer(ILogObserver)
class LogWriter:
    """See the module's text.  ``path`` empty: standard error.  Raises ``OSError`` if it cannot be opened."""

    def __init__(self, path: str = "", debug: bool = False, as_json: bool = False) -> None:
        self.path = path
        self.mask: Mask | None = None
        self._form = self._json if as_json else self._format
        self.debug = _settings.debug = debug
        self._lines: list[str] = []
        self._later: Callable[..., Any] | None = None
        self._file: TextIO = sys.stderr
        self._second = 0
        self._stamp = ""
        self.reopen()

    def join_writes(self, call_later: Callable[..., Any]) -> None:
        """From now on lines may wait for each other; before, each is written at once."""
        self._later = call_later

    def reopen(self) -> None:
        """Open the file again, after somebody moved it away."""
        self.flush()
        if self.path:
            whole: Any = open(self.path, "ab", buffering=0)  # noqa: SIM115  # lives as long as the log
            # What is written together is one write: the lines of several processes do not mix.
            old, self._file = self._file, TextIOWrapper(whole, "utf-8", "backslashreplace", write_through=True)
            with suppress(PermissionError):  # the file of another who lets us write: its mode is theirs
                os.chmod(self.path, 0o640)
            if old is not sys.stderr:
                old.close()

    def __call__(self, event: LogEvent) -> None:
        level = event.get("log_level", LogLevel.info)
        if level is LogLevel.info and event.get("log_namespace") == "log_legacy":
            level = LogLevel.debug  # Twisted's own ports that open and close, those of DNS questions too
        if level is LogLevel.debug and not self.debug:
            return
        self._lines.append(self._form(event, level))
        if self._later is None or level in (LogLevel.error, LogLevel.critical):
            self.flush()
        elif len(self._lines) == 1:
            self._later(DELAY, self.flush)

    def flush(self) -> None:
        """Write what waits."""
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        try:
            for text in ["".join(lines)] if self.path else _pieces(lines):
                self._file.write(text)
                self._file.flush()
        except (OSError, ValueError):
            pass  # the disk is full or the terminal gone: mail goes on without its log

    def _format(self, event: LogEvent, level: Any) -> str:
        seconds = event.get("log_time", 0.0)
        whole = int(seconds)
        if whole != self._second:
            self._second = whole
            self._stamp = datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        stamp = f"{self._stamp}.{int((seconds - whole) * 1000):03d}Z"
        ours = event.get("mta_event")
        if ours is not None:
            id = event["id"]
            said = str(ours) if self.mask is None else self.mask(str(ours))
            return f"{stamp} {id}{' ' if id else ''}{ours.code}: {said}\n"
        text = f"{stamp} {event.get('log_namespace', '-')}: {escape(formatEvent(event))}\n"
        failure = event.get("log_failure")
        if failure is not None:
            lines = failure.getTraceback().splitlines()
            text += "".join(f"    {escape(line)}\n" for line in lines)
        return text if self.mask is None else self.mask(text)

    def _json(self, event: LogEvent, level: Any) -> str:
        moment = datetime.fromtimestamp(event.get("log_time", 0.0), UTC)
        fields: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": level.name,
        }
        ours = event.get("mta_event")
        if ours is not None:
            if event["id"]:
                fields["id"] = event["id"]
            fields |= {"code": ours.code, "text": str(ours), "args": ours.args}
        else:
            fields |= {"code": event.get("log_namespace", "-"), "text": escape(formatEvent(event))}
            failure = event.get("log_failure")
            if failure is not None:
                fields["traceback"] = failure.getTraceback()
        if self.mask is not None:
            fields = masked(self.mask, fields)
        return json.dumps(fields, default=str) + "\n"


def _pieces(lines: list[str]) -> Iterator[str]:
    """Lines together, as many as a pipe takes at once (pipe(7): PIPE_BUF octets), where others write to it too."""
    piece = ""
    for line in lines:
        if piece and len(piece) + len(line) > PIECE:
            yield piece
            piece = ""
        piece += line
    yield piece
