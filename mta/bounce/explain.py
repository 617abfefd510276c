"""What a failure means for a person: what happened, whose side it is on, what to do.  Pure.

Contract: the texts are ours; a remote server's own words stand apart (``their_words``), so that nobody takes
them for ours.  The meaning is that of the enhanced status code (RFC 3463 3), or of the code where it has none.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final, NamedTuple

from mta.address import host_literal
from mta.envelope import Outcome, Recipient, Status
from mta.reply import LOCAL_ERROR

#: Stages of a delivery at which it is the remote host that speaks.
_SPOKEN: Final = frozenset({"greeting", "EHLO", "HELO", "LHLO", "MAIL", "RCPT", "DATA", "data", "end of data"})
#: At EHLO these are ours: what we found out from what the host offers.
_LACKING: Final = frozenset({"5.3.3", "5.3.4", "5.4.7", "5.6.3", "5.6.7", "5.6.9", "5.7.10", "5.7.30"})
#: Stages at which no host was spoken to.
_NOT_MET: Final = frozenset({"routing", "DNS", "connect"})
_ENHANCED = re.compile(r"[245]\.([0-9]{1,3})\.([0-9]{1,3})\Z")

YOURS: Final = "yours: something about the address or the message has to change"
THEIRS: Final = "the recipient's: only those who run the mail there can change it"
OURS: Final = "ours: the people who run this mail system have to act"
BETWEEN: Final = "the recipient's mail server or the network between"

_CHECK_ADDRESS: Final = (
    "Check the address for typing mistakes; if it is right, ask the recipient by other means for one that works."
)
_OTHER_MEANS: Final = "Reach the recipient by other means and send them this report."
_SHOW_ADMIN: Final = "Send this report to the postmaster named below."
_WITHOUT_TLS: Final = (
    "Reach the recipient by other means, or send it again without requiring TLS if it may be read on the way."
)
_NOTHING: Final = "Nothing."
_LATER: Final = "Send the message again later; if that fails too, reach the recipient by other means."


class Explanation(NamedTuple):
    """Sentences for a person; ``side`` is one of the constants above."""

    happened: str
    side: str
    advice: str


# RFC 3463 3, by subject and detail; then by subject alone.
_MEANINGS: Final = {
    "1.1": Explanation("There is no such mailbox.", YOURS, _CHECK_ADDRESS),
    "1.2": Explanation("The domain of the address does not exist or takes no mail.", YOURS, _CHECK_ADDRESS),
    "1.6": Explanation("The mailbox has moved.", YOURS, "Ask the recipient by other means for the new address."),
    "1.10": Explanation("The domain of the address declares that it takes no mail.", YOURS, _CHECK_ADDRESS),
    "1.7": Explanation("The sender's address was not accepted.", YOURS, "Check the address that you send from."),
    "1.8": Explanation("The sender's address was not accepted.", YOURS, "Check the address that you send from."),
    "1": Explanation("The address was not accepted.", YOURS, _CHECK_ADDRESS),
    "2.1": Explanation("The mailbox is disabled or takes no messages.", THEIRS, _OTHER_MEANS),
    "2.2": Explanation("The mailbox is full.", THEIRS, _LATER),
    "2.3": Explanation("The message is too large for the mailbox.", YOURS, "Send it smaller, or in parts."),
    "2": Explanation("The mailbox did not take the message.", THEIRS, _OTHER_MEANS),
    "3.4": Explanation("The message is larger than the server takes.", YOURS, "Send it smaller, or in parts."),
    "3": Explanation("The mail system there is in trouble.", THEIRS, _LATER),
    "4.3": Explanation("The domain of the address could not be looked up.", BETWEEN, _LATER),
    "3.3": Explanation(
        "The server lacks what was asked for with the message.", YOURS, "Send it again without asking for it."
    ),
    "4.7": Explanation("The time that was set for the delivery is over.", YOURS, _LATER),
    "4.6": Explanation("The message would have gone round in a loop.", OURS, _SHOW_ADMIN),
    "4": Explanation("No mail server of the recipient could be reached.", BETWEEN, _LATER),
    "5": Explanation("The mail servers did not understand each other.", BETWEEN, _SHOW_ADMIN),
    "6.3": Explanation(
        "The message has characters in a form that the server does not take.",
        YOURS,
        "Send it with its text or its attachments encoded (quoted-printable or base64).",
    ),
    "6.7": Explanation(
        "An address has characters outside ASCII, and the server does not take them.",
        YOURS,
        "Use an address that is written in ASCII.",
    ),
    "6.9": Explanation(
        "The header of the message is in UTF-8, and the server does not take that.",
        YOURS,
        "Send it from a program that writes its header in ASCII.",
    ),
    "7.10": Explanation("The message requires TLS, and the server could not be reached by it.", YOURS, _WITHOUT_TLS),
    "7.30": Explanation("The message requires TLS on its whole way, and the server lacks it.", YOURS, _WITHOUT_TLS),
    "6": Explanation("The content of the message was not accepted.", YOURS, "Change it and send it again."),
    "7": Explanation(
        "The server refuses the message by its rules.",
        THEIRS,
        "Reach the recipient by other means; their server's words below may say what its rules are.",
    ),
}
# Replies without an enhanced code, as common servers use them (RFC 5321 4.2.3).
_BY_CODE: Final = {550: "1.1", 551: "1.6", 552: "2.2", 553: "1.1", 556: "1.10"}
_REFUSED: Final = Explanation("The server refused the message.", THEIRS, _OTHER_MEANS)
_OUR_TROUBLE: Final = Explanation("This mail system could not deliver the message.", OURS, _SHOW_ADMIN)
_GIVEN_UP: Final = Explanation("The administrator of this mail system gave the message up.", OURS, _SHOW_ADMIN)


def their_words(outcome: Outcome) -> bool:
    """The reply is the remote host's, not ours about it."""
    reply, stage = outcome.reply, outcome.attempt.get("stage", "")
    if not outcome.attempt.get("host") or stage not in _SPOKEN:
        return False
    if (stage in ("EHLO", "LHLO") and reply.enhanced in _LACKING) or reply == LOCAL_ERROR:
        return False
    return not (reply.code == 421 and reply.enhanced in ("4.4.2", "4.5.0", "4.3.2"))


