"""The built-in store."""

from __future__ import annotations

import fcntl
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from accounts_contract import ANN, BOB, PASSWORD, SourceContract
from twisted.cred.error import UnauthorizedLogin
from twisted.trial.unittest import SynchronousTestCase

from mta.accounts import editing, ways
from mta.accounts import file as store
from mta.accounts.credentials import ClientCertificate, Disproved, Password, Proved
from mta.accounts.file import FileAccounts, cost_of, keys_of, with_password
from mta.accounts.hashes import Cost, made, outdated
from mta.accounts.names import password
from mta.accounts.records import BadRecords, Record, parse, written
from mta.accounts.values import Account, Login, State
from mta.config.account_options import FileAccountsOptions
from mta.config.option import Path as ConfigPath
from mta.config.option import Size
from mta.reply import TemporaryFailure

CHEAP: dict[str, Any] = {"memory": Size(8 << 10), "passes": 1}


class Stored(SourceContract):
    """A file with two accounts."""

    def setUp(self) -> None:
        super().setUp()
        self.path = Path(self.mktemp()).absolute()  # type: ignore[attr-defined]
        self.options = self.options_with()
        bob = with_password(
            Record(name=BOB, addresses=(BOB,), changed=1), password(PASSWORD), cost_of(self.options), scram=True
        )
        self.put(bob, replace(bob, name=ANN, addresses=(ANN,), state=State.DISABLED))

    def options_with(self, **more: Any) -> FileAccountsOptions:
        return FileAccountsOptions(path=ConfigPath(str(self.path)), **{**CHEAP, **more})

    def put(self, *records: Record) -> None:
        editing.change(str(self.path), lambda before: {record.name: record for record in records}, create=True)

    def change(self, change: Any) -> None:
        editing.change(str(self.path), ways.changing(BOB, change))

    def bob(self) -> Record:
        return editing.read(str(self.path))[BOB]

    def make_source(self) -> Any:
        return FileAccounts(self.options, self.world.services("main"))

    def make_failing(self) -> Any:
        self.path.unlink()
        return self.make_source()


class Contract(Stored, SynchronousTestCase):
    """What all sources do."""


