"""What concerns the policies that listeners and the queue name: that they exist, and act there.

Contract: as ``mta.config.check``, of which it is a part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mta.config.problems import Problem
from mta.config.queue_options import Queue
from mta.config.section import Section
from mta.config.service_options import ServiceOptions
from mta.config.values import nearest

if TYPE_CHECKING:
    from mta.config.check import Draft

#: The kind of a policy that the queue asks; all others are asked by sessions.
DISPATCH = "policy.dispatch"


def policies(draft: Draft) -> Iterator[Problem]:
    """Names that are not there, and policies that would never be asked where they are named."""
    service, queue = draft.found.get("service"), draft.found.get("queue")
    if isinstance(service, ServiceOptions):
        for kind in ("mx", "submission", "lmtp"):
            yield from _named(draft, f"service.{kind}.policy", getattr(service, kind).policy)
    for index, listener in enumerate(draft.listen):
        if listener is not None and listener.policy is not None:
            yield from _named(draft, f"listen[{index}].policy", listener.policy)
    if isinstance(queue, Queue):
        yield from _named(draft, "queue.policy", queue.policy, of_queue=True)


def _named(draft: Draft, path: str, names: Sequence[str | None], of_queue: bool = False) -> Iterator[Problem]:
    for index, name in enumerate(names):
        if name is None:
            continue
        if name not in draft.policy_names:
            what = f"there is no [policy.{name}]"
            yield draft.problem(f"{path}[{index}]", what, nearest(name, draft.policy_names))
            continue
        section = draft.found.get("policy", {}).get(name)
        if isinstance(section, Section):
            at_queue = [cls.kind == DISPATCH for cls in section.providers]
            if of_queue and not any(at_queue):
                what = f'"{name}" is not asked when mail leaves: its type "{section.type_name}" is for sessions'
                yield draft.problem(f"{path}[{index}]", what, "name it in a [service.X]")
            elif not of_queue and all(at_queue):
                what = f'"{name}" is not asked by sessions: its type "{section.type_name}" is for mail that leaves'
                yield draft.problem(f"{path}[{index}]", what, "name it in queue.policy")