def remote_host(outcome: Outcome) -> str:
    """The host that had a part in it, by name or as an address literal, without its port; "" if none had.

    Before there is a connection there is no remote MTA (RFC 3464 2.3.5).
    """
    if outcome.attempt.get("stage") in _NOT_MET:
        return ""
    where = str(outcome.attempt.get("host", ""))
    if where.startswith("["):
        return where[: where.find("]") + 1]
    name = where.partition("[")[0]
    try:
        ip_address(name)
    except ValueError:
        return name
    return host_literal(name)


def status_code(outcome: Outcome) -> str:
    """The Status of RFC 3464 2.3.4: the enhanced code, else what is known without one."""
    reply = outcome.reply
    if _ENHANCED.match(reply.enhanced) and reply.enhanced.startswith("2") is reply.positive:
        return reply.enhanced
    if reply.positive:
        return "2.0.0"
    if outcome.status is Status.EXPIRED:
        return "4.4.7"
    return "4.0.0" if reply.temporary else "5.0.0"


def explain(recipient: Recipient, outcome: Outcome) -> Explanation:
    """What is said about one recipient."""
    reply = outcome.reply
    theirs = their_words(outcome)
    match = _ENHANCED.match(reply.enhanced)
    key = f"{match[1]}.{match[2]}" if match else ""
    if not match and theirs and outcome.attempt.get("stage") == "RCPT":
        key = _BY_CODE.get(reply.code, "")
    meaning = _MEANINGS.get(key) or _MEANINGS.get(key.partition(".")[0])
    if recipient.progress.get("bounce") is not None:
        meaning = _GIVEN_UP
    elif not outcome.attempt.get("host") and not key.startswith(("1.", "2.", "4.")):
        meaning = _OUR_TROUBLE
    elif meaning is None:
        meaning = _REFUSED
    if outcome.status is Status.EXPIRED:
        happened = f"It was tried until the time for it was over. At the last try: {meaning.happened}"
        return meaning._replace(happened=happened)
    return meaning


def good_news(outcome: Outcome) -> tuple[str, str]:
    """What is said of a recipient for whom it went well: what happened, and what to do."""
    if outcome.status is Status.DELIVERED:
        return "It was delivered.", _NOTHING
    if outcome.status is Status.EXPANDED:
        return "The address stands for others, and it was sent on to them.", "Nothing; what fails will be reported."
    if outcome.dsn_taken_over:
        return "It was handed to the next mail server, which reports what becomes of it.", _NOTHING
    return (
        "It was handed to the next mail server, which sends no reports of success.",
        "Nothing; but no report about its delivery will follow. Ask the recipient if you have to be sure.",
    )
