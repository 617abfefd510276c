"""What is measured, row by row: what it is called, what it must reach, what load it is, what the servers need for it.

A row says nothing of how it is done: ``measure.py`` does all rows alike.  The goals are those that were set before the
work began; they change only with them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from benchmarks.source import Load

MIB: Final = 1 << 20
KIB: Final = 1024
#: The most octets of a message, of all servers.
LARGEST: Final = 64 * MIB

#: ``accept``: kept until somebody lets it go.  ``relay``: to the sink.  ``maildir``: into Maildirs of our own.
Way = Literal["accept", "relay", "maildir"]


@dataclass(frozen=True, kw_only=True)
class Need:
    """What a server must be set up for; rows with equal needs share one."""

    way: Way
    tls: bool = False
    login: bool = False  # submission: those who send log in
    signed: tuple[str, ...] = ()  # what comes in is signed (DKIM), once by each of these algorithms
    recipients: int = 1000
    connections: int = 1000


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    ``least`` and ``aim`` are times better than the better Postfix; for what ``costs``, better is less.  ``under`` and
    ``aim_under`` are bounds of our own figure besides.  ``like`` names a row whose runs this one reads another figure
    of.  ``share`` is how many of ``--messages`` it sends; ``fixed`` so many, whatever was asked for (in the short form:
    the second).
    """

    name: str
    text: str
    unit: str
    least: float
    aim: float
    need: Need
    load: Load
    share: float = 1.0
    fixed: tuple[int, int] | None = None
    costs: bool = False
    under: float | None = None
    aim_under: float | None = None
    like: str = ""

    def scaled(self, messages: int, quick: bool) -> Load:
        """Its load, when a whole one is so many messages."""
        if self.load.recipients > 1:
            return replace(self.load, messages=1, recipients=self.count(quick))
        count = self.count(quick) if self.fixed else round(messages * self.share)
        return replace(self.load, messages=max(count, 1))

    def count(self, quick: bool) -> int:
        assert self.fixed is not None
        return self.fixed[quick]

    def better(self, ours: float, theirs: float) -> float:
        """How many times better we are."""
        return theirs / ours if self.costs else ours / theirs

    def met(self, ours: float, times: float | None) -> bool | None:
        """Whether it reaches what it must at least; ``None``: nothing to compare with."""
        if times is None:
            return None
        return times >= self.least and (self.under is None or ours < self.under)


ACCEPT: Final = Need(way="accept")
RELAY: Final = Need(way="relay")
MAILDIR: Final = Need(way="maildir")
TLS: Final = Need(way="relay", tls=True)
LOGIN: Final = Need(way="accept", tls=True, login=True)
RSA: Final = Need(way="accept", signed=("rsa-sha256",))
BOTH: Final = Need(way="accept", signed=("rsa-sha256", "ed25519-sha256"))
IDLE: Final = Need(way="relay", connections=5100)
MANY: Final = Need(way="relay", recipients=100_001)

_MAIL: Final = Load(messages=0)
_NEW: Final = Load(messages=0, kept=False)
_HOME: Final = Load(messages=0, domain="ours.example")
_RATE: Final = "messages/s"
#: The one account there is; its address is what all mail is from.
ACCOUNT: Final = "from@sender.example:a password of the benchmark"

