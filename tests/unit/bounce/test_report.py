"""The report, read as a mail program and as a list manager would read it."""

from __future__ import annotations

from dataclasses import replace
from email import message_from_bytes
from email.message import Message
from typing import Any

from flufl.bounce import all_failures
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.bounce.catalog import catalogs, languages
from mta.bounce.decide import Ended, Kind, Notice
from mta.bounce.report import MAX_HEADER, Subject, report
from mta.envelope import Destination, Envelope, Origin, Outcome, Recipient, Status
from mta.message.header import scan
from mta.reply import Reply

ID, ABOUT = "7K3QF9ABCDEF0", "7K3QF8ABCDEF0"
ANN = Address("ann", "a.example")
BOB = Address("bob", "b.example")
POSTMASTER = Address("postmaster", "example.org")
ARRIVED, NOW = 1_699_999_000_000, 1_700_000_000_000
HEADER = b"Received: by us\r\nMessage-ID: <abc@a.example>\r\nSubject: hello\r\n\r\n"


def failed(
    number: int = 0,
    address: Address = BOB,
    reply: Reply | None = None,
    *,
    status: Status = Status.FAILED,
    host: str = "mx1.b.example[198.51.100.3]",
    stage: str = "RCPT",
    **more: Any,
) -> Ended:
    recipient = Recipient(
        **{
            "id": number,
            "address": address,
            "original": address,
            "destination": Destination("internet", "b.example"),
            "due": 0,
            **more,
        }
    )
    outcome = Outcome(
        recipient=number,
        status=status,
        reply=reply or Reply.of(550, "5.1.1", "no such user"),
        attempt={"host": host, "stage": stage},
    )
    return recipient, outcome


def compose(
    *pairs: Ended,
    to: Address = ANN,
    header: bytes = HEADER,
    whole: bytes | None = None,
    kind: Kind = Kind.FAILURE,
    languages: tuple[str, ...] = ("en",),
    **more: Any,
) -> bytes:
    more = {"origin": Origin(listener="mx", protocol="ESMTP"), **more}
    envelope = Envelope(reverse_path=ANN, arrived=ARRIVED, **more)
    about = Subject(ABOUT, envelope, header, whole)
    notice = Notice(to, kind, pairs or (failed(),))
    return report(notice, about, ID, "mx.example.org", POSTMASTER, NOW, catalogs(languages))


def parts(octets: bytes) -> tuple[Message, Message, list[Message], Message]:
    """The whole, the human part, the fields of the status part, the returned part."""
    whole = message_from_bytes(octets)
    payload: Any = whole.get_payload()
    human, status, returned = payload
    return whole, human, status.get_payload(), returned


def text(part: Message) -> str:
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode("utf-8")


class Whole(SynchronousTestCase):
    def test_its_header(self) -> None:
        whole, *_ = parts(compose())
        self.assertEqual(whole.get_content_type(), "multipart/report")
        # RFC 6522 3
        self.assertEqual(whole.get_param("report-type"), "delivery-status")
        self.assertEqual(whole["From"], "Mail Delivery System <MAILER-DAEMON@mx.example.org>")
        self.assertEqual(whole["To"], "<ann@a.example>")
        self.assertEqual(whole["Date"], "Tue, 14 Nov 2023 22:13:20 +0000")
        self.assertEqual(whole["Message-ID"], f"<{ID}@mx.example.org>")
        # RFC 3834 3.1.5
        self.assertEqual(whole["In-Reply-To"], "<abc@a.example>")
        # RFC 3834 5
        self.assertEqual(whole["Auto-Submitted"], "auto-replied")

    def test_its_parts(self) -> None:
        _, human, status, returned = parts(compose())
        self.assertEqual(human.get_content_type(), "text/plain")
        self.assertEqual(len(status), 2)
        self.assertEqual(returned.get_content_type(), "text/rfc822-headers")

    def test_the_same_is_composed_again(self) -> None:
        self.assertEqual(compose(), compose())

    def test_without_a_header_where_it_cannot_be_read(self) -> None:
        whole = message_from_bytes(compose(header=b""))
        self.assertEqual(len(whole.get_payload()), 2)
        self.assertNotIn("is attached", str(whole))


