"""What a message needs and a host lacks: converted, another host of the domain, or a failure with the right code."""

from __future__ import annotations

from smtp_harness import EHLO, FarEnd, Message, ServiceCase, _address
from twisted.internet.defer import Deferred, fail

from mta.delivery.values import Batch
from mta.envelope import Destination, Recipient
from mta.routing.values import Route

PLAIN = b"250-mx.b.example\r\n250 PIPELINING\r\n"
ALL = b"250-x\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250-DELIVERBY 60\r\n250 MT-PRIORITY\r\n"
TAKEN = ("relayed", 250, "message", "end of data")
EIGHT = b"Content-Type: text/plain; charset=utf-8\r\nMIME-Version: 1.0\r\n\r\ngr\xc3\xbc\xc3\x9fe\r\n"
SIGNED = b"DKIM-Signature: v=1; d=a.example\r\n" + EIGHT


class ElsewhereCase(ServiceCase):
    """b.example has two hosts: the first lacks what the message needs."""

    def first(self, batch: Batch, ehlo: bytes = PLAIN) -> FarEnd:
        self.done = self.deliver(batch)
        return self.far().greet(ehlo)

    def codes(self, batch: Batch) -> list[tuple[str, str]]:
        self.successResultOf(self.done)
        return [(outcome.status.value, outcome.reply.enhanced) for outcome in self.outcomes(batch)]


