"""Accounts in a table."""

from __future__ import annotations

import json
from typing import Any

from accounts_contract import ANN, BOB, PASSWORD, SourceContract
from twisted.cred.credentials import IUsernameHashedPassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mta.accounts.credentials import CramMd5, Disproved, IProved, Password, Proved
from mta.accounts.file import app_hash
from mta.accounts.hashes import Cost, made, scram_keys, scram_text
from mta.accounts.names import password
from mta.accounts.table import TableAccounts
from mta.accounts.values import Account, Login
from mta.config.account_options import TableAccountsOptions
from mta.config.option import TableName
from mta.interfaces import ITable
from mta.reply import TemporaryFailure
from mta.routing.tables.watched import TABLE_FAILED

HASH = made(password(PASSWORD), Cost(8, 1))


@implementer(ITable)
class Values:
    """A table that is a dictionary; with ``later`` its answers come later."""

    def __init__(self, values: dict[str, str], *, later: bool = False) -> None:
        self.values = values
        self.later = later
        self.failing = False

    def lookup(self, key: str) -> Any:
        if self.failing:
            raise TemporaryFailure(TABLE_FAILED, "the table is down")
        value = self.values.get(key)
        return succeed(value) if self.later else value


class InTable(SourceContract):
    later_answers = False

    def setUp(self) -> None:
        super().setUp()
        self.table = Values(
            {BOB: f"{{ARGON2ID}}{HASH}", ANN: json.dumps({"password": HASH, "state": "disabled"})},
            later=self.later_answers,
        )

    def make_source(self, **options: Any) -> Any:
        options = {"table": TableName("table:accounts"), **options}
        services = self.world.services("main", {"table:accounts": self.table})
        return TableAccounts(TableAccountsOptions(**options), services)

    def make_failing(self) -> Any:
        self.table.failing = True
        return self.make_source()

    def made_with(self, **options: Any) -> Any:
        source = self.make_source(**options)
        self.addCleanup(source.close)
        return source


class Contract(InTable, SynchronousTestCase):
    """What all sources do."""


class ContractLater(InTable, SynchronousTestCase):
    """The same, where answers have to be waited for."""

    later_answers = True


class Readings(InTable, SynchronousTestCase):
    def identity(self, source: Any, credentials: Any) -> Any:
        return self.world.wait(source.requestAvatarId(credentials))

    def test_all_that_can_be_known_of_an_account(self) -> None:
        self.table.values[BOB] = json.dumps(
            {"password": HASH, "addresses": ["info@example.org"], "delegated": ["@a.example"], "per_day": 7}
        )
        source = self.made()
        self.assertEqual(
            source.find(BOB),
            Account(name=BOB, addresses=("info@example.org",), delegated=("@a.example",), per_day=7),
        )
        self.assertEqual(self.login(source, BOB.encode(), PASSWORD), BOB)

    def test_what_cannot_be_read_is_no_answer(self) -> None:
        source = self.made()
        for value in ('{"x": 1}', '{"password": 1}', '{"', '{"state": "gone"}'):
            self.table.values[BOB] = value
            self.assertRaises(TemporaryFailure, source.find, BOB)
        for value in ("secret", "", "{WHAT}ever"):
            self.table.values[BOB] = value
            wrong = UnauthorizedLogin if not value else TemporaryFailure
            self.assertRaises(wrong, self.identity, source, Password(BOB.encode(), b"secret"))

    def test_another_hash_ends_open_logins(self) -> None:
        source = self.made()
        identity = self.identity(source, Password(BOB.encode(), PASSWORD))
        login = Login(account=Account(name=BOB), mechanism="PLAIN", proof=identity.proof)
        self.assertNotIn(identity.proof, HASH)
        self.table.values[BOB] = made(password(PASSWORD), Cost(8, 1))
        self.assertFalse(source.still(login))
        del self.table.values[BOB]
        self.assertFalse(source.still(login))

    def test_app_passwords(self) -> None:
        apps = [{"label": "phone", "hash": app_hash(b"abc")}]
        self.table.values[BOB] = json.dumps({"password": HASH, "app_passwords": apps})
        source = self.made()
        identity = self.identity(source, Password(BOB.encode(), b"abc"))
        login = Login(account=Account(name=BOB), mechanism="PLAIN", credential="phone", proof=identity.proof)
        self.assertEqual(identity.credential, "phone")
        self.assertTrue(source.still(login))
        self.table.values[BOB] = json.dumps({"password": HASH})
        self.assertFalse(source.still(login))

    def test_scram_where_the_site_says_so(self) -> None:
        keys = scram_keys(password(PASSWORD), "sha-256", 4096)
        self.table.values[BOB] = f"{{SCRAM-SHA-256}}{scram_text(keys)}"
        self.assertNotIn(IProved, self.made().credentialInterfaces)
        source = self.made_with(scram=True)
        self.assertTrue(source.offers_scram)
        self.assertEqual(source.scram(BOB, "sha-256"), keys)
        self.assertIsNone(source.scram(BOB, "sha-1"))
        self.assertIsNone(source.scram("carol@example.org", "sha-256"))
        proved = {"username": BOB.encode(), "mechanism": "SCRAM-SHA-256", "hash_name": "sha-256"}
        self.assertEqual(self.identity(source, Proved(**proved)), BOB.encode())  # type: ignore[arg-type]
        self.assertRaises(UnauthorizedLogin, self.identity, source, Disproved(**proved))  # type: ignore[arg-type]

    def test_cram_md5_where_passwords_are_in_the_clear(self) -> None:
        # RFC 2195 2
        challenge, digest = b"<1896.697170952@postoffice.reston.mci.net>", b"b913a602c7eda7a495b4e6e7334d3890"
        self.table.values["tim"] = "{PLAIN}tanstaaftanstaaf"
        self.assertNotIn(IUsernameHashedPassword, self.made().credentialInterfaces)
        source = self.made_with(cram_md5=True)
        self.assertEqual(self.identity(source, CramMd5(username=b"tim", challenge=challenge, digest=digest)), b"tim")
        for name, wrong in ((b"tim", b"0" * 32), (BOB.encode(), digest), (b"nobody", digest)):
            credentials = CramMd5(username=name, challenge=challenge, digest=wrong)
            self.assertRaises(UnauthorizedLogin, self.identity, source, credentials)
