"""The certificates of the running service: read before privileges are dropped, renewed while it runs.

What it is: joins the files (files.py), the contexts made of them (contexts.py) and the self-signed one that stands in
where none is configured (selfsigned.py); looks every ``CHECK_EVERY`` seconds whether a file has changed.
Contract: a start needs every certificate whole; afterwards what is broken changes nothing and is told in the log, once
for each version.  A reload is prepared first and raises before anything has changed.
How it fails: ``CertificateError`` with a line for each file, at the start and in ``prepare``.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from mta import events
from mta.config.files import contents
from mta.config.schema import Configuration, Tls
from mta.events import Event
from mta.tls import selfsigned
from mta.tls.certificates import Certificate, CertificateError
from mta.tls.contexts import Contexts, Policy, make_context
from mta.tls.files import CertificateFiles, Places, Refreshed

#: Seconds between two looks at the files.
CHECK_EVERY: Final = 5.0
#: Looks between two warnings of the same end: a day.
_LOOKS_A_DAY: Final = round(86400 / CHECK_EVERY)
_DAY_MS: Final = 86_400_000


class Prepared(NamedTuple):
    """What ``adopt`` puts in force."""

    files: CertificateFiles
    found: Refreshed
    policy: Policy
    options: Tls


class Keeper:
    """See the module's text.  ``contexts`` is what listeners hand to ``startTLS``."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        reactor: Any,
        now: Callable[[], int],
        emit: Callable[[Event, str], None],
    ) -> None:
        self._reactor = reactor
        self._now = now
        self._emit = emit
        self._hostname = configuration.hostname
        self._state = configuration.state
        self._options = configuration.tls
        self._policy = policy_of(configuration.tls)
        self.contexts = Contexts(reactor.seconds)
        self._asking: dict[str, Contexts] = {}  # for listeners that ask for a certificate, by the file of authorities
        self._files = CertificateFiles(Places(), self._prove)
        self._timer: Any = None
        self._looks = 0
        self.refused: list[str] = []  # at the last ``adopt``: what is wrong with files whose version before stays
        if places_of(configuration.tls):
            self.adopt(self.prepare(configuration.tls))

    # --- as the configuration has it -----------------------------------------------------------------------

    def prepare(self, options: Tls) -> Prepared:
        """Read what these options name; nothing of the present is touched.  Raises ``CertificateError``."""
        policy = policy_of(options)
        places = places_of(options)
        if not places and options.self_signed and self._timer is not None:
            places = self._own()
        files = self._files.following(places, lambda one: make_context(one, policy))
        found = files.refresh() if places else Refreshed([], [], [], [])
        if found.missing:
            raise CertificateError("\n".join(f"tls: {error}" for error in found.missing))
        return Prepared(files, found, policy, options)

    def adopt(self, prepared: Prepared) -> None:
        """Put it in force."""
        self._files, self._policy, self._options = prepared.files, prepared.policy, prepared.options
        self.refused = [str(error) for error in prepared.found.wrong]
        self._use()
        self._tell(prepared.found)
        self._warn()

    def asking(self, authorities: str | None) -> Contexts:
        """What a listener hands to ``startTLS`` that asks clients for a certificate of one of the authorities in this
        file; None: it does not ask.  Raises ``OSError``, ``ValueError``."""
        if authorities is None:
            return self.contexts
        if authorities not in self._asking:
            made = Contexts(self._reactor.seconds)
            self._use_asking(made, authorities)
            self._asking[authorities] = made
        return self._asking[authorities]

    def start(self) -> None:
        """Privileges are dropped and the state folder is there: make what is missing, and watch from now on.

        Raises ``OSError`` and ``CertificateError``.
        """
        self._timer = self._reactor.callLater(CHECK_EVERY, self._look)
        if not places_of(self._options) and self._options.self_signed:
            self.adopt(self.prepare(self._options))

    def stop(self) -> None:
        """No more looks."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- while it runs -------------------------------------------------------------------------------------

    def _look(self) -> None:
        self._timer = self._reactor.callLater(CHECK_EVERY, self._look)
        self._looks += 1
        try:
            if self._looks % _LOOKS_A_DAY == 0:
                self._daily()
            if self._files.places:
                found = self._files.refresh()
                if found:
                    self._use()
                self._tell(found)
        except Exception as error:  # the disk, or a file such as nobody has seen: what is in force stays
            self._emit(events.CERTIFICATE_REFUSED(error=f"{type(error).__name__}: {error}"), "")

    def _daily(self) -> None:
        if self._files.places == Places(selfsigned.place(self._state)):
            self._own()  # a new one in time; ``refresh`` sees it
        self._warn()

    def _own(self) -> Places:
        return Places(selfsigned.ensure(self._state, self._hostname, self._now()))

    def _prove(self, certificate: Certificate) -> None:
        make_context(certificate, self._policy)

    def _use(self) -> None:
        default = self._files.default(self._hostname)
        if default is not None:
            self.contexts.use(self._files.certificates, default, self._policy)
        for authorities, contexts in self._asking.items():
            try:
                self._use_asking(contexts, authorities)
            except (OSError, ValueError) as error:
                self._emit(events.CERTIFICATE_REFUSED(error=f"{authorities}: {error}"), "")

    def _use_asking(self, contexts: Contexts, authorities: str) -> None:
        pem = contents(authorities)
        default = self._files.default(self._hostname)
        if default is not None:
            contexts.use(self._files.certificates, default, self._policy._replace(authorities=pem))

    def _tell(self, found: Refreshed) -> None:
        for one in found.read:
            self._emit(events.CERTIFICATE_READ(file=one.place, names=list(one.names), until=day(one.expires)), "")
        for one in found.gone:
            self._emit(events.CERTIFICATE_GONE(file=one.place, names=list(one.names)), "")
        for error in (*found.wrong, *found.missing):
            self._emit(events.CERTIFICATE_REFUSED(error=str(error)), "")

    def _warn(self) -> None:
        now = self._now()
        for one in self._files.certificates:
            left = one.expires - now
            if left <= self._options.warn_before * 1000:
                self._emit(
                    events.CERTIFICATE_EXPIRES(
                        file=one.place, name=one.name, days=left // _DAY_MS, until=day(one.expires)
                    ),
                    "",
                )


def offered(options: Tls) -> bool:
    """With these options there is a certificate to show."""
    return bool(places_of(options)) or options.self_signed


def policy_of(options: Tls) -> Policy:
    """What these options let be spoken."""
    return Policy(options.minimum, options.ciphers)


def places_of(options: Tls) -> Places:
    """Where these options say that certificates are."""
    return Places(options.certificate or "", options.key or "", options.certificates or "")


def day(ms: int) -> str:
    """A day, for people."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d")
