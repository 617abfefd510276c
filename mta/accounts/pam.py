"""Accounts of this machine (``type = "pam"``): PAM is asked in a process of its own for each login.

What it is: ``pam_check.py`` asks PAM; where the service is started by root it is the helper that starts it, as root,
since ``pam_unix`` shows passwords to nobody else (docs/decisions/accounts.rst).
Contract: the process is given the name and the password on its standard input, and nothing of the mail.  An account is
a user of the machine from ``least_uid`` on; more is known of it by ``attributes``.
How it fails: whatever is not a plain no is ``TemporaryFailure``, silence for ``timeout`` among it.
Limits: ``waiting`` processes.
"""

from __future__ import annotations

import pwd
import sys
from typing import Any, ClassVar, Final

from twisted.cred.credentials import IUsernamePassword
from twisted.internet.defer import Deferred
from zope.interface import implementer

from mta.accounts import pam_check
from mta.accounts.attributes import Attributes
from mta.accounts.credentials import Password
from mta.accounts.names import MOST_PASSWORD, name_of
from mta.accounts.replies import BUSY, CANNOT_KNOW
from mta.accounts.source import Identity, refused
from mta.accounts.values import Account, Login
from mta.config.account_options import PamAccountsOptions
from mta.delivery.running import Program, Run
from mta.interfaces import IAccountSource, Maybe
from mta.plugin import Services, provider
from mta.reply import TemporaryFailure

_ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


def program(service: str) -> Program:
    """What asks PAM."""
    argv = (sys.executable, "-I", "-S", pam_check.__file__, service)
    return Program(argv, _ENVIRONMENT, "/", {}, pam=service)


@provider("accounts", "pam", PamAccountsOptions)
@implementer(IAccountSource)
class PamAccounts:
    """See the module's text."""

    credentialInterfaces: ClassVar[Any] = (IUsernamePassword,)
    offers_scram = False

    def __init__(self, options: PamAccountsOptions, services: Services) -> None:
        self._options = options
        self._services = services
        self._under_way = 0
        self._attributes = Attributes(options.attributes, services, self._is_user, options.cache, self._plain)

    def _user(self, name: str) -> str:
        """The user of the machine that an account is; "" for none."""
        local, at, domain = name.partition("@")
        if at and domain != self._options.domain:
            return ""
        return local

    async def _is_user(self, name: str) -> bool:
        # The system's users may be those of a directory: that blocks.
        return bool(await self._services.in_thread(_there, self._user(name), self._options.least_uid))

    def _plain(self, name: str) -> Account:
        user, domain = self._user(name), self._options.domain
        return Account(name=name, addresses=(f"{user}@{domain}",) if domain else ())

    def find(self, name: str) -> Maybe[Account | None]:
        """See ``IAccountSource``."""
        return self._attributes.find(name)

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """See ``IAccountSource``."""
        return Deferred.fromCoroutine(self._recognise(credentials))

    async def _recognise(self, credentials: Password) -> Identity:
        name, given = name_of(credentials.username), credentials.password
        user = self._user(name)
        if not user or not given or b"\0" in given or len(given) > MOST_PASSWORD:
            raise refused("nobody has such a name or password")
        if self._under_way >= self._options.waiting:
            raise TemporaryFailure(BUSY, f"{self._under_way} questions to PAM are under way")
        self._under_way += 1
        try:
            # Also of who is no account: it takes PAM as long, and its word does not count.
            status, said = await self._ask(user.encode() + b"\0" + given)
        finally:
            self._under_way -= 1
        if status == pam_check.WRONG:
            raise refused(f"PAM: {said}")
        if status != pam_check.RIGHT:
            raise TemporaryFailure(CANNOT_KNOW, f"PAM: {said or f'its process ended with {status}'}")
        if name_of(said) != user:
            raise refused("PAM takes the user for another")
        if not await self._services.in_thread(_there, user, self._options.least_uid):
            raise refused(f"the user has a number below {self._options.least_uid}, or is none of this machine")
        return Identity(name)

    async def _ask(self, octets: bytes) -> tuple[int, str]:
        run = Run(self._services.reactor, self._options.timeout)
        self._services.launch(program(self._options.service), run)
        await run.write(octets)
        await run.finish()
        ended = await run.ended
        if ended.why or not ended.began:
            return pam_check.CANNOT_KNOW, ended.why or "it did not begin"
        return ended.status, ended.output.decode("utf-8", "replace").strip()

    def scram(self, name: str, hash_name: str) -> None:
        """PAM gives out no keys."""

    def still(self, login: Login) -> bool:
        """Nobody can ask whether the password is another by now; whether there is the user, ``find`` says."""
        return True

    def close(self) -> None:
        """A process under way ends by itself."""


def _there(user: str, least_uid: int) -> bool:
    """Is it a user whose number is not too low?  Blocks."""
    try:
        return bool(user) and pwd.getpwnam(user).pw_uid >= least_uid
    except KeyError:
        return False
