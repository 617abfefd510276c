"""What holds for the reader of configurations: each property takes raw octets."""

from __future__ import annotations

import os
import tempfile

from mta.config.load import ConfigurationError, load
from mta.config.providers import Providers

MINIMAL = b"""\
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
_PROVIDERS = Providers.find()


def files(raw: bytes) -> None:
    """A file is a configuration or is told what is wrong with it, in words and by key; nothing else is raised."""
    for octets in (raw, MINIMAL + raw, MINIMAL.replace(b"format = 1\n", b"format = 1\n" + raw + b"\n")):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "mta.toml")
            with open(path, "wb") as file:
                file.write(octets)
            os.chmod(path, 0o600)
            try:
                found = load(path, providers=_PROVIDERS, environ={})
            except ConfigurationError as error:
                assert error.problems
                assert all(problem.what for problem in error.problems)
            else:
                assert len(found.fingerprint) == 12
                assert list(found.items())
