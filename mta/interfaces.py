"""Every seam of txmta, each with its contract.

A built-in provider registers exactly as a plugin does and passes the same contract test
(``tests/unit/contracts``).  Where a method may need to wait it returns an awaitable or the value itself:
callers step through ``mta.waiting``, so what needs no wait costs no Deferred.
All stored times are UTC milliseconds; all delays are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from twisted.cred.checkers import ICredentialsChecker
from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from twisted.cred.credentials import ICredentials

    from mta.accounts.values import Account, Login, ScramKeys
    from mta.address import Address, ReversePath
    from mta.delivery.probing import Probed
    from mta.delivery.values import Batch, Foresight, Limits
    from mta.envelope import Destination, Envelope, Recipient, Right
    from mta.events import Event
    from mta.message.edits import Edit
    from mta.policy.values import (
        ConnectionContext,
        DispatchContext,
        GreetingContext,
        MessageContext,
        RecipientContext,
        SenderContext,
    )
    from mta.reply import Reply
    from mta.routing.recipients import Leads
    from mta.routing.values import Admission, Answer, Expansion, Facts, Needs, Route
    from mta.spool.values import (
        Change,
        Claim,
        Damage,
        Due,
        Lease,
        PageKey,
        Result,
        Row,
        Selection,
        Totals,
        Waiting,
    )
    from mta.verdict import Verdict

T = TypeVar("T")
Maybe: TypeAlias = T | Awaitable[T]


class IChunks(Interface):
    """A message being read, from its first octet to its last."""

    def next() -> Maybe[bytes]:
        """The next octets, in pieces of a size that suits the store (at most 256 KiB); ``b""`` at the end.

        Raises ``Damaged`` where the store cannot give them.
        """

    def close() -> None:
        """Let go of what is held.  Idempotent; needed also after the end."""


class IMessage(Interface):
    """A stored message.  Immutable; nobody outside the spool sees a row, a segment or a file."""

    id: str = Attribute("queue id, 13 characters")
    envelope: Envelope = Attribute("the envelope")
    size: int = Attribute("octets with the stored edits applied")

    def header(edits: Sequence[Edit] = ()) -> Maybe[bytes]:
        """The header section with its closing empty line, edits applied, at most ``limits.header`` octets."""

    def open(prefix: bytes = b"", edits: Sequence[Edit] = ()) -> IChunks:
        """Read it: ``prefix``, then the octets with the stored edits and ``edits`` applied.

        ``edits`` count in the stored octets like the stored ones and may not overlap them.
        """


class IIncoming(Interface):
    """A message being written: invisible, and gone after a crash, until committed."""

    id: str = Attribute("queue id; given at once, for Received and the 250")

    def write(octets: bytes) -> Maybe[None]:
        """Add octets.  If it returns an awaitable, wait for it before the next write (memory, disk)."""

    def add_recipients(recipients: Iterable[Recipient]) -> Maybe[None]:
        """Add recipients; many are staged on disk in slices and stay invisible until the commit."""

    def seal(envelope: Envelope, edits: Sequence[Edit], story: Sequence[Event]) -> Maybe[None]:
        """Nothing more comes.  When it is over, the body is where a commit needs only rows."""

    def open(edits: Sequence[Edit] = ()) -> IChunks:
        """Read what was written so far, ``edits`` applied; before ``seal``, and while nobody writes.  It may be read
        several times.  Its ``next`` raises ``TemporaryFailure`` or ``Damaged`` where the octets cannot be read."""

    def abort() -> None:
        """Forget it.  Idempotent; without effect once committed."""


class ISpool(Interface):
    """Keeps what was accepted until it has ended.  All awaitables may fail with ``TemporaryFailure``."""

    def unhealthy() -> Reply | None:
        """The reply for MAIL while nothing can be taken (disk, inodes, failed sync), else None.  No I/O."""

    def begin(room: int) -> IIncoming:
        """Start a message.  ``room``: octets of its body that it may hold in memory; 0: as few as the spool likes."""

    def commit(incoming: IIncoming, lease: Claim | None) -> Awaitable[Lease | None]:
        """Make a sealed message durable and visible.

        With ``lease`` its recipients are claimed at birth, so that they can go out at once; those that are
        held or not yet due are not in the lease (None if none is).  When it fails the message is gone.
        """

    def get(id: str) -> Awaitable[IMessage]:
        """The message.  Raises ``KeyError``, ``Damaged``."""

    def due(now: int, after: Due | None, limit: int) -> Awaitable[list[Due]]:
        """Destinations that have something due, soonest first, then the one whose turn is next (for the caller's
        timer); in pages, ``after`` is the last of the page before.  By index: what is due later costs nothing."""

    def claim(owner: str, destination: Any, now: int, until: int, limit: int) -> Awaitable[list[Lease]]:
        """Lease up to ``limit`` due recipients of a destination; one lease a message.

        Of one priority the senders (``mta.sender``) that have something due are served in turn, each for some
        recipients, across all claims: so one that comes waits for one turn of each of the others at most, however much
        they have.  What one sender has goes by due time.  A higher priority goes first, but one place in eight is for
        the lower ones.  What it costs does not grow with what waits.  Skips what is held, claimed or staged.  A message
        that cannot be read is set aside as held and does not stop the others."""

    def waiting(
        after: PageKey | None, before: int | None, limit: int
    ) -> Awaitable[tuple[list[Waiting], PageKey | None]]:
        """What waits and is in nobody's lease, due or not, in the order of its ids, of messages whose id was given by
        ``before`` (UTC milliseconds); and where to go on, None at the end.  It looks at ``limit`` recipients: what is
        held or claimed among them, or cannot be read, is left out."""

    def claim_some(owner: str, keys: Sequence[PageKey], until: int) -> Awaitable[list[Lease]]:
        """Lease these recipients, due or not, as far as they wait and are in nobody's lease; one lease a message."""

    def renew(leases: Sequence[Lease], until: int) -> Awaitable[list[Lease]]:
        """Hold them longer; returns those that were lost."""

    def release(leases: Sequence[Lease]) -> Awaitable[None]:
        """Give them back untried: no attempt is counted."""

    def finish(results: Sequence[Result]) -> Awaitable[list[Lease]]:
        """Write how work ended: ONE transaction for recipients, history, totals, notices owed and spawned
        messages.  Returns the leases that were lost before (nothing of theirs is written)."""

    def claim_notices(owner: str, now: int, until: int, limit: int) -> Awaitable[list[Lease]]:
        """Lease recipients that have ended and whose sender is owed a report."""

    def change(selection: Selection, change: Change, by: str) -> Awaitable[int]:
        """Change what waits, in slices; claimed recipients are left alone.  Returns how many changed."""

    def page(selection: Selection, after: PageKey | None, limit: int, history: bool = False) -> Awaitable[list[Row]]:
        """A page of the queue (or of history), ordered by queue id and recipient, in a short read."""

    def story(id: str) -> Awaitable[list[Event]]:
        """All that is known of a message, in order of time.  Raises ``KeyError``."""

    def totals() -> Awaitable[Totals]:
        """The conservation figures, one snapshot.  By counters that are kept with every change: costs the same however
        much waits.  What is queued is what was accepted and has not ended: nothing can be unaccounted for here."""

    def audit() -> Awaitable[Totals]:
        """The same with what is queued and held counted, each recipient: the proof that nothing was lost.  Goes through
        the whole queue, and nobody waits for it."""

    def purge(before: int, limit: int) -> Awaitable[int]:
        """Forget up to ``limit`` ended messages that arrived before; the totals keep the sums."""

    def recover(owner: str) -> Awaitable[list[Damage]]:
        """At start: the owner's old leases are freed, unsealed and orphaned things removed, damage told."""

    def close() -> Awaitable[None]:
        """Write what is pending, then let go."""


