"""What submission demands of listeners and of the queue, as policies that come before those of the configuration.

What it is: ``Submission`` puts the policies of ``policies.py`` together for a listener, by its mode of identity, and
for the queue.
Contract: a listener for submission, that of local programs among them, always has them; the queue asks about mail that
somebody has logged in for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

from mta.accounts.values import Account
from mta.address import Address
from mta.interfaces import IAccounts, Maybe
from mta.policy.engine import Policy, Stage
from mta.routing.ask import Answerer, resolve
from mta.routing.rules import RoutingRules
from mta.submission.brakes import Brakes
from mta.submission.identity import Mode
from mta.submission.ownership import Ownership
from mta.submission.policies import AccountPolicy, IdentityPolicy
from mta.verdict import Verdict

IDENTITY: Final = "identity"
ACCOUNT: Final = "account"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """A listener where accounts log in: how strict it is, and whose accounts.  ``strangers`` may send there too, and
    are none of our affair."""

    mode: Mode
    accounts: IAccounts | None
    strangers: bool = False
    local: bool = False  # programs of this machine, which write root@localhost


class Submission:
    """See the module's text.  ``listeners`` are those where accounts log in, by name; ``accounts`` those of all others.
    ``brakes`` is None where no mail is taken in (``mta route``)."""

    def __init__(
        self,
        *,
        rules: RoutingRules,
        answerer: Answerer,
        hostname: str,
        listeners: Mapping[str, Listening],
        accounts: IAccounts | None,
        brakes: Brakes | None,
    ) -> None:
        self._answerer = answerer
        self._hostname = hostname
        self._listeners = listeners
        self._accounts = accounts
        self._ownership = Ownership(rules)
        self._account = None if brakes is None else AccountPolicy(self._find_of, brakes)

    def apart(self) -> Submission:
        """The same for a trial, which counts nothing on an account and asks no brake."""
        made = copy(self)
        made._account = None
        return made

    def of_listener(self, name: str) -> tuple[Policy, ...]:
        """Those of a listener; none where nobody logs in."""
        listening = self._listeners.get(name)
        if listening is None:
            return ()
        whole = not listening.local
        identity = IdentityPolicy(self._ownership, self._answerer, listening.mode, self._hostname, whole)
        only = _of_accounts if listening.strangers else _of_all
        found = (
            Policy(name=IDENTITY, stage=Stage.SENDER, check=only(identity.at_mail)),
            Policy(name=IDENTITY, stage=Stage.RECIPIENT, check=only(identity.at_rcpt)),
            Policy(name=IDENTITY, stage=Stage.MESSAGE, check=only(identity.at_end)),
        )
        if self._account is None:
            return found
        return (*found, Policy(name=ACCOUNT, stage=Stage.MESSAGE, check=only(self._account.at_end)))

    def of_queue(self) -> tuple[Policy, ...]:
        """Those of the queue; none where nobody logs in."""
        if self._account is None or not (self._listeners or self._accounts):
            return ()
        return (Policy(name=ACCOUNT, stage=Stage.DISPATCH, check=self._account.at_dispatch),)

    def find(self, name: str) -> Maybe[Account | None]:
        """The account of this name, of whatever listener."""
        for accounts in dict.fromkeys((*(one.accounts for one in self._listeners.values()), self._accounts)):
            found = None if accounts is None else accounts.find(name)
            if found is not None:
                return found
        return None

    async def ground(self, listener: str, login: str, address: Address) -> str:
        """Why who logged in at a listener may send as an address, "" where it may not: see ``Ownership.basis``."""
        find, _ = self._find_of(listener)
        found = None if find is None else find(login)
        account = await found if isinstance(found, Awaitable) else found
        if account is None:
            return ""
        ground = resolve(partial(self._ownership.basis, account, address), {}, self._answerer)
        return ground if isinstance(ground, str) else await ground

    def _find_of(self, listener: str) -> tuple[Callable[[str], Maybe[Account | None]] | None, bool]:
        """Who knows the accounts of a listener, and whether it knows all of them: on others a proxy logs in its own."""
        listening = self._listeners.get(listener)
        accounts = self._accounts if listening is None else listening.accounts
        return (None if accounts is None else accounts.find), listening is not None and not listening.strangers


Check: TypeAlias = Callable[[Any], Maybe[Verdict]]


def _of_all(check: Check) -> Check:
    return check


def _of_accounts(check: Check) -> Check:
    """Of those alone who have logged in."""
    return lambda about: Verdict.none() if about.account is None else check(about)
