"""Reports as independent readers see them: each kind, in each language, in ASCII and in the forms of RFC 6533."""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from email.message import Message
from typing import Any

from flufl.bounce import all_failures
from test_report import ANN, BOB, NOW, compose, failed
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.bounce.catalog import languages
from mta.bounce.decide import FAILED, Ended, Kind, decide
from mta.envelope import Envelope, Origin, Right, Status
from mta.reply import Reply

JOERG = Address("j\xf6rg", "a.example")
POSTMASTER = Address("postmaster", "example.org")
REPLIES = {
    Status.FAILED: Reply.of(550, "5.1.1", "no such user"),
    Status.EXPIRED: Reply.of(451, "4.4.1", "No host"),
    Status.DEFERRED: Reply.of(451, "4.4.1", "No host"),
    Status.DELIVERED: Reply.of(250, "2.1.5", "Ok"),
    Status.RELAYED: Reply.of(250, "2.0.0", "Ok"),
    Status.EXPANDED: Reply.of(250, "2.0.0", "Ok"),
}
#: What may stand together in each kind of report.
TOGETHER = {
    Kind.FAILURE: FAILED,
    Kind.DOUBLE_BOUNCE: FAILED,
    Kind.SUCCESS: (Status.DELIVERED, Status.RELAYED, Status.EXPANDED),
    Kind.DELAY: (Status.DEFERRED,),
    Kind.SET_ASIDE: (Status.DEFERRED,),
}
MANY = 60
HOSTILE = (
    "550 5.1.1\r\nFinal-Recipient: rfc822; eve@evil.example\r\n\r\nAction: failed "
    "\u202e\x00\x1b[2J\xff<eve@evil.example>"
)


def many(statuses: tuple[Status, ...]) -> list[Ended]:
    return [
        failed(
            number, Address(f"u{number}", "b.example"), REPLIES[status], status=status, notify="SUCCESS,FAILURE,DELAY"
        )
        for number in range(MANY)
        for status in (statuses[number % len(statuses)],)
    ]


def names(pairs: Any) -> set[bytes]:
    return {str(recipient.original).encode() for recipient, _ in pairs}


def global_fields(octets: bytes) -> list[Message]:
    """The groups of fields of a message/global-delivery-status, which readers of RFC 3464 alone do not know."""
    for part in message_from_bytes(octets, policy=policy.SMTPUTF8).walk():
        if part.get_content_type() == "message/global-delivery-status":
            start = octets.index(b"\r\n\r\n", octets.index(b"message/global-delivery-status")) + 4
            groups = octets[start : octets.index(b"\r\n--", start)].split(b"\r\n\r\n")
            return [message_from_bytes(group, policy=policy.SMTPUTF8) for group in groups if group.strip()]
    raise AssertionError("there is no such part")


class ByAListManager(SynchronousTestCase):
    """flufl.bounce, which is Mailman's reader."""

    def test_many_recipients_of_each_kind_in_each_language(self) -> None:
        for language in languages():
            for kind, statuses in TOGETHER.items():
                pairs = many(statuses)
                found = all_failures(message_from_bytes(compose(*pairs, kind=kind, languages=(language,))))
                late = names(pairs) if Status.DEFERRED in statuses else set()
                lost = names(pairs) if kind.of_failure else set()
                self.assertEqual(found, (late, lost), (language, kind))

    def test_to_an_international_sender_about_recipients_in_ascii(self) -> None:
        # RFC 6533 4: flufl.bounce knows message/delivery-status alone
        for language in languages():
            for kind, statuses in TOGETHER.items():
                pairs = many(statuses)
                octets = compose(*pairs, kind=kind, to=JOERG, languages=(language,), smtputf8=True)
                late = names(pairs) if Status.DEFERRED in statuses else set()
                lost = names(pairs) if kind.of_failure else set()
                self.assertEqual(all_failures(message_from_bytes(octets)), (late, lost), (language, kind))

    def test_a_round_with_all_outcomes_is_told_apart(self) -> None:
        """And the next round tells of those that ended in it, not of others again."""
        envelope = Envelope(
            origin=Origin(listener="mx", protocol="ESMTPA"),
            reverse_path=ANN,
            arrived=NOW,
            rights=frozenset({Right.AUTHENTICATED}),
        )
        first = many((Status.FAILED, Status.DEFERRED, Status.DELIVERED, Status.EXPIRED, Status.RELAYED))
        second = [
            failed(recipient.id, recipient.address, REPLIES[Status.EXPIRED], status=Status.EXPIRED)
            for recipient, outcome in first
            if outcome.status is Status.DEFERRED
        ]
        lost: list[set[bytes]] = []
        for ended in (first, second):
            found: list[set[bytes]] = [set(), set()]
            notices = decide(envelope, ended, POSTMASTER, NOW).notices
            self.assertEqual(len({notice.kind for notice in notices}), len(notices))
            for notice in notices:
                octets = compose(*notice.ended, kind=notice.kind, to=notice.to)
                for into, more in zip(found, all_failures(message_from_bytes(octets)), strict=True):
                    into |= more
            self.assertEqual(found[1], names(pair for pair in ended if pair[1].status in FAILED))
            self.assertEqual(found[0], names(pair for pair in ended if pair[1].status is Status.DEFERRED))
            lost.append(found[1])
        self.assertFalse(lost[0] & lost[1])

    def test_what_a_server_says_adds_nobody(self) -> None:
        for language in languages():
            pair = failed(reply=Reply.of(550, "5.1.1", HOSTILE))
            octets = compose(pair, languages=(language,))
            self.assertTrue(octets.isascii())
            self.assertEqual(all_failures(message_from_bytes(octets)), (set(), {b"bob@b.example"}), language)

    def test_an_international_recipient_in_its_ascii_form(self) -> None:
        # RFC 6533 3
        pairs = [failed(0, BOB), failed(1, Address("f\xf6o", "b.example"))]
        octets = compose(*pairs, smtputf8=True)
        self.assertEqual(message_from_bytes(octets).get_param("report-type"), "delivery-status")
        self.assertIn(b"bob@b.example", all_failures(message_from_bytes(octets))[1])