class IDeliveryService(Interface):
    """A way out: MX relay, Maildir, a gateway."""

    name: str = Attribute("as in the configuration")

    def limits(route: Route) -> Limits:
        """What the queue may ask of it on this route."""

    def deliver(batch: Batch) -> Awaitable[None]:
        """Try the batch's recipients.  ``batch.report(Outcome)`` once for each, as soon as it is known.

        Raising, being cancelled or keeping silent means deferred, scope host, for those not reported.
        ``batch.key`` is the same at each retry (idempotency).
        """

    def stop(deadline: float) -> Awaitable[None]:
        """Finish or cancel within ``deadline`` seconds; close what is idle."""


class IForeseeing(IDeliveryService):
    """A delivery service that can say beforehand where mail would go: ``mta route`` shows it."""

    def foresee(address: Address, route: Route, envelope: Envelope, resolver: IResolver | None) -> Maybe[Foresight]:
        """Where a copy for the address would go now, and on what terms; nothing is sent or written.

        ``resolver`` is who is asked; None: DNS is not."""


class IProbing(IDeliveryService):
    """A delivery service that can ask the next host whether it takes an address (``call_ahead`` of a domain)."""

    def probe(address: Address, next_hop: str, sender: ReversePath) -> Awaitable[Probed]:
        """What the next hop says of the address; nothing is delivered.  Cancelling it ends the connection.

        It does not fail: where nothing was heard the result says why."""


class IInjector(Interface):
    """Another way in (HTTP, files, NNTP): the same policies as a session."""

    def start(accept: Callable[[Any], Awaitable[Reply]]) -> None:
        """Begin to take mail in, each message through ``accept``."""

    def stop() -> Awaitable[None]:
        """Take no more."""


