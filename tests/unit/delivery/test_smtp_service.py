"""The delivery service ``smtp``: which hosts it tries, which connections it keeps, what it reports."""

from __future__ import annotations

from smtp_harness import EHLO, ServiceCase
from twisted.internet.defer import Deferred

from mta.delivery.values import Limits
from mta.envelope import Destination
from mta.routing.values import Route

TAKEN = [("relayed", 250, "message", "end of data")]


class Hosts(ServiceCase):
    def test_message_goes_to_the_nearest_host(self) -> None:
        batch = self.batch()
        self.deliver(batch)
        far = self.far()
        self.assertEqual((far.address, far.port, far.timeout), ("192.0.2.1", 25, 30.0))
        far.greet().take()
        self.assertEqual(
            far.heard(),
            b"MAIL FROM:<ann@a.example> SIZE=17\r\nRCPT TO:<bob@b.example>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\n",
        )
        self.assertEqual(self.told(batch), TAKEN)
        self.assertEqual(
            self.outcomes(batch)[0].attempt,
            {"host": "mx1.b.example[192.0.2.1]", "stage": "end of data", "tls": "", "seconds": 0.0},
        )

    def test_next_host_when_one_cannot_be_reached_or_does_not_want(self) -> None:
        # RFC 5321 5.1
        def silent() -> None:
            self.far().accept()
            self.wait(302)

        for trouble in (
            lambda: self.far().refuse(),
            lambda: self.far().accept(b"421 busy\r\n"),
            lambda: self.far().accept(b"554 no service\r\n"),
            lambda: self.far().accept(b"220 x\r\n", b"451 later\r\n"),
            lambda: self.far().accept(b"SSH-2.0\r\n"),
            lambda: self.far().accept().close(),
            silent,
        ):
            self.setUp()
            batch = self.batch()
            self.deliver(batch)
            trouble()
            self.assertEqual(self.opened, 2)
            far = self.far()
            self.assertEqual(far.address, "192.0.2.2")
            far.greet().take()
            self.assertEqual(self.told(batch), TAKEN)

    def test_no_host_can_be_reached(self) -> None:
        batch = self.batch()
        done = self.deliver(batch)
        self.far().refuse()
        self.far().accept(b"421 busy\r\n")
        self.successResultOf(done)
        self.assertEqual(self.told(batch), [("deferred", 421, "destination", "greeting")])

    def test_one_host_refuses_for_good_the_other_for_now(self) -> None:
        batch = self.batch()
        self.deliver(batch)
        self.far().accept(b"421 busy\r\n")
        self.far().accept(b"554 no service\r\n")
        self.assertEqual(self.told(batch)[0][0], "deferred")

    def test_what_dns_says(self) -> None:
        self.resolver.add("lame.example", "servfail")
        for hop, status, code in (
            ("null.example", "failed", 556),  # RFC 7505
            ("nowhere.example", "failed", 550),
            ("lame.example", "deferred", 451),
            ("inside.example", "failed", 550),
        ):
            batch = self.batch(hop=hop)
            self.successResultOf(self.deliver(batch))
            self.assertEqual(self.told(batch), [(status, code, "destination", "DNS")])
        self.assertEqual(self.opened, 0)

    def test_smart_host_and_source(self) -> None:
        self.service = self.make(
            host="2001:db8::9", port=2626, source=("192.0.2.200", "2001:db8::200"), hello="h.example"
        )
        self.deliver(self.batch())
        far = self.far()
        self.assertEqual((far.address, far.port, far.source), ("2001:db8::9", 2626, ("2001:db8::200", 0)))
        far.accept(b"220 x\r\n")
        self.assertEqual(far.heard(), b"EHLO h.example\r\n")

    def test_international_names_go_out_as_a_labels(self) -> None:
        # RFC 5891 4.4
        self.resolver.add("xn--bcher-kva.example", "A 192.0.2.3")
        self.service = self.make(host="b\u00fccher.example", hello="b\u00fccher.example")
        self.deliver(self.batch())
        far = self.far().accept(b"220 x\r\n")
        self.assertEqual((far.address, far.heard()), ("192.0.2.3", b"EHLO xn--bcher-kva.example\r\n"))

    def test_source_of_the_other_kind_is_not_used(self) -> None:
        self.service = self.make(source=("192.0.2.200",))
        self.deliver(self.batch(hop="six.example"))
        self.assertEqual((self.far().address, self.far().source), ("2001:db8::6", None))

    def test_limits(self) -> None:
        self.service = self.make(recipients=7, messages=8, connections=9)
        limits = self.service.limits(Route(destination=Destination("internet", "b.example")))
        self.assertEqual(limits, Limits(recipients=7, messages=8, concurrency=9))


