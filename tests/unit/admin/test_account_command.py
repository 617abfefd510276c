"""``mta account``: a file of accounts, and the brakes."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from stopped_state import CONFIGURATION, StoppedState
from twisted.trial.unittest import SynchronousTestCase

from mta.accounts import editing
from mta.accounts.hashes import right
from mta.accounts.values import State
from mta.admin import account_show
from mta.admin.main import main

ACCOUNTS = """
[accounts.main]
type = "file"
path = "accounts"
memory = "8KiB"
passes = 1
"""
BOB = "bob@ours.example"
SECRET = "Geheim und lang"


class WithFile(StoppedState):
    more = ACCOUNTS

    def setUp(self) -> None:
        super().setUp()
        self.path = self.folder / "accounts"

    def add(self, name: str = BOB, *more: str) -> str:
        return self.ok("account", "add", name, "--stdin", *more, input=f"{SECRET}\n")

    def record(self, name: str = BOB) -> Any:
        return editing.read(str(self.path))[name]


class Accounts(WithFile):
    def test_adding(self) -> None:
        self.assertEqual(self.add("BOB@Ours.Example"), f"{BOB} is there; it sends as {BOB}\n")
        record = self.record()
        self.assertEqual((record.state, record.addresses), (State.ACTIVE, (BOB,)))
        self.assertTrue(right(record.password, SECRET.encode()))
        self.assertTrue(record.scram_sha_1 and record.scram_sha_256)
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
        self.assertNotIn(SECRET, self.path.read_text())
        self.assertIn("already", self.refused("account", "add", BOB, "--stdin", input=f"{SECRET}\n"))

    def test_with_all_that_can_be_said(self) -> None:
        self.add(
            "ann",
            *("--address", "ann@ours.example", "--address", "info@ours.example", "--full-name", "Ann \u00c4"),
            *("--expires", "2099-12-31", "--recipients", "5", "--per-hour", "6", "--per-day", "7"),
            *("--message-size", "2MiB"),
        )
        record = self.record("ann")
        self.assertEqual(record.addresses, ("ann@ours.example", "info@ours.example"))
        self.assertEqual((record.recipients, record.per_hour, record.per_day, record.message_size), (5, 6, 7, 2 << 20))
        self.ok("account", "set", "ann", "--expires", "", "--message-size", "1000")
        self.assertEqual((self.record("ann").expires, self.record("ann").message_size), ("", 1000))

    def test_what_is_no_account(self) -> None:
        for name in ("a b", "bob\x00", "", "x" * 300, "bob\u200d"):
            self.assertIn("Error", self.refused("account", "add", name, "--stdin", input=f"{SECRET}\n"))
        for wrong in (
            ("--address", "nobody"),
            ("--expires", "soon"),
            ("--message-size", "much"),
            ("--recipients", "-1"),
            ("--full-name", "x\ny"),
        ):
            self.refused("account", "add", BOB, "--stdin", *wrong, input=f"{SECRET}\n")
        self.assertFalse(self.path.exists())

    def test_passwords(self) -> None:
        self.add()
        before = self.record().password
        self.assertIn("8 characters", self.refused("account", "passwd", BOB, "--stdin", input="short\n"))
        self.assertIn("may not stand", self.refused("account", "passwd", BOB, "--stdin", input="with\x07control\n"))
        self.assertIn("no terminal", self.refused("account", "passwd", BOB))
        self.assertEqual(self.record().password, before)
        self.ok("account", "passwd", BOB, "--stdin", input="another one\r\n")
        self.assertTrue(right(self.record().password, b"another one"))
        self.ok("account", "passwd", BOB, "--remove")
        self.assertEqual((self.record().password, self.record().scram_sha_256), ("", ""))
        self.assertIn("password        none", self.ok("account", "show", BOB))

    def test_no_password_is_ever_an_argument(self) -> None:
        for command in ("add", "passwd", "app-password"):
            said = CliRunner().invoke(main, ["account", command, "--help"]).output
            self.assertNotRegex(said, r"--password[ =]")

    def test_states(self) -> None:
        self.add()
        for command, state in (("disable", State.DISABLED), ("hold", State.HELD)):
            self.ok("account", command, BOB, "--why", "spam")
            self.assertEqual((self.record().state, self.record().why), (state, "spam"))
            self.assertIn(f"{state}  spam", self.ok("account", "show", BOB))
        self.ok("account", "enable", BOB)
        self.assertEqual((self.record().state, self.record().why), (State.ACTIVE, ""))
        self.assertIn(f'did you mean "{BOB}"?', self.refused("account", "disable", "bop@ours.example"))

    def test_addresses_and_delegations(self) -> None:
        self.add()
        self.add("ann@ours.example")
        self.ok("account", "alias", BOB, "--add", "Info@OURS.example", "--add", "b@ours.example")
        self.assertEqual(self.record().addresses, (BOB, "Info@ours.example", "b@ours.example"))
        self.ok("account", "alias", BOB, "--remove", "b@ours.example")
        self.assertIn("is an address of bob", self.refused("account", "alias", "ann@ours.example", "--add", BOB))
        self.assertIn("is no address of it", self.refused("account", "alias", BOB, "--remove", "b@ours.example"))
        self.ok("account", "delegate", BOB, "--add", "@Partner.example", "--add", "ann@ours.example")
        self.assertEqual(self.record().delegated, ("@partner.example", "ann@ours.example"))
        self.refused("account", "delegate", BOB, "--add", "@")
        self.refused("account", "delegate", BOB)
        self.ok("account", "certificate", BOB, "--add", ":".join(["AB"] * 32))
        self.assertEqual(self.record().certificates, ("ab" * 32,))

    def test_app_passwords_are_shown_once(self) -> None:
        self.add()
        given = self.asked("account", "app-password", BOB, "phone")["app_password"]
        self.assertNotIn(given, self.path.read_text())
        said = self.ok("account", "show", BOB)
        self.assertIn("phone, made ", said)
        self.assertIn("used never", said)
        self.assertNotIn(given, said)
        self.assertIn("already", self.refused("account", "app-password", BOB, "phone"))
        self.assertIn("a label has", self.refused("account", "app-password", BOB, "a phone"))
        self.ok("account", "app-password", BOB, "phone", "--revoke")
        self.assertEqual(self.record().app_passwords, ())
        self.refused("account", "app-password", BOB, "phone", "--revoke")

    def test_showing(self) -> None:
        self.assertIn("mta account add makes it", self.refused("account", "show"))
        self.add()
        logins = Path(self.state, "logins")
        logins.mkdir()
        (logins / "0.json").write_text(json.dumps([["main", BOB, "", 1_700_000_000_000]]))
        said = self.ok("account", "show")
        self.assertIn("NAME              STATE   LAST LOGIN", said)
        self.assertRegex(said, rf"{BOB}  active  \d+d.* ago")
        (one,) = self.asked("account", "show")
        self.assertEqual(one["last_login"], 1_700_000_000_000)
        self.assertNotIn("argon2", json.dumps(self.asked("account", "show", BOB)))
        self.assertIn("there is no account", self.refused("account", "show", "nobody"))

    def test_removing(self) -> None:
        self.add()
        self.refused("account", "remove", BOB, input="n\n")
        self.ok("account", "remove", BOB, "--yes")
        self.assertEqual(editing.read(str(self.path)), {})

    def test_mta_check_tells_of_it(self) -> None:
        # Of the state folder of this test it says that its name is too long.
        self.assertNotIn("accounts.main", self.run_mta("check").output)
        self.add()
        self.assertNotIn("accounts.main", self.run_mta("check").output)
        self.path.chmod(0o644)
        self.assertIn(f"run: chmod o= {self.path}", self.refused("check"))
        self.assertIn("chmod", self.refused("account", "disable", BOB))
        self.path.chmod(0o600)
        self.path.write_text("nonsense\n")
        self.assertIn(":1: is not JSON", self.refused("check"))
        self.assertIn("is not JSON", self.refused("account", "show"))


class Several(WithFile):
    more = ACCOUNTS + ACCOUNTS.replace("main", "other").replace('"accounts"', '"more"')

    def test_one_has_to_be_named(self) -> None:
        self.assertIn("say --in main or --in other", self.refused("account", "enable", BOB))
        self.ok("account", "add", BOB, "--in", "other", "--no-password")
        self.assertTrue((self.folder / "more").exists())
        self.assertIn("there is no file of accounts", self.refused("account", "enable", BOB, "--in", "third"))


class WithoutFile(StoppedState):
    def test_without_a_file(self) -> None:
        self.assertIn("[accounts.main]", self.refused("account", "add", BOB, "--no-password"))

    def test_brakes_are_those_of_a_running_service(self) -> None:
        self.assertIn("is not running", self.refused("account", "brakes"))
        self.assertIn("is not running", self.refused("account", "lift", "--all"))
        self.assertIn("say which", self.refused("account", "lift"))


class Doubts(StoppedState):
    more = """
