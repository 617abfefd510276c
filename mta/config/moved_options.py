"""The options of ``[moved]``: of people who have moved, beside what their domain's table says of each."""

from __future__ import annotations

from typing import Final

from mta.config.option import Duration, Options, at_least, option

_DAY: Final = 86_400.0


class MovedOptions(Options):
    """People who have moved, whose entries have `note=`. See `docs/addresses.rst`."""

    note_again: Duration = option(
        Duration(365 * _DAY),
        doc="After how long a sender who was told that somebody has moved is told once more.",
        check=at_least(_DAY, "1d"),
    )