class Logins(Stored, SynchronousTestCase):
    def identity(self, source: Any, credentials: Any) -> Any:
        return self.world.wait(source.requestAvatarId(credentials))

    def login_of(self, identity: Any, mechanism: str = "PLAIN") -> Login:
        return Login(
            account=Account(name=BOB), mechanism=mechanism, credential=identity.credential, proof=identity.proof
        )

    def test_a_change_counts_at_once(self) -> None:
        source = self.made()
        self.assertEqual(source.find(BOB).state, State.ACTIVE)
        self.change(lambda record: replace(record, state=State.DISABLED, why="spam"))
        self.assertEqual(source.find(BOB), Account(name=BOB, state=State.DISABLED, why="spam", addresses=(BOB,)))
        editing.change(str(self.path), ways.removing(BOB))
        self.assertIsNone(source.find(BOB))
        self.assertEqual(self.login(source, BOB.encode(), PASSWORD), "")

    def test_a_change_of_a_large_file_is_waited_for(self) -> None:
        self.patch(store, "INLINE_OCTETS", 0)
        source = self.made()
        self.change(lambda record: replace(record, full_name="Bob"))
        found = [source.find(BOB), source.find(BOB)]
        self.assertEqual([self.later(one).full_name for one in found], ["Bob", "Bob"])
        self.assertEqual(source.find(BOB).full_name, "Bob")

    def test_an_end_by_date(self) -> None:
        source = self.made()
        self.change(lambda record: replace(record, expires="2020-02-29"))
        found = source.find(BOB)
        self.assertEqual((found.state, found.why), (State.EXPIRED, "since the end of 2020-02-29"))
        self.change(lambda record: replace(record, expires="2999-12-31"))
        self.assertEqual(source.find(BOB).state, State.ACTIVE)
        self.assertEqual(Record(name="x", expires="2026-01-31").account("2026-01-31").state, State.ACTIVE)
        self.assertEqual(Record(name="x", expires="2026-01-31").account("2026-02-01").state, State.EXPIRED)

    def test_a_new_password_ends_logins_with_the_old(self) -> None:
        source = self.made()
        login = self.login_of(self.identity(source, Password(BOB.encode(), PASSWORD)))
        self.assertTrue(source.still(login))
        self.change(lambda record: replace(with_password(record, b"other", Cost(8, 1), scram=True), changed=2))
        self.assertFalse(source.still(login))
        self.assertEqual(self.login(source, BOB.encode(), PASSWORD), "")
        self.assertEqual(self.login(source, BOB.encode(), b"other"), BOB)

    def test_app_passwords(self) -> None:
        source = self.made()
        given = ways.new_app_password()
        self.assertRegex(given, r"\A([a-z2-9]{4}-){4}[a-z2-9]{4}\Z")
        self.change(lambda record: ways.with_app_password(record, "phone", given, 7, Cost(8, 1), scram=True))
        identity = self.identity(source, Password(BOB.encode(), given.encode()))
        self.assertEqual((identity, identity.credential), (BOB.encode(), "phone"))
        login = self.login_of(identity)
        self.assertTrue(source.still(login))
        self.assertEqual(self.login(source, BOB.encode(), PASSWORD), BOB)  # the other is good as before
        self.change(lambda record: ways.without_app_password(record, "phone"))
        self.assertFalse(source.still(login))
        self.assertEqual(self.login(source, BOB.encode(), given.encode()), "")
        # One of the same label that is made again is another.
        self.change(lambda record: ways.with_app_password(record, "phone", given, 8, Cost(8, 1), scram=True))
        self.assertFalse(source.still(login))
        self.assertNotIn(given, self.path.read_text())

    def test_scram_with_the_password_and_with_app_passwords(self) -> None:
        source = self.made()
        self.assertTrue(source.offers_scram)
        self.change(lambda record: ways.with_app_password(record, "phone", "abc", 7, Cost(8, 1), scram=True))
        for hash_name in ("sha-1", "sha-256"):
            keys = source.scram(BOB, hash_name)
            self.assertEqual([one.credential for one in keys.others], ["", "phone"])
        self.assertTrue(source.offers_scram)
        proved = Proved(username=BOB.encode(), mechanism="SCRAM-SHA-1", hash_name="sha-1")
        self.assertEqual(self.identity(source, proved), BOB.encode())
        identity = self.identity(source, replace(proved, credential="phone"))
        self.assertTrue(source.still(self.login_of(identity)))
        for wrong in (
            replace(proved, credential="laptop"),
            replace(proved, username=b"carol@example.org"),
            Disproved(username=BOB.encode(), mechanism="SCRAM-SHA-1", hash_name="sha-1"),
        ):
            self.assertRaises(UnauthorizedLogin, self.identity, source, wrong)
        self.assertIsNone(source.scram("carol@example.org", "sha-1"))
        # A new password keeps the salt, else the app password would have no part in it.
        self.change(lambda record: with_password(record, b"other", Cost(8, 1), scram=True))
        self.assertTrue(source.offers_scram)
        self.assertEqual(len(source.scram(BOB, "sha-1").others), 2)

    def test_scram_is_not_offered_where_a_password_has_no_keys(self) -> None:
        # A client that may use it tries nothing else.
        source = self.made()
        self.change(lambda record: replace(record, scram_sha_1="", scram_sha_256=""))
        self.assertIsNone(source.scram(BOB, "sha-1"))
        self.assertFalse(source.offers_scram)
        self.options = self.options_with(scram=False)
        self.assertFalse(self.made().offers_scram)

    def test_an_old_hash_is_made_anew(self) -> None:
        source = self.made()
        self.change(lambda record: replace(record, password="{PLAIN}Geheim 1 \u00e4", scram_sha_1="", scram_sha_256=""))
        self.assertEqual(self.login(source, BOB.encode(), b"wrong"), "")
        self.assertTrue(self.bob().password.startswith("{PLAIN}"))
        login = self.login_of(self.identity(source, Password(BOB.encode(), PASSWORD)))
        self.until(lambda: self.bob().password.startswith("$argon2id$"))
        self.assertFalse(outdated(self.bob().password, cost_of(self.options)))
        self.assertEqual(self.login(source, BOB.encode(), PASSWORD), BOB)
        self.assertTrue(source.offers_scram)
        self.assertTrue(source.still(login))  # it is the same password

    def until(self, done: Any) -> None:
        for _ in range(600):
            if done():
                return
            self.world.reactor.iterate(0.05)
        self.fail("it never was")

    def test_a_folder_that_we_may_not_write_hinders_no_login(self) -> None:
        self.change(lambda record: replace(record, password=made(password(PASSWORD), Cost(16, 1))))
        self.patch(editing, "_replace", _refuse)
        source = self.made()
        self.assertEqual(self.login(source, BOB.encode(), PASSWORD), BOB)
        self.assertEqual(self.login(source, BOB.encode(), PASSWORD), BOB)

    def test_certificates(self) -> None:
        # RFC 5280 4.2.1.6
        source = self.made()
        mine = ClientCertificate(fingerprint="ab" * 32, names=(BOB,))
        self.assertRaises(UnauthorizedLogin, self.identity, source, mine)  # an address in it proves nothing here
        self.change(lambda record: replace(record, certificates=("ab" * 32,)))
        login = self.login_of(self.identity(source, mine), "EXTERNAL")
        self.assertTrue(source.still(login))
        self.assertEqual(self.identity(source, replace(mine, username=b"BOB@example.org")), BOB.encode())
        self.assertRaises(UnauthorizedLogin, self.identity, source, replace(mine, username=ANN.encode()))
        self.assertRaises(UnauthorizedLogin, self.identity, source, replace(mine, fingerprint="cd" * 32))
        self.change(lambda record: replace(record, certificates=()))
        self.assertFalse(source.still(login))
        self.options = self.options_with(certificate_names=True)
        source = self.made()
        login = self.login_of(self.identity(source, mine), "EXTERNAL")
        self.assertTrue(source.still(login))

    def test_too_many_at_once_are_put_off(self) -> None:
        self.options = self.options_with(threads=1, waiting=3)
        source = self.made()
        asked = [source.requestAvatarId(Password(BOB.encode(), PASSWORD)) for _ in range(10)]
        failures = [self.failureResultOf(one) for one in asked if one.called]
        self.assertEqual(len(failures), 7)
        for failure in failures:
            self.assertEqual(failure.check(TemporaryFailure), TemporaryFailure)
            self.assertEqual(failure.value.reply.code, 454)
        for one in asked:
            if not one.called:
                self.assertEqual(self.world.wait(one), BOB.encode())


