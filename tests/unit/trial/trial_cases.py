"""A small site, and what it decides, for the tests of this folder."""

from __future__ import annotations

import os
import tempfile
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mta.config.load import Configuration, load
from mta.deciding import Deciding, deciding
from mta.dns.fake import FakeResolver
from mta.plugin import Services
from mta.routing.tables import MemoryTable

NOW = 1_700_000_000_000

SITE = """\
format = 1
hostname = "mail.site.example"
postmaster = "ann@ours.example"
state = "var"
[[listen]]
name = "mx"
endpoint = "tcp:2525"
[[listen]]
name = "inner"
service = "lmtp"
endpoint = "tcp:2424"
[relay]
networks = ["10.0.0.0/8"]
[domains."ours.example"]
mailboxes = "file:boxes"
aliases = "file:aliases"
deliver = "local"
[delivery.local]
type = "maildir"
path = "mail/{domain}/{local_part}"
[delivery.internet]
type = "smtp"
tls_rules = { "bank.example" = "verify" }
"""
BOXES = "ann\nbob\n"
ALIASES = """\
# those who are several
info: bob
team: ann, info, loop, far@else.example
loop: team
"""


class Site:
    """A folder with a configuration; ``more`` stands behind it."""

    def __init__(self, test: Any, more: str = "") -> None:
        holder = tempfile.TemporaryDirectory(prefix="txmta-")
        test.addCleanup(holder.cleanup)
        self.path = holder.name
        self.write("boxes", BOXES)
        self.write("aliases", ALIASES)
        self.file = self.write("mta.toml", SITE + more)

    def write(self, name: str, text: str) -> str:
        path = os.path.join(self.path, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def tests(self, text: str, name: str = "a.toml") -> None:
        """A file of tests of it."""
        self.write(f"tests.d/{name}", text)

    def load(self) -> Configuration:
        return load(self.file, environ={})

    def decides(self) -> Deciding:
        return decide(self.load())


def decide(configuration: Configuration) -> Deciding:
    return deciding(
        configuration,
        Services(
            name="",
            hostname="",
            reactor=Clock(),
            now=lambda: NOW,
            random=Random(1),
            resolver=FakeResolver(),
            in_thread=lambda work, *args: Deferred(),
            table=lambda name: MemoryTable(),
            emit=lambda event, id: None,
        ),
    )
