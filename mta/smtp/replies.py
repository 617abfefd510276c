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
AUTHENTICATED: Final = of(235, "2.7.0", "Authentication succeeded")
START_DATA: Final = of(354, "", "End data with <CR><LF>.<CR><LF>")
START_TLS: Final = of(220, "2.0.0", "Ready to start TLS")
TLS_ACTIVE: Final = of(503, "5.5.1", "TLS is active already")
BYE: Final = of(221, "2.0.0", "Bye")
CANNOT_VERIFY: Final = of(252, "2.0.0", "Cannot verify the mailbox, but will take mail for it and try")
MEMBERS_UNKNOWN: Final = of(252, "2.0.0", "Unable to verify members of mailing list")
CANNOT_SHOW: Final = of(252, "2.6.8", "The answer is not ASCII; ask with SMTPUTF8")

TOO_MANY_CONNECTIONS: Final = of(421, "4.3.2", "Too many connections, try again later")
TOO_MANY_FROM_CLIENT: Final = of(421, "4.7.0", "Too many connections from your address")
TOO_MANY_ERRORS: Final = of(421, "4.7.0", "Too many errors")
TOO_MANY_TRANSACTIONS: Final = of(421, "4.7.0", "Too many messages in one session; connect again")
SPOKE_IN_AUTH: Final = of(421, "4.7.0", "You spoke before the challenge of AUTH")
NOT_HTTP: Final = of(421, "4.7.0", "This is an SMTP server")
NO_PROXY: Final = of(421, "4.7.0", "Your address is not that of a proxy of ours")
TIMED_OUT: Final = of(421, "4.4.2", "Timed out waiting for you")
LOOKUP_TIMED_OUT: Final = of(421, "4.4.3", "A lookup took too long, try again later")
SHUTTING_DOWN: Final = of(421, "4.3.2", "The service is stopping")

TOO_MANY_QUESTIONS: Final = of(450, "4.7.0", "You have asked much in this hour; ask again later")
NO_MEMORY: Final = of(452, "4.3.1", "No memory for a message now, try again later")
TOO_MANY_RECIPIENTS: Final = of(452, "4.5.3", "Too many recipients; send the others in another transaction")
ETRN_FAILED: Final = of(458, "4.3.0", "Unable to look for waiting mail, try again later")
ETRN_NOT_ALLOWED: Final = of(459, "4.7.1", "Not allowed: you may not ask for waiting mail")

LINE_TOO_LONG: Final = of(500, "5.5.2", "Line too long")
BAD_LINE: Final = of(500, "5.5.2", "Lines must end in CRLF and hold no other CR, LF or NUL")
RESPONSE_TOO_LONG: Final = of(500, "5.5.6", "Authentication exchange line is too long")
NOT_BASE64: Final = of(501, "5.5.2", "The response is not base64")
AUTH_CANCELLED: Final = of(501, "5.7.0", "Authentication cancelled")
NO_INITIAL_RESPONSE: Final = of(501, "5.7.0", "With this mechanism the server speaks first")
AUTH_SYNTAX: Final = of(501, "5.5.4", "Syntax: AUTH mechanism [initial-response]")
LOGGED_IN_ALREADY: Final = of(503, "5.5.1", "You have logged in already")
NO_SUCH_MECHANISM: Final = of(504, "5.5.4", "The mechanism is not offered; see EHLO")
AUTH_NEEDS_TLS: Final = of(538, "5.7.11", "Encryption required for requested authentication mechanism")
UNKNOWN_COMMAND: Final = of(500, "5.5.2", "Command not recognized")
NOT_IMPLEMENTED: Final = of(502, "5.5.1", "Command not implemented")
NEEDS_NAME: Final = of(501, "5.5.4", "Give the name of your host")
NO_ARGUMENT: Final = of(501, "5.5.4", "The command takes no argument")
MAIL_SYNTAX: Final = of(501, "5.5.4", "Syntax: MAIL FROM:<address>")
RCPT_SYNTAX: Final = of(501, "5.5.4", "Syntax: RCPT TO:<address>")
VRFY_SYNTAX: Final = of(501, "5.5.4", "Syntax: VRFY address or name")
EXPN_SYNTAX: Final = of(501, "5.5.4", "Syntax: EXPN address or name")
ETRN_SYNTAX: Final = of(501, "5.5.4", "Syntax: ETRN domain.example, or ETRN @domain.example for all below it too")
NOT_IN_TRANSACTION: Final = of(503, "5.5.1", "Not in a mail transaction")
PARAMETER_SYNTAX: Final = of(501, "5.5.4", "A parameter is not well formed")
SENDER_NEEDS_SMTPUTF8: Final = of(550, "5.6.7", "An address outside ASCII needs the parameter SMTPUTF8")
RECIPIENT_NEEDS_SMTPUTF8: Final = of(553, "5.6.7", "An address outside ASCII needs the parameter SMTPUTF8 of MAIL")
SAY_LHLO: Final = of(500, "5.5.1", "This is LMTP (RFC 2033): say LHLO")
BAD_ATTRIBUTE: Final = of(501, "5.5.4", "An attribute is not known, not well formed or given twice")
NEEDS_LOGIN: Final = of(530, "5.7.0", "Authentication required")
ONLY_QUIT: Final = of(503, "5.5.1", "You were refused; say QUIT")
NEEDS_EHLO: Final = of(503, "5.5.1", "Say EHLO first")
NEEDS_TLS: Final = of(530, "5.7.10", "REQUIRETLS is for sessions over TLS")
DELIVER_BY_TOO_SOON: Final = of(555, "5.5.4", "The time with return is shorter than our shortest; see EHLO")
HOLD_IS_PAST: Final = of(501, "5.5.4", "The time of the release is past")
HOLD_TOO_LONG: Final = of(501, "5.5.4", "The time of the release is later than our latest; see EHLO")
HOLD_OVER_DELIVER_BY: Final = of(501, "5.5.4", "The time for the delivery would be over before the release")
BDAT_SYNTAX: Final = of(501, "5.5.4", "Syntax: BDAT octets [LAST]")
NO_DATA_AFTER_BDAT: Final = of(503, "5.5.1", "BDAT has begun the message; DATA cannot go on with it")
NO_RCPT_AFTER_BDAT: Final = of(503, "5.5.1", "BDAT has begun the message; RCPT comes before it")
BINARY_NEEDS_BDAT: Final = of(503, "5.5.1", "A message with BODY=BINARYMIME comes by BDAT")
NESTED_MAIL: Final = of(503, "5.5.1", "A mail transaction is open already")
NEEDS_LHLO: Final = of(503, "5.5.1", "Say LHLO first")
NEEDS_MAIL: Final = of(503, "5.5.1", "MAIL comes first")
NEEDS_RCPT: Final = of(503, "5.5.1", "RCPT comes first")
NO_SUCH_TOPIC: Final = of(504, "5.5.4", "There is no help on that; HELP alone has the topics")
TOO_EARLY: Final = of(554, "5.5.1", "You spoke before the greeting")
TLS_TOO_LATE: Final = of(503, "5.5.1", "STARTTLS comes before XCLIENT")
NOT_A_PROXY: Final = of(550, "5.7.0", "You may not speak for others")
MAY_NOT_EXPAND: Final = of(550, "5.7.1", "You may not ask where addresses lead")
NO_SUCH_NAME: Final = of(550, "5.1.1", "Nobody here has that name")
TOO_AMBIGUOUS: Final = of(553, "5.1.4", "User ambiguous: many have that name; say more of it")
NOTHING_TO_EXPAND: Final = of(550, "5.1.1", "The address leads to nothing else here")
MAY_NOT_SHOW: Final = of(550, "5.6.8", "The answer is not ASCII; ask with SMTPUTF8")
NO_RECIPIENTS: Final = of(554, "5.5.1", "No valid recipients")