def _refuse(*args: Any) -> None:
    raise PermissionError(13, "Permission denied")


class Files(Stored, SynchronousTestCase):
    def test_a_file_that_is_wrong_leaves_the_one_before_in_force(self) -> None:
        source = self.made()
        with self.path.open("a") as file:
            file.write("nonsense\n")
        self.assertEqual(source.find(BOB).state, State.ACTIVE)
        self.assertEqual(source.find(BOB).state, State.ACTIVE)
        (told,) = self.world.events
        self.assertIn("accounts main: the version before stays in force", told)
        self.assertIn(":4: is not JSON", told)
        self.assertRaises(BadRecords, self.make_source)

    def test_a_file_that_others_may_read_is_refused(self) -> None:
        source = self.made()
        for mode in (0o604, 0o602, 0o660, 0o644):
            self.path.chmod(mode)
            error = self.assertRaises(ValueError, self.make_source)
            self.assertIn("run: chmod", str(error))
            self.assertRaises(ValueError, self.change, lambda record: record)
        self.assertEqual(source.find(BOB).state, State.ACTIVE)
        self.path.chmod(0o640)
        self.make_source().close()

    def test_a_file_that_goes_away_is_no_answer(self) -> None:
        source = self.made()
        os.rename(self.path, f"{self.path}.gone")
        self.assertRaises(TemporaryFailure, source.find, BOB)
        os.rename(f"{self.path}.gone", self.path)
        self.assertEqual(source.find(BOB).state, State.ACTIVE)

    def test_one_that_comes_later_is_read(self) -> None:
        source = self.make_failing()
        self.addCleanup(source.close)
        self.assertIn("mta account add", self.assertRaises(TemporaryFailure, source.find, BOB).reason)
        self.put(Record(name=BOB))
        self.assertEqual(source.find(BOB).name, BOB)

    def test_no_other_kind_of_file(self) -> None:
        self.path.unlink()
        os.mkfifo(self.path, 0o600)
        self.assertRaises(ValueError, self.make_source)

    def test_changes_at_once_lose_none(self) -> None:
        def add(number: int) -> None:
            for index in range(5):
                record = Record(name=f"user{number}-{index}")
                editing.change(str(self.path), ways.adding(record))

        threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(editing.read(str(self.path))), 22)
        self.assertEqual([name for name in os.listdir(self.path.parent) if name.startswith(f".{self.path.name}")], [])

    def test_what_fails_changes_nothing_and_leaves_nothing(self) -> None:
        before = self.path.read_bytes()
        self.patch(os, "replace", _refuse)
        self.assertRaises(PermissionError, self.change, lambda record: replace(record, full_name="x"))
        self.assertEqual(self.path.read_bytes(), before)
        self.assertEqual([name for name in os.listdir(self.path.parent) if name.startswith(f".{self.path.name}")], [])

    def test_rights_stay_and_a_link_is_followed(self) -> None:
        self.path.chmod(0o640)
        link = f"{self.path}.link"
        os.symlink(self.path, link)
        editing.change(link, ways.adding(Record(name="carol")))
        self.assertTrue(os.path.islink(link))
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o640)
        self.assertIn("carol", editing.read(str(self.path)))

    def test_a_lock_that_is_not_given_up(self) -> None:
        with self.path.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.assertRaises(editing.FileBusy, editing.change, str(self.path), dict, wait=0)