class Elsewhere(ElsewhereCase):
    def test_next_host_has_it(self) -> None:
        # RFC 6531 3.2
        batch = self.batch("b\xf8b@b.example")
        first = self.first(batch)
        self.assertEqual(first.heard(), b"")
        second = self.far()
        self.assertEqual(second.address, "192.0.2.2")
        second.greet(ALL)
        self.assertTrue(
            second.heard().startswith(
                "MAIL FROM:<ann@a.example> SMTPUTF8 MT-PRIORITY=0\r\nRCPT TO:<b\xf8b@b.example>".encode()
            )
        )
        second.take()
        self.assertEqual(self.told(batch), [TAKEN])
        self.assertEqual(self.outcomes(batch)[0].attempt["host"], "mx2.b.example[192.0.2.2]")

    def test_no_host_has_it(self) -> None:
        batch = self.batch("b\xf8b@b.example")
        self.first(batch)
        self.far().greet(PLAIN)
        self.assertEqual(self.told(batch), [("failed", 553, "recipient", "EHLO")])
        self.assertEqual(self.codes(batch), [("failed", "5.6.7")])
        self.assertEqual(self.opened, 2)

    def test_the_other_host_cannot_be_reached_now(self) -> None:
        # It may have what the first lacks: nothing is final.
        batch = self.batch("b\xf8b@b.example")
        self.first(batch)
        self.far().refuse()
        self.assertEqual(self.told(batch), [("deferred", 450, "recipient", "EHLO")])
        self.assertEqual(self.codes(batch), [("deferred", "4.6.7")])

    def test_those_without_the_need_do_not_wait(self) -> None:
        batch = self.batch("b\xf8b@b.example", "a@b.example")
        first = self.first(batch)
        self.assertEqual(first.heard(), b"MAIL FROM:<ann@a.example>\r\nRCPT TO:<a@b.example>\r\nDATA\r\n")
        self.assertEqual(self.opened, 1)
        first.take()
        second = self.far().greet(ALL)
        self.assertIn("RCPT TO:<b\xf8b@b.example>\r\nDATA".encode(), second.heard())
        second.take()
        self.assertEqual(self.told(batch), [TAKEN] * 2)

    def test_kept_connection_to_a_host_that_lacks_it(self) -> None:
        self.deliver(self.batch())
        self.far().greet(PLAIN).take()
        batch = self.batch("b\xf8b@b.example")
        self.deliver(batch)
        self.assertEqual(self.far().address, "192.0.2.2")
        self.far().greet(ALL).take()
        self.assertEqual(self.told(batch), [TAKEN])

    def test_several_transactions_with_the_other_host(self) -> None:
        # RFC 9422 4
        batch = self.batch("b\xf8b@b.example", "c\xf8c@b.example")
        self.first(batch)
        second = self.far().greet(ALL.replace(b"250-DSN", b"250-LIMITS RCPTMAX=1"))
        second.take().take()
        self.assertEqual(self.told(batch), [TAKEN] * 2)
        self.assertEqual(self.opened, 2)

    def test_header_in_utf8(self) -> None:
        # RFC 6531 3.2: never changed, whatever 8BITMIME would allow
        octets = "Subject: gr\xfc\xdfe\r\n\r\nx\r\n".encode()
        batch = self.batch(octets=octets, eight_bit=True, smtputf8=True)
        self.first(batch, EHLO)
        self.far().greet(EHLO)
        self.assertEqual(self.codes(batch), [("failed", "5.6.9")])

    def test_header_of_a_part_in_utf8(self) -> None:
        # RFC 6531 3.2: at any level within the MIME structure
        inner = "Subject: gr\xfc\xdfe\r\n\r\nx\r\n".encode()
        head = b"MIME-Version: 1.0\r\nContent-Type: message/global\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        batch = self.batch(octets=head + inner, eight_bit=True, smtputf8=True)
        first = self.first(batch, EHLO)
        self.assertEqual(first.heard(), b"")
        self.assertTrue(self.far().greet(ALL).heard().startswith(b"MAIL FROM:<ann@a.example> BODY=8BITMIME SMTPUTF8 "))

    def test_body_in_utf8_needs_none(self) -> None:
        # RFC 6531 3.4
        batch = self.batch(octets=EIGHT, eight_bit=True, smtputf8=True)
        heard = self.first(batch, ALL).heard()
        self.assertEqual(heard.partition(b"\r\n")[0], b"MAIL FROM:<ann@a.example> BODY=8BITMIME MT-PRIORITY=0")

    def test_header_that_cannot_be_read(self) -> None:
        batch = self.batch(smtputf8=True)
        batch.message.header = lambda: fail(ValueError("damaged"))  # type: ignore[method-assign, assignment]
        self.deliver(batch)
        self.assertEqual(self.told(batch), [("deferred", 451, "message", "data")])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(self.opened, 0)

    def test_declared_for_nothing(self) -> None:
        # RFC 6531 3.2
        batch = self.batch(smtputf8=True)
        self.first(batch).take()
        self.assertEqual(self.told(batch), [TAKEN])

    def test_trouble_at_ehlo_leads_on(self) -> None:
        # RFC 5321 5.1
        batch = self.batch()
        self.deliver(batch)
        self.far().accept(b"220 x\r\n", b"550 x\r\n", b"550 x\r\n")
        self.far().greet().take()
        self.assertEqual(self.told(batch), [TAKEN])