class Good(SynchronousTestCase):
    """Reports of success and of delay."""

    def good(self, status: Status, reply: Reply, kind: Kind = Kind.SUCCESS, **more: Any) -> bytes:
        pair = failed(reply=reply, status=status, stage="end of data")
        return compose(pair, kind=kind, whole=HEADER + b"body\r\n", **more)

    def test_actions(self) -> None:
        # RFC 3464 2.3.3
        for status, action in (
            (Status.DELIVERED, "delivered"),
            (Status.RELAYED, "relayed"),
            (Status.EXPANDED, "expanded"),
        ):
            for reply, code in ((Reply.of(250, "2.1.5", "Ok"), "2.1.5"), (Reply.of(250, "", "Ok"), "2.0.0")):
                whole, human, fields, returned = parts(self.good(status, reply))
                self.assertEqual((fields[1]["Action"], fields[1]["Status"]), (action, code))
                self.assertIn("Delivery report", whole["Subject"])
                self.assertNotIn("could not", text(human))
                # RFC 3461 4.3
                self.assertEqual(returned.get_content_type(), "text/rfc822-headers")

    def test_a_relayed_message_is_told_of_no_more(self) -> None:
        _, human, *_ = parts(self.good(Status.RELAYED, Reply.of(250, "2.0.0", "queued")))
        said = " ".join(text(human).split())
        self.assertIn("no report about its delivery will follow", said)
        self.assertIn("answered the message with: 250 2.0.0 queued", said)

    def test_one_that_is_late(self) -> None:
        # RFC 2852 4.1.3, 5
        reply = Reply.of(451, "4.2.0", "greylisted")
        octets = self.good(Status.DEFERRED, reply, Kind.DELAY, by_mode="N", deliver_by=NOW - 60_000)
        whole, human, fields, _ = parts(octets)
        self.assertEqual((fields[1]["Action"], fields[1]["Status"]), ("delayed", "4.4.7"))
        self.assertEqual(fields[0]["Deliver-By-Date"], "Tue, 14 Nov 2023 22:12:20 +0000")
        self.assertIn("still on its way", whole["Subject"])
        self.assertIn("you need not send it again", " ".join(text(human).split()))


class International(SynchronousTestCase):
    """RFC 6533: a report that goes by SMTPUTF8, and one about a message that came by it."""

    JOERG = Address("j\xf6rg", "a.example")
    HEADER = "From: J\xf6rg <j\xf6rg@a.example>\r\nSubject: Gr\xfc\xdfe\r\n\r\n".encode()

    def test_to_an_international_sender(self) -> None:
        # RFC 6531 3.2, RFC 6533 4
        pair = failed(address=Address("f\xf6o", "b.example"), orcpt="utf-8;f\xf6o@b.example")
        octets = compose(pair, to=self.JOERG, header=self.HEADER, smtputf8=True)
        for fragment in (
            "To: <j\xf6rg@a.example>\r\n",
            "report-type=global-delivery-status",
            "Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n",
            "Original-Recipient: utf-8;f\xf6o@b.example\r\nFinal-Recipient: utf-8; f\xf6o@b.example\r\n",
            "Content-Type: message/global-headers\r\nContent-Transfer-Encoding: 8bit\r\n\r\nFrom: J\xf6rg",
        ):
            self.assertIn(fragment.encode(), octets)

    def test_all_of_it(self) -> None:
        octets = compose(to=self.JOERG, header=self.HEADER, whole=self.HEADER + b"\xff\r\n", smtputf8=True)
        self.assertIn(b"message/global\r\nContent-Transfer-Encoding: 8bit\r\n\r\nFrom: J\xc3\xb6rg", octets)

    def test_to_one_in_ascii_it_stays_ascii(self) -> None:
        # RFC 6533 3, 4: the types say that it may be UTF-8, the encoding carries it through 7 bits
        pair = failed(address=Address("f\xf6o", "b.example"), orcpt="utf-8;f\xf6o@b.example")
        octets = compose(pair, header=self.HEADER, whole=self.HEADER + b"\xff\r\n", smtputf8=True)
        self.assertTrue(octets.isascii())
        self.assertIn(rb"Original-Recipient: utf-8;f\x{F6}o@b.example", octets)
        self.assertIn(b"message/global-headers\r\nContent-Transfer-Encoding: quoted-printable", octets)

    def test_an_address_that_fits_in_no_line_has_its_ascii_form(self) -> None:
        octets = compose(failed(address=Address("\U0001f600" * 250, "b.example")), to=self.JOERG)
        self.assertIn(rb"Final-Recipient: utf-8;", octets)
        self.assertIn(rb"\x{1F600}", octets)
        self.assertTrue(all(len(line) <= 998 for line in octets.split(b"\r\n")))