class Records(SynchronousTestCase):
    def test_all_that_is_written_is_read(self) -> None:
        record = Record(
            name="bob",
            state=State.HELD,
            why="a brake",
            expires="2026-12-31",
            full_name="Bob B\u00f6b",
            addresses=("bob@a.example", "b\u00f6b@a.example"),
            delegated=("@b.example", "info@a.example"),
            message_size=1,
            recipients=2,
            per_hour=3,
            per_day=4,
            created=5,
            changed=6,
            certificates=("ab" * 32,),
        )
        full = with_password(record, b"x", Cost(8, 1), scram=True)
        full = ways.with_app_password(full, "phone", "given", 7, Cost(8, 1), scram=True)
        text = written([full, Record(name="ann")])
        self.assertEqual(parse(text, "f"), {"bob": full, "ann": Record(name="ann")})
        self.assertEqual(text.count("\n"), 3)
        self.assertNotIn("argon2", repr(full))
        self.assertIsNotNone(keys_of(full, "sha-1"))

    def test_what_is_wrong_is_told_with_its_line_and_without_secrets(self) -> None:
        for line, why in (
            ("{", "is not JSON"),
            ("[]", "is no JSON object"),
            ('{"nam": "x"}', '"nam" is not known'),
            ("{}", "name is missing"),
            ('{"name": "Bob"}', 'name: is to be written "bob"'),
            ('{"name": "a b"}', "name: U\\+0020"),
            ('{"name": 1}', "name: is to be text"),
            ('{"name": "b\\u0000"}', "name: has control"),
            ('{"name": "b", "state": "expired"}', "state: is to be active, disabled, held"),
            ('{"name": "b", "expires": "tomorrow"}', "expires: "),
            ('{"name": "b", "addresses": "x@y.example"}', "addresses: is to be a list"),
            ('{"name": "b", "addresses": ["x"]}', "addresses: "),
            ('{"name": "b", "delegated": ["@"]}', "delegated: "),
            ('{"name": "b", "recipients": -1}', "recipients: is to be a number"),
            ('{"name": "b", "recipients": true}', "recipients: is to be a number"),
            ('{"name": "b", "scram_sha_1": "secret"}', "scram_sha_1: keys of SCRAM"),
            ('{"name": "b", "app_passwords": [{"label": "x y", "hash": ""}]}', "app_passwords: each"),
            ('{"name": "b", "app_passwords": [{"label": "x"}]}', "app_passwords: each"),
            ('{"name": "b", "app_passwords": [1]}', "app_passwords: is to be a list of objects"),
            ('{"name": "b", "certificates": ["x"]}', "certificates: "),
            ("[" * 100_000, "is nested too deeply|is not JSON"),
        ):
            error = self.assertRaises(BadRecords, parse, f"# head\n\n{line}\n", "f")
            self.assertRegex(str(error), f"^f:3: ({why})")
            self.assertNotIn("secret", str(error))
        self.assertRaises(BadRecords, parse, '{"name": "b"}\n{"name": "b"}\n', "f")

    def test_only_line_feeds_end_lines(self) -> None:
        found = parse('{"name": "b", "full_name": "x\u0085y"}'.replace("\u0085", " "), "f")
        self.assertEqual(found["b"].full_name, "x y")
        self.assertRaises(BadRecords, parse, '{"name": "b", "full_name": "x\u2028y"}', "f")
