"""Which class a trouble is: what servers really say, and what we say ourselves."""

from __future__ import annotations

from typing import get_args

from twisted.trial.unittest import SynchronousTestCase

from mta.config.queue_options import TroubleName
from mta.delivery.connecting import UNREACHABLE
from mta.envelope import Outcome, Scope, Status
from mta.queue.attempts import SILENT
from mta.queue.trouble import Trouble, classify
from mta.reply import LOCAL_ERROR, Reply
from mta.routing.mx import DNS_FAILED
from mta.smtp.client_opening import NO_STARTTLS
from mta.smtp.client_values import CONFUSED, LOST
from mta.smtp.client_values import SILENT as NO_ANSWER

HOST = "mx.b.example[192.0.2.1]:25"


def trouble(reply: Reply, stage: str = "", host: str = "", scope: Scope = Scope.RECIPIENT) -> Trouble:
    attempt = {name: value for name, value in (("stage", stage), ("host", host)) if value}
    return classify(Outcome(recipient=0, status=Status.DEFERRED, reply=reply, scope=scope, attempt=attempt))


def said(line: str, stage: str = "RCPT") -> Trouble:
    """A remote host said it."""
    code, _, text = line.partition(" ")
    first, _, rest = text.partition(" ")
    enhanced = first if first.count(".") == 2 and first[0] in "45" else ""
    scope = Scope.HOST if code == "421" else Scope.RECIPIENT
    return trouble(Reply.of(int(code), enhanced, rest if enhanced else text), stage, HOST, scope)


class Ours(SynchronousTestCase):
    def test_what_we_know_ourselves(self) -> None:
        # RFC 3463 3.3, 3.4
        for reply, stage, host, scope, expected in (
            (Reply.of(421, "4.4.1", "No connection: refused"), "connect", HOST, Scope.DESTINATION, "unreachable"),
            (UNREACHABLE, "connect", "", Scope.DESTINATION, "unreachable"),
            (LOST, "RCPT", HOST, Scope.HOST, "unreachable"),
            (NO_ANSWER, "greeting", HOST, Scope.HOST, "unreachable"),
            (CONFUSED, "EHLO", HOST, Scope.HOST, "unreachable"),
            (DNS_FAILED, "DNS", "", Scope.DESTINATION, "dns"),
            (DNS_FAILED, "routing", "", Scope.RECIPIENT, "dns"),
            (NO_STARTTLS, "STARTTLS", HOST, Scope.DESTINATION, "tls"),
            (Reply.of(451, "4.7.5", "TLS: no handshake: alert"), "TLS", HOST, Scope.DESTINATION, "tls"),
            (Reply.of(452, "4.3.1", "The disk of the mailboxes is full"), "cur", "", Scope.HOST, "disk"),
            (Reply.of(452, "4.2.2", "The mailbox is over its quota"), "cur", "", Scope.RECIPIENT, "over-quota"),
            (LOCAL_ERROR, "internet", "", Scope.MESSAGE, "internal"),
            (SILENT, "internet", "", Scope.HOST, "internal"),
            (Reply.of(451, "4.3.2", "The service was stopped"), "internet", "", Scope.HOST, "other"),
        ):
            self.assertEqual(trouble(reply, stage, host, scope), expected, (reply, stage))


class Theirs(SynchronousTestCase):
    def test_greylisting(self) -> None:
        for line in (
            "450 4.2.0 <bob@b.example>: Recipient address rejected: Greylisted, see http://postgrey.example",
            "451 4.7.1 Greylisting in action, please come back in 00:05:00",
            "451 4.7.1 Please try again later",
            "450 4.7.1 Try again later",
            "451 Temporarily deferred, grey-listed",
            "421 4.7.0 first contact, greylisting you",
        ):
            self.assertEqual(said(line), Trouble.GREYLISTED, line)

    def test_rates(self) -> None:
        for line in (
            "421 4.7.28 Our system has detected an unusual rate of unsolicited mail",
            "421 4.7.0 Too many connections from your host",
            "450 4.7.1 Error: too much mail from 192.0.2.1",
            "451 4.7.650 The mail server has been temporarily rate limited due to IP reputation",
            "421 4.3.2 Connection rate limit exceeded",
            "421 Service not available, slow down",
        ):
            self.assertEqual(said(line, "MAIL"), Trouble.RATE_LIMITED, line)

    def test_quota(self) -> None:
        for line in (
            "452 4.2.2 The email account that you tried to reach is over quota",
            "552 5.2.2 Mailbox full",
            "452 Mailbox is full",
            "450 user is over quota",
        ):
            self.assertEqual(said(line), Trouble.OVER_QUOTA, line)

    def test_what_is_none_of_these(self) -> None:
        for line in (
            "451 4.3.0 Internal error, the corporate directory is not there",  # no "rate" in it
            "452 4.3.1 Insufficient system storage",
            "452 4.5.3 Too many recipients",
            "550 5.1.1 No such user",
            "450 Requested mail action not taken",
            "451 4.4.0 whatever",
        ):
            self.assertEqual(said(line), Trouble.OTHER, line)

    def test_their_words_about_tls_and_dns(self) -> None:
        self.assertEqual(said("451 4.7.5 cryptographic failure"), Trouble.TLS)
        self.assertEqual(said("451 4.4.3 sender domain lookup failed"), Trouble.DNS)

    def test_a_long_reply_takes_no_time(self) -> None:
        self.assertEqual(said("451 4.0.0 " + "too " * 100_000), Trouble.OTHER)


class Names(SynchronousTestCase):
    def test_the_configuration_knows_every_class(self) -> None:
        self.assertEqual(set(get_args(TroubleName)), set(Trouble))
