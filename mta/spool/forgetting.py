"""Jobs of the writer that make the history forget who somebody was: all of it, or one person.

Contract: as ``mta.spool.masking``: only messages that have ended for all their recipients are touched.
Limits: ``SLICE`` messages a batch.
"""

from __future__ import annotations

from typing import Final

from mta.spool.batch import needed
from mta.spool.jobs import Then
from mta.spool.masking import ADDRESS, NOBODY, Mask, rewrite
from mta.spool.narrow import candidates
from mta.spool.settle import mailbox
from mta.spool.store import Store
from mta.spool.upkeep import SliceJob

SLICE: Final = 200
#: Under this name ``meta`` keeps as what the whole history is masked.
_MASKED: Final = "masked"
_ENDED: Final = (
    "SELECT id FROM message m WHERE id > ?"
    " AND NOT EXISTS (SELECT 1 FROM recipient WHERE message = m.id)"
    " AND NOT EXISTS (SELECT 1 FROM notice WHERE message = m.id) ORDER BY id LIMIT ?"
)


class MaskJob(SliceJob):
    """Mask what had ended before the configuration said so; once for each ``mode``."""

    def __init__(self, mode: str, mask: Mask | None, then: Then) -> None:
        self.then = then
        self._mode = mode
        self._mask = mask
        self._after = -1
        self._last = -1

    def run(self, store: Store) -> list[int]:
        db = store.db
        row = db.execute("SELECT value FROM meta WHERE key = ?", (_MASKED,)).fetchone()
        if (row is None and self._mask is None) or row == (self._mode,):
            self.again = False
            return []
        ids = [] if self._mask is None else [n for (n,) in db.execute(_ENDED, (self._after, SLICE))]
        if self._mask is not None:
            for number in ids:
                rewrite(store, number, self._mask)
        self.again = len(ids) == SLICE
        self._last = ids[-1] if ids else self._after
        if not self.again:
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_MASKED, self._mode))
        return []

    def advance(self) -> None:
        self._after = self._last


class EraseJob(SliceJob):
    """Erase one address from the history; ``count`` messages named it.

    ``hashed`` is how the history has it where ``privacy.addresses`` is "hash", else "".
    """

    def __init__(self, address: str, hashed: str, then: Then) -> None:
        self.then = then
        self._address = mailbox(address).lower()
        self._hashed = hashed
        self._after = -1
        self._slice = (0, -1)
        self.count = 0

    def run(self, store: Store) -> list[int]:
        db = store.db
        if self._after < store.named:
            names = [name for name in (self._address, self._hashed) if name]
            ids = candidates(db, names, self._after + 1, SLICE)
            last = ids[-1] if len(ids) == SLICE else store.named
            ids = [number for number in ids if not needed(db, number)]
            self.again = True
        else:
            ids = [n for (n,) in db.execute(_ENDED, (self._after, SLICE))]
            last = ids[-1] if ids else self._after
            self.again = len(ids) == SLICE
        self._slice = (sum(rewrite(store, number, self._erase) for number in ids), last)
        return []

    def _erase(self, text: str) -> str:
        if self._hashed:
            text = text.replace(self._hashed, NOBODY)
        if "@" not in text:
            return text
        return ADDRESS.sub(lambda match: NOBODY if match[0].lower() == self._address else match[0], text)

    def advance(self) -> None:
        count, self._after = self._slice
        self.count += count
