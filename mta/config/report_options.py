"""The options of ``[reports]``: how what we tell senders is worded."""

from __future__ import annotations

from mta.bounce.catalog import wrong_languages
from mta.config.option import Options, option


class ReportOptions(Options):
    """Reports (bounces) to those who sent something. Who gets one and when is in `docs/reports.rst`."""

    language: tuple[str, ...] = option(
        ("en",),
        doc="The language of the part for people: "
        '"de", "en", "es", "fr" or "zh" (simplified Chinese). With a list, the text stands in each of them, one after '
        "the other.",
        example='["fr", "en"]',
        check=wrong_languages,
    )
