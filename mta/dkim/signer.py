"""Signs a message: reads it once, and gives back the DKIM-Signature fields to be put on top of it.

Contract: ``sign`` asks ``choose`` for the domain as soon as the header section is known, and reads no further where
there is none to sign for.  Every key of the domain that is in use makes a field.
RSA is reckoned in a thread: half a millisecond of CPU, during which the reactor goes on, since the library lets go of
the interpreter meanwhile; Ed25519 takes a twentieth of that, which is less than the way to a thread and back.
How it fails: ``TemporaryFailure`` (451 4.7.0) where there are keys that cannot be used: unsigned mail would be held
against the domain; and whatever the store of the message raises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from twisted.internet.defer import Deferred

from mta import events
from mta.dkim.keys import Algorithm
from mta.dkim.ring import KeyRing
from mta.dkim.sign import Digest
from mta.dkim.store import Signing, Unusable
from mta.events import Event
from mta.interfaces import IChunks
from mta.message.author import author_domain
from mta.message.edits import Edit
from mta.message.header import Header
from mta.reply import Reply, TemporaryFailure

NO_KEYS: Final = Reply.of(451, "4.7.0", "The message cannot be signed now")

#: From the header section to the domain that signs; "": nobody does.
Choose = Callable[[Header], str]


class Signed(NamedTuple):
    """``fields`` go on top of the message; b"" where nobody signs.  ``domain`` is whose keys were looked for."""

    fields: bytes = b""
    domain: str = ""
    selectors: tuple[str, ...] = ()

    @property
    def edits(self) -> tuple[Edit, ...]:
        return (Edit(0, 0, self.fields),) if self.fields else ()

    def story(self, at: int = 0) -> tuple[Event, ...]:
        """What there is to tell."""
        return (events.SIGNED(at, domain=self.domain, selectors=list(self.selectors)),) if self.fields else ()


UNSIGNED: Final = Signed()


class Signer:
    """See the module's text.  ``now`` is UTC milliseconds; ``in_thread`` runs work outside the reactor.  ``parents``:
    a domain without keys of its own is signed for by the one above it."""

    def __init__(
        self,
        ring: KeyRing,
        now: Callable[[], int],
        in_thread: Callable[..., Deferred[bytes]],
        parents: bool = False,
    ) -> None:
        self._ring = ring
        self._now = now
        self._in_thread = in_thread
        self._parents = parents

    def author(self, header: Header) -> str:
        """The domain that signs for the author of a message, "" where there is none with keys.

        Of several authors in several domains nobody is chosen: DMARC would not, either (RFC 7489 6.6.1)."""
        return self.able(author_domain(header))

    def able(self, domain: str) -> str:
        """The domain, or the one above it that signs for it; "" where neither has keys.  As ``sign`` it fails."""
        while domain.count("."):
            if self._keys(domain):
                return domain
            if not self._parents:
                break
            domain = domain.partition(".")[2]
        return ""

    async def sign(self, chunks: IChunks, choose: Choose) -> Signed:
        """See the module's text.  ``chunks`` are the message as it will leave; they are closed."""
        digest = Digest()
        domain = ""
        try:
            while True:
                piece = chunks.next()
                octets = piece if isinstance(piece, bytes) else await piece
                if not octets:
                    break
                digest.feed(octets)
                if not domain and digest.known and not (domain := choose(digest.header)):
                    return UNSIGNED
        finally:
            chunks.close()
        digest.finish()
        if not domain and not (domain := choose(digest.header)):
            return UNSIGNED
        signing = self._keys(domain)
        if not signing:
            return UNSIGNED._replace(domain=domain)
        drafts = digest.drafts([one.who for one in signing], self._now())
        fields = []
        for (who, key), draft in zip(signing, drafts, strict=True):
            if who.algorithm is Algorithm.RSA:
                signature = await self._in_thread(key.sign, draft.octets)
            else:
                signature = key.sign(draft.octets)
            fields.append(draft.field(signature))
        return Signed(b"".join(fields), domain, tuple(one.who.selector for one in signing))

    def _keys(self, domain: str) -> tuple[Signing, ...]:
        try:
            return self._ring.signing(domain)
        except Unusable as error:
            raise TemporaryFailure(NO_KEYS, str(error)) from error