class IConnectPolicy(Interface):
    """A policy of kind ``policy.connect``.  All policies: raising means the configuration's ``on_error``, and so does
    being slower than ``timeout``; where that is "defer", a ``TemporaryFailure`` has its own reply."""

    def check(connection: ConnectionContext) -> Maybe[Verdict]:
        """Before the greeting.  DEFER and REJECT close the connection with 421 and 554 in its place."""


class IGreetingPolicy(Interface):
    """A policy of kind ``policy.greeting``."""

    def check(greeting: GreetingContext) -> Maybe[Verdict]:
        """At HELO, EHLO and LHLO."""


class ISenderPolicy(Interface):
    """A policy of kind ``policy.sender``."""

    def check(sender: SenderContext) -> Maybe[Verdict]:
        """At MAIL.  What is no refusal holds for the message that follows: HOLD, QUARANTINE and DISCARD, facts."""


class IRecipientPolicy(Interface):
    """A policy of kind ``policy.recipient``."""

    def check(recipient: RecipientContext) -> Maybe[Verdict]:
        """At each RCPT that the router admits.  HOLD, QUARANTINE and DISCARD hold for this recipient alone."""


class IMessagePolicy(Interface):
    """A policy of kind ``policy.message``."""

    def check(message: MessageContext) -> Maybe[Verdict]:
        """After the final dot, with header and body, once; its edits are stored with the message."""


class IDispatchPolicy(Interface):
    """A policy of kind ``policy.dispatch``."""

    def check(attempt: DispatchContext) -> Maybe[Verdict]:
        """Before each delivery attempt; the only policy that runs more than once."""


class ITable(Interface):
    """A lookup from text to text."""

    def lookup(key: str) -> Maybe[str | None]:
        """The value under the key, None where there is none.  ``TemporaryFailure`` when it cannot know."""


class IPlacedTable(ITable):
    """A table whose entries stand where a person can look."""

    def where(key: str) -> str:
        """``FILE:LINE`` of the entry that answers, "" where none does.  It may cost milliseconds."""


class IListedTable(ITable):
    """A table that can tell all that it holds."""

    def items(limit: int) -> Iterable[tuple[str, str]]:
        """So many keys and values at most, in the order in which they were written."""


class IPagedTable(ITable):
    """A table that can tell all that it holds, and has to wait for it: a database, another host."""

    def pages(limit: int) -> AsyncGenerator[Sequence[tuple[str, str]], None]:
        """So many keys and values at most, in pieces of a size that suits it; a key may come twice.

        The generator raises ``TemporaryFailure`` where it cannot go on, and where it never can ``CannotTell`` of
        ``mta.routing.tables.listing``.  Who has enough closes it."""


class ISearchedTable(IListedTable):
    """A listed table from which others may make an index; what ``items`` gives may be walked through in a thread."""

    def version() -> object:
        """Equal as long as the table holds the same."""

    def count() -> int:
        """How many keys it holds.  Costs nothing."""


class IState(Interface):
    """Small shared state with expiry: greylist, brakes, best TLS level seen."""

    def get(key: str) -> Maybe[str | None]:
        """The value, None if absent or expired."""

    def put(key: str, value: str, seconds: float) -> Maybe[None]:
        """Keep the value for so long."""

    def add(key: str, amount: int, seconds: float) -> Maybe[int]:
        """Add to a counter that begins at 0 and lives so long from its first addition; returns the sum."""


class IResolver(Interface):
    """DNS.  An answer tells failure from absence; nothing here raises for what DNS says."""

    def mx(domain: str) -> Awaitable[Answer]:
        """``MxRecord``s, as DNS has them."""

    def addresses(host: str) -> Awaitable[Answer]:
        """IP addresses as text, IPv6 first."""

    def txt(name: str) -> Awaitable[Answer]:
        """TXT strings as bytes, each record's parts joined."""

    def tlsa(name: str) -> Awaitable[Answer]:
        """(usage, selector, matching type, data) tuples."""

    def srv(name: str) -> Awaitable[Answer]:
        """``SrvRecord``s (RFC 2782)."""

    def ptr(address: str) -> Awaitable[Answer]:
        """Names of an IP address."""