MESSAGE_TOO_BIG: Final = of(552, "5.3.4", "The message is too big")
HEADER_TOO_BIG: Final = of(552, "5.3.4", "The header of the message is too big")
BARE_NEWLINE: Final = of(550, "5.6.0", "The message has a bare CR or LF; lines must end in CRLF")
HAS_NUL: Final = of(554, "5.6.0", "The message has a NUL octet")
DATA_LINE_TOO_LONG: Final = of(554, "5.6.0", "The message has a line that is too long")
TOO_MANY_HOPS: Final = of(554, "5.4.6", "Too many hops: the message is in a loop")


def bad_parameter(keyword: str) -> Reply:
    """RFC 5321 4.1.1.11: its value is wrong, or it lacks one, or has one that it should not."""
    return of(501, "5.5.4", f"The parameter {keyword} is not well formed")


def repeated_parameter(keyword: str) -> Reply:
    return of(501, "5.5.4", f"The parameter {keyword} stands twice")


def may_not_send(state: str, why: str) -> Reply:
    """To a login whose account is not active any more; ``why`` is for people."""
    return of(550, "5.7.1", f"Your account is {state}{f': {why}' if why else ''}")


def unknown_parameter(keyword: str) -> Reply:
    """RFC 5321 4.1.1.11."""
    return of(555, "5.5.4", f"The parameter {keyword} is not recognized")


def bad_sender(why: str) -> Reply:
    """The reverse-path is no address (RFC 3463 X.1.7)."""
    return of(553, "5.1.7", f"Sender refused: {why}")


def bad_recipient(why: str) -> Reply:
    """The forward-path is no address (RFC 3463 X.1.3)."""
    return of(553, "5.1.3", f"Recipient refused: {why}")


def too_many_members(most: int) -> Reply:
    """To EXPN of what leads to more addresses than may be told."""
    return of(252, "2.0.0", f"It leads to over {most} addresses, which are too many to tell; mail will be taken for it")


def etrn_started(count: int, domain: str) -> Reply:
    """251 and 253 of RFC 1985 5.1."""
    if not count:
        return of(251, "2.0.0", f"No messages wait for {domain}")
    return of(253, "2.0.0", f"{count} pending messages for {domain} started")


def accepted(id: str) -> Reply:
    """The 250 that means durable."""
    return of(250, "2.0.0", f"Ok: queued as {id}")


def accepted_with_priority(id: str, priority: int) -> Reply:
    """The same where the priority is not the one that was asked for: the new one comes first (RFC 6710 4.1)."""
    return of(250, "2.3.6", f"{priority} is the priority of the message; queued as {id}")


def chunk_taken(octets: int) -> Reply:
    """A chunk that is not the last; ``octets`` of the message so far (RFC 3030 2)."""
    return of(250, "2.0.0", f"Ok: {octets} octets so far")
