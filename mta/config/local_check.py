"""What ``[local]`` forbids to other sections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mta.config.local_options import LISTENER, LocalOptions
from mta.config.problems import Problem

if TYPE_CHECKING:
    from mta.config.check import Draft


def local(draft: Draft) -> Iterator[Problem]:
    """The listener of local programs has a name of its own, which stands in logs and stories."""
    options = draft.found.get("local")
    if not isinstance(options, LocalOptions) or options.folder is None:
        return
    for index, listener in enumerate(draft.listen):
        if listener is not None and listener.name == LISTENER:
            what = f'"{LISTENER}" is the name of the listener of local programs'
            yield draft.problem(f"listen[{index}].name", what, "give it another name")
