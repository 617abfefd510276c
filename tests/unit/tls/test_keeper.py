"""Certificates of a running service: read at the start, renewed when files change, kept when they are broken."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.config.load import Configuration, from_mapping
from mta.config.providers import Providers
from mta.events import Event
from mta.tls import files, selfsigned
from mta.tls.certificates import CertificateError, NotReadable, Source, read
from mta.tls.contexts import Contexts
from mta.tls.keeper import CHECK_EVERY, Keeper, offered
from tests.certificates import Authority, Issued, put

AUTHORITY = Authority()
MAIL = AUTHORITY.issue("mail.ours.example")
OTHER = AUTHORITY.issue("other.example")
PROVIDERS = Providers.find()
DAY = 86_400.0


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)
        self.clock = Clock()
        self.events: list[Event] = []
        self.serial = 0

    def put(self, name: str, issued: Issued | bytes) -> None:
        """A file; however fast tests are, its time is another each time."""
        path = put(self.folder / name, issued if isinstance(issued, bytes) else issued.both)
        self.serial += 1
        os.utime(path, (self.serial, self.serial))

    def configuration(self, **tls: Any) -> Configuration:
        return from_mapping(
            {
                "format": 1,
                "hostname": "mail.ours.example",
                "postmaster": "postmaster@ours.example",
                "state": "state",
                "listen": [{"name": "mx", "endpoint": "tcp:2525"}],
                "tls": tls,
                "domains": {"ours.example": {"deliver": "local"}},
                "delivery": {
                    "local": {"type": "maildir", "path": "mail/{domain}/{local_part}"},
                    "internet": {"type": "smtp"},
                },
            },
            str(self.folder),
            providers=PROVIDERS,
        )

    def keeper(self, **tls: Any) -> Keeper:
        keeper = Keeper(
            self.configuration(**tls),
            reactor=self.clock,
            now=lambda: round((time.time() + self.clock.seconds()) * 1000),
            emit=lambda event, id: self.events.append(event),
        )
        self.addCleanup(keeper.stop)
        return keeper

    def codes(self) -> list[str]:
        codes = [event.code for event in self.events]
        self.events.clear()
        return codes

    def look(self) -> list[str]:
        self.clock.advance(CHECK_EVERY)
        return self.codes()

    def names(self, keeper: Keeper) -> set[str]:
        return set(keeper.contexts._names)


class Changes(Case):
    def setUp(self) -> None:
        super().setUp()
        self.put("tls/mail.pem", MAIL)
        self.put("tls/other.pem", OTHER)
        self.kept = self.keeper(certificates="tls")
        self.kept.start()

    def test_start(self) -> None:
        self.assertEqual(self.codes(), ["certificate-read"] * 2)
        self.assertEqual(self.names(self.kept), {"mail.ours.example", "other.example"})
        self.assertEqual(self.look(), [])

    def test_new_version(self) -> None:
        self.codes()
        before = self.kept.contexts.for_name("other.example")
        self.put("tls/other.pem", AUTHORITY.issue("other.example", "third.example"))
        self.assertEqual(self.look(), ["certificate-read"])
        self.assertIsNot(self.kept.contexts.for_name("other.example"), before)
        self.assertIsNotNone(self.kept.contexts.for_name("third.example"))

    def test_what_has_not_changed_keeps_its_context(self) -> None:
        before = self.kept.contexts.for_name("other.example")
        self.put("tls/mail.pem", AUTHORITY.issue("mail.ours.example"))
        self.put("tls/other.pem", OTHER)  # touched, and the same
        self.look()
        self.assertIs(self.kept.contexts.for_name("other.example"), before)

    def test_broken_version_is_told_once_and_changes_nothing(self) -> None:
        self.codes()
        before = self.kept.contexts.for_name("other.example")
        for broken in (b"nonsense", OTHER.key + MAIL.certificate, OTHER.certificate, OTHER.both[:-200]):
            self.put("tls/other.pem", broken)
            self.assertEqual(self.look(), ["certificate-refused"])
            self.assertEqual(self.look(), [])
            self.assertIs(self.kept.contexts.for_name("other.example"), before)
        (self.folder / "tls/other.pem").chmod(0o644)
        self.clock.advance(CHECK_EVERY)
        (event,) = self.events
        self.assertIn("what was in force stays", str(event))
        self.assertIn("others may read this key", str(event))
        self.events.clear()
        self.put("tls/other.pem", AUTHORITY.issue("other.example"))
        self.assertEqual(self.look(), ["certificate-read"])

    def test_key_before_its_certificate(self) -> None:
        """As a program writes them that does not do it at once: told, and mended by the next look."""
        new = AUTHORITY.issue("other.example")
        self.put("tls/other.crt", OTHER.certificate)
        self.put("tls/other.key", OTHER.key)
        (self.folder / "tls/other.pem").unlink()
        self.look()
        self.put("tls/other.key", new.key)
        self.assertEqual(self.look(), ["certificate-refused"])
        self.put("tls/other.crt", new.certificate)
        self.assertEqual(self.look(), ["certificate-read"])

    def test_added_and_deleted(self) -> None:
        self.codes()
        self.put("tls/new.pem", AUTHORITY.issue("new.example"))
        (self.folder / "tls/other.pem").unlink()
        self.assertEqual(self.look(), ["certificate-read", "certificate-gone"])
        self.assertEqual(self.names(self.kept), {"mail.ours.example", "new.example"})

    def test_broken_newcomer_is_told_and_left_out(self) -> None:
        self.codes()
        self.put("tls/new.pem", b"nonsense")
        self.assertEqual(self.look(), ["certificate-refused"])
        self.assertEqual(self.look(), [])
        self.assertEqual(self.names(self.kept), {"mail.ours.example", "other.example"})

    def test_the_last_one_never_goes(self) -> None:
        self.codes()
        for vanish in (lambda: shutil.rmtree(self.folder / "tls"), lambda: (self.folder / "tls").mkdir()):
            vanish()
            self.assertEqual(self.look(), ["certificate-refused"])
            self.assertEqual(self.look(), [])
            self.assertEqual(self.names(self.kept), {"mail.ours.example", "other.example"})

    def test_what_nobody_foresaw_is_told_and_the_looks_go_on(self) -> None:
        self.codes()

        def fails(source: Source) -> None:
            raise RuntimeError("odd")

        patched = self.patch(files, "stamp", fails)
        self.assertEqual(self.look(), ["certificate-refused"])
        patched.restore()
        self.put("tls/new.pem", AUTHORITY.issue("new.example"))
        self.assertEqual(self.look(), ["certificate-read"])


class Starts(Case):
    def test_everything_must_be_whole(self) -> None:
        self.put("tls/a.pem", b"nonsense")
        self.put("tls/b.pem", OTHER.certificate)
        with self.assertRaises(CertificateError) as caught:
            self.keeper(certificates="tls")
        self.assertEqual(len(str(caught.exception).splitlines()), 2, "all that is wrong, at once")

    def test_what_is_not_there(self) -> None:
        for options in ({"certificates": "no"}, {"certificate": "no.pem"}):
            with self.assertRaises(CertificateError) as caught:
                self.keeper(**options)
            self.assertIn("No such file", str(caught.exception))
        (self.folder / "no").mkdir()
        with self.assertRaises(CertificateError) as caught:
            self.keeper(certificates="no")
        self.assertIn("holds no certificate", str(caught.exception))

    def default(self, **options: Any) -> str:
        found = self.keeper(**options)._files.default("mail.ours.example")
        assert found is not None
        return found.name

    def test_default(self) -> None:
        self.put("tls/a.pem", OTHER)
        self.assertEqual(self.default(certificates="tls"), "other.example")
        self.put("tls/b.pem", AUTHORITY.issue("*.ours.example"))
        self.assertEqual(self.default(certificates="tls"), "*.ours.example")
        self.put("tls/c.pem", MAIL)
        self.assertEqual(self.default(certificates="tls"), "mail.ours.example")
        self.put("own.pem", AUTHORITY.issue("own.example"))
        self.assertEqual(self.default(certificate="own.pem", certificates="tls"), "own.example")
        put(self.folder / "own.crt", OTHER.certificate)
        put(self.folder / "own.key", OTHER.key)
        self.assertEqual(self.default(certificate="own.crt", key="own.key"), "other.example")


class Ends(Case):
    def test_warned_of_once_a_day(self) -> None:
        self.put("mail.pem", AUTHORITY.issue("mail.ours.example", days=15))
        keeper = self.keeper(certificate="mail.pem")
        keeper.start()
        self.assertEqual(self.codes(), ["certificate-read"])

        def days(count: float) -> list[str]:
            self.clock.pump([CHECK_EVERY] * round(count * DAY / CHECK_EVERY))
            said = [str(event) for event in self.events]
            self.events.clear()
            return said

        self.assertEqual(days(0.5), [])
        (said,) = days(1)
        self.assertIn("for mail.ours.example, ends in 13 days", said)
        self.assertEqual(len(days(2)), 2)

    def test_warned_of_at_the_start(self) -> None:
        self.put("mail.pem", AUTHORITY.issue("mail.ours.example", days=-2, before=10))
        self.keeper(certificate="mail.pem")
        self.assertIn("ends in -", str(self.events[-1]))
        self.assertEqual(self.codes(), ["certificate-read", "certificate-expires"])


class Reloads(Case):
    def change(self, keeper: Keeper, **tls: Any) -> None:
        keeper.adopt(keeper.prepare(self.configuration(**tls).tls))

    def test_other_files(self) -> None:
        self.put("a.pem", MAIL)
        self.put("b.pem", OTHER)
        keeper = self.keeper(certificate="a.pem")
        self.change(keeper, certificate="b.pem")
        self.assertEqual(self.names(keeper), {"other.example"})

    def test_at_once_not_at_the_next_look(self) -> None:
        self.put("a.pem", MAIL)
        keeper = self.keeper(certificate="a.pem")
        self.put("a.pem", OTHER)
        self.change(keeper, certificate="a.pem")
        self.assertEqual(self.names(keeper), {"other.example"})

    def test_wrong_one_changes_nothing(self) -> None:
        self.put("a.pem", MAIL)
        keeper = self.keeper(certificate="a.pem")
        before = keeper.contexts.for_name("mail.ours.example")
        with self.assertRaises(CertificateError):
            keeper.prepare(self.configuration(certificate="b.pem").tls)
        self.assertIs(keeper.contexts.for_name("mail.ours.example"), before)

    def test_what_may_no_longer_be_read_stays(self) -> None:
        """Keys that root alone may read: read before privileges were dropped, and kept at every reload after that."""
        self.put("a.pem", MAIL)
        keeper = self.keeper(certificate="a.pem")
        self.codes()

        def denied(source: Source) -> None:
            raise NotReadable(f"{source.key}: cannot be read: Permission denied")

        self.patch(files, "read", denied)
        self.change(keeper, certificate="a.pem")
        self.assertEqual(self.codes(), ["certificate-refused"])
        self.assertEqual(len(keeper.refused), 1)  # ``mta reload`` tells it too
        self.assertEqual(self.names(keeper), {"mail.ours.example"})

    def test_policy(self) -> None:
        self.put("a.pem", MAIL)
        keeper = self.keeper(certificate="a.pem")
        before = keeper.contexts.for_name("mail.ours.example")
        self.change(keeper, certificate="a.pem", minimum="TLSv1.3")
        self.assertIsNot(keeper.contexts.for_name("mail.ours.example"), before)


class SelfSigned(Case):
    """RFC 7435: some protection most of the time."""

    def test_made_when_privileges_are_dropped_and_not_before(self) -> None:
        keeper = self.keeper()
        self.assertFalse(keeper.contexts.ready)
        self.assertFalse((self.folder / "state").exists())
        keeper.start()
        self.assertTrue(keeper.contexts.ready)
        path = Path(selfsigned.place(str(self.folder / "state")))
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(path.parent.stat().st_mode), 0o700)
        self.assertEqual(read(Source(str(path), str(path))).names, ("mail.ours.example",))

    def test_kept_over_starts_while_it_will_do(self) -> None:
        state, now = str(self.folder), round(time.time() * 1000)
        path = Path(selfsigned.ensure(state, "a.example", now))
        before = path.read_bytes()
        for moment, name, same in (
            (now, "a.example", True),
            (now, "b.example", False),
            (now + (selfsigned.DAYS - selfsigned.RENEW + 1) * 86_400_000, "b.example", False),
        ):
            selfsigned.ensure(state, name, moment)
            self.assertEqual(path.read_bytes() == before, same)
            before = path.read_bytes()
        path.write_bytes(b"nonsense")
        selfsigned.ensure(state, "b.example", now)
        self.assertEqual(read(Source(str(path), str(path))).names, ("b.example",))

    def test_host_with_a_long_name(self) -> None:
        # RFC 5280 A.1: the common name is cut, the name that counts is not.
        name = ".".join(["a" * 60] * 4)
        path = selfsigned.ensure(str(self.folder), name, round(time.time() * 1000))
        self.assertEqual(read(Source(path, path)).names, (name,))

    def test_what_an_interrupted_start_left_is_no_hindrance(self) -> None:
        path = Path(selfsigned.place(str(self.folder)))
        put(path.with_name("self-signed.pem.new"), b"half")
        selfsigned.ensure(str(self.folder), "a.example", round(time.time() * 1000))
        self.assertTrue(path.exists())

    def test_gives_way_to_a_real_one_at_a_reload_and_back(self) -> None:
        keeper = self.keeper()
        keeper.start()
        self.put("a.pem", OTHER)
        keeper.adopt(keeper.prepare(self.configuration(certificate="a.pem").tls))
        self.assertEqual(self.names(keeper), {"other.example"})
        keeper.adopt(keeper.prepare(self.configuration().tls))
        self.assertEqual(self.names(keeper), {"mail.ours.example"})

    def test_not_wanted(self) -> None:
        keeper = self.keeper(self_signed=False)
        keeper.start()
        self.assertFalse(keeper.contexts.ready)
        self.assertFalse(offered(self.configuration(self_signed=False).tls))
        self.assertEqual(self.look(), [])


class Asking(Case):
    """Listeners that ask their clients for a certificate."""

    def setUp(self) -> None:
        super().setUp()
        self.put("tls/mail.pem", MAIL)
        self.put("clients.pem", Authority("Clients").pem)
        self.path = str(self.folder / "clients.pem")

    def shown(self, contexts: Contexts) -> bytes:
        protocol: Any = None
        found = contexts.serverConnectionForTLS(protocol).get_certificate(as_cryptography=True)
        assert found is not None
        return found.public_bytes(Encoding.PEM)

    def test_they_share_certificates_with_all_others(self) -> None:
        keeper = self.keeper(certificates="tls")
        keeper.start()
        asking = keeper.asking(self.path)
        self.assertIs(keeper.asking(None), keeper.contexts)
        self.assertIsNot(asking, keeper.contexts)
        self.assertIs(keeper.asking(self.path), asking)
        self.assertEqual(self.shown(asking), MAIL.certificate)
        newer = AUTHORITY.issue("mail.ours.example")
        self.put("tls/mail.pem", newer)
        self.clock.advance(CHECK_EVERY)
        self.assertEqual(self.shown(asking), newer.certificate)

    def test_authorities_that_went(self) -> None:
        keeper = self.keeper(certificates="tls")
        keeper.start()
        asking = keeper.asking(self.path)
        os.unlink(self.path)
        self.put("tls/mail.pem", AUTHORITY.issue("mail.ours.example"))
        self.clock.advance(CHECK_EVERY)
        self.assertEqual(self.codes().count("certificate-refused"), 1)
        self.assertEqual(self.shown(asking), MAIL.certificate)
        with self.assertRaises(ValueError):
            keeper.asking(str(self.folder / "nowhere.pem"))

    def test_before_there_is_a_certificate(self) -> None:
        keeper = self.keeper()
        asking = keeper.asking(self.path)
        self.assertFalse(asking.ready)
        keeper.start()
        self.assertTrue(asking.ready)
