"""What one step of an expansion is: an address leads on, by a rule, to addresses and places."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from mta.address import Address
from mta.envelope import Destination
from mta.reply import Reply
from mta.routing.rules import RoutingRules
from mta.routing.values import Facts, Needs


class Place(NamedTuple):
    """Where an address leads that is no further address; see ``Target``."""

    destination: Destination
    hold: str = ""


class Step(NamedTuple):
    """An address leads on: by which rule, and where to.  ``table``: the table in which that stands.

    ``reply``: what its sender is told at RCPT (a 2yz, or with no targets the refusal), where the sender knows the
    address; behind an alias it stays untold, and an address without targets is left out.
    ``note``: so is a note about it (``mta.notes``), which tells this address, "" for none; None: there is none.
    """

    rule: str
    targets: tuple[Address | Place, ...]
    table: str = ""
    reply: Reply | None = None
    note: str | None = None


#: Where the address leads by this rule; None: nowhere.  Raises ``MailFailure`` with the reply to the client.
Stepper = Callable[[RoutingRules, Address, Facts], Step | Needs | None]
