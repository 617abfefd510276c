"""The command line of sendmail, as cron, PHP, git and mail programs write it.  Pure.

Contract: ``read_arguments`` returns what was asked for, or raises ``Trouble`` with EX_USAGE.  Options end at the first
word that is none; behind it, and where no "--" stands before it, a recipient may not begin with a dash: what a
stranger chose as an address never becomes an option.  Options of sendmail that change nothing here are taken and
ignored; those that name a file are refused: a web form that lets arguments through must not be able to write or read
one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from mta.sendmail.statuses import USAGE, Trouble

#: What -b chooses.
DELIVER, SPEAK, QUEUE, VERIFY, ALIASES, FLUSH = "m", "s", "p", "v", "i", "q"
_SERVICES: Final = "dDlHh"
_MODES: Final = frozenset((DELIVER, SPEAK, QUEUE, VERIFY, ALIASES))
#: Options with a value, which stands in the same word or is the next one.
_WITH_VALUE: Final = frozenset("ABCDFLNORVXbefhopr")
#: Those whose value, if any, stands in the same word.
_MAY_HAVE_VALUE: Final = frozenset("dq")
_FLAGS: Final = frozenset("GIUimntvx")
#: Values of these options change nothing here: who calls, how loud, how the mail goes out, how errors are told.
_IGNORED: Final = frozenset("ALdehp")
_FILES: Final = {
    "C": "the configuration is not chosen here: mta --config FILE sendmail",
    "D": "debugging output goes nowhere",
    "X": "no log is written by this program",
}
_NOTIFY: Final = frozenset(("NEVER", "SUCCESS", "FAILURE", "DELAY"))
_RETURNS: Final = {"full": "FULL", "hdrs": "HDRS"}
_BODIES: Final = frozenset(("7BIT", "8BITMIME"))
#: RFC 3461 4.4: printable, and of some length at most.
_ENVID: Final = re.compile(r"[\x20-\x7e]{1,100}\Z")
_LONG: Final = re.compile(r"([A-Za-z][A-Za-z0-9]*)=")
_BREAKING: Final = re.compile(r"[\x00-\x1f\x7f]")
#: Options by name (-O) that are known of sendmail, in lower case, and change nothing here.
_KNOWN: Final = frozenset(
    (
        "checkpointinterval",
        "deliverymode",
        "eightbitmode",
        "errormode",
        "loglevel",
        "maxhopcount",
        "metoo",
        "minqueueage",
        "norecipientaction",
        "oldstyleheaders",
        "privacyoptions",
        "queuedirectory",
        "queuetimeout",
        "sendmimeerrors",
        "supersafe",
        "tempfilemode",
        "timeout",
        "verbose",
    )
)


class Asked(NamedTuple):
    """See the module's text.

    ``sender`` is as it was given, "" for the null sender, None where the caller is it.  ``recipients`` are words.
    ``extract``: they stand in the header too.  ``dot_ends``: a line of a dot alone ends the message.  ``selection`` is
    what -q means: a letter of I, R, S and its value.
    """

    mode: str = DELIVER
    recipients: tuple[str, ...] = ()
    extract: bool = False
    sender: str | None = None
    full_name: str = ""
    dot_ends: bool = True
    notify: str = ""
    ret: str = ""
    envid: str = ""
    body: str = ""
    verbose: bool = False
    selection: tuple[str, str] = ("", "")


def read_arguments(words: Sequence[str]) -> Asked:
    """See the module's text."""
    asked, rest = Asked(), list(words)
    guarded = True
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            guarded = False
            break
        if word.startswith("--"):
            raise Trouble(USAGE, f"there is no option {word!r}; options are those of sendmail, of one letter")
        asked = _options(asked, word[1:], rest)
    for word in rest:
        if _BREAKING.search(word):
            raise Trouble(USAGE, f"a recipient has a control character: {word!r}")
        if not word:
            raise Trouble(USAGE, "a recipient is empty")
        if guarded and word.startswith("-"):
            raise Trouble(
                USAGE, f'{word!r} stands where a recipient does; one that begins with a dash goes behind "--"'
            )
    if rest and asked.mode in (SPEAK, QUEUE, ALIASES, FLUSH):
        raise Trouble(USAGE, f"-b{asked.mode} takes no recipients" if asked.mode != FLUSH else "-q takes no recipients")
    return asked._replace(recipients=tuple(rest))


