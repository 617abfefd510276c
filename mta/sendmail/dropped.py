"""A message in the pickup folder: how it is written, and what its beginning says.

What it is: one file a message: a line with the format's name, a line of JSON with the envelope, then the octets as they
would go by SMTP, from the first to the last.  ``drop`` writes one; the service (mta/local/pickup.py) reads it with
``read_envelope``.
Contract: who sent it is the file's owner, which nobody can forge; the file says nothing of that.  A file whose mode is
``READY`` is whole and on disk: it gets that mode last, after a sync.  It is never renamed: who may only write into a
folder cannot sync it, and so could not make a new name durable; a sync of the file makes its first name durable.
How it fails: ``Trouble`` with EX_TEMPFAIL where it cannot be written; ``ValueError`` for a file that is none.
Limits: ``MOST_ENVELOPE`` octets of envelope.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from mta.sendmail.statuses import TEMPFAIL, Trouble

FORMAT: Final = b"txmta pickup 1\n"
WRITING: Final = 0o600
READY: Final = 0o644
MOST_ENVELOPE: Final = 1 << 20
#: What the first two lines take at most.
MOST_HEAD: Final = len(FORMAT) + MOST_ENVELOPE + 1
_TEXTS: Final = ("notify", "ret", "envid", "body")


class Envelope(NamedTuple):
    """As the command line has it; addresses may lack their domain.  ``sender`` None: whoever owns the file."""

    sender: str | None
    recipients: tuple[str, ...]
    notify: str = ""
    ret: str = ""
    envid: str = ""
    body: str = ""


def head_of(envelope: Envelope) -> bytes:
    """The first two lines."""
    return FORMAT + json.dumps(envelope._asdict()).encode("ascii") + b"\n"


def read_envelope(octets: bytes) -> tuple[Envelope, int]:
    """The envelope of a file that begins so, and where the message begins.  Raises ``ValueError``."""
    if not octets.startswith(FORMAT):
        raise ValueError("it does not begin as one of this format does")
    end = octets.find(b"\n", len(FORMAT), MOST_HEAD)
    if end < 0:
        raise ValueError("its envelope does not end")
    try:
        found: Any = json.loads(octets[len(FORMAT) : end])
    except (ValueError, RecursionError):
        raise ValueError("its envelope is no JSON") from None
    if not isinstance(found, dict) or set(found) != set(Envelope._fields):
        raise ValueError("its envelope has other keys than this version knows")
    recipients = found["recipients"]
    if not (isinstance(recipients, list) and recipients and all(isinstance(one, str) for one in recipients)):
        raise ValueError("its envelope has no list of recipients")
    if not (found["sender"] is None or isinstance(found["sender"], str)):
        raise ValueError("its sender is no text")
    if not all(isinstance(found[name], str) for name in _TEXTS):
        raise ValueError("its envelope has something that is no text")
    texts = [found["sender"] or "", *recipients, *(found[name] for name in _TEXTS)]
    if any(ord(letter) < 32 or ord(letter) == 127 for text in texts for letter in text):
        raise ValueError("its envelope has control characters")
    return Envelope(**{**found, "recipients": tuple(recipients)}), end + 1


def drop(folder: str, envelope: Envelope, octets: Iterable[bytes]) -> None:
    """Leave a message in the pickup folder; durable when it returns."""
    head = head_of(envelope)
    if len(head) > MOST_HEAD:
        raise Trouble(TEMPFAIL, "so many recipients are taken only while the service runs, which it does not")
    # Nobody but the service can list the folder: a name that cannot be guessed cannot be read either.
    path = os.path.join(folder, f"{time.time_ns():x}-{os.urandom(16).hex()}")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, WRITING)
    except OSError as error:
        why = "you are not of its group" if isinstance(error, PermissionError) else error.strerror or str(error)
        text = f"the service is not running, and mail cannot be left in {folder}: {why}"
        raise Trouble(TEMPFAIL, text) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(head)
            for piece in octets:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), READY)
            os.fsync(file.fileno())
    except OSError as error:
        os.unlink(path)
        raise Trouble(TEMPFAIL, f"the message cannot be left in {folder}: {error.strerror or error}") from None
    except BaseException:
        os.unlink(path)
        raise
