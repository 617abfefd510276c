"""Tables in a real PostgreSQL and a real OpenLDAP keep the contract, and live through a restart of the server."""

from __future__ import annotations

import base64
import signal
import unittest
from typing import Any, ClassVar

from table_contract import ENTRIES, InFolder, TableContract

from mta.config.option import Duration, Path, Secret
from mta.reply import TemporaryFailure
from mta.routing.tables.ldap import LdapTable, LdapTableOptions
from mta.routing.tables.listing import PAGE
from mta.routing.tables.optional import missing, package
from mta.routing.tables.postgresql import PostgresqlTable, PostgresqlTableOptions
from tests.integration.databases import Postgresql, Slapd

FAST = {"cache": Duration(0.0), "cache_unknown": Duration(0.0)}


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


class InPostgresql(TableContract, InFolder):
    server: ClassVar[Postgresql]

    @classmethod
    def setUpClass(cls) -> None:
        if list(missing("psycopg", "postgresql")):
            raise unittest.SkipTest("psycopg is not installed (the extra postgresql)")
        cls.server = Postgresql()
        rows = ", ".join(
            f"({quoted(key)}, {quoted(part)})" for key, value in ENTRIES.items() for part in value.split(", ")
        )
        cls.server.sql("CREATE TABLE alias (address text, target text)")
        cls.server.sql(f"INSERT INTO alias VALUES {rows}, ('null@example.org', NULL)")

    @classmethod
    def tearDownClass(cls) -> None:
        cls.server.remove()

    def table(self, query: str = "SELECT target FROM alias WHERE address = :key", **more: Any) -> PostgresqlTable:
        database = more.pop("database", Secret(self.server.info))
        table = PostgresqlTable(PostgresqlTableOptions(database=database, query=query, **more), self.world.services())
        self.addCleanup(table.close)
        return table

    def make_table(self) -> PostgresqlTable:
        return self.table()

    def make_failing(self) -> PostgresqlTable:
        return self.table(database=Secret(f"host={self.folder()} user=x dbname=x"))

    def make_listing(self, members: list[str]) -> PostgresqlTable:
        rows = ", ".join(f"({number}, {quoted(one)})" for number, one in enumerate(members))
        self.server.sql("DROP TABLE IF EXISTS member; CREATE TABLE member (n int, address text)")
        self.server.sql(f"INSERT INTO member VALUES {rows}" if rows else "SELECT 1")
        return self.table(list_query="SELECT address, '100%' FROM member ORDER BY n")

    def test_a_listing_that_fails(self) -> None:
        table = self.table(list_query="SELECT address FROM nothing")
        self.assertIn("does not exist", self.assertRaises(TemporaryFailure, self.listed, table).reason)
        table = self.table(list_query="SELECT 'x' FROM pg_sleep(60)", timeout=Duration(0.3))
        self.assertRegex(
            self.assertRaises(TemporaryFailure, self.listed, table).reason, "statement timeout|no page of its members"
        )

    def test_parts_and_casts(self) -> None:
        table = self.table("SELECT (:domain || '|' || :local)::text, '100%' WHERE :key LIKE '%@%'")
        self.assertEqual(self.answer(table, "bob@example.org"), "example.org|bob")
        self.assertIsNone(self.answer(table, "bob"))

    def test_null_is_nothing(self) -> None:
        self.assertIsNone(self.answer(self.made(), "null@example.org"))

    def test_it_is_never_written_to(self) -> None:
        table = self.table("DELETE FROM alias WHERE address = :key RETURNING target")
        failure = self.assertRaises(TemporaryFailure, self.answer, table, "bob@example.org")
        self.assertIn("read-only", failure.reason)

    def test_a_wrong_query_hurts_its_questions_alone(self) -> None:
        table = self.table("SELECT nothing FROM alias WHERE address = :key")
        for _ in range(2):
            failure = self.assertRaises(TemporaryFailure, self.answer, table, "bob@example.org")
            self.assertIn('column "nothing" does not exist', failure.reason)
        self.assertEqual(self.world.events, [])

    def test_too_many_rows(self) -> None:
        table = self.table("SELECT n FROM generate_series(1, 1000000) AS n WHERE :key <> ''", **FAST)
        failure = self.assertRaises(TemporaryFailure, self.answer, table, "bob@example.org")
        self.assertIn("more than 1000 rows", failure.reason)

    def test_a_query_that_takes_too_long_is_ended(self) -> None:
        table = self.table("SELECT 'x' FROM pg_sleep(CASE :key WHEN 'slow' THEN 60 ELSE 0 END)", timeout=Duration(0.3))
        failure = self.assertRaises(TemporaryFailure, self.answer, table, "slow")
        self.assertRegex(failure.reason, "statement timeout|no answer within")
        self.assertEqual(self.answer(table, "fast"), "x")

    def test_connections_that_the_server_has_closed_are_made_anew(self) -> None:
        table = self.table(connections=1, **FAST)
        self.assertEqual(self.answer(table, "bob@example.org"), "home=/srv/bob")
        self.server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'txmta'")
        self.assertEqual(self.answer(table, "bob@example.org"), "home=/srv/bob")
        self.server.stop(signal.SIGINT)
        failure = self.assertRaises(TemporaryFailure, self.answer, table, "bob@example.org")
        self.assertEqual(self.world.events, [f"table users: {failure.reason}"])
        self.server.start()
        table._remote._rests_until = 0.0
        self.assertEqual(self.answer(table, "bob@example.org"), "home=/srv/bob")
        self.assertEqual(self.world.events[1:], ["table users: it answers again"])


