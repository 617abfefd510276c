"""The certificates in force, as the files have them: read again when the files change, kept when they are broken.

What it is: ``CertificateFiles`` remembers which version of each file it has read; ``refresh`` looks and reads what is
new.
Contract: a version that is wrong is told once and changes nothing; what has been deleted goes, but the last certificate
never does.
How it fails: only by what it returns.
Limits: files are looked at where this is called, in the reactor's thread: a folder of a hundred certificates takes
about a millisecond, and only what has changed is read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from mta.tls.certificates import Certificate, CertificateError, Source, read, sources, stamp


class Places(NamedTuple):
    """Where certificates are: the default one with its key, and a folder with those for other names; "": none."""

    certificate: str = ""
    key: str = ""
    folder: str = ""

    def __bool__(self) -> bool:
        return bool(self.certificate or self.folder)


class Refreshed(NamedTuple):
    """What ``refresh`` found."""

    read: list[Certificate]
    gone: list[Certificate]  # no longer there
    wrong: list[CertificateError]  # the version before stays in force
    missing: list[CertificateError]  # wrong too, and there is no version before

    def __bool__(self) -> bool:
        """The certificates in force are others than before."""
        return bool(self.read or self.gone)


class CertificateFiles:
    """See the module's text.  ``prove`` raises ``CertificateError`` for what OpenSSL would not take."""

    def __init__(self, places: Places, prove: Callable[[Certificate], object]) -> None:
        self.places = places
        self._prove = prove
        self._in_force: dict[Source, Certificate] = {}
        self._seen: dict[Source, object] = {}
        self._listing = ""  # what was wrong with the folder, told once

    def following(self, places: Places, prove: Callable[[Certificate], object]) -> CertificateFiles:
        """One for other places, with the versions in force here; ``refresh`` it before use."""
        new = CertificateFiles(places, prove)
        new._in_force = dict(self._in_force)
        # All are read again: what was told may have been mended without a trace, as permissions of folders are.
        return new

    @property
    def certificates(self) -> list[Certificate]:
        """Those in force, in the order of their files."""
        return [self._in_force[source] for source in sorted(self._in_force)]

    def default(self, hostname: str) -> Certificate | None:
        """That of the key ``certificate``; else one that is for our own name; else the first."""
        certificates = self.certificates
        for one in certificates:
            if one.source == self._default_source:
                return one
        return self.named(hostname) or (certificates[0] if certificates else None)

    def named(self, hostname: str) -> Certificate | None:
        """The first that is for this host, by its name or by a wildcard."""
        for name in (hostname, "*." + hostname.partition(".")[2]):
            for one in self.certificates:
                if name in one.names:
                    return one
        return None

    @property
    def _default_source(self) -> Source:
        return Source(self.places.certificate, self.places.key or self.places.certificate)

    def refresh(self) -> Refreshed:
        """Look at the files, and read those that have changed."""
        found = Refreshed([], [], [], [])
        try:
            listed = self._listed()
        except CertificateError as error:
            if str(error) != self._listing:
                self._listing = str(error)
                (found.wrong if self._in_force else found.missing).append(error)
            return found
        self._listing = ""
        for source in listed:
            version = stamp(source)
            if self._seen.get(source) == version:
                continue
            self._seen[source] = version
            try:
                certificate = read(source)
                self._prove(certificate)
            except CertificateError as error:
                (found.wrong if source in self._in_force else found.missing).append(error)
            else:
                before = self._in_force.get(source)
                if before is None or (before.leaf, before.chain) != (certificate.leaf, certificate.chain):
                    self._in_force[source] = certificate
                    found.read.append(certificate)
        self._forget(set(listed), found)
        return found

    def _listed(self) -> list[Source]:
        listed: list[Source] = []
        if self.places.certificate:
            listed.append(self._default_source)
        if self.places.folder:
            try:
                listed += sources(self.places.folder)
            except OSError as error:
                raise CertificateError(f"{self.places.folder}: cannot be read: {error.strerror or error}") from None
            if not listed:
                raise CertificateError(f"{self.places.folder}: holds no certificate")
        return list(dict.fromkeys(listed))

    def _forget(self, listed: set[Source], found: Refreshed) -> None:
        """What is no longer there goes, unless nothing would be left."""
        gone = [source for source in self._in_force if source not in listed]
        if len(gone) < len(self._in_force):
            for source in gone:
                found.gone.append(self._in_force.pop(source))
        for source in [source for source in self._seen if source not in listed]:
            del self._seen[source]
