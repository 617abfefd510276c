"""Where the service takes mail from programs: the folder of the socket and of the pickup folder.

What it is: ``[local] folder`` of the configuration, read without the rest of it.
Contract: the configuration is ``PLACE``, unless the caller of ``main`` hands in another: no variable of the environment
and no current folder counts, so nobody but the administrator can have root's mail go elsewhere.  A folder into which
others may write is not used.
How it fails: ``Trouble`` with EX_CONFIG.
"""

from __future__ import annotations

import glob
import os
import tomllib
from collections.abc import Iterator
from typing import Any, Final

from mta.sendmail.statuses import CONFIG, NOPERM, Trouble

PLACE: Final = "/etc/mta/mta.toml"
SOCKET: Final = "socket"
PICKUP: Final = "pickup"


def socket_of(folder: str) -> str:
    """The path of the socket."""
    return os.path.join(folder, SOCKET)


def pickup_of(folder: str) -> str:
    """The path of the pickup folder."""
    return os.path.join(folder, PICKUP)


def folder_of(configuration: str) -> str:
    """The folder that the configuration names."""
    for path, found in _files(configuration):
        local = found.get("local")
        folder = local.get("folder") if isinstance(local, dict) else None
        if isinstance(folder, str):
            return _safe(os.path.join(os.path.dirname(path), folder))
    raise Trouble(CONFIG, f"{configuration} has no [local] folder: mail of local programs is not taken here")


def _files(path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The file and those that it includes, each when it is asked for."""
    path = os.path.abspath(path)
    found = _read(path)
    yield path, found
    include = found.get("include", ())
    for pattern in [include] if isinstance(include, str) else include:
        for more in sorted(glob.glob(os.path.join(os.path.dirname(path), str(pattern)))):
            yield more, _read(more)


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except PermissionError:
        raise Trouble(CONFIG, f"{path} cannot be read: all who send mail must be able to") from None
    except OSError as error:
        raise Trouble(CONFIG, f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # TOML, UTF-8
        raise Trouble(CONFIG, f"{path} is wrong: {error}") from None


def _safe(folder: str) -> str:
    try:
        mode = os.stat(folder).st_mode
    except FileNotFoundError:
        raise Trouble(CONFIG, f"there is no {folder}: the service has not run yet") from None
    except PermissionError:
        raise Trouble(NOPERM, f"you may not look into {os.path.dirname(folder)}") from None
    except OSError as error:
        raise Trouble(CONFIG, f"{folder} cannot be used: {error.strerror or error}") from None
    if mode & 0o022:
        raise Trouble(CONFIG, f"{folder} is not used: others may write into it")
    return folder