[accounts.mail]
type = "dovecot"
socket = "nowhere/auth"

[accounts.machine]
type = "pam"
service = "no-such-service"

[accounts.people]
type = "ldap"
url = "ldap://127.0.0.1"
tls = "none"
base = "dc=example"
filter = "(mail={key})"
"""

    def test_what_is_hardly_meant(self) -> None:
        said = self.run_mta("check").output
        if "python-ldap" in said or "needs the Python package ldap" in said:
            (self.folder / "mta.toml").write_text(CONFIGURATION + self.more.partition("[accounts.people]")[0])
            said = self.run_mta("check").output
        else:
            self.assertIn("passwords go to the directory in the clear", said)
        self.assertIn("is no socket now", said)
        self.assertIn("none of those after it is ever asked", said)
        self.assertIn("there is no /etc/pam.d/no-such-service", said)


class Brakes(SynchronousTestCase):
    def test_how_they_are_shown(self) -> None:
        self.assertEqual(account_show.brake_lines({"brakes": [], "more": 0}), ["no failed logins count"])
        brakes = [
            {"kind": "account", "name": "bob\x1b[2J", "known": "", "failures": 10.0, "seconds": 900},
            {"kind": "address", "name": "192.0.2.7", "known": "", "failures": 3.2, "seconds": 0},
        ]
        lines = account_show.brake_lines({"brakes": brakes, "more": 3})
        self.assertIn("closed for 15m00s", lines[1])
        self.assertNotIn("\x1b", lines[1])
        self.assertIn("open", lines[2])
        self.assertEqual(lines[3], "and 3 more")