def person(number: int, key: str, value: str) -> str:
    key64, value64 = (base64.b64encode(text.encode()).decode() for text in (key, value))
    return (
        f"dn: uid=p{number},ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: p{number}\ncn: x\nsn: x\n"
        f"description:: {key64}\ntitle:: {value64}\n\n"
    )


class InLdap(TableContract, InFolder):
    server: ClassVar[Slapd]

    @classmethod
    def setUpClass(cls) -> None:
        if list(missing("ldap", "ldap")):
            raise unittest.SkipTest("python-ldap is not installed (the extra ldap)")
        cls.server = Slapd("".join(person(number, *entry) for number, entry in enumerate(ENTRIES.items())))

    @classmethod
    def tearDownClass(cls) -> None:
        cls.server.remove()

    def table(self, **more: Any) -> LdapTable:
        options = {
            "url": self.server.url,
            "ca": Path(self.server.ca),
            "bind": "cn=mta,dc=example,dc=org",
            "password": Secret("s3cret"),
            "base": "ou=people,dc=example,dc=org",
            "filter": "(description={key})",
            "attribute": "title",
        }
        table = LdapTable(LdapTableOptions(**{**options, **more}), self.world.services())
        self.addCleanup(table.close)
        return table

    def make_table(self) -> LdapTable:
        return self.table()

    def make_failing(self) -> LdapTable:
        return self.table(password=Secret("wrong"))

    def make_listing(self, members: list[str]) -> LdapTable:
        people = package("ldap").initialize(self.server.url)
        people.set_option(package("ldap").OPT_X_TLS_CACERTFILE, self.server.ca)
        people.set_option(package("ldap").OPT_X_TLS_NEWCTX, 0)
        people.start_tls_s()
        people.simple_bind_s("cn=mta,dc=example,dc=org", "s3cret")
        self.addCleanup(people.unbind_s)
        for number, member in enumerate(members):
            name = f"uid=m{number},ou=people,dc=example,dc=org"
            kind = [("objectClass", [b"inetOrgPerson"]), ("cn", [b"x"]), ("sn", [b"x"])]
            people.add_s(name, [*kind, ("employeeType", [member.encode()])])
            self.addCleanup(people.delete_s, name)
        return self.table(list_filter="(employeeType=*)", list_attribute="employeeType")

    def test_no_more_than_a_page_is_asked_for_at_once(self) -> None:
        # RFC 2696
        sizes: list[int] = []
        connection = package("ldap.ldapobject").SimpleLDAPObject
        result3 = connection.result3

        def counted(*args: Any, **more: Any) -> Any:
            answer = result3(*args, **more)
            sizes.append(len(answer[1]))
            return answer

        table = self.make_listing([f"u{number}@example.org" for number in range(PAGE + 1)])
        self.patch(connection, "result3", counted)
        self.assertEqual([len(page) for page in self.listed(table)], [PAGE, 1])
        self.assertEqual([size for size in sizes if size], [PAGE, 1])

    def why(self, table: LdapTable) -> str:
        return str(self.assertRaises(TemporaryFailure, self.answer, table, "bob@example.org").reason)

    def test_a_refused_bind_rests(self) -> None:
        """An account that is tried too often gets locked."""
        table = self.table(password=Secret("wrong"))
        self.assertIn("INVALID_CREDENTIALS", self.why(table))
        self.assertEqual(len(self.world.events), 1)
        self.assertGreater(table._remote._rests_until, 0)

    def test_a_certificate_of_somebody_else_ends_it_before_the_password(self) -> None:
        other = self.written("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
        self.assertTrue(self.why(self.table(ca=other)))
        self.assertTrue(self.why(self.table(ca=None)))
        self.assertTrue(self.why(self.table(url=self.server.url.replace("127.0.0.1", "localhost"))))

    def test_without_a_name_nobody_is_asked(self) -> None:
        self.assertTrue(self.why(self.table(bind="", password=None, tls="none")))

    def test_a_base_that_is_not_there_makes_nobody_unknown(self) -> None:
        self.assertIn("NO_SUCH_OBJECT", self.why(self.table(base="ou=none,dc=example,dc=org")))

    def test_entries_without_the_attribute_say_nothing(self) -> None:
        self.assertIsNone(self.answer(self.table(attribute="mobile"), "bob@example.org"))

    def test_parts_of_the_key(self) -> None:
        table = self.table(filter="(&(uid={local})(objectClass=inetOrgPerson))")
        self.assertEqual(self.answer(table, "p0@whatever.example"), "home=/srv/bob")

    def test_a_restart_of_the_server(self) -> None:
        table = self.table(connections=1, **FAST)
        self.assertEqual(self.answer(table, "bob@example.org"), "home=/srv/bob")
        self.server.stop()
        self.server.start()
        self.assertEqual(self.answer(table, "bob@example.org"), "home=/srv/bob")
        self.server.stop()
        self.assertIn("SERVER_DOWN", self.why(table))
        self.server.start()
        table._remote._rests_until = 0.0
        self.assertEqual(self.answer(table, "bob@example.org"), "home=/srv/bob")
