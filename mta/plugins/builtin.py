"""The providers that come with txmta; they are found here as any plugin is."""

from __future__ import annotations

from mta.delivery.discard import Discard
from mta.delivery.lmtp import LmtpDelivery
from mta.delivery.maildir import Maildir
from mta.delivery.smtp import SmtpDelivery
from mta.routing.tables import FileTable

__all__ = ["Discard", "FileTable", "LmtpDelivery", "Maildir", "SmtpDelivery"]