def _options(asked: Asked, letters: str, rest: list[str]) -> Asked:
    """The options of one word; a value may be the next word."""
    while letters:
        letter, letters = letters[0], letters[1:]
        if letter in _FLAGS:
            asked = _flag(asked, letter)
            continue
        if letter in _WITH_VALUE:
            if not letters and not rest:
                raise Trouble(USAGE, f"-{letter} needs a value")
            value = letters or rest.pop(0)
        elif letter in _MAY_HAVE_VALUE:
            value = letters
        else:
            raise Trouble(USAGE, f"there is no option -{letter}")
        if _BREAKING.search(value):
            raise Trouble(USAGE, f"the value of -{letter} has a control character")
        return _value(asked, letter, value)
    return asked


def _flag(asked: Asked, letter: str) -> Asked:
    if letter == "i":
        return asked._replace(dot_ends=False)
    if letter == "t":
        return asked._replace(extract=True)
    if letter == "v":
        return asked._replace(verbose=True)
    if letter == "v":
        return asked._replace(verbose=True)
    if letter == "I":
        return asked._replace(mode=ALIASES)
    return asked


def _value(asked: Asked, letter: str, value: str) -> Asked:
    if letter in _FILES:
        raise Trouble(USAGE, f"-{letter} is not taken: {_FILES[letter]}")
    if letter in _IGNORED:
        return asked
    if letter in "fr":
        return asked._replace(sender=_sender(value))
    if letter == "F":
        return asked._replace(full_name=value)
    if letter == "o":
        return _short(asked, value)
    if letter == "O":
        return _long(asked, value)
    return _CHOICES[letter](asked, value)


def _sender(value: str) -> str:
    """The address, without its angle brackets and what stands before them."""
    if value.endswith(">") and "<" in value:
        return value[value.rindex("<") + 1 : -1].strip()
    return value.strip()


def _mode(asked: Asked, value: str) -> Asked:
    if value in _MODES:
        return asked._replace(mode=value)
    if value[:1] in _SERVICES:
        raise Trouble(USAGE, f"-b{value} starts no service here: twistd mta does")
    raise Trouble(USAGE, f"-b{value} is not known; -bm, -bs, -bp, -bv and -bi are")


def _flush(asked: Asked, value: str) -> Asked:
    if value[:1] in ("I", "R", "S") and value[1:]:
        return asked._replace(mode=FLUSH, selection=(value[0], value[1:]))
    if value not in ("", "f"):
        raise Trouble(USAGE, f"-q{value} is not known; the service retries by itself, as queue.retry says")
    return asked._replace(mode=FLUSH)


def _notify(asked: Asked, value: str) -> Asked:
    found = [word.strip().upper() for word in value.split(",")]
    if not set(found) <= _NOTIFY or len(set(found)) < len(found) or ("NEVER" in found and len(found) > 1):
        raise Trouble(USAGE, f'-N takes "never", or some of success, failure and delay: not {value!r}')
    return asked._replace(notify=",".join(found))


def _return(asked: Asked, value: str) -> Asked:
    ret = _RETURNS.get(value.lower())
    if ret is None:
        raise Trouble(USAGE, f'-R takes "full" or "hdrs": not {value!r}')
    return asked._replace(ret=ret)


def _envid(asked: Asked, value: str) -> Asked:
    if not _ENVID.match(value):
        raise Trouble(USAGE, "-V takes up to 100 printable characters of ASCII")
    return asked._replace(envid=value)


def _body(asked: Asked, value: str) -> Asked:
    if value.upper() not in _BODIES:
        raise Trouble(USAGE, f"-B takes 7BIT or 8BITMIME: not {value!r}")
    return asked._replace(body=value.upper())


_CHOICES: Final = {"b": _mode, "q": _flush, "N": _notify, "R": _return, "V": _envid, "B": _body}


def _short(asked: Asked, value: str) -> Asked:
    """-o: options of one letter; of all there are one counts here."""
    if value[0] == "i":
        return asked._replace(dot_ends=value[1:].lower() in ("f", "false"))
    if not (value[0].isascii() and value[0].isalnum()):
        raise Trouble(USAGE, f"-o{value} is not known")
    return asked


def _long(asked: Asked, value: str) -> Asked:
    """-O: options by name."""
    match = _LONG.match(value)
    name = match[1].lower() if match is not None else ""
    if name == "ignoredots":
        return asked._replace(dot_ends=value.partition("=")[2].lower() in ("f", "false"))
    if not (name in _KNOWN or value.lower().startswith("timeout.")):
        raise Trouble(USAGE, f"-O {value!r} is not known; it is NAME=VALUE")
    return asked
