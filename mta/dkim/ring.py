"""The keys that sign now, as the files have them: read when first needed, and again when they have changed.

Contract: a change is seen within ``LOOK`` seconds.  Keys that can no longer be read stay as they were, and are told
once.
How it fails: ``Unusable`` where a domain has keys, and none of them could ever be read.
Limits: files are looked at and read in the reactor's thread: some microseconds for a look, a millisecond to read.
``MOST`` domains are remembered; more are read anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from twisted.logger import Logger

from mta.dkim.store import KeyFiles, Signing, Unusable

log = Logger()

LOOK: Final = 5.0
MOST: Final = 10_000


class _Known(NamedTuple):
    stamp: tuple[int, int, int]
    looked: float
    signing: tuple[Signing, ...]
    trouble: Unusable | None = None


class KeyRing:
    """See the module's text.  ``seconds`` is the monotonic clock."""

    def __init__(self, files: KeyFiles, seconds: Callable[[], float]) -> None:
        self._files = files
        self._seconds = seconds
        self._known: dict[str, _Known] = {}

    def signing(self, domain: str) -> tuple[Signing, ...]:
        """The keys of a domain (as by ``normal_domain``), none where it has none.  Raises ``Unusable``."""
        known, now = self._known.get(domain), self._seconds()
        if known is None or now - known.looked >= LOOK:
            known = self._look(domain, known, now)
        if known is None:
            return ()
        if known.trouble is not None and not known.signing:
            raise known.trouble
        return known.signing

    def _look(self, domain: str, known: _Known | None, now: float) -> _Known | None:
        stamp = None if not domain or domain.startswith("[") else self._files.stamp(domain)
        if stamp is None:
            self._known.pop(domain, None)
            return None
        trouble = None
        if known is not None and known.stamp == stamp and known.trouble is None:
            signing = known.signing
        else:
            try:
                signing = self._files.signing(domain)
            except Unusable as error:
                signing, trouble = known.signing if known is not None else (), error
                if known is None or str(known.trouble) != str(error):
                    log.error("dkim: {error}", error=str(error))
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[domain] = known = _Known(stamp, now, signing, trouble)
        return known
