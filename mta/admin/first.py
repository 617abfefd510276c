"""Where the program ``mta`` begins: ``mta sendmail`` starts as fast as ``mta-sendmail`` does, all else by main.py.

Contract: ``mta [--config FILE] sendmail ARGUMENTS`` is that, with this configuration; else with the one that ``mta``
finds.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from mta.sendmail.place import PLACE

#: Before the one place where ``mta-sendmail`` looks alone.
NEAR = "etc/mta.toml"


def main() -> object:
    """Do what the command line says."""
    found = sendmail_of(sys.argv[1:])
    if found is None:
        from mta.admin.main import main as all_commands

        return all_commands()
    from mta.sendmail.main import main as sendmail

    given, arguments = found
    configuration = given or os.environ.get("MTA_CONFIG") or (NEAR if os.path.exists(NEAR) else PLACE)
    return sendmail(arguments, configuration, "sendmail")


def sendmail_of(words: Sequence[str]) -> tuple[str, list[str]] | None:
    """The configuration and the arguments of sendmail; None where it is another command."""
    rest, configuration = list(words), ""
    if rest and rest[0] == "--config" and len(rest) > 1:
        configuration, rest = rest[1], rest[2:]
    elif rest and rest[0].startswith("--config="):
        configuration, rest = rest[0].partition("=")[2], rest[1:]
    return (configuration, rest[1:]) if rest and rest[0] == "sendmail" else None


if __name__ == "__main__":
    sys.exit(main())  # type: ignore[arg-type]  # a status, or None