class FoundByOthers(SynchronousTestCase):
    """What list managers read out of a report: Mailman's reader of bounces."""

    def test_exactly_the_recipients_that_failed(self) -> None:
        octets = compose(
            failed(0, BOB), failed(1, Address("eve", "b.example"), original=Address("info", "example.org"))
        )
        temporary, permanent = all_failures(message_from_bytes(octets))
        self.assertEqual((temporary, permanent), (set(), {b"bob@b.example", b"info@example.org"}))

    def test_what_is_late_is_temporary_and_success_no_failure(self) -> None:
        late = compose(failed(status=Status.DEFERRED, reply=Reply.of(451, "4.4.1", "No")), kind=Kind.DELAY)
        self.assertEqual(all_failures(message_from_bytes(late)), ({b"bob@b.example"}, set()))
        good = compose(failed(status=Status.RELAYED, reply=Reply.of(250, "2.0.0", "Ok")), kind=Kind.SUCCESS)
        self.assertEqual(all_failures(message_from_bytes(good)), (set(), set()))


class ForPeople(SynchronousTestCase):
    def test_what_happened_whose_side_what_to_do(self) -> None:
        _, human, *_ = parts(compose())
        said = text(human)
        flat = " ".join(said.split())
        for sentence in (
            "This is the mail system at mx.example.org.",
            "Your message could not be delivered to this recipient.",
            "<bob@b.example> What happened: There is no such mailbox.",
            "Whose side: yours",
            "What to do: Check the address",
            "mx1.b.example[198.51.100.3] answered RCPT with: 550 5.1.1 no such user",
            f"queue id {ABOUT}",
            "write to postmaster@example.org",
        ):
            self.assertIn(sentence, flat)
        self.assertTrue(all(len(line) <= 78 for line in said.splitlines()), said)

    def test_only_the_postmaster_is_told_where_an_address_leads(self) -> None:
        """RFC 3464 2.3.2, RFC 3461 5.2.7.4; docs/decisions/what-bounces-name.rst."""
        reply = Reply.of(550, "5.1.1", "<BOB@b.example>: no such user", "see bob@b.example")
        pair = failed(original=Address("info", "example.org"), reply=reply)
        octets = compose(pair)
        self.assertNotIn(b"bob@b.example", octets.lower())
        _, human, *_ = parts(octets)
        said = " ".join(text(human).split())
        self.assertIn("<info@example.org> What happened", said)
        self.assertIn("550 5.1.1 <info@example.org>: no such user", said)
        _, human, *_ = parts(compose(pair, to=POSTMASTER, kind=Kind.DOUBLE_BOUNCE))
        self.assertIn("<info@example.org>, which leads to <bob@b.example>", text(human))

    def test_time_is_over(self) -> None:
        pair = failed(reply=Reply.of(451, "4.4.1", "No host"), status=Status.EXPIRED, stage="connect")
        _, human, *_ = parts(compose(pair))
        self.assertIn("tried until the time for it was over", " ".join(text(human).split()))

    def test_foreign_letters_can_be_read(self) -> None:
        _, human, *_ = parts(compose(failed(reply=Reply.of(550, "5.2.2", "Postfach \xfcberf\xfcllt"))))
        self.assertIn("Postfach \xfcberf\xfcllt", " ".join(text(human).split()))

    def test_what_could_deceive_is_escaped(self) -> None:
        pair = failed(reply=Reply.of(550, "5.1.1", "a\r\nYour account\u202e \x1b[2J"))
        _, human, *_ = parts(compose(pair))
        for odd in ("\u202e", "\x1b", "\nYour account"):
            self.assertNotIn(odd, text(human))

    def test_a_notice_to_the_postmaster_says_that_it_is_one(self) -> None:
        whole, human, *_ = parts(compose(to=POSTMASTER, kind=Kind.DOUBLE_BOUNCE))
        self.assertEqual(whole["Subject"], "Postmaster notice: a report could not be delivered")
        said = " ".join(text(human).split())
        self.assertIn("this notice goes to the postmaster", said)
        for sentence in ("write to postmaster", "Check the address", "yours"):
            self.assertNotIn(sentence, said)


