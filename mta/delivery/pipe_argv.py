"""What a program is told on its command line and in its environment, from what strangers may have chosen.

What it is: a template of arguments with ``{placeholders}``, and the variables.
Contract: pure.  A value never makes more or fewer arguments, and is never seen by a shell: it is a part of one
argument, as it is, whatever characters it has.  An argument that would begin with a dash by a value alone is refused
(``Unsafe``), since the program would take it for an option; after an argument "--" it passes.  Control characters are
refused.  An argument with a value of a recipient stands once for each recipient of the run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from mta.delivery.values import Batch
from mta.envelope import Recipient
from mta.reply import Reply

#: Placeholders that have one value in a run, and those that each recipient has its own of.
_ONE: Final = ("sender", "id")
_EACH: Final = ("recipient", "original", "local_part", "domain", "tag", "mailbox")
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{(\w+)\}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")

DASH: Final = "it would begin with a dash, and be taken for an option"


class Unsafe(ValueError):
    """A value that the program must not be given.  ``reply`` is permanent where the sender chose it."""

    def __init__(self, reply: Reply, why: str) -> None:
        super().__init__(why)
        self.reply = reply


def check_argv(argv: tuple[str, ...]) -> str | None:
    """What is wrong with a template, or None."""
    if not argv or not argv[0].startswith("/"):
        return 'does not begin with the full path of a program; write ["/usr/local/bin/program", "{recipient}"]'
    for argument in argv:
        if wrong := _unknown(argument):
            names = ", ".join(f"{{{name}}}" for name in (*_ONE, *_EACH))
            return f"has {{{wrong}}}, which is no value there is; write one of {names}, or {{{{ for a brace"
    if _PLACEHOLDER.search(argv[0]):
        return "has a value in the program's path; write the path as it is"
    return None


def _unknown(argument: str) -> str:
    return next((match[1] for match in _PLACEHOLDER.finditer(argument) if match[1] not in (None, *_ONE, *_EACH)), "")


def check_environment(variables: tuple[str, ...]) -> str | None:
    """What is wrong with further variables, or None."""
    if all(_VARIABLE.match(one) for one in variables):
        return None
    return 'has one that is no variable; write such as "TZ=UTC"'


def values_of(batch: Batch, recipient: Recipient) -> dict[str, str]:
    """The values of the placeholders for one recipient.  Raises ``Unsafe``."""
    sender = batch.message.envelope.reverse_path
    address, facts = recipient.address, batch.route.facts
    values = {
        "sender": str(sender) if sender is not None else "",
        "id": batch.message.id,
        "recipient": str(address),
        "original": str(recipient.original),
        "local_part": str(facts.get("local_part", address.local)),  # without its tag
        "domain": address.domain,
        "tag": str(facts.get("tag", "")),
        "mailbox": str(facts.get("mailbox", "")),
    }
    for name, value in values.items():
        if _CONTROL.search(value):
            # The grammar lets none through: it comes from a table of ours.
            raise Unsafe(Reply.of(451, "4.3.5", "The address cannot be given to the program"), f"{name}: a control")
    return values


def arguments(template: Sequence[str], recipients: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """The program's argv.  ``recipients``: the values of each.  Raises ``Unsafe``."""
    argv: list[str] = []
    ended = False  # "--" was there: no options come any more
    for argument in template:
        names = [match[1] for match in _PLACEHOLDER.finditer(argument)]
        each = recipients if any(name in _EACH for name in names) else recipients[:1]
        for values in each:
            filled = _filled(argument, values)
            if filled.startswith("-") and not argument.startswith("-") and not ended:
                if "sender" in names:
                    raise Unsafe(Reply.of(553, "5.1.7", "The sender's address begins with a dash"), DASH)
                raise Unsafe(Reply.of(553, "5.1.3", "The address begins with a dash"), DASH)
            argv.append(filled)
        ended = ended or argument == "--"
    return tuple(argv)


def _filled(argument: str, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda match: values[match[1]] if match[1] else match[0][0], argument)


def variables(batch: Batch, recipients: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """What of the environment a message sets, ``launch.MESSAGE_NAMES``; a recipient's own is there for a single one."""
    made = {
        "SENDER": recipients[0]["sender"],
        "DOMAIN": recipients[0]["domain"],
        "MTA_ID": recipients[0]["id"],
        "MTA_KEY": batch.key,
    }
    if len(recipients) == 1:
        (one,) = recipients
        made |= {
            "RECIPIENT": one["recipient"],
            "ORIGINAL_RECIPIENT": one["original"],
            "LOCAL": one["local_part"],
            "EXTENSION": one["tag"],
        }
    return made
