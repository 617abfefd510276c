"""Accounts of the machine, by PAM: the real library, with services described in a folder of the test's own."""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from table_contract import World
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, succeed
from twisted.internet.process import reapAllProcesses
from twisted.internet.task import LoopingCall
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mta.accounts import pam_check
from mta.accounts.book import there
from mta.accounts.credentials import Password
from mta.accounts.pam import PamAccounts
from mta.config.account_options import PamAccountsOptions
from mta.config.option import Duration, Name
from mta.delivery.helper import Launcher
from mta.delivery.running import Program, Run, launch_own
from mta.interfaces import IAccountSource
from mta.reply import TemporaryFailure

#: What a module runs that is given the password on its standard input.
SCRIPT = """#!/bin/sh
[ "$(tr -d '\\0')" = "Geheim 1" ]
"""
SERVICES = {
    # pam_exec has no other word for a no than "system error".
    "right": "auth [success=1 default=ignore] pam_exec.so quiet expose_authtok {script}\n"
    "auth requisite pam_deny.so\nauth required pam_permit.so\naccount required pam_permit.so\n",
    "denied": "auth required pam_deny.so\naccount required pam_permit.so\n",
    "no-account": "auth required pam_permit.so\naccount required pam_deny.so\n",
    "broken": "auth required pam_no_such_module.so\naccount required pam_permit.so\n",
    "slow": "auth required pam_exec.so quiet /bin/sleep 60\naccount required pam_permit.so\n",
}


def a_user() -> str:
    """A user of this machine who is not root."""
    return next(entry.pw_name for entry in pwd.getpwall() if 0 < entry.pw_uid < 65534)