class ForPrograms(SynchronousTestCase):
    def test_about_the_message(self) -> None:
        # RFC 3464 2.2; RFC 3461 6.3 (a)
        _, _, status, _ = parts(compose(envid="QQ314159"))
        self.assertEqual(status[0]["Reporting-MTA"], "dns; mx.example.org")
        self.assertEqual(status[0]["Original-Envelope-Id"], "QQ314159")
        self.assertEqual(status[0]["X-txmta-Queue-ID"], ABOUT)
        self.assertEqual(status[0]["Arrival-Date"], "Tue, 14 Nov 2023 21:56:40 +0000")

    def test_order_of_the_fields(self) -> None:
        # RFC 3464 2.2, RFC 2852 5: extension fields come last
        _, _, status, _ = parts(compose(envid="QQ314159", deliver_by=NOW, by_mode="N"))
        names = ["Original-Envelope-Id", "Reporting-MTA", "Arrival-Date", "Deliver-By-Date", "X-txmta-Queue-ID"]
        self.assertEqual(status[0].keys(), names)

    def test_the_recipient_as_it_was_accepted(self) -> None:
        # RFC 3464 2.3.2: not what our aliases made of it
        recipient, outcome = failed()
        info = replace(recipient, original=Address("info", "ours.example"))
        _, _, status, _ = parts(compose((info, outcome)))
        self.assertEqual(status[1]["Final-Recipient"], "rfc822; info@ours.example")

    def test_type_of_the_original_as_it_came(self) -> None:
        # RFC 3461 5.2.1 (d), RFC 3464 2.1.2
        octets = compose(failed(orcpt="UTF-8;f\xf6o@b.example"))
        self.assertIn(rb"Original-Recipient: UTF-8;f\x{F6}o@b.example", octets)

    def test_about_a_recipient(self) -> None:
        # RFC 3464 2.3
        _, _, status, _ = parts(compose(failed(orcpt="rfc822;info@example.org")))
        self.assertEqual(
            dict(status[1].items()),
            {
                "Original-Recipient": "rfc822;info@example.org",
                "Final-Recipient": "rfc822; bob@b.example",
                "Action": "failed",
                "Status": "5.1.1",
                "Remote-MTA": "dns; mx1.b.example",
                "Diagnostic-Code": "smtp; 550 5.1.1 no such user",
                # RFC 3464 2.3.7
                "Last-Attempt-Date": "Tue, 14 Nov 2023 22:13:20 +0000",
            },
        )

    def test_what_we_say_ourselves_is_no_smtp_reply(self) -> None:
        # RFC 3464 2.3.6
        pair = failed(reply=Reply.of(451, "4.3.0", "trouble"), host="", stage="/m/bob", status=Status.EXPIRED)
        _, _, status, _ = parts(compose(pair))
        self.assertEqual(status[1]["Diagnostic-Code"], "X-txmta; 451 4.3.0 trouble")
        self.assertNotIn("Remote-MTA", status[1])
        self.assertNotIn("Original-Recipient", status[1])

    def test_an_international_recipient(self) -> None:
        # RFC 6533 3
        _, _, status, _ = parts(compose(failed(address=Address("j\xf6rg+x", "b.example"))))
        self.assertEqual(status[1]["Final-Recipient"], r"utf-8; j\x{F6}rg\x{2B}x@b.example")

    def test_postmaster_without_domain_is_ours(self) -> None:
        _, _, status, _ = parts(compose(failed(address=Address("postmaster", ""))))
        self.assertEqual(status[1]["Final-Recipient"], "rfc822; postmaster@mx.example.org")


