"""Accounts of a real Dovecot keep the contract, and live through its restart."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import threading
from pathlib import Path
from typing import Any, ClassVar

from accounts_contract import ANN, BOB, PASSWORD, SourceContract
from table_contract import World
from twisted.cred.error import UnauthorizedLogin
from twisted.trial.unittest import SynchronousTestCase

from mta.accounts import dovecot
from mta.accounts.credentials import Password
from mta.accounts.dovecot import DovecotAccounts
from mta.accounts.values import State
from mta.config.account_options import DovecotAccountsOptions
from mta.config.option import Duration, TableName
from mta.config.option import Path as ConfigPath
from mta.interfaces import ITable
from mta.reply import TemporaryFailure
from mta.waiting import as_deferred
from tests.integration.dovecot import Dovecot

SOCKETS = """
service auth {{
  unix_listener {folder}/auth {{
    mode = 0666
  }}
  unix_listener {folder}/auth-userdb {{
    mode = 0666
  }}
}}
auth_username_format = %Lu
auth_failure_delay = 0
"""


class Attributes:
    """A table of what else is known."""

    def lookup(self, key: str) -> str | None:
        return {BOB: "{}", ANN: '{"state": "disabled"}'}.get(key)


class WithDovecot(SourceContract):
    server: ClassVar[Dovecot]

    @classmethod
    def setUpClass(cls) -> None:
        cls.server = Dovecot({})
        folder = cls.server.folder
        with (folder / "dovecot.conf").open("a") as file:
            file.write(SOCKETS.format(folder=folder))
        password = PASSWORD.decode()
        lines = [f"{name}:{{plain}}{password}:{cls.server.uid}:{cls.server.gid}::{folder}::" for name in (BOB, ANN)]
        (folder / "users").write_text("".join(f"{line}\n" for line in lines))
        cls.server.start()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.server.__exit__()

    def source(self, **more: Any) -> Any:
        table: ITable = Attributes()  # type: ignore[assignment]
        options: dict[str, Any] = {
            "socket": ConfigPath(str(self.server.folder / "auth")),
            "attributes": TableName("table:more"),
            **more,
        }
        services = self.world.services("dovecot", {"table:more": table})
        return DovecotAccounts(DovecotAccountsOptions(**options), services)

    def make_source(self) -> Any:
        return self.source()

    def make_failing(self) -> Any:
        return self.source(socket=ConfigPath("/nowhere/auth"))

    def made_with(self, **more: Any) -> Any:
        source = self.source(**more)
        self.addCleanup(source.close)
        return source

    def identity(self, source: Any, name: str = BOB, password: bytes = PASSWORD) -> Any:
        return self.world.wait(source.requestAvatarId(Password(name.encode(), password)))


class Contract(WithDovecot, SynchronousTestCase):
    """What all sources do."""


class Details(WithDovecot, SynchronousTestCase):
    def test_names_by_its_other_socket(self) -> None:
        users = ConfigPath(str(self.server.folder / "auth-userdb"))
        source = self.made_with(attributes=None, users=users)
        self.assertEqual(self.later(source.find(BOB)).addresses, (BOB,))
        self.assertEqual(source.find(BOB).state, State.ACTIVE)  # remembered
        self.assertIsNone(self.later(source.find("carol@example.org")))
        self.assertIsNone(source.find("carol@example.org"))

    def test_without_both_every_name_is_one_of_its(self) -> None:
        self.assertEqual(self.made_with(attributes=None).find("carol@example.org").name, "carol@example.org")

    def test_many_at_once_on_one_connection(self) -> None:
        source = self.made()
        asked = [
            as_deferred(source.requestAvatarId(Password(BOB.encode(), PASSWORD if number % 2 else b"wrong")))
            for number in range(40)
        ]
        for number, one in enumerate(asked):
            if number % 2:
                self.assertEqual(self.world.wait(one), BOB.encode())
            else:
                self.assertRaises(UnauthorizedLogin, self.world.wait, one)

    def test_a_restart(self) -> None:
        source = self.made()
        self.assertEqual(self.identity(source), BOB.encode())
        self.server.stop()
        # The old process stays with those who are connected, and with nobody else.
        self.patch(dovecot, "KEEP", 0.0)
        self.assertRaises(TemporaryFailure, self.identity, source)
        self.server.start()
        self.assertEqual(self.identity(source), BOB.encode())


class BadServers(SynchronousTestCase):
    """What is no Dovecot is never a no."""

    def setUp(self) -> None:
        self.world = World(self)
        self.folder = Path(tempfile.mkdtemp(dir="/tmp"))  # a socket's path is short
        self.path = self.folder / "auth"
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listening.bind(str(self.path))
        self.listening.listen()
        self.addCleanup(self.listening.close)

    def says(self, octets: bytes) -> None:
        def serve() -> None:
            connection, _ = self.listening.accept()
            with connection:
                connection.sendall(octets)
                connection.settimeout(5)
                with contextlib.suppress(OSError):
                    while connection.recv(65536):
                        pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        self.addCleanup(thread.join, 10)

    def test_all_of_them(self) -> None:
        hello = b"VERSION\t1\t2\nSPID\t1\nDONE\n"
        for said in (
            b"",
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"VERSION\t9\t0\nDONE\n",
            b"DONE\n",
            b"x" * 100_000,
            hello,
            hello + b"OK\t2\tuser=bob@example.org\n",  # to something that nobody asked
            hello + b"OK\tx\n",
            hello + b"OK\t1\tuser=\xff\n",
            hello + b"FAIL\t1\ttemp\n",
            hello + b"CONT\t1\t\n",
        ):
            self.says(said)
            options = DovecotAccountsOptions(socket=ConfigPath(str(self.path)), timeout=Duration(0.5))
            source = DovecotAccounts(options, self.world.services("x"))
            credentials = Password(BOB.encode(), PASSWORD)
            self.assertRaises(TemporaryFailure, self.world.wait, source.requestAvatarId(credentials))
            source.close()
        os.unlink(self.path)
