"""Every reply that the server side can give and that needs no argument: one constant each, shared with tests.

Codes by RFC 5321 4.2.2 and 4.2.3, enhanced codes by RFC 3463 and RFC 5248.
"""

from __future__ import annotations

from typing import Final

from mta.reply import Reply

of = Reply.of

OK: Final = of(250, "2.0.0", "Ok")
SENDER_OK: Final = of(250, "2.1.0", "Ok")
RECIPIENT_OK: Final = of(250, "2.1.5", "Ok")
START_DATA: Final = of(354, "", "End data with <CR><LF>.<CR><LF>")
BYE: Final = of(221, "2.0.0", "Bye")
CANNOT_VERIFY: Final = of(252, "2.0.0", "Cannot verify the mailbox, but will take mail for it and try")
HELP: Final = of(
    214,
    "2.0.0",
    "Commands: HELO EHLO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT",
    "Syntax: RFC 5321.  What is offered: see the reply to EHLO.",
)

TOO_MANY_CONNECTIONS: Final = of(421, "4.3.2", "Too many connections, try again later")
TOO_MANY_FROM_CLIENT: Final = of(421, "4.7.0", "Too many connections from your address")
TOO_MANY_ERRORS: Final = of(421, "4.7.0", "Too many errors")
TOO_MANY_TRANSACTIONS: Final = of(421, "4.7.0", "Too many messages in one session; connect again")
NOT_HTTP: Final = of(421, "4.7.0", "This is an SMTP server")
TIMED_OUT: Final = of(421, "4.4.2", "Timed out waiting for you")
LOOKUP_TIMED_OUT: Final = of(421, "4.4.3", "A lookup took too long, try again later")
SHUTTING_DOWN: Final = of(421, "4.3.2", "The service is stopping")

NO_MEMORY: Final = of(452, "4.3.1", "No memory for a message now, try again later")
TOO_MANY_RECIPIENTS: Final = of(452, "4.5.3", "Too many recipients; send the others in another transaction")

LINE_TOO_LONG: Final = of(500, "5.5.2", "Line too long")
BAD_LINE: Final = of(500, "5.5.2", "Lines must end in CRLF and hold no other CR, LF or NUL")
UNKNOWN_COMMAND: Final = of(500, "5.5.1", "Command not recognized")
NOT_IMPLEMENTED: Final = of(502, "5.5.1", "Command not implemented")
NEEDS_NAME: Final = of(501, "5.5.4", "Give the name of your host")
NO_ARGUMENT: Final = of(501, "5.5.4", "The command takes no argument")
MAIL_SYNTAX: Final = of(501, "5.5.4", "Syntax: MAIL FROM:<address>")
RCPT_SYNTAX: Final = of(501, "5.5.4", "Syntax: RCPT TO:<address>")
VRFY_SYNTAX: Final = of(501, "5.5.4", "Syntax: VRFY address")
PARAMETER_SYNTAX: Final = of(501, "5.5.4", "A parameter is not well formed or given twice")
UNKNOWN_PARAMETER: Final = of(555, "5.5.4", "A parameter is not recognized")
NEEDS_EHLO: Final = of(503, "5.5.1", "Say EHLO first")
NESTED_MAIL: Final = of(503, "5.5.1", "A mail transaction is open already")
NEEDS_MAIL: Final = of(503, "5.5.1", "MAIL comes first")
NEEDS_RCPT: Final = of(503, "5.5.1", "RCPT comes first")
NO_RECIPIENTS: Final = of(554, "5.5.1", "No valid recipients")

MESSAGE_TOO_BIG: Final = of(552, "5.3.4", "The message is too big")
HEADER_TOO_BIG: Final = of(552, "5.3.4", "The header of the message is too big")
BARE_NEWLINE: Final = of(550, "5.6.0", "The message has a bare CR or LF; lines must end in CRLF")
HAS_NUL: Final = of(554, "5.6.0", "The message has a NUL octet")
DATA_LINE_TOO_LONG: Final = of(554, "5.6.0", "The message has a line that is too long")
TOO_MANY_HOPS: Final = of(554, "5.4.6", "Too many hops: the message is in a loop")
COMMIT_FAILED: Final = of(451, "4.3.0", "The message could not be stored, try again later")


def bad_sender(why: str) -> Reply:
    """The reverse-path is no address (RFC 3463 X.1.7)."""
    return of(553, "5.1.7", f"Sender refused: {why}")


def bad_recipient(why: str) -> Reply:
    """The forward-path is no address (RFC 3463 X.1.3)."""
    return of(553, "5.1.3", f"Recipient refused: {why}")


def accepted(id: str) -> Reply:
    """The 250 that means durable."""
    return of(250, "2.0.0", f"Ok: queued as {id}")
