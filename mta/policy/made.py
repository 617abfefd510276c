"""The policies of a configuration: each made once, and put together as listeners and the queue name them.

Contract: ``get`` makes ``[policy.X]`` when something first names it, one object for each stage that its type has.  One
that has nothing to do at a stage says so by ``idle = True``, and is not asked.
How it fails: ``ValueError`` for a name that no section has (``mta check`` tells before), a class without ``check``, and
whatever a policy raises when it is made.  So one that does not load stops the start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from twisted.logger import Logger

from mta.config.option import bound
from mta.config.policy_options import PolicyOptions
from mta.config.section import Section
from mta.interfaces import ITable
from mta.plugin import Services
from mta.policy.engine import Policies, Policy, Stage

log = Logger()


class MadePolicies:
    """See the module's text.  ``services`` gives the outside world for a name."""

    def __init__(self, sections: Mapping[str, Section], services: Callable[[str], Services]) -> None:
        self._sections = sections
        self._services = services
        self._made: dict[str, tuple[Policy, ...]] = {}
        self._objects: list[Any] = []

    def get(self, name: str) -> tuple[Policy, ...]:
        """Its stages."""
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = tuple(self._make(name))
        return made

    def _make(self, name: str) -> Iterable[Policy]:
        section = self._sections.get(name)
        if section is None:
            raise ValueError(f"there is no [policy.{name}]")
        common = section.common
        assert isinstance(common, PolicyOptions)
        services = self._services(name)
        options = bound(section.options, services.table)
        for cls in section.providers:
            try:
                policy = cls(options, services)
            except Exception as error:  # a stranger's
                raise ValueError(f"policy.{name} cannot be made: {type(error).__name__}: {error}") from error
            self._objects.append(policy)
            if getattr(policy, "idle", False):
                continue
            check = getattr(policy, "check", None)
            if not callable(check):
                raise ValueError(f"policy.{name}: {cls.__qualname__} has no method check")
            yield Policy(
                name=name,
                stage=Stage(cls.kind.removeprefix("policy.")),
                check=check,
                timeout=common.timeout,
                on_error=common.on_error,
                shadow=common.shadow,
            )

    def for_sessions(self, names: Iterable[str], first: Iterable[Policy] = ()) -> Policies | None:
        """Those of a listener, after ``first``, which it has whatever is named; None: there are none."""
        return self._some(names, first, dispatch=False)

    def for_queue(self, names: Iterable[str], first: Iterable[Policy] = ()) -> Policies | None:
        """Those that are asked before each attempt; None: there are none."""
        return self._some(names, first, dispatch=True)

    def _some(self, names: Iterable[str], first: Iterable[Policy], *, dispatch: bool) -> Policies | None:
        named = [*first, *(policy for name in names for policy in self.get(name))]
        chosen = [policy for policy in named if (policy.stage is Stage.DISPATCH) is dispatch]
        if not chosen:
            return None
        world = self._services("policies")
        return Policies(chosen, world.reactor.callLater, world.reactor.seconds, world.now, world.emit)

    def apart(self, table: Callable[[str], ITable]) -> MadePolicies:
        """The same made once more, with other tables: what they learn stays with them."""
        return MadePolicies(self._sections, lambda name: replace(self._services(name), table=table))

    def close(self) -> None:
        """Let go of what policies hold, for those that can; what they are asked meanwhile is their matter."""
        for policy in self._objects:
            close = getattr(policy, "close", None)
            if close is not None:
                try:
                    close()
                except Exception:
                    log.failure("a policy cannot be closed")