class IRouter(Interface):
    """Pure decisions on addresses; each may return ``Needs`` until the facts suffice."""

    def admit(recipient: Address, rights: frozenset[Right], facts: Facts) -> Admission | Needs:
        """At RCPT: may it be sent to (permission), and does it exist (validity)?"""

    def expand(recipient: Address, facts: Facts) -> Expansion | Needs:
        """Where an admitted address leads.  ONCE, at acceptance; stored with its path.

        Raises ``MailFailure``: a table cannot answer (451), the address leads back to itself (554 5.4.6), or to
        nobody but people who have left or moved (550, 551: RFC 5321 3.4).
        """

    def identity(address: Address) -> Address:
        """The address by which duplicates are known: local parts of ours are compared folded."""

    def route(address: Address, waiting: Destination | None, facts: Facts, home: bool = False) -> Route | Needs:
        """Service and next hop.  At EACH attempt.

        ``waiting`` is where it waited so far (None: it is new), so that what was ours at acceptance and no
        longer is can be held (``home``: its domain itself had named that service); a place (``is_place``) that was
        decided at acceptance comes back as it is, held while there is no such service.  Raises ``TemporaryFailure``
        when a table cannot answer: it stays where it is and is tried again.
        """


class IAccounts(Interface):
    """Who may send, as sessions, policies and the queue ask it."""

    def login(credentials: ICredentials, client: str) -> Awaitable[Login]:
        """Check what a client at this address (as by ``normal_ip``) says of itself.

        The same reply and the same time whether the name is unknown, the secret wrong or the account not active.
        Raises ``PermanentFailure`` (535 5.7.8), ``TemporaryFailure`` (454 4.7.0): a source cannot answer, or a brake
        is on (421 and 454 4.7.0; RFC 4954 6)."""

    def scram(name: str, hash_name: str) -> Maybe[ScramKeys]:
        """Of an account, for "sha-1" or "sha-256"; an unknown name has some too, always the same (RFC 5802 9)."""

    def find(name: str) -> Maybe[Account | None]:
        """The account as it is now, in whatever state; None where there is none.  ``TemporaryFailure``."""

    def current(login: Login) -> Maybe[Account | None]:
        """The account of a login as it is now, in whatever state; None where it is gone, and where what the client
        logged in with no longer counts: another password, an app password or token that was revoked.
        ``TemporaryFailure``."""

    def takes() -> frozenset[Any]:
        """The interfaces of the credentials that can be checked (``mta.accounts.credentials``); ``IProved`` among them
        where every account that has a password has keys for SCRAM too.  No I/O."""


class IAccountSource(ICredentialsChecker):
    """One source of accounts: a ``[accounts.X]`` of the configuration.

    A plain ``ICredentialsChecker`` serves as one too (``mta.accounts.checker``).  ``requestAvatarId`` fires with the
    account's name in UTF-8, best as an ``Identity`` (``mta.accounts.source``); it fails with ``UnauthorizedLogin``, or
    with ``TemporaryFailure`` where it cannot know.  For an unknown name it takes as long as for a wrong password."""

    offers_scram: bool = Attribute("every account of it that has a password has keys for SCRAM; may change")

    def find(name: str) -> Maybe[Account | None]:
        """The account as it is now, in whatever state; None: this source does not know it.  ``TemporaryFailure``."""

    def scram(name: str, hash_name: str) -> Maybe[ScramKeys | None]:
        """Keys of an account, for "sha-1" or "sha-256"; None where there are none."""

    def still(login: Login) -> Maybe[bool]:
        """Does what the client logged in with still count?  ``TemporaryFailure``."""

    def close() -> None:
        """Let go of threads and connections; logins under way end by themselves."""


class IObserver(Interface):
    """Logs, metrics, webhooks: can never delay or break mail."""

    def observe(event: Event, id: str) -> None:
        """Take note; ``id`` is the queue id, "" where there is none.  What it raises is logged once."""


class IQueue(Interface):
    """What an acceptance needs of the queue."""

    def birth_claim(leads: Leads | None = None, envelope: Envelope | None = None) -> Claim | None:
        """The claim for ``ISpool.commit``; None when the active set is full, or has no room for one of the
        destinations or for more of the sender: it waits in the spool then."""

    def take(lease: Lease | None, leads: Leads | None = None) -> None:
        """What the commit returned; delivery begins.

        ``leads`` are the routes that were found a moment ago: they need not be found again.
        """

    def refuses(envelope: Envelope) -> Reply | None:
        """The reply for MAIL while too much waits, in all or of this sender; None: it may go on.

        Of the envelope origin, reverse-path and rights are known by then.  Asked only where there is a limit.  No I/O.
        """

    def accepted(envelope: Envelope, recipients: int) -> None:
        """So many recipients were committed; told where ``refuses`` is asked."""

    def flush(domain: str, subdomains: bool) -> Awaitable[int]:
        """Try now what waits for the hosts of a domain, and of those below it (ETRN, RFC 1985); what is held stays
        held.  How many recipients that concerns; ``MailFailure`` when the spool cannot be asked."""


class IProvider(Interface):
    """What ``mta.plugin.provider`` makes of a class, so that Twisted's plugin system finds it."""

    kind: str = Attribute("the seam: delivery, table, policy.recipient, ...")
    type_name: str = Attribute("the ``type`` in the configuration")
    options: Any = Attribute("dataclass of its options")