class Pam(SynchronousTestCase):
    folder: ClassVar[Path]

    @classmethod
    def setUpClass(cls) -> None:
        try:
            known = hasattr(ctypes.CDLL("libpam.so.0"), "pam_start_confdir")
        except OSError:
            known = False
        if not known:
            raise unittest.SkipTest("there is no Linux-PAM of 1.4 or newer (libpam0g)")
        cls.folder = Path(tempfile.mkdtemp(dir="/tmp"))
        script = cls.folder / "script"
        script.write_text(SCRIPT)
        script.chmod(0o755)
        for name, text in SERVICES.items():
            (cls.folder / name).write_text(text.format(script=script))

    @classmethod
    def tearDownClass(cls) -> None:
        shutil.rmtree(cls.folder)

    def setUp(self) -> None:
        self.world = World(self)
        self.user = a_user()
        # This reactor has no signals: nobody tells it when a process ends.
        reaping = LoopingCall(reapAllProcesses)
        reaping.clock = self.world.reactor
        reaping.start(0.02)
        self.addCleanup(reaping.stop)

    def source(self, service: str = "right", launch: Any = None, **options: Any) -> PamAccounts:
        def own(program: Program, run: Run) -> None:
            launch_own(self.world.reactor, program._replace(argv=(*program.argv, str(self.folder))), run)

        services = replace(
            self.world.services("machine"), launch=launch or own, in_thread=lambda work, *args: succeed(work(*args))
        )
        return PamAccounts(PamAccountsOptions(service=Name(service), **{"least_uid": 1, **options}), services)

    def login(self, source: PamAccounts, name: str, password: bytes = b"Geheim 1") -> str:
        try:
            return str(self.world.wait(source.requestAvatarId(Password(name.encode(), password))).decode())
        except UnauthorizedLogin:
            return ""

    def find(self, source: PamAccounts, name: str) -> Any:
        return self.world.wait(Deferred.fromCoroutine(there(source.find(name))))

    def test_who_knows_the_password(self) -> None:
        source = self.source()
        self.assertTrue(verifyObject(IAccountSource, source))
        self.assertEqual(self.login(source, self.user), self.user)
        for wrong in (b"geheim 1", b"", b"\0", b"Geheim 1\0", b"x" * 5000):
            self.assertEqual(self.login(source, self.user, wrong), "")
        for name in ("", "nobody-at-all", "a b", "../x", f"{self.user}@example.org", f"{self.user}\0"):
            self.assertEqual(self.login(source, name), "", name)

    def test_names_with_a_domain(self) -> None:
        source = self.source(domain="example.org")
        name = f"{self.user}@example.org"
        self.assertEqual(self.login(source, name.upper()), name)
        self.assertEqual(self.find(source, name).addresses, (name,))
        self.assertEqual(self.find(source, self.user).addresses, (name,))
        self.assertIsNone(self.find(source, f"{self.user}@example.net"))
        self.assertIsNone(self.find(source, "nobody-at-all"))

    def test_users_of_the_system_are_no_accounts(self) -> None:
        source = self.source(least_uid=100_000)
        self.assertEqual(self.login(source, self.user), "")
        self.assertIsNone(self.find(source, self.user))
        self.assertIsNone(self.find(self.source(), "root"))

    def test_a_no_and_no_answer(self) -> None:
        self.assertEqual(self.login(self.source("denied"), self.user), "")
        self.assertEqual(self.login(self.source("no-account"), self.user), "")
        for service, options in (("broken", {}), ("slow", {"timeout": Duration(0.5)})):
            source = self.source(service, **options)
            self.assertRaises(TemporaryFailure, self.login, source, self.user)

    def test_a_process_that_cannot_be_had(self) -> None:
        source = self.source(launch=lambda program, run: run.refused("there is no helper"))
        self.assertRaises(TemporaryFailure, self.login, source, self.user)

    def test_too_many_at_once_are_put_off(self) -> None:
        source = self.source("slow", waiting=1, timeout=Duration(0.5))
        first = source.requestAvatarId(Password(self.user.encode(), b"x"))
        failure = self.failureResultOf(source.requestAvatarId(Password(self.user.encode(), b"x")))
        self.assertEqual(failure.value.reply.code, 454)
        self.assertRaises(TemporaryFailure, self.world.wait, first)

    def test_what_is_no_question_is_a_no(self) -> None:
        for octets in (b"", b"bob", b"bob\0", b"\0x", b"bob\0a\0b"):
            stdin, write = os.pipe()
            with os.fdopen(write, "wb") as file:
                file.write(octets)
            self.patch(os, "read", lambda _, size, stdin=stdin, read=os.read: read(stdin, size))
            self.patch(pam_check.resource, "setrlimit", lambda *limits: None)
            self.assertEqual(pam_check.main("right"), pam_check.WRONG)
            os.close(stdin)
            self.doCleanups()


class ByTheHelper(SynchronousTestCase):
    """As root only, and with the machine's own services of PAM."""

    def setUp(self) -> None:
        if os.geteuid():
            raise unittest.SkipTest("only root can start the helper")
        if not os.path.exists("/etc/pam.d/other"):
            raise unittest.SkipTest("there are no services of PAM (libpam-runtime)")
        self.world = World(self)
        self.launcher = Launcher(self.world.reactor)
        self.launcher.start((), ["other"])
        self.addCleanup(self.launcher.stop)

    def source(self, service: str) -> PamAccounts:
        services = replace(
            self.world.services("machine"),
            launch=self.launcher.launch,
            in_thread=lambda work, *args: succeed(work(*args)),
        )
        return PamAccounts(PamAccountsOptions(service=Name(service), least_uid=1), services)

    def ask(self, service: str) -> None:
        self.world.wait(self.source(service).requestAvatarId(Password(a_user().encode(), b"surely not")))

    def test_it_asks_for_what_it_was_started_for(self) -> None:
        self.assertRaises(UnauthorizedLogin, self.ask, "other")

    def test_and_for_nothing_else(self) -> None:
        error = self.assertRaises(TemporaryFailure, self.ask, "login")
        self.assertIn("the helper was not started for", error.reason)
        self.launcher.pam = ("other", "login")  # the helper has its own list
        error = self.assertRaises(TemporaryFailure, self.ask, "login")
        self.assertIn("the helper was not started for", error.reason)
