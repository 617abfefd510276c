"""Two configurations, and the addresses for which they do not do the same.

Contract: compared are the replies to the client and, for each final recipient, service, next hop, hold, place, the
level of TLS and in whose name it goes on: what the configurations decide.  DNS is not asked for mail hosts, which are
the same.
How it fails: ``ConfigurationError`` becomes a message; what a table cannot answer is a reply like others.
Limits: ``MOST_ADDRESSES`` at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import click

from mta.admin.route_values import summary
from mta.admin.setting import now_ms
from mta.admin.trying import Outside
from mta.config.load import Configuration, ConfigurationError, load
from mta.dns.fake import FakeResolver
from mta.events import escape
from mta.trial.trial import Trial
from mta.trial.values import Mail

MOST_ADDRESSES: Final = 100_000
FILE: Final = "mta.toml"


def configuration_at(path: str) -> Configuration:
    """The configuration in a file or a folder."""
    file = os.path.join(path, FILE) if os.path.isdir(path) else path
    try:
        return load(file)
    except ConfigurationError as error:
        raise click.ClickException(f"the other configuration is wrong:\n{error}") from error


def addresses_of(lines: Iterable[str]) -> list[str]:
    """The addresses of a file, each once: one a line; ``#`` begins a comment line."""
    found: dict[str, None] = {}
    for line in lines:
        text = line.strip()
        if text and not text.startswith("#"):
            found[text.removeprefix("<").removesuffix(">")] = None
            if len(found) > MOST_ADDRESSES:
                break
    return list(found)


def differing(now: Configuration, then: Configuration, mails: Sequence[Mail]) -> list[dict[str, Any]]:
    """Each address with what becomes of it ``now`` and ``then``, where that is not the same."""
    found: list[dict[str, Any]] = []
    outside = Outside()
    folders = [os.path.dirname(os.path.abspath(one.files[0])) for one in (now, then)]
    trials = []
    for configuration in (now, then):
        resolver = outside.resolver(configuration)
        decides = outside.deciding(configuration, resolver)
        trials.append(Trial(decides, resolver=None, names=FakeResolver(), now=now_ms))

    async def work() -> None:
        for mail in mails:
            before, after = [summary(mail, await trial.run(mail)) for trial in trials]
            _relate(before, after, *folders)
            if before != after:
                found.append({"address": mail.recipients[0], "now": before, "then": after})

    outside.run(work, None)
    return found


def _relate(before: dict[str, Any], after: dict[str, Any], base: str, other: str) -> None:
    """A place that is the same as seen from its configuration is no difference: the other is often a copy."""
    places = {one["address"]: one["place"] for one in before["recipients"]}
    for one in after["recipients"]:
        here, there = places.get(one["address"]), one["place"]
        if here and there and os.path.relpath(here, base) == os.path.relpath(there, other):
            one["place"] = here


def difference_lines(one: dict[str, Any]) -> Iterator[str]:
    """One address for people."""
    yield escape(one["address"])
    for sign, key in (("-", "now"), ("+", "then")):
        side = one[key]
        yield f"  {sign} {escape('; '.join(reply['reply'] for reply in side['replies']))}"
        for recipient in side["recipients"]:
            more = [
                f"{name}: {recipient[name]}"
                for name in ("held", "trouble", "rewrite", "place", "tls")
                if recipient[name]
            ]
            hop = f" to {recipient['next_hop']}" if recipient["next_hop"] else ""
            text = f"{recipient['address']} by {recipient['service']}{hop}   {', '.join(more)}"
            yield f"  {sign}   {escape(text).rstrip()}"
