"""A DNS for commands that ask it: what a test says it has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mta.admin import dkim, dns
from mta.admin.dns_asking import Asked
from mta.dns.fake import FakeResolver
from mta.routing.values import Answer


def told_dns(case: SynchronousTestCase) -> FakeResolver:
    """Have ``mta dkim`` and ``mta dns`` ask the one that is returned."""
    resolver = FakeResolver()

    def ask(configuration: Any, questions: Iterable[Asked]) -> dict[Asked, Answer]:
        return {one: case.successResultOf(getattr(resolver, one.kind)(one.name)) for one in questions}

    case.patch(dkim, "ask_dns", ask)
    case.patch(dns, "ask_dns", ask)
    return resolver