class Converted(ElsewhereCase):
    def test_eight_bit_for_a_host_without_it(self) -> None:
        # RFC 6152 3
        batch = self.batch(octets=EIGHT, eight_bit=True, body="8BITMIME")
        first = self.first(batch).take()
        heard = first.heard()
        self.assertTrue(heard.isascii())
        self.assertTrue(heard.startswith(b"MAIL FROM:<ann@a.example>\r\n"))
        self.assertTrue(heard.endswith(b"\r\nContent-Transfer-Encoding: base64\r\n\r\nZ3LDvMOfZQ0K\r\n.\r\n"))
        self.assertEqual(self.told(batch), [TAKEN])
        self.assertEqual(batch.message.octets, EIGHT)  # type: ignore[attr-defined]

    def test_binary_for_a_host_without_it(self) -> None:
        # RFC 3030 3
        octets = (
            b"MIME-Version: 1.0\r\nContent-Type: application/x\r\nContent-Transfer-Encoding: binary\r\n\r\n\0\n\xff"
        )
        batch = self.batch(octets=octets, eight_bit=True, body="BINARYMIME")
        heard = self.first(batch, EHLO).take().heard()
        self.assertNotIn(b"BODY", heard)
        self.assertIn(b"\r\n\r\nAAr/\r\n.\r\n", heard)
        self.assertEqual(self.told(batch), [TAKEN])

    def test_binary_by_bdat(self) -> None:
        # RFC 3030 3
        ehlo = b"250-x\r\n250-8BITMIME\r\n250-BINARYMIME\r\n250 CHUNKING\r\n"
        batch = self.batch(octets=b"a: b\r\n\r\n\0\n\xff", eight_bit=True, body="BINARYMIME")
        first = self.first(batch, ehlo)
        first.say(b"250 ok\r\n", b"250 ok\r\n", b"250 taken\r\n")
        mail, _rcpt, octets = first.heard().split(b"\r\n", 2)
        self.assertEqual(mail, b"MAIL FROM:<ann@a.example> BODY=BINARYMIME")
        self.assertEqual(octets, b"BDAT 11 LAST\r\na: b\r\n\r\n\0\n\xff")
        self.assertEqual(self.told(batch), [TAKEN])

    def test_signed_goes_to_another_host(self) -> None:
        # RFC 6376 5.3: a conversion would break the signature
        batch = self.batch(octets=SIGNED, eight_bit=True)
        self.first(batch)
        self.far().greet(EHLO).take()
        self.assertEqual(self.told(batch), [TAKEN])

    def test_signed_and_no_other_host(self) -> None:
        # RFC 6152 3, RFC 3463 3.7
        batch = self.batch(octets=SIGNED, eight_bit=True)
        self.first(batch)
        self.far().greet(PLAIN)
        self.assertEqual(self.told(batch), [("failed", 554, "message", "EHLO")])
        self.assertEqual(self.codes(batch), [("failed", "5.6.3")])

    def test_message_that_cannot_be_read(self) -> None:
        batch = self.batch(octets=EIGHT, eight_bit=True)

        def damaged(*args: object) -> None:
            raise ValueError("damaged")

        batch.message.open = damaged  # type: ignore[method-assign,assignment]
        self.first(batch)
        self.assertEqual(self.told(batch), [("deferred", 451, "message", "EHLO")])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)


class Chunked(ServiceCase):
    EHLO = b"250-mx.b.example\r\n250-PIPELINING\r\n250 CHUNKING\r\n"

    def test_small_message_is_one_round_trip(self) -> None:
        # RFC 3030 2
        batch = self.batch()
        self.deliver(batch)
        far = self.far().greet(self.EHLO)
        self.assertEqual(
            far.heard(),
            b"MAIL FROM:<ann@a.example>\r\nRCPT TO:<bob@b.example>\r\nBDAT 17 LAST\r\nSubject: x\r\n\r\nx\r\n",
        )
        far.say(b"250 ok\r\n250 ok\r\n250 2.0.0 taken\r\n")
        self.assertEqual(self.told(batch), [TAKEN])

    def test_dead_kept_connection_may_have_taken_it(self) -> None:
        self.deliver(self.batch())
        far = self.far().greet(self.EHLO).say(b"250 ok\r\n250 ok\r\n250 ok\r\n")
        batch = self.batch()
        self.deliver(batch)
        far.close()
        self.far().greet(self.EHLO).say(b"250 ok\r\n250 ok\r\n250 ok\r\n")
        self.assertEqual(self.told(batch), [TAKEN])
        self.assertTrue(self.outcomes(batch)[0].may_duplicate)


