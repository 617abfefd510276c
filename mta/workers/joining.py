"""Many answers made one: what the control socket says of several workers.

What it is: a pure function for each command whose answers are joined.  ``status`` is that of one process too.
Contract: sums are sums, moments the earliest, and what only one can say is said by the first.  ``answers`` are in the
order of the workers and never empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

Answers = Sequence[Mapping[str, Any]]

#: What is summed in the answer to ``status``.
_COUNTED: Final = ("connections", "tls_done", "tls_failed", "accepted", "queued", "held", "in_memory")


def status_text(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to ``status`` from one process's figures, or from joined ones."""
    told = dict(figures)
    done, failed = told.pop("tls_done"), told.pop("tls_failed")
    return {key: f"{done} handshakes, {failed} failed" if key == "tls" else value for key, value in told.items()}


def joined_status(answers: Answers) -> dict[str, Any]:
    """The figures of all: sums, and what troubles any of them."""
    joined = dict(answers[0])
    for key in _COUNTED:
        joined[key] = sum(one[key] for one in answers)
    wrong = sorted({one["spool"] for one in answers} - {"in order"})
    joined["spool"] = "; ".join(wrong) or "in order"
    return joined


def joined_lanes(answers: Answers) -> dict[str, Any]:
    """The windows of each destination: together as wide, limited as the widest of them is."""
    joined: dict[str, Any] = {}
    for one in answers:
        for place, lane in one.items():
            if place not in joined:
                joined[place] = lane
                continue
            other = joined[place]
            # One that may go on is not limited by what limits another.
            said: dict[str, Any] = min(lane, other, key=_limited)
            joined[place] = {
                **said,
                "active": lane["active"] + other["active"],
                "window": lane["window"] + other["window"],
            }
    return joined


def _limited(lane: Mapping[str, Any]) -> tuple[bool, int]:
    return lane["limited_by"] != "", lane["seconds"]


def joined_left(answers: Answers) -> dict[str, Any]:
    """The answer to ``drain``: what is left in all of them."""
    keys = ("sessions", "in_memory", "due", "paused")
    return {
        "draining": all(one["draining"] for one in answers),
        **{key: sum(one[key] for one in answers) for key in keys},
        "done": all(one["done"] for one in answers),
    }


def joined_brakes(answers: Answers) -> dict[str, Any]:
    """The answer to ``brakes``: of each count the highest, since one that was started later knows less."""
    found: dict[tuple[str, str, str], Any] = {}
    for one in answers:
        for brake in one["brakes"]:
            key = brake["kind"], brake["name"], brake["known"]
            found[key] = max(brake, found.get(key, brake), key=lambda known: (known["seconds"], known["failures"]))
    return {"brakes": list(found.values()), "more": max(one["more"] for one in answers)}


def most(answers: Answers) -> dict[str, Any]:
    """Of each number the largest: of what each of them knows."""
    return {key: max(one[key] for one in answers) for key in answers[0]}


def joined_release(answers: Answers) -> dict[str, Any]:
    """The answer to ``account-release``: the first opened the brake of all."""
    return {"changed": sum(one["changed"] for one in answers), "why": "".join(one["why"] for one in answers)}


def summed(answers: Answers) -> dict[str, Any]:
    """Each number of all answers."""
    return {key: sum(one[key] for one in answers) for key in answers[0]}


#: The commands that every worker does, and how what they answer becomes one.
JOINS: Final[Mapping[str, Callable[[Answers], dict[str, Any]]]] = {
    "lanes": joined_lanes,
    "drain": joined_left,
    "change": summed,
    "erase": summed,
    "brakes": joined_brakes,
    "lift": most,
    "account-release": joined_release,
}
