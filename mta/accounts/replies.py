"""What a client is told whose login is refused (RFC 4954 6): the same whatever the reason, where it is for good."""

from __future__ import annotations

from typing import Final

from mta.reply import Reply

REFUSED: Final = Reply.of(535, "5.7.8", "Authentication credentials invalid")
CANNOT_KNOW: Final = Reply.of(454, "4.7.0", "Temporary authentication failure")
BUSY: Final = Reply.of(454, "4.7.0", "Too many logins at once, please try again later")
#: After too many failures: for an account from networks it is not known from, and for an address or network.
BRAKED: Final = Reply.of(454, "4.7.0", "Too many failed logins, please try again later")
BRAKED_ADDRESS: Final = Reply.of(421, "4.7.0", "Too many failed logins from your network, closing connection")