class Told(ServiceCase):
    """What the sender is to be told, and by whom."""

    def send(self, ehlo: bytes, notify: str, **envelope: object) -> bool:
        self.setUp()
        destination = Destination("internet", "b.example")
        bob = _address("bob@b.example")
        recipient = Recipient(id=0, address=bob, original=bob, destination=destination, due=0, notify=notify)
        message = Message(b"x: y\r\n\r\n", "ann@a.example", **envelope)
        batch = Batch(message, [recipient], Route(destination=destination), 1e9)  # type: ignore[arg-type]
        self.deliver(batch)
        far = self.far().greet(ehlo)
        self.heard = far.heard()
        far.take()
        self.assertEqual(self.told(batch), [TAKEN])
        (self.outcome,) = self.outcomes(batch)
        return self.outcome.dsn_taken_over

    def test_taken_over_or_ours(self) -> None:
        # RFC 3461 5.2.1, 5.2.2
        self.assertTrue(self.send(ALL, "SUCCESS"))
        self.assertIn(b"<bob@b.example> NOTIFY=SUCCESS\r\n", self.heard)
        self.assertFalse(self.send(PLAIN, "SUCCESS"))
        self.assertNotIn(b"NOTIFY", self.heard)

    def test_time_limit_with_notice(self) -> None:
        # RFC 2852 4.1.4
        wish = {"deliver_by": 90_000, "by_mode": "N"}
        self.assertTrue(self.send(ALL, "", **wish))
        self.assertIn(b" BY=90;N", self.heard)
        self.assertFalse(self.outcome.time_dropped)
        self.assertTrue(self.send(ALL.replace(b"250-DELIVERBY 60\r\n", b""), "", **wish))
        self.assertIn(b" NOTIFY=FAILURE,DELAY\r\n", self.heard)
        self.assertTrue(self.outcome.time_dropped)

    def test_failure_is_nobody_elses(self) -> None:
        batch = self.batch()
        self.deliver(batch)
        self.far().greet(ALL).say(b"250 ok\r\n550 no\r\n503 x\r\n", b"250 reset\r\n")
        self.assertFalse(self.outcomes(batch)[0].dsn_taken_over)


class HostLimits(ServiceCase):
    def begin(self, limits: bytes, *addresses: str) -> FarEnd:
        self.mail = self.batch(*addresses)
        self.done: Deferred[None] = self.deliver(self.mail)
        return self.far().greet(b"250-x\r\n250-PIPELINING\r\n250 LIMITS " + limits + b"\r\n")

    def test_recipients_of_a_transaction(self) -> None:
        # RFC 9422 4: more transactions than a stubborn host would get
        far = self.begin(b"RCPTMAX=1", *[f"r{number}@b.example" for number in range(50)])
        for _ in range(50):
            far.take()
        self.assertEqual(self.told(self.mail), [TAKEN] * 50)
        self.assertEqual(self.opened, 1)

    def test_transactions_of_a_session(self) -> None:
        # RFC 9422 4
        far = self.begin(b"RCPTMAX=1 MAILMAX=2", "a@b.example", "c@b.example", "d@b.example")
        far.take().take()
        self.assertTrue(far.heard().endswith(b"QUIT\r\n"))
        self.far().greet().take()
        self.assertEqual(self.told(self.mail), [TAKEN] * 3)
        self.assertEqual(self.opened, 2)

    def test_domains_of_a_session(self) -> None:
        # RFC 9422 4
        far = self.begin(b"RCPTDOMAINMAX=1", "a@one.example", "a@two.example")
        self.assertIn(b"RCPT TO:<a@one.example>\r\nDATA", far.heard())
        far.take()
        self.assertTrue(far.heard().endswith(b"QUIT\r\n"))
        self.far().greet().take()
        self.assertEqual(self.told(self.mail), [TAKEN] * 2)

    def test_domains_of_a_kept_connection(self) -> None:
        far = self.begin(b"RCPTDOMAINMAX=1", "a@one.example")
        far.take()
        far.heard()
        self.mail = self.batch("a@two.example")
        self.deliver(self.mail)
        self.assertEqual(far.heard(), b"QUIT\r\n")
        self.far().greet().take()
        self.assertEqual(self.told(self.mail), [TAKEN])
