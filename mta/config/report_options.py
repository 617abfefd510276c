"""The options of ``[reports]``: how what we tell senders is worded."""

from __future__ import annotations

from mta.config.option import Options, Path, Size, option


class ReportOptions(Options):
    """Reports (bounces) to those who sent something. Who gets one and when is in `docs/reports.rst`."""

    language: tuple[str, ...] = option(
        ("en",),
        doc="The language of the part for people: "
        '"de", "en", "es", "fr" or "zh" (simplified Chinese). With a list, the text stands in each of them, one after '
        "the other. More languages by `reports.texts`.",
        example='["fr", "en"]',
    )
    texts: Path | None = option(
        None,
        doc="A folder with texts of your own, `LANGUAGE.toml` each: more languages, or other words for those there "
        "are. What a file leaves out is as shipped.",
        example='"texts"',
    )
    return_size: Size = option(
        Size(64 * 1024),
        doc="A report carries the header of the message alone, and the whole of it only where the sender asked for "
        "that (RET=FULL) and it is no larger than this.",
    )