class InUtf8(SynchronousTestCase):
    """RFC 6533 4, by the email package of Python."""

    def test_many_recipients_of_each_kind_in_each_language(self) -> None:
        for language in languages():
            for kind, statuses in TOGETHER.items():
                pairs = [*many(statuses), failed(MANY, Address("f\xf6o", "b.example"), status=statuses[0])]
                octets = compose(*pairs, kind=kind, to=JOERG, languages=(language,), smtputf8=True)
                whole = message_from_bytes(octets, policy=policy.SMTPUTF8)
                self.assertEqual(whole.get_param("report-type"), "global-delivery-status")
                self.assertEqual([part.get_content_maintype() for part in whole.iter_parts()][:2], ["text", "message"])
                about, *each = global_fields(octets)
                self.assertEqual(about["Reporting-MTA"], "dns; mx.example.org")
                self.assertEqual(
                    [str(one["Final-Recipient"]).partition("; ")[2].encode() for one in each],
                    [str(recipient.original).encode() for recipient, _ in pairs],
                )
                actions = {
                    "failed" if status in FAILED else "delayed" if status is Status.DEFERRED else str(status)
                    for status in statuses
                }
                self.assertEqual({one["Action"] for one in each}, actions)

    def test_what_a_server_says_adds_no_field(self) -> None:
        foo = Address("f\xf6o", "b.example")
        octets = compose(failed(0, foo, Reply.of(550, "5.1.1", HOSTILE)), to=JOERG, smtputf8=True)
        _, *each = global_fields(octets)
        self.assertEqual(len(each), 1)
        self.assertEqual(each[0].get_all("Final-Recipient"), ["utf-8; f\xf6o@b.example"])
        # RFC 6533 3: only addresses may be in UTF-8
        self.assertTrue(str(each[0]["Diagnostic-Code"]).isascii())


class ByClause(SynchronousTestCase):
    def test_a_long_reply_is_folded(self) -> None:
        # RFC 5322 2.1.1, 2.2.3
        for words in ("word " * 400, "x" * 3000, "\u4e00" * 900):
            octets = compose(failed(reply=Reply.of(550, "5.1.1", words)))
            self.assertLessEqual(max(map(len, octets.split(b"\r\n"))), 998)
            found = re.search(rb"Diagnostic-Code: smtp;(?:\r\n[ \t]|[^\r\n])*\r\nLast-Attempt-Date: ", octets)
            self.assertIsNotNone(found, octets)

    def test_the_client_by_its_name(self) -> None:
        # RFC 3464 2.2.4
        for helo, wanted in (
            ("mail.a.example", "dns; mail.a.example"),
            ("[198.51.100.7]", "dns; [198.51.100.7]"),
            ("", None),
            ("a\r\nX: y", None),
            ("j\xf6rg", None),
        ):
            origin = Origin(listener="mx", protocol="ESMTP", helo=helo)
            payload: Any = message_from_bytes(compose(origin=origin)).get_payload()
            self.assertEqual(payload[1].get_payload()[0]["Received-From-MTA"], wanted)