class Returned(SynchronousTestCase):
    def test_the_header_alone(self) -> None:
        *_, returned = parts(compose())
        self.assertEqual(text(returned), HEADER[:-2].decode())

    def test_odd_octets_of_a_header_come_back_as_they_were(self) -> None:
        # RFC 6522 4
        header = b"Subject: \xe9 \0\r\nX: " + b"y" * 2000 + b"\r\n"
        octets = compose(header=header + b"\r\n")
        *_, returned = parts(octets)
        self.assertTrue(octets.isascii())
        self.assertEqual(returned.get_payload(decode=True), header)

    def test_a_huge_header_is_cut_at_a_line(self) -> None:
        octets = compose(header=b"X: 0123456789\r\n" * 10_000 + b"\r\n")
        self.assertLess(len(octets), MAX_HEADER + 4000)
        *_, returned = parts(octets)
        self.assertTrue(text(returned).endswith("X: 0123456789\r\n"))

    def test_all_of_it_where_it_was_asked_for(self) -> None:
        # RFC 3461 4.3
        *_, returned = parts(compose(whole=HEADER + b"body\r\n"))
        self.assertEqual(returned.get_content_type(), "message/rfc822")
        inner: Any = returned.get_payload()
        self.assertEqual(inner[0].get_payload(), "body\r\n")

    def test_but_only_if_it_passes_everywhere(self) -> None:
        # RFC 2045 2.8
        for body in (b"\xe9\r\n", b"x" * 999 + b"\r\n", b"\0\r\n"):
            *_, returned = parts(compose(whole=HEADER + body))
            self.assertEqual(returned.get_content_type(), "text/rfc822-headers")


words = st.text(max_size=200)
addresses = st.builds(
    Address,
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x2FF), min_size=1, max_size=64),
    st.just("b.example"),
)
replies = st.builds(
    lambda code, lines: Reply(code, "", tuple(lines)), st.integers(400, 599), st.lists(words, min_size=1, max_size=5)
)
near = st.lists(
    st.sampled_from(
        [b"\r\n", b"--=_7K3QF9ABCDEF0.0", b"\r\n--", b"=_", b"A: b", b"\xff", b"\n", b"\r", b"Message-ID: <a@b>"]
    ),
    max_size=20,
).map(b"".join)


class Anything(SynchronousTestCase):
    @given(
        st.lists(st.tuples(addresses, replies, words, words), min_size=1, max_size=4),
        near,
        st.one_of(st.none(), near),
        st.lists(st.sampled_from(languages()), min_size=1, max_size=2, unique=True),
    )
    @example([(BOB, Reply(550, "", ("x" * 3000,)), "", "")], b"", b"--=_7K3QF9ABCDEF0.0--\r\n", ["en"])
    @example([(BOB, Reply(550, "", ("{host} {0.__class__} {",)), "{words}", "{")], b"", None, ["zh", "fr"])
    def test_strangers_cannot_break_a_report(
        self, cases: list[tuple[Address, Reply, str, str]], header: bytes, whole: bytes | None, spoken: list[str]
    ) -> None:
        pairs = [
            failed(number, address, reply, host=host, orcpt=orcpt, stage="RCPT")
            for number, (address, reply, host, orcpt) in enumerate(cases)
        ]
        octets = compose(*pairs, header=b"X: y\r\n" + header, whole=whole, languages=tuple(spoken))
        # RFC 5322 2.1.1, 2.2: it can go anywhere
        self.assertTrue(octets.isascii())
        lines = octets.split(b"\r\n")
        self.assertTrue(all(len(line) <= 998 and b"\r" not in line and b"\n" not in line for line in lines))
        self.assertTrue(scan(octets).wellformed)
        _, _, status, _ = parts(octets)
        self.assertEqual(len(status), 1 + len(pairs))
        for group, (recipient, outcome) in zip(status[1:], pairs, strict=True):
            self.assertEqual(group.defects, [])
            self.assertEqual(group["Action"], "failed")
            final = group["Final-Recipient"]
            if str(recipient.address).isascii():
                self.assertEqual(final, f"rfc822; {recipient.address}".replace("\x7f", "?"))
            else:
                self.assertTrue(final.startswith("utf-8; "))
            self.assertIn(str(outcome.reply.code), group["Diagnostic-Code"])
