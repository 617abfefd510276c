"""What the server side of every SASL mechanism has in common (RFC 4422): an exchange, step by step.

What it is: ``Exchange`` takes the client's responses, octets as they are after base64, and returns what is next: a
``Challenge``, a question (``NeedsKeys``), ``Done`` with the credentials that the client gave, or ``Failed``.
Contract: an exchange is pure and knows nothing of accounts; whoever drives it asks ``IAccounts``, and has the
credentials judged.  ``Done`` says that the exchange is over, not that the client is let in.
How it fails: ``Failed``, never anything else, whatever the octets: tests/fuzz has arbitrary ones.
Limits: a response is as long as the line that it came in (``MOST_RESPONSE``); each mechanism has a fixed number of
steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple, TypeAlias

from twisted.cred.credentials import ICredentials

if TYPE_CHECKING:
    from mta.accounts.values import ScramKeys

#: Octets of a line that is a response, with its CRLF (RFC 4954 4).
MOST_LINE: Final = 12_288
#: What base64 makes of it.
MOST_RESPONSE: Final = MOST_LINE // 4 * 3


class Challenge(NamedTuple):
    """To be sent to the client, in base64."""

    octets: bytes


class NeedsKeys(NamedTuple):
    """The keys of an account are wanted, for ``Exchange.told``; ``hash_name`` as in ``IAccounts.scram``."""

    name: str
    hash_name: str


class Done(NamedTuple):
    """What the client said of itself.  ``last``: once it is let in, this goes to it as a challenge, whose answer is
    empty (RFC 4954 4: a success carries no data)."""

    credentials: ICredentials
    last: bytes = b""


class Failed(NamedTuple):
    """The client cannot be let in; ``why`` is for the operator."""

    why: str


Step: TypeAlias = Challenge | NeedsKeys | Done | Failed


class Exchange(ABC):
    """One attempt to log in by one mechanism; see the module's text.

    ``name`` is the mechanism's.  ``initial``: the client may speak first, at once with its AUTH (RFC 4422 5.1).
    """

    name: str
    initial: ClassVar[bool] = True

    def start(self) -> Step:
        """The server's first word, where the client has not spoken yet: the empty one, if it is for the client to."""
        return Challenge(b"")

    @abstractmethod
    def step(self, response: bytes) -> Step:
        """The client's response to what ``start`` or the step before gave."""

    def told(self, keys: ScramKeys) -> Step:
        """The answer to ``NeedsKeys``."""
        return Failed("nothing was asked")

    def refusal(self) -> bytes:
        """What goes to the client as a challenge before it is told that it is refused; b"" for nothing."""
        return b""
