"""Secrets: the text itself, or where it lies.

Contract: ``{ file = ... }`` is a file (without its last line end), ``{ env = ... }`` a variable of the
environment, ``{ credential = ... }`` what systemd handed over.  ``Wrong`` never shows the secret.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from mta.config import values
from mta.config.files import contents
from mta.config.problems import Wrong
from mta.config.tree import Node

_MAX_SECRET: Final = 64 << 10


def secret(node: Node, environ: Mapping[str, str]) -> str:
    """The secret itself, or where it lies: a file, the environment, or a credential of systemd."""
    if not isinstance(node.value, dict):
        if not isinstance(node.value, str):
            raise Wrong("is not a secret", 'write text in quotes, or { file = "..." }')
        return values.text(node.value)
    if len(node.value) != 1 or not node.value.keys() <= {"file", "env", "credential"}:
        raise Wrong("is not a secret", 'write { file = "..." }, { env = "..." } or { credential = "..." }')
    ((where, child),) = node.value.items()
    if where == "env":
        given = values.text(child.value)
        if given not in environ:
            raise Wrong(f"there is no {given} in the environment", "set it, or name another")
        return environ[given]
    if where == "file":
        return _secret_file(values.path(child.value, node.source.base))
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if folder is None:
        raise Wrong("systemd gave no credentials", "write LoadCredential= in the unit, or use { file = ... }")
    return _secret_file(os.path.join(folder, values.name(child.value)))


def _secret_file(path: str) -> str:
    try:
        secret = contents(path, _MAX_SECRET).decode("utf-8").removesuffix("\n").removesuffix("\r")
        if os.stat(path).st_mode & 0o004:
            raise Wrong("may be read by anybody", f"run: chmod o= {path}")
        return secret
    except UnicodeDecodeError:
        raise Wrong(f"{path} is not UTF-8", "name another file") from None
    except Wrong as wrong:
        raise Wrong(f"{path} {wrong.what}", wrong.instead) from None
