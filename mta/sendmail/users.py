"""Users of this machine, as the system knows them: for the program that sends and for the service that it sends to."""

from __future__ import annotations

import pwd
import re
from typing import Final, NamedTuple

#: RFC 5321 4.1.2: what a local part may hold unquoted; a name that is none, as of a Windows domain, is no address.
_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.$-]{0,60}[A-Za-z0-9_$-])?\Z")


class User(NamedTuple):
    """A user of this machine; ``name`` is the number where there is no name that could be an address."""

    uid: int
    name: str
    full_name: str = ""

    @property
    def identity(self) -> str:
        """What it is known by wherever logins are."""
        return f"uid:{self.uid}"


def user_of(uid: int) -> User:
    """The user with the number."""
    try:
        entry = pwd.getpwuid(uid)
    except (KeyError, OverflowError):
        return User(uid, str(uid))
    name = entry.pw_name if _NAME.match(entry.pw_name) and ".." not in entry.pw_name else str(uid)
    # passwd(5): the full name is what stands before the first comma, and "&" is the login in capitals.
    return User(uid, name, entry.pw_gecos.partition(",")[0].replace("&", name.capitalize()))