ROWS: Final = (
    Row(
        name="accept-kept", text="accept, 1 KiB, 50 sessions, kept", unit=_RATE, least=4, aim=8, need=ACCEPT, load=_MAIL
    ),
    Row(
        name="accept-new",
        text="accept, 1 KiB, one message a connection",
        unit=_RATE,
        least=3,
        aim=5,
        need=ACCEPT,
        load=_NEW,
    ),
    Row(
        name="accept-100k",
        text="accept, 100 KiB, kept",
        unit=_RATE,
        least=2,
        aim=4,
        need=ACCEPT,
        load=replace(_MAIL, size=100 * KIB),
        share=0.4,
    ),
    Row(
        name="accept-single",
        text="accept, one session, one at a time",
        unit=_RATE,
        least=1.2,
        aim=2,
        need=ACCEPT,
        load=replace(_MAIL, sessions=1),
        share=0.4,
    ),
    Row(
        name="accept-large",
        text="accept, 50 MiB messages",
        unit="MB/s",
        least=1.5,
        aim=3,
        need=ACCEPT,
        load=replace(_MAIL, size=50 * MIB, sessions=2),
        fixed=(10, 2),
    ),
    Row(name="relay-kept", text="relay, 1 KiB, 50 sessions, kept", unit=_RATE, least=5, aim=8, need=RELAY, load=_MAIL),
    Row(
        name="relay-cpu",
        text="CPU a relayed message",
        unit="ms",
        least=5,
        aim=10,
        need=RELAY,
        load=_MAIL,
        costs=True,
        like="relay-kept",
    ),
    Row(
        name="relay-new",
        text="relay, 1 KiB, one message a connection",
        unit=_RATE,
        least=3,
        aim=5,
        need=RELAY,
        load=_NEW,
    ),
    Row(
        name="relay-10k",
        text="relay, 10 KiB, kept",
        unit=_RATE,
        least=4,
        aim=6,
        need=RELAY,
        load=replace(_MAIL, size=10 * KIB),
    ),
    Row(
        name="relay-100k",
        text="relay, 100 KiB, kept",
        unit=_RATE,
        least=2,
        aim=4,
        need=RELAY,
        load=replace(_MAIL, size=100 * KIB),
        share=0.4,
    ),
    Row(name="maildir-1", text="into 1 Maildir", unit=_RATE, least=2, aim=3, need=MAILDIR, load=_HOME),
    Row(
        name="maildir-100",
        text="into 100 Maildirs",
        unit=_RATE,
        least=2,
        aim=3,
        need=MAILDIR,
        load=replace(_HOME, mailboxes=100),
    ),
    Row(
        name="recipients",
        text="one message to 100,000 recipients",
        unit="recipients/s",
        least=4,
        aim=8,
        need=MANY,
        load=replace(_MAIL, recipients=100_000, sessions=1),
        fixed=(100_000, 5_000),
    ),
    Row(
        name="tls-kept",
        text="relay, TLS on both sides, kept",
        unit=_RATE,
        least=2,
        aim=4,
        need=TLS,
        load=replace(_MAIL, tls=True),
    ),
    Row(
        name="tls-new",
        text="relay, TLS on both sides, new ones",
        unit=_RATE,
        least=1,
        aim=1.5,
        need=TLS,
        load=replace(_NEW, tls=True),
        share=0.4,
    ),
    Row(
        name="login-kept",
        text="submission, TLS and login, kept",
        unit=_RATE,
        least=1,
        aim=2,
        need=LOGIN,
        load=replace(_MAIL, tls=True, login=ACCOUNT),
    ),
    Row(
        name="login-new",
        text="submission, a login for each message",
        unit="logins/s",
        least=1,
        aim=2,
        need=LOGIN,
        load=replace(_NEW, tls=True, login=ACCOUNT),
        share=0.1,
    ),
    Row(
        name="signed-rsa",
        text="accept and sign, RSA-2048",
        unit=_RATE,
        least=1,
        aim=2,
        need=RSA,
        load=_MAIL,
        share=0.4,
    ),
    Row(
        name="signed-both",
        text="accept and sign, RSA-2048 and Ed25519",
        unit=_RATE,
        least=1,
        aim=2,
        need=BOTH,
        load=_MAIL,
        share=0.4,
    ),
    Row(
        name="idle",
        text="memory of an idle connection",
        unit="KiB",
        least=100,
        aim=100,
        need=IDLE,
        load=_MAIL,
        fixed=(5000, 500),
        costs=True,
        under=8,
        aim_under=4,
    ),
)

#: The rate with a million waiting recipients, over the rate with none.
GROWTH: Final = "growth"
GROWTH_LEAST: Final = 0.9
GROWTH_SIZES: Final = ((0, 1_000, 10_000, 100_000, 1_000_000), (0, 100_000))
NAMES: Final = (*(row.name for row in ROWS), GROWTH)
