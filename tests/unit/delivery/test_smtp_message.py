"""What is said of a message to a host: by what the host offers and what the message needs."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.delivery.smtp_message import Content, Lack, Transmission, plan_transmission
from mta.envelope import Destination, Envelope, Origin, Recipient
from mta.smtp.extensions import Capabilities

ALL = (
    "PIPELINING",
    "SIZE 5000",
    "8BITMIME",
    "CHUNKING",
    "BINARYMIME",
    "SMTPUTF8",
    "DSN",
    "DELIVERBY 60",
    "REQUIRETLS",
)
PRIORITY = (*ALL, "MT-PRIORITY")
NOW = 1_000_000_000
BOB = Address("bob", "b.example")
UTF8 = Address("b\xf8b", "b.example")


def without(*keywords: str) -> tuple[str, ...]:
    return tuple(line for line in ALL if line.split()[0] not in keywords)


class PlanCase(SynchronousTestCase):
    offered: tuple[str, ...] = ALL

    def recipient(self, address: Address = BOB, number: int = 0, **more: Any) -> Recipient:
        more.setdefault("original", address)
        return Recipient(id=number, address=address, destination=Destination("internet", "b.example"), due=0, **more)

    def plan(
        self,
        *recipients: Recipient,
        offered: tuple[str, ...] | None = None,
        verified: bool = False,
        domains: set[str] | None = None,
        content: dict[str, Any] | None = None,
        **envelope: Any,
    ) -> Transmission | Lack:
        envelope.setdefault("reverse_path", Address("ann", "a.example"))
        made = Envelope(origin=Origin(listener="mx", protocol="ESMTP"), arrived=0, **envelope)
        message = Content(made, lambda: self.fail("it is not read"), 100, **(content or {}))
        capabilities = Capabilities.read(self.offered if offered is None else offered)
        return plan_transmission(message, recipients or (self.recipient(),), capabilities, verified, NOW, domains)

    def sent(self, *recipients: Recipient, **more: Any) -> tuple[str, ...]:
        """The parameters of MAIL, and the lines of RCPT from the address on."""
        planned = self.plan(*recipients, **more)
        assert isinstance(planned, Transmission), planned
        self.planned = planned
        mail = planned.outgoing.mail.decode().partition("> ")[2]
        return (mail, *(line.decode().removeprefix("RCPT TO:") for line in planned.outgoing.rcpts))

    def lack(self, *recipients: Recipient, **more: Any) -> str:
        """The enhanced code of what lacks."""
        planned = self.plan(*recipients, **more)
        assert isinstance(planned, Lack), planned
        self.lacking = planned
        return planned.reply.enhanced


class Plain(PlanCase):
    def test_nothing_that_nobody_asked_for(self) -> None:
        self.assertEqual(self.sent(), ("SIZE=100", "<bob@b.example>"))

    def test_host_that_offers_nothing(self) -> None:
        wishes = {"ret": "FULL", "envid": "x", "deliver_by": NOW + 90_000, "by_mode": "N", "body": "8BITMIME"}
        recipient = self.recipient(notify="SUCCESS", orcpt="rfc822;x", priority=3)
        self.assertEqual(self.sent(recipient, offered=(), **wishes), ("", "<bob@b.example>"))
        self.assertFalse(self.planned.taken_over)
        self.assertFalse(self.planned.outgoing.chunking)

    def test_null_path(self) -> None:
        planned = self.plan(reverse_path=None)
        assert isinstance(planned, Transmission)
        self.assertTrue(planned.outgoing.mail.startswith(b"MAIL FROM:<> "))

    def test_bdat_only_where_it_can_be_pipelined(self) -> None:
        # RFC 3030 2
        for offered, chunking in ((ALL, True), (without("PIPELINING"), False), (without("CHUNKING"), False)):
            self.sent(offered=offered)
            self.assertEqual(self.planned.outgoing.chunking, chunking)


class Bodies(PlanCase):
    def test_eight_bit(self) -> None:
        # RFC 6152 3
        self.assertEqual(self.sent(content={"eight_bit": True})[0], "SIZE=100 BODY=8BITMIME")
        self.assertEqual(self.lack(offered=without("8BITMIME"), content={"eight_bit": True}), "5.6.3")
        self.assertTrue(self.lacking.convert)

    def test_declared_but_seven_bit(self) -> None:
        self.assertEqual(self.sent(body="8BITMIME")[0], "SIZE=100 BODY=8BITMIME")
        self.assertEqual(self.sent(body="8BITMIME", offered=without("8BITMIME"))[0], "SIZE=100")

    def test_binary(self) -> None:
        # RFC 3030 3: by BDAT, with PIPELINING or without
        content = {"binary": True, "eight_bit": True}
        for offered in (ALL, without("PIPELINING"), without("8BITMIME")):
            self.assertEqual(
                self.sent(offered=offered, body="BINARYMIME", content=content)[0], "SIZE=100 BODY=BINARYMIME"
            )
            self.assertTrue(self.planned.outgoing.chunking)
        for missing in ("BINARYMIME", "CHUNKING"):
            self.assertEqual(self.lack(offered=without(missing), body="BINARYMIME", content=content), "5.6.3")
            self.assertTrue(self.lacking.convert)

    def test_too_big(self) -> None:
        # RFC 1870 7: no other host is tried
        self.assertEqual(self.lack(offered=("SIZE 99",)), "5.3.4")
        self.assertTrue(self.lacking.final)
        self.sent(offered=("SIZE 100",))
        self.sent(offered=("SIZE 0",))
        self.sent(offered=("SIZE",))


class International(PlanCase):
    def test_only_where_it_is_needed(self) -> None:
        # RFC 6531 3.2: declared with SMTPUTF8, but ASCII all of it
        self.assertEqual(self.sent(smtputf8=True)[0], "SIZE=100")
        self.sent(smtputf8=True, offered=without("SMTPUTF8"))

    def test_needed_by_an_address_or_the_header(self) -> None:
        # RFC 6531 3.4
        for more in ({"reverse_path": UTF8}, {"content": {"utf8_header": True}}):
            self.assertEqual(self.sent(smtputf8=True, **more)[0], "SIZE=100 SMTPUTF8")
        self.assertEqual(self.sent(self.recipient(UTF8)), ("SIZE=100 SMTPUTF8", "<b\xf8b@b.example>"))

    def test_host_without_it(self) -> None:
        # RFC 6531 3.2, RFC 3463 3.7
        offered = without("SMTPUTF8")
        self.assertEqual(self.lack(offered=offered, reverse_path=UTF8), "5.6.7")
        self.assertEqual(self.lack(offered=offered, content={"utf8_header": True}), "5.6.9")
        self.assertFalse(self.lacking.convert)

    def test_recipients_without_need_go_all_the_same(self) -> None:
        sent = self.sent(self.recipient(UTF8, 3), self.recipient(BOB, 4), offered=without("SMTPUTF8"))
        self.assertEqual(sent, ("SIZE=100", "<bob@b.example>"))
        self.assertEqual({number: lack.reply.enhanced for number, lack in self.planned.lacking.items()}, {3: "5.6.7"})
        self.assertEqual([recipient.id for recipient in self.planned.recipients], [4])

    def test_international_header_is_never_changed(self) -> None:
        # RFC 6531 3.2; hosts with SMTPUTF8 and without 8BITMIME exist against its 3.1
        content = {"eight_bit": True, "utf8_header": True}
        self.assertEqual(self.lack(offered=without("8BITMIME"), content=content), "5.6.3")
        self.assertFalse(self.lacking.convert)


class Reports(PlanCase):
    def test_wishes_are_handed_on(self) -> None:
        # RFC 3461 5.2.1
        recipient = self.recipient(notify="SUCCESS,FAILURE", orcpt="rfc822;Bob+x@y.example")
        self.assertEqual(
            self.sent(recipient, ret="HDRS", envid="QQ=1"),
            (
                "SIZE=100 RET=HDRS ENVID=QQ+3D1",
                "<bob@b.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob+2Bx@y.example",
            ),
        )
        self.assertTrue(self.planned.taken_over)

    def test_none_is_made_up(self) -> None:
        # RFC 3461 5.2.1 (a) to (c)
        self.assertEqual(self.sent(), ("SIZE=100", "<bob@b.example>"))

    def test_changed_recipient_is_told_with_the_address_that_the_sender_knows(self) -> None:
        # RFC 3461 5.2.1 (d)
        recipient = self.recipient(original=Address("info", "ours.example"))
        self.assertEqual(self.sent(recipient)[1], "<bob@b.example> ORCPT=rfc822;info@ours.example")
        kept = self.recipient(original=Address("info", "ours.example"), orcpt="rfc822;first@x.example")
        self.assertEqual(self.sent(kept)[1], "<bob@b.example> ORCPT=rfc822;first@x.example")

    def test_case_of_the_type_is_kept(self) -> None:
        # RFC 3461 5.2.1 (d)
        self.assertEqual(self.sent(self.recipient(orcpt="RFC822;x"))[1], "<bob@b.example> ORCPT=RFC822;x")
        sent = self.sent(self.recipient(orcpt="UTF-8;b\xf8b+x@b.example"))
        self.assertEqual(sent[1], r"<bob@b.example> ORCPT=UTF-8;b\x{F8}b\x{2B}x@b.example")

    def test_international_original_as_it_is_where_the_transaction_is(self) -> None:
        # RFC 6533 3
        recipient = self.recipient(UTF8, orcpt="utf-8;b\xf8b=x@b.example")
        self.assertEqual(self.sent(recipient)[1], "<b\xf8b@b.example> ORCPT=utf-8;b\xf8b\\x{3D}x@b.example")

    def test_original_that_is_too_long_in_its_encoding(self) -> None:
        # RFC 3461 4.2: 500 characters; without it the message at least goes
        long = Address('"' + "=" * 250 + '"', "ours.example")
        self.assertEqual(self.sent(self.recipient(original=long))[1], "<bob@b.example>")

    def test_host_without_dsn(self) -> None:
        # RFC 3461 5.2.2 (a), (b)
        recipient = self.recipient(notify="SUCCESS", orcpt="rfc822;x")
        sent = self.sent(recipient, offered=without("DSN"), ret="FULL", envid="x")
        self.assertEqual(sent, ("SIZE=100", "<bob@b.example>"))
        self.assertFalse(self.planned.taken_over)


class InTime(PlanCase):
    def test_remaining_time_is_handed_on(self) -> None:
        # RFC 2852 4.1.4
        self.assertEqual(self.sent(deliver_by=NOW + 90_999, by_mode="RT")[0], "SIZE=100 BY=90;RT")
        self.assertEqual(self.sent(deliver_by=NOW - 2_000, by_mode="N")[0], "SIZE=100 BY=-2;N")

    def test_return_and_a_host_that_cannot(self) -> None:
        # RFC 2852 4.1.4.1, 6
        self.assertEqual(self.lack(deliver_by=NOW + 90_000, by_mode="R", offered=without("DELIVERBY")), "5.3.3")
        self.assertEqual(self.lack(deliver_by=NOW + 59_000, by_mode="R"), "5.4.7")
        self.assertFalse(self.lacking.final)
        self.assertEqual(self.lack(deliver_by=NOW, by_mode="R"), "5.4.7")
        self.assertTrue(self.lacking.final)

    def test_notify_and_a_host_that_cannot(self) -> None:
        # RFC 2852 4.1.4.2: it goes, and the report that it went is ours
        wish = {"deliver_by": NOW + 90_000, "by_mode": "N"}
        self.assertEqual(self.sent(offered=without("DELIVERBY"), **wish)[0], "SIZE=100")
        self.assertTrue(self.planned.time_dropped)
        self.sent(**wish)
        self.assertFalse(self.planned.time_dropped)

    def test_notify_and_a_host_that_can_tell_of_delays_at_least(self) -> None:
        # RFC 2852 4.1.4.2: in spite of RFC 3461 5.2.1 (c)
        for asked, given in (
            ("", "FAILURE,DELAY"),
            ("SUCCESS", "SUCCESS,DELAY"),
            ("DELAY,FAILURE", "DELAY,FAILURE"),
            ("NEVER", "NEVER"),
        ):
            for mode, offered, notify in (
                ("N", without("DELIVERBY"), given),
                ("NT", without("DELIVERBY"), given),
                ("N", ALL, asked),
                ("N", without("DELIVERBY", "DSN"), ""),
            ):
                sent = self.sent(self.recipient(notify=asked), offered=offered, deliver_by=NOW + 90_000, by_mode=mode)
                self.assertEqual(sent[1], "<bob@b.example>" + (f" NOTIFY={notify}" if notify else ""))


class Priority(PlanCase):
    def test_handed_on(self) -> None:
        # RFC 6710 4.2
        for priority in (-4, 0, 9):
            sent = self.sent(self.recipient(priority=priority), offered=PRIORITY)
            self.assertEqual(sent[0], f"SIZE=100 MT-PRIORITY={priority}")
        several = (self.recipient(priority=2), self.recipient(number=1, priority=5))
        self.assertEqual(self.sent(*several, offered=PRIORITY)[0], "SIZE=100 MT-PRIORITY=5")
        self.assertEqual(self.sent(self.recipient(priority=3))[0], "SIZE=100")


class RequireTls(PlanCase):
    def test_over_verified_tls_to_a_host_that_offers_it(self) -> None:
        # RFC 8689 4.2.1
        self.assertEqual(self.sent(requiretls=True, verified=True)[0], "SIZE=100 REQUIRETLS")
        self.assertEqual(self.lack(requiretls=True), "5.7.10")
        self.assertEqual(self.lack(requiretls=True, verified=True, offered=without("REQUIRETLS")), "5.7.30")

    def test_report_goes_all_the_same(self) -> None:
        # RFC 8689 5
        self.assertEqual(self.sent(requiretls=True, reverse_path=None)[0], "SIZE=100")
        self.assertEqual(self.sent(requiretls=True, reverse_path=None, verified=True)[0], "SIZE=100 REQUIRETLS")

    def test_not_asked_for(self) -> None:
        self.assertEqual(self.sent(verified=True)[0], "SIZE=100")


class HostLimits(PlanCase):
    def people(self, *domains: str) -> list[Recipient]:
        return [self.recipient(Address("x", domain), number) for number, domain in enumerate(domains)]

    def chosen(self, limits: str, *domains: str, seen: set[str] | None = None) -> list[int]:
        self.sent(*self.people(*domains), offered=(*ALL, f"LIMITS {limits}"), domains=seen)
        return [recipient.id for recipient in self.planned.recipients]

    def test_recipients_of_a_transaction(self) -> None:
        # RFC 9422 4
        self.assertEqual(self.chosen("RCPTMAX=2", "a.example", "b.example", "c.example"), [0, 1])
        self.assertFalse(self.planned.full)

    def test_domains_of_a_session(self) -> None:
        # RFC 9422 4
        domains = ("a.example", "b.example", "a.example", "c.example")
        self.assertEqual(self.chosen("RCPTDOMAINMAX=2", *domains), [0, 1, 2])
        self.assertTrue(self.planned.full)
        self.assertEqual(self.chosen("RCPTDOMAINMAX=2", *domains, seen={"c.example"}), [0, 2, 3])
        self.assertEqual(self.chosen("RCPTDOMAINMAX=1", *domains, seen={"z.example"}), [])
        self.assertTrue(self.planned.full)

    def test_parameter_for_those_who_are_in_it(self) -> None:
        recipients = (self.recipient(BOB, 0), self.recipient(UTF8, 1))
        self.assertEqual(self.sent(*recipients, offered=(*ALL, "LIMITS RCPTMAX=1"))[0], "SIZE=100")
