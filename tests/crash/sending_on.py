"""The daemon is killed while it sends a message on to the members of a mailing list.

One message for each step goes to a list of 2,100, whose members are staged in slices and made visible with the end of
the message to the list.  It is started again and delivers; each member must have one copy then, and the audit must find
nothing.  Nothing is in flight at these steps, so that no copy may come twice either.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from tests.crash.load import BOX, MEMBERS
from tests.crash.nursery import ForkedDaemon, Nursery
from tests.crash.tally import Tally
from tests.crash.trial import DRAIN, MORE
from tests.integration.tools import Dialogue, Sink, wait_for

LIST: Final = f"list@{BOX}"
#: Where it dies; the first has the list's own end alone, the others what it is made of.
STEPS: Final = (
    "before sending on to members",
    "before a slice of recipients",
    "after a slice of recipients",
    "after sending on to members",
    "before the outcome",
    "after the outcome",
    "before making a slice visible",
    "after making a slice visible",
)
_LISTS: Final = f"""\
[lists."{LIST}"]
owner = "ann@{BOX}"
members_from = "file:members"
posting = "anyone"
"""
_RECIPIENT = re.compile(r"RCPT TO:<([^>]*)>")


def run_lists(steps: Sequence[str]) -> Tally:
    """One kill at each of the steps."""
    tally = Tally()
    with (
        Nursery() as nursery,
        Sink() as sink,
        ForkedDaemon(nursery, MORE + _LISTS, internet=sink.delivery()) as daemon,
    ):
        (daemon.folder / "members").write_text("\n".join(MEMBERS) + "\n")
        for name in steps:
            sink.messages.clear()
            daemon.step = name
            daemon.launch_until_up()
            # The reply may be lost with the process; what is committed is sent on all the same.
            taken = _post(daemon)
            wait_for(lambda: daemon.process is not None and daemon.process.poll() is not None, f"it to die {name}")
            daemon.kill()
            tally.kills[f"{name}, of a mailing list"] += 1
            tally.audits += 1
            if daemon.audit()["unaccounted"]:
                tally.wrong.append(f"unaccounted for when killed {name}")
            daemon.step = ""
            daemon.start()
            wait_for(lambda: not daemon.queue(), f"the queue to be empty after {name}", DRAIN)
            daemon.stop()
            _count(tally, sink, name, taken)
    return tally


def _post(daemon: ForkedDaemon) -> bool:
    try:
        with Dialogue(daemon.port, daemon.host) as client:
            reply = client.greet().message("ann@elsewhere.example", [LIST], b"Subject: all\r\n\r\nto all\r\n")
            return reply.startswith("250")
    except (OSError, AssertionError):
        return False


def _count(tally: Tally, sink: Sink, name: str, taken: bool) -> None:
    copies = Counter(
        found[1] for envelope, _ in sink.messages for line in envelope if (found := _RECIPIENT.match(line))
    )
    if not taken and not copies:
        return
    tally.taken += taken
    tally.copies += len(MEMBERS)
    lost = set(MEMBERS) - copies.keys()
    twice = [member for member, count in copies.items() if count > 1]
    tally.lost += len(lost)
    if lost:
        tally.wrong.append(f"{len(lost)} members have no copy after a kill {name}")
    if twice:
        tally.wrong.append(f"{len(twice)} members have two copies after a kill {name}")
