"""A small right configuration that the tests of this folder change."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from mta.config.load import Configuration, ConfigurationError, from_mapping, load
from mta.config.providers import Providers

PROVIDERS = Providers.find()

MINIMAL = """\
format = 1
hostname = "mx1.site.com"
postmaster = "postmaster@site.com"
state = "var"
[[listen]]
name = "mx"
endpoint = "tcp:2525"
[domains."site.com"]
deliver = "local"
[delivery.local]
type = "maildir"
path = "mail/{domain}/{local_part}"
[delivery.internet]
type = "smtp"
"""


class Folder:
    """A folder for the files of one configuration, removed with the test."""

    def __init__(self, test: Any) -> None:
        holder = tempfile.TemporaryDirectory()
        test.addCleanup(holder.cleanup)
        self.path = holder.name

    def write(self, name: str, text: str | bytes = "", mode: int = 0o644) -> str:
        path = os.path.join(self.path, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(text.encode() if isinstance(text, str) else text)
        os.chmod(path, mode)
        return path

    def load(self, text: str | bytes = MINIMAL, *overrides: str, **more: Any) -> Configuration:
        return load(self.write("mta.toml", text), overrides, **more)

    def problems(self, text: str | bytes = MINIMAL, *overrides: str, **more: Any) -> list[str]:
        """What is said of a wrong configuration, without the folder's name."""
        try:
            self.load(text, *overrides, **more)
        except ConfigurationError as error:
            return [str(problem).replace(f"{self.path}/", "") for problem in error.problems]
        return []


def mapping() -> dict[str, Any]:
    """The small configuration as tomllib gives it."""
    return {
        "format": 1,
        "hostname": "mx1.site.com",
        "postmaster": "postmaster@site.com",
        "state": "var",
        "listen": [{"name": "mx", "endpoint": "tcp:2525"}],
        "domains": {"site.com": {"deliver": "local"}},
        "delivery": {
            "local": {"type": "maildir", "path": "mail/{domain}/{local_part}"},
            "internet": {"type": "smtp"},
        },
    }


def problems_of(changed: dict[str, Any], **more: Any) -> list[str]:
    """What is said of a mapping; each without the file."""
    try:
        from_mapping(changed, "/srv/etc", providers=PROVIDERS, **more)
    except ConfigurationError as error:
        return [str(problem).removeprefix("configuration: ") for problem in error.problems]
    return []
