"""The ways in which an address can lead on, one module each.

Contract: a step is a pure function of rules, address and facts (``Stepper``).  They are tried in the order of
``STEPS``; the first that leads on is taken.
"""

from __future__ import annotations

from typing import Final

from mta.routing.steps.alias import alias
from mta.routing.steps.catch_all import catch_all
from mta.routing.steps.domain import alias_domain
from mta.routing.steps.home import dot_forward
from mta.routing.steps.mailing_list import mailing_list
from mta.routing.steps.moved import moved
from mta.routing.steps.postmaster import postmaster
from mta.routing.steps.srs import srs
from mta.routing.steps.step import Place, Step, Stepper
from mta.routing.steps.subaddress import subaddress

STEPS: Final[tuple[Stepper, ...]] = (
    srs,
    alias_domain,
    moved,
    alias,
    mailing_list,
    subaddress,
    dot_forward,
    catch_all,
    postmaster,
)

__all__ = ["STEPS", "Place", "Step", "Stepper"]