class Recipients(ServiceCase):
    def test_each_has_its_own_result(self) -> None:
        batch = self.batch("a@b.example", "b@b.example", "c@b.example")
        self.deliver(batch)
        far = self.far().greet()
        far.say(b"250 ok\r\n250 ok\r\n451 4.7.1 greylisted\r\n550 5.1.1 nobody\r\n354 go\r\n", b"250 ok\r\n")
        self.assertEqual(
            self.told(batch),
            [
                ("relayed", 250, "message", "end of data"),
                ("deferred", 451, "recipient", "RCPT"),
                ("failed", 550, "recipient", "RCPT"),
            ],
        )

    def test_refusals_of_the_message(self) -> None:
        for turns, expected in (
            ((b"451 x\r\n503 x\r\n503 x\r\n", b"250 ok\r\n"), ("deferred", 451, "message", "MAIL")),
            ((b"550 x\r\n503 x\r\n503 x\r\n", b"250 ok\r\n"), ("failed", 550, "message", "MAIL")),
            ((b"250 ok\r\n250 ok\r\n451 x\r\n", b"250 ok\r\n"), ("deferred", 451, "message", "DATA")),
            ((b"250 ok\r\n250 ok\r\n554 x\r\n", b"250 ok\r\n"), ("failed", 554, "message", "DATA")),
            ((b"250 ok\r\n250 ok\r\n354 x\r\n", b"452 x\r\n"), ("deferred", 452, "message", "end of data")),
            ((b"250 ok\r\n250 ok\r\n354 x\r\n", b"554 x\r\n"), ("failed", 554, "message", "end of data")),
        ):
            self.setUp()
            batch = self.batch()
            self.deliver(batch)
            self.far().greet().say(*turns)
            self.assertEqual(self.told(batch), [expected])

    def test_lost_before_and_after_the_dot(self) -> None:
        for turns, stage, twice in (
            ((b"250 ok\r\n",), "RCPT", False),
            ((b"250 ok\r\n250 ok\r\n354 go\r\n",), "end of data", True),
        ):
            self.setUp()
            batch = self.batch()
            self.deliver(batch)
            self.far().greet().say(*turns).close()
            self.assertEqual(self.told(batch), [("deferred", 421, "host", stage)])
            self.assertEqual(self.outcomes(batch)[0].may_duplicate, twice)

    def test_too_many_at_once(self) -> None:
        # RFC 5321 4.5.3.1.10: with the right code and the wrong one, the others follow at once
        for reply in (b"452 4.5.3 too many\r\n", b"452 too many\r\n", b"552 too many\r\n"):
            self.setUp()
            batch = self.batch("a@b.example", "b@b.example")
            self.deliver(batch)
            far = self.far().greet()
            far.say(b"250 ok\r\n250 ok\r\n" + reply + b"354 go\r\n", b"250 ok\r\n")
            self.assertIn(b"RCPT TO:<b@b.example>\r\nDATA\r\n", far.heard().rpartition(b"MAIL")[2])
            far.take()
            self.assertEqual(self.told(batch), TAKEN * 2)
            self.assertEqual(self.opened, 1)

    def test_full_mailbox_is_not_too_many(self) -> None:
        batch = self.batch("a@b.example", "b@b.example")
        self.deliver(batch)
        self.far().greet().say(b"250 ok\r\n250 ok\r\n552 5.2.2 full\r\n354 go\r\n", b"250 ok\r\n")
        self.assertEqual(self.told(batch)[1], ("failed", 552, "recipient", "RCPT"))

    def test_address_that_cannot_be_sent_does_not_harm_the_others(self) -> None:
        batch = self.batch("a@b.example", "x>\r\nDATA\r\n@b.example", "\ud800@b.example")
        self.deliver(batch)
        far = self.far().greet().take()
        self.assertEqual(far.heard().count(b"RCPT"), 1)
        self.assertEqual([one[:2] for one in self.told(batch)], [("relayed", 250), ("failed", 553), ("failed", 553)])


class Extensions(ServiceCase):
    def test_message_over_the_hosts_limit_is_not_sent(self) -> None:
        # RFC 1870 7
        batch = self.batch(octets=b"x" * 5001)
        self.deliver(batch)
        far = self.far().greet()
        self.assertEqual(self.told(batch)[0][:3], ("failed", 552, "message"))
        self.assertEqual(self.outcomes(batch)[0].reply.enhanced, "5.3.4")
        self.assertEqual(far.heard(), b"")

    def test_eight_bit_body(self) -> None:
        # RFC 6152 3
        batch = self.batch(eight_bit=True)
        self.deliver(batch)
        self.assertIn(b" BODY=8BITMIME\r\n", self.far().accept(b"220 x\r\n", EHLO).heard())

    def test_declared_but_seven_bit(self) -> None:
        for ehlo, body in ((EHLO, True), (b"250 mx.b.example\r\n", False)):
            self.setUp()
            self.deliver(self.batch(body="8BITMIME"))
            far = self.far().accept(b"220 x\r\n", ehlo)
            self.assertEqual(b"BODY=8BITMIME" in far.heard(), body)


