"""Accounts in a real OpenLDAP keep the contract, and live through a restart of the server."""

from __future__ import annotations

import base64
import signal
import unittest
from typing import Any, ClassVar

from accounts_contract import ANN, BOB, PASSWORD, SourceContract
from twisted.cred.error import UnauthorizedLogin
from twisted.trial.unittest import SynchronousTestCase

from mta.accounts.credentials import Password
from mta.accounts.values import Account, State
from mta.config.account_options import LdapAccountsOptions
from mta.config.option import Duration, Path, Secret
from mta.reply import TemporaryFailure
from mta.routing.tables.optional import missing
from tests.integration.databases import Slapd


def person(name: str, address: str, *more: str) -> str:
    password = base64.b64encode(PASSWORD).decode()
    lines = (
        f"dn: cn={name},ou=people,dc=example,dc=org",
        "objectClass: inetOrgPerson",
        f"cn: {name}",
        "sn: x",
        f"mail: {address}",
        f"userPassword:: {password}",
        *more,
    )
    return "\n".join([*lines, ""])


PEOPLE = (
    person("Bob", BOB),
    person("Ann", ANN, "employeeType: gone"),
    person("Twice", "twice@example.org"),
    person("Twin", "twice@example.org"),
    person("Many", "many@example.org", "mail: other@example.org", "mail: not an address", "title: @a.example"),
    person("None", "none@example.org").replace("userPassword", "description"),
)


class Ldap(SourceContract, SynchronousTestCase):
    server: ClassVar[Slapd]

    @classmethod
    def setUpClass(cls) -> None:
        if list(missing("ldap", "ldap")):
            raise unittest.SkipTest("python-ldap is not installed (the extra ldap)")
        cls.server = Slapd("\n".join(PEOPLE))

    @classmethod
    def tearDownClass(cls) -> None:
        cls.server.remove()

    def source(self, **more: Any) -> Any:
        from mta.accounts.ldap import LdapAccounts

        options: dict[str, Any] = {
            "url": self.server.url,
            "ca": Path(self.server.ca),
            "bind": "cn=mta,dc=example,dc=org",
            "password": Secret("s3cret"),
            "base": "ou=people,dc=example,dc=org",
            "filter": "(&(objectClass=inetOrgPerson)(mail={key}))",
            "disabled": "(employeeType=gone)",
            "delegated": "title",
            "cache": Duration(0.0),
            **more,
        }
        return LdapAccounts(LdapAccountsOptions(**options), self.world.services("people"))

    def make_source(self) -> Any:
        return self.source()

    def make_failing(self) -> Any:
        return self.source(url="ldap://127.0.0.1:1")

    def made_with(self, **more: Any) -> Any:
        source = self.source(**more)
        self.addCleanup(source.close)
        return source

    def identity(self, source: Any, name: str, password: bytes = PASSWORD) -> Any:
        return self.world.wait(source.requestAvatarId(Password(name.encode(), password)))

    def test_what_a_directory_knows(self) -> None:
        source = self.made()
        self.assertEqual(
            self.later(source.find("many@example.org")),
            Account(
                name="many@example.org",
                full_name="Many",
                addresses=("many@example.org", "other@example.org"),
                delegated=("@a.example",),
            ),
        )
        self.assertEqual(self.identity(source, "other@example.org"), b"other@example.org")

    def test_two_entries_of_one_name_are_no_answer(self) -> None:
        self.assertRaises(TemporaryFailure, self.identity, self.made(), "twice@example.org")

    def test_an_entry_without_a_password(self) -> None:
        self.assertRaises(UnauthorizedLogin, self.identity, self.made(), "none@example.org")

    def test_what_is_known_is_remembered_but_no_password(self) -> None:
        source = self.made_with(cache=Duration(60.0))
        self.assertEqual(self.later(source.find(BOB)).state, State.ACTIVE)
        self.assertEqual(source.find(BOB).state, State.ACTIVE)
        self.assertEqual(self.identity(source, BOB), BOB.encode())
        self.assertRaises(UnauthorizedLogin, self.identity, source, BOB, b"wrong")

    def test_a_restart_of_the_server(self) -> None:
        source = self.made()
        self.assertEqual(self.identity(source, BOB), BOB.encode())
        self.server.stop(signal.SIGTERM)
        self.assertRaises(TemporaryFailure, self.identity, source, BOB)
        self.server.start()
        self.assertEqual(self.identity(source, BOB), BOB.encode())

    def test_nothing_is_said_without_tls(self) -> None:
        for wrong in ({"ca": None}, {"url": self.server.url.replace("127.0.0.1", "localhost")}):
            self.assertRaises(TemporaryFailure, self.identity, self.made_with(**wrong), BOB)
        wrong_bind = self.made_with(password=Secret("wrong"))
        self.assertRaises(TemporaryFailure, self.identity, wrong_bind, BOB)
