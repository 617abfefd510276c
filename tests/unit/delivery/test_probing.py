"""Asking a next host whether it takes an address: what goes over the wire, and what is made of it."""

from __future__ import annotations

from typing import Any

from smtp_harness import EHLO, ServiceCase
from twisted.internet.defer import Deferred

from mta.address import Address
from mta.delivery.lmtp import LmtpDelivery
from mta.delivery.lmtp_options import LmtpOptions
from mta.delivery.probing import Probed

BOB = Address("bob", "b.example")
QUESTION = b"MAIL FROM:<>\r\nRCPT TO:<bob@b.example>\r\nRSET\r\n"


class Probing(ServiceCase):
    def ask(self, address: Address = BOB, hop: str = "b.example", sender: Address | None = None) -> Any:
        return self.service.probe(address, hop, sender)

    def test_yes(self) -> None:
        asked = self.ask()
        far = self.far().greet()
        self.assertEqual(far.heard(), QUESTION)
        self.assertNoResult(asked)
        far.say(b"250 ok\r\n250 2.1.5 fine\r\n250 ok\r\n")
        probed: Probed = self.successResultOf(asked)
        self.assertEqual((str(probed.reply), probed.trouble), ("250 2.1.5 fine", None))
        self.assertIn("mx1.b.example", probed.where)

    def test_no_and_later(self) -> None:
        for reply in (b"550 5.1.1 unknown", b"450 4.2.0 greylisted", b"552 5.2.2 full"):
            asked = self.ask()
            self.far().greet().say(b"250 ok\r\n" + reply + b"\r\n250 ok\r\n")
            self.assertEqual(str(self.successResultOf(asked).reply).encode(), reply)
            self.setUp()

    def test_without_pipelining_step_by_step(self) -> None:
        asked = self.ask()
        far = self.far().greet(b"250 mx.b.example\r\n")
        self.assertEqual(far.heard(), b"MAIL FROM:<>\r\n")
        self.assertEqual(far.say(b"250 ok\r\n").heard(), b"RCPT TO:<bob@b.example>\r\n")
        self.assertEqual(far.say(b"250 ok\r\n").heard(), b"RSET\r\n")
        far.say(b"250 ok\r\n")
        self.assertEqual(self.successResultOf(asked).reply.code, 250)

    def test_no_octet_of_a_message_is_ever_sent(self) -> None:
        asked = self.ask()
        far = self.far().greet()
        far.say(b"250 ok\r\n250 ok\r\n354 go ahead\r\n")
        self.assertNotIn(b"DATA", far.heard())
        # It is out of step, and left for the next.
        self.far().greet().say(b"250 ok\r\n550 5.1.1 no\r\n250 ok\r\n")
        self.assertEqual(self.successResultOf(asked).reply.code, 550)

    def test_the_connection_is_used_again(self) -> None:
        asked = self.ask()
        far = self.far().greet()
        far.heard()
        far.say(b"250 ok\r\n250 ok\r\n250 ok\r\n")
        self.successResultOf(asked)
        again = self.ask(Address("eve", "b.example"))
        self.assertEqual(self.opened, 1)
        self.assertIn(b"RCPT TO:<eve@b.example>", far.heard())
        # It had died meanwhile: another is opened without a word.
        far.close()
        self.assertEqual(self.opened, 2)
        self.far().greet().say(b"250 ok\r\n550 5.1.1 no\r\n250 ok\r\n")
        self.assertEqual(self.successResultOf(again).reply.code, 550)

    def test_mail_does_not_share_it(self) -> None:
        asked = self.ask()
        self.far().greet().say(b"250 ok\r\n250 ok\r\n250 ok\r\n")
        self.successResultOf(asked)
        self.deliver(self.batch())
        self.assertEqual(self.opened, 2)

    def test_the_null_sender_is_refused(self) -> None:
        asked = self.ask()
        self.far().greet().say(b"550 5.7.1 no bounces here\r\n503 no\r\n250 ok\r\n")
        probed = self.successResultOf(asked)
        self.assertEqual((probed.reply, str(probed.trouble), probed.stage), (None, "550 5.7.1 no bounces here", "MAIL"))

    def test_with_a_sender(self) -> None:
        self.ask(sender=Address("probe", "a.example"))
        self.assertIn(b"MAIL FROM:<probe@a.example>\r\n", self.far().greet().heard())

    def test_the_next_host_is_asked_where_one_is_no_use(self) -> None:
        asked = self.ask()
        self.far().refuse()
        far = self.far().greet().say(b"250 ok\r\n421 4.3.2 closing\r\n")
        far.close()
        probed = self.successResultOf(asked)
        self.assertEqual((probed.reply, probed.stage), (None, "connect"))
        self.assertEqual([client[0] for client in self.reactor.tcpClients], ["192.0.2.1", "192.0.2.2"])

    def test_a_host_that_talks_nonsense_is_left_for_the_next(self) -> None:
        for nonsense in (b"\xff\xfe\r\n", b"250 ok\r\n999 what\r\n", b"250-" + b"x" * 100_000, b"250 ok\r\n" * 9):
            asked = self.ask()
            self.far().greet().say(nonsense)
            self.assertEqual(self.far().address, "192.0.2.2", nonsense[:20])
            self.far().greet().say(b"250 ok\r\n550 5.1.1 no\r\n250 ok\r\n")
            self.assertEqual(self.successResultOf(asked).reply.code, 550)
            self.setUp()

    def test_no_host_at_all(self) -> None:
        for hop, code in (("null.example", 556), ("nowhere.example", 550), ("inside.example", 550)):
            probed = self.successResultOf(self.ask(hop=hop))
            self.assertEqual((probed.reply, probed.trouble.code, probed.stage), (None, code, "DNS"))

    def test_an_international_address(self) -> None:
        # RFC 6531 3.2
        asked = self.ask(Address("jos\u00e9", "b.example"))
        self.far().greet(EHLO)
        far = self.far().greet(EHLO.replace(b"8BITMIME", b"SMTPUTF8"))
        self.assertIn("MAIL FROM:<> SMTPUTF8\r\nRCPT TO:<jos\u00e9@b.example>".encode(), far.heard())
        far.close()
        self.successResultOf(asked)
        self.setUp()
        asked = self.ask(Address("jos\u00e9", "b.example"))
        self.far().greet(EHLO)
        self.far().greet(EHLO)
        self.assertEqual(self.successResultOf(asked).trouble.enhanced, "5.6.7")

    def test_what_no_command_line_can_have(self) -> None:
        for local in ("a\u0085b", "a\u2028b", "a\nb"):
            probed = self.successResultOf(self.ask(Address(local, "b.example")))
            self.assertEqual(probed.trouble.enhanced, "5.6.7")
        self.assertEqual(self.opened, 0)

    def test_cancelled_it_ends_the_connection(self) -> None:
        asked = self.ask()
        far = self.far().greet()
        asked.cancel()
        self.failureResultOf(asked)
        self.assertTrue(far.transport.aborted)

    def test_stop(self) -> None:
        asked = self.ask()
        far = self.far().greet()
        far.heard()
        stopped = Deferred.fromCoroutine(self.service.stop(10))
        far.say(b"250 ok\r\n250 ok\r\n250 ok\r\n")
        self.successResultOf(asked)
        self.assertEqual(far.heard(), b"QUIT\r\n")
        self.assertNoResult(stopped)
        far.close()
        self.successResultOf(stopped)


class ByLmtp(ServiceCase):
    service_type = LmtpDelivery
    options_type = LmtpOptions

    def make(self, **options: Any) -> Any:
        return super().make(host="192.0.2.9", port=24, **options)

    def test_the_mailboxes_of_another_program(self) -> None:
        asked = self.service.probe(BOB, "b.example", None)
        far = self.far().greet()
        self.assertEqual(far.heard(), QUESTION)
        far.say(b"250 ok\r\n550 5.1.1 no\r\n250 ok\r\n")
        self.assertEqual(self.successResultOf(asked).reply.code, 550)