class KeptConnections(ServiceCase):
    def take_one(self) -> None:
        self.deliver(self.batch())
        self.far().greet().take()

    def test_used_for_the_next_message(self) -> None:
        self.deliver(self.batch())
        far = self.far().greet().take()
        far.heard()
        batch = self.batch("c@b.example")
        self.deliver(batch)
        self.assertIn(b"MAIL FROM", far.heard())
        far.take()
        self.assertEqual(self.told(batch), TAKEN)
        self.assertEqual(self.opened, 1)

    def test_not_for_another_next_hop(self) -> None:
        self.take_one()
        self.deliver(self.batch(hop="six.example"))
        self.assertEqual(self.opened, 2)

    def test_leaves_when_idle(self) -> None:
        self.deliver(self.batch())
        far = self.far().greet().take()
        far.heard()
        self.wait(7)
        self.assertEqual(far.heard(), b"QUIT\r\n")
        self.deliver(self.batch())
        self.assertEqual(self.opened, 2)

    def test_leaves_after_its_messages(self) -> None:
        self.service = self.make(messages=2)
        self.deliver(self.batch())
        far = self.far().greet().take()
        self.deliver(self.batch())
        far.take()
        self.assertTrue(far.heard().endswith(b"QUIT\r\n"))

    def test_closed_while_idle(self) -> None:
        self.deliver(self.batch())
        self.far().greet().take().close()
        self.deliver(self.batch())
        self.assertEqual(self.opened, 2)

    def test_dead_when_it_is_used_again(self) -> None:
        # The far end ended it at the same moment: nobody hears of that.
        for last in (b"", b"421 4.4.2 idle too long\r\n"):
            self.setUp()
            self.deliver(self.batch())
            far = self.far().greet().take()
            batch = self.batch()
            self.deliver(batch)
            if last:
                far.say(last)
            far.close()
            self.assertEqual(self.opened, 2)
            self.far().greet().take()
            self.assertEqual(self.told(batch), TAKEN)

    def test_refused_message_leaves_it_usable(self) -> None:
        batch = self.batch()
        self.deliver(batch)
        far = self.far().greet().say(b"250 ok\r\n550 x\r\n503 x\r\n")
        self.assertTrue(far.heard().endswith(b"RSET\r\n"))
        far.say(b"250 ok\r\n")
        self.deliver(self.batch())
        self.assertEqual(self.opened, 1)


class Stopping(ServiceCase):
    def test_cancelled_while_it_connects(self) -> None:
        batch = self.batch()
        work = self.deliver(batch)
        work.cancel()
        self.failureResultOf(work)
        self.assertTrue(self.far().connector.stoppedConnecting)
        self.assertEqual(self.opened, 1)

    def test_cancelled_while_the_host_greets(self) -> None:
        work = self.deliver(self.batch())
        far = self.far().accept()
        work.cancel()
        self.failureResultOf(work)
        self.assertTrue(far.transport.aborted)
        self.assertEqual(self.opened, 1)

    def test_cancelled_on_a_kept_connection(self) -> None:
        self.deliver(self.batch())
        far = self.far().greet().take()
        batch = self.batch()
        work = self.deliver(batch)
        work.cancel()
        self.successResultOf(work)
        self.assertTrue(far.transport.aborted)
        self.assertEqual(self.opened, 1)
        self.assertEqual(self.told(batch), [("deferred", 421, "host", "MAIL")])

    def test_cancelled_after_the_dot(self) -> None:
        batch = self.batch()
        work = self.deliver(batch)
        self.far().greet().say(b"250 ok\r\n250 ok\r\n354 go\r\n")
        work.cancel()
        self.assertTrue(self.outcomes(batch)[0].may_duplicate)

    def test_stop_lets_idle_ones_leave_and_running_ones_end(self) -> None:
        self.deliver(self.batch())
        idle = self.far().greet().take()
        idle.heard()
        batch = self.batch(hop="six.example")
        self.deliver(batch)
        running = self.far().greet()
        stopped = Deferred.fromCoroutine(self.service.stop(10))
        self.assertEqual(idle.heard(), b"QUIT\r\n")
        self.assertNoResult(stopped)
        running.take()
        self.assertEqual(self.told(batch), TAKEN)
        self.assertTrue(running.heard().endswith(b"QUIT\r\n"))
        for far in (idle, running):
            self.assertNoResult(stopped)
            far.say(b"221 bye\r\n").close()
        self.successResultOf(stopped)

    def test_stop_does_not_wait_long_for_a_good_bye(self) -> None:
        self.deliver(self.batch())
        far = self.far().greet().take()
        stopped = Deferred.fromCoroutine(self.service.stop(60))
        self.wait(7)
        self.successResultOf(stopped)
        self.assertTrue(far.transport.aborted)

    def test_stop_ends_what_takes_too_long(self) -> None:
        work = self.deliver(self.batch())
        stopped = Deferred.fromCoroutine(self.service.stop(10))
        self.wait(11)
        self.successResultOf(stopped)
        self.failureResultOf(work)
        self.assertTrue(self.far().connector.stoppedConnecting)
