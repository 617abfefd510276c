"""One message on trial: the replies are the session's, the ways the router's, and nothing is left behind."""

from __future__ import annotations

import os
from typing import Any

from trial_cases import NOW, Site
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mta.dns.fake import FakeResolver
from mta.envelope import Right
from mta.trial.trial import Trial
from mta.trial.values import Mail, Result

DNS = {
    "else.example": ["MX 20 b.else.example", "MX 10 a.else.example"],
    "a.else.example": ["A 9.9.9.9"],
    "b.else.example": ["A 9.9.9.10"],
    "bank.example": ["A 9.9.9.11"],
}


class Try(SynchronousTestCase):
    more = ""

    def setUp(self) -> None:
        self.site = Site(self, self.more)

    def run_mail(self, *to: str, foresee: bool = True, **more: Any) -> Result:
        trial = Trial(
            self.site.decides(), resolver=FakeResolver(DNS), names=FakeResolver({"192.0.2.1": []}), now=lambda: NOW
        )
        return self.successResultOf(Deferred.fromCoroutine(trial.run(Mail(recipients=to, **more), foresee)))

    def finals(self, result: Result) -> list[str]:
        return [str(result.final(number))[:9] for number in range(len(result.rcpt))]


class Strangers(Try):
    def test_mail_for_a_mailbox_is_taken(self) -> None:
        result = self.run_mail("ann@ours.example")
        self.assertEqual(self.finals(result), ["250 2.0.0"])
        self.assertFalse(result.refused)
        (copy,) = result.copies
        self.assertEqual(str(copy.route.destination), "local:ours.example")
        assert copy.foresight is not None
        self.assertEqual(copy.foresight.place, os.path.join(self.site.path, "mail/ours.example/ann"))
        self.assertTrue(result.header.startswith(b"Received: from client.example.net"))
        self.assertIn(b"\r\nSubject: test\r\n", result.header)

    def test_what_is_refused_at_rcpt(self) -> None:
        result = self.run_mail("nobody@ours.example", "far@else.example", "bob@ours.example")
        self.assertEqual(self.finals(result), ["550 5.1.1", "550 5.7.1", "250 2.0.0"])
        self.assertTrue(result.refused)
        self.assertEqual([str(copy.recipient.address) for copy in result.copies], ["bob@ours.example"])

    def test_what_is_refused_at_mail(self) -> None:
        result = self.run_mail("ann@ours.example", size=1 << 40)
        self.assertEqual(self.finals(result), ["552 5.3.4"])
        self.assertEqual((result.rcpt, result.data), ((None,), ()))

    def test_what_is_refused_at_the_end(self) -> None:
        result = self.run_mail("ann@ours.example", message=b"Subject: x\r\n\r\na\nb\r\n")
        self.assertEqual(self.finals(result), ["550 5.6.0"])
        self.assertEqual(result.copies, ())

    def test_a_team_with_a_loop_goes_to_each_once(self) -> None:
        result = self.run_mail("team@ours.example")
        addresses = [str(copy.recipient.address) for copy in result.copies]
        self.assertEqual(sorted(addresses), ["ann@ours.example", "bob@ours.example", "far@else.example"])

    def test_hosts_in_order_and_the_tls_that_is_demanded(self) -> None:
        result = self.run_mail("far@else.example", "x@bank.example", client="10.1.1.1")
        self.assertEqual(result.rights, {Right.NETWORK})
        first, second = (copy.foresight for copy in result.copies)
        assert first is not None
        assert second is not None
        self.assertEqual([host.name for host in first.hosts], ["a.else.example", "b.else.example"])
        self.assertEqual((first.tls, second.tls), ("opportunistic", "verify"))

    def test_somebody_who_has_logged_in(self) -> None:
        result = self.run_mail("far@else.example", login="ann")
        self.assertEqual((result.rights, self.finals(result)), ({Right.AUTHENTICATED}, ["250 2.0.0"]))

    def test_a_domain_that_does_not_exist(self) -> None:
        result = self.run_mail("x@gone.example", client="10.1.1.1")
        foresight = result.copies[0].foresight
        assert foresight is not None
        self.assertEqual(str(foresight.failure)[:9], "550 5.1.2")

    def test_no_service_is_asked_where_nobody_wants_to_know(self) -> None:
        self.assertIsNone(self.run_mail("ann@ours.example", foresee=False).copies[0].foresight)

    def test_another_protocol(self) -> None:
        result = self.run_mail("ann@ours.example", "nobody@ours.example", "bob@ours.example", listener="inner")
        self.assertEqual(result.opening[-1].command, "LHLO client.example.net")
        self.assertEqual(self.finals(result), ["250 2.0.0", "550 5.1.1", "250 2.0.0"])
        self.assertEqual(len(result.data), 2, "one for each that was taken (RFC 2033 4.2)")

    def test_what_no_client_could_send(self) -> None:
        trial = Trial(self.site.decides(), resolver=None, names=FakeResolver(), now=lambda: NOW)
        for mail, error in (
            (Mail(recipients=("a@b.example>\r\nRSET",)), ValueError),
            (Mail(recipients=("a@b.example",), listener="none"), LookupError),
        ):
            self.failureResultOf(Deferred.fromCoroutine(trial.run(mail)), error)

    def test_nothing_is_left_behind(self) -> None:
        before = sorted(os.listdir(self.site.path))
        self.run_mail("ann@ours.example")
        self.assertEqual(sorted(os.listdir(self.site.path)), before)


class Slow(Try):
    more = '[limits]\ngreet_delay = "30s"\nslow_after = 1\nslow_most = "20s"\n'

    def test_waits_that_are_only_time_are_over_at_once(self) -> None:
        result = self.run_mail("a@ours.example", "b@ours.example", "c@ours.example", "bob@ours.example")
        self.assertEqual(self.finals(result), ["550 5.1.1"] * 3 + ["250 2.0.0"])


class Early(Try):
    more = "[limits]\nerrors = 2\n"

    def test_a_session_that_ends_before_its_time(self) -> None:
        result = self.run_mail("a@ours.example", "b@ours.example", "bob@ours.example")
        self.assertEqual([reply is None for reply in result.rcpt], [False, False, False])
        self.assertEqual(str(result.final(2))[:9], "421 4.7.0")
