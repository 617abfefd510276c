"""In whose name an account sends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from identity_cases import ANN, ANSWERER, OWNERSHIP, TABLES, at_end, at_mail, basis, wrong
from twisted.trial.unittest import SynchronousTestCase

from mta.accounts.values import Account
from mta.address import Address, AddressError
from mta.reply import PermanentFailure, TemporaryFailure
from mta.routing.ask import resolve
from mta.submission.identity import Mode

OWN = "From: Ann <ann@ours.example>\n"


class Grounds(SynchronousTestCase):
    def test_what_is_its_own(self) -> None:
        for address, ground in {
            "ann@ours.example": "own",
            "Ann@OURS.example": "own",
            '"ann"@ours.example': "own",
            "ann@also.example": "own",  # another name of the domain
            "a.example@open.example": "own",
            "a.example+tag@open.example": "subaddress",
            "ann+tag@ours.example": "subaddress",
            "ann+tag@also.example": "subaddress",
            "ann-x@ours.example": "subaddress",
            "sales@ours.example": "alias",
            "deep@ours.example": "alias",
            "whoever@caught.example": "alias",
            "office@foreign.example": "delegated",
            "Office@foreign.example": "delegated",
            "anybody@shop.example": "delegated domain",
            "anybody@bücher.example": "delegated domain",
            "anybody@xn--bcher-kva.example": "delegated domain",
        }.items():
            self.assertEqual(basis(address), ground, address)

    def test_what_is_not(self) -> None:
        for address in (
            "bob@ours.example",
            "bob+ann@ours.example",
            "ann-marie@ours.example",  # a mailbox of another, though it looks like a subaddress
            "ann-marie+x@ours.example",
            "boss@ours.example",  # leads to another
            "team@ours.example",  # leads to others too
            "away@ours.example",
            "loop@ours.example",
            "nobody@ours.example",
            "ann@foreign.example",
            "office+x@foreign.example",  # not ours: nobody knows what a sign means there
            "x@sub.shop.example",
            "ann@silent.example",
            "ann@ours.example.evil.example",
            "ann@[192.0.2.1]",
            '"ann@ours.example"@foreign.example',
            "ann%ours.example@foreign.example",
            "ann@\u043eurs.example",  # a Cyrillic letter
            "\u0430nn@ours.example",  # in the local part
            "=?utf-8?q?ann?=@ours.example",
        ):
            self.assertEqual(basis(address), "", address)

    def test_an_account_without_an_address_has_none(self) -> None:
        nobody = Account(name="ann@ours.example")
        self.assertEqual(basis("ann@ours.example", nobody), "")

    def test_a_forward_of_its_owner_gives_nobody_his_name(self) -> None:
        for domain in OWNERSHIP._rules.domains.values():
            self.assertEqual(domain.dot_forward, "")

    def test_a_table_that_cannot_answer_makes_nobody_a_stranger(self) -> None:
        class Broken:
            def lookup(self, key: str) -> str:
                raise TemporaryFailure(PermanentFailure, "down")  # type: ignore[arg-type]

        self.patch(ANSWERER, "_tables", {**TABLES, "boxes": Broken()})
        self.assertRaises(TemporaryFailure, basis, "sales+x@ours.example")
        self.assertEqual(basis("ann@ours.example"), "own")

    @given(st.text(max_size=30), st.sampled_from(["ours.example", "also.example", "foreign.example", "open.example"]))
    def test_nothing_but_its_own_is(self, local: str, domain: str) -> None:
        try:
            address = Address(Address.parse(f"{Address(local, '')}@{domain}", utf8=True).local, domain)
        except AddressError:
            return
        found = resolve(lambda facts: OWNERSHIP.basis(ANN, address, facts), {}, ANSWERER)
        name = local.casefold()
        mine = (
            domain in ("ours.example", "also.example")
            and (name in ("ann", "sales", "deep") or name.startswith(("ann+", "ann-", "sales+", "sales-", "deep")))
        ) or (domain, name) == ("foreign.example", "office")
        if found and domain != "open.example":
            self.assertTrue(mine, (local, domain, found))


class AtMail(SynchronousTestCase):
    def test_the_sender(self) -> None:
        for mode in (Mode.STRICT, Mode.RELAXED):
            finding = at_mail("bob@ours.example", mode)
            assert finding is not None
            self.assertEqual(
                str(finding.reply(ANN)), "550 5.7.1 MAIL FROM is bob@ours.example, which ann may not send as"
            )
            self.assertIsNone(at_mail("ann@ours.example", mode))
            self.assertIsNone(at_mail("", mode))  # RFC 8098 3
        self.assertIsNone(at_mail("bob@ours.example", Mode.OFF))

    def test_a_reply_is_one_line_whatever_the_address(self) -> None:
        finding = at_mail('"bob\\"<x>"@\u043eurs.example')
        assert finding is not None
        self.assertEqual(finding.reply(ANN).wire.count(b"\r\n"), 1)
        self.assertTrue(finding.reply(ANN).wire.isascii())


class AtEnd(SynchronousTestCase):
    def test_strict(self) -> None:
        bob = "bob@ours.example"
        for header, expected in {
            OWN: "",
            "From: ann@ours.example": "",
            "From:\n ann@ours.example\n (Ann)": "",
            "From: =?utf-8?q?Ann_B=C3=BCcher?= <sales@ours.example>": "",
            "From: Us: ann@ours.example, sales@ours.example;": "",
            f"{OWN}Sender: office@foreign.example": "",
            f"From: {bob}": f"From: {bob}",
            f"From: ann@ours.example, {bob}": f"From: {bob}",
            f"From: Us: ann@ours.example, {bob};": f"From: {bob}",
            f"{OWN}Sender: {bob}": f"Sender: {bob}",
            f"From: {bob}\nSender: ann@ours.example": f"From: {bob}",
            # RFC 5322 3.6.6: who sends again is the resender; the author stays who he was.
            f"Resent-From: ann@ours.example\nFrom: {bob}": f"From: {bob}",
            f"Resent-From: {bob}\n{OWN}": f"Resent-From: {bob}",
            f"Resent-From: ann@ours.example\nResent-Sender: {bob}\n{OWN}": f"Resent-Sender: {bob}",
            f"Resent-From: ann@ours.example\nResent-From: {bob}\nResent-Sender: {bob}\n{OWN}": "",
            # RFC 5322 4.5: white space before the colon
            f"From : {bob}": f"From: {bob}",
            f"fRoM:{bob}": f"From: {bob}",
        }.items():
            self.assertEqual(wrong(header), expected, header)

    def test_relaxed(self) -> None:
        bob = "bob@ours.example"
        for header, expected in {
            OWN: ("", False),
            f"From: {bob}\nSender: ann@ours.example": ("", False),
            f"From: {bob}": ("", True),
            f"From: {bob}, ann@ours.example": ("", True),
            f"{OWN}Sender: {bob}": (f"Sender: {bob}", False),
            f"From: {bob}\nSender: {bob}": (f"Sender: {bob}", False),
            f"Resent-From: ann@ours.example\nFrom: {bob}\nSender: {bob}": ("", False),
            f"Resent-From: {bob}\n{OWN}": ("", True),
            f"Resent-From: {bob}\nResent-Sender: {bob}\n{OWN}": (f"Resent-Sender: {bob}", False),
        }.items():
            found = at_end(header, Mode.RELAXED)
            self.assertEqual((wrong(header, Mode.RELAXED), found.sender_missing), expected, header)

    def test_relaxed_needs_a_name_to_say(self) -> None:
        nobody = Account(name="nobody")
        finding = at_end("From: bob@ours.example", Mode.RELAXED, nobody).finding
        assert finding is not None
        self.assertEqual(finding.check, "From")

    def test_off_takes_all_that_reads(self) -> None:
        self.assertEqual(wrong("From: bob@ours.example\nSender: bob@ours.example", Mode.OFF), "")
        self.assertTrue(at_end("From: bob@ours.example", Mode.OFF).sender_missing)
        self.assertRaises(PermanentFailure, at_end, "Subject: x", Mode.OFF)

    def test_several_authors_need_a_sender(self) -> None:
        # RFC 5322 3.6.2
        self.assertTrue(at_end("From: ann@ours.example, sales@ours.example").sender_missing)
        self.assertFalse(at_end(f"{OWN}").sender_missing)

    def test_a_display_name_that_looks_like_an_address(self) -> None:
        # RFC 2047 4: in encoded words too
        for name in (
            '"boss@corp.example"',
            '"The Boss (boss@corp.example)"',
            "=?utf-8?q?boss=40corp.example?=",
            "=?utf-8?b?Ym9zc0Bjb3JwLmV4YW1wbGU=?=",
            "=?utf-8?q?boss=40?= =?utf-8?q?corp.example?=",
            "boss\uff20corp.example",
            '"boss@c\u200borp.example"',
            '"boss @ corp.example"',
            '"<boss@corp.example>"',
        ):
            self.assertEqual(wrong(f"From: {name} <ann@ours.example>"), "From: boss@corp.example", name)
            self.assertEqual(wrong(f"From: {name} <ann@ours.example>", Mode.RELAXED), "")
        self.assertEqual(wrong("From: ann@ours.example (boss@corp.example)"), "From: boss@corp.example")
        self.assertEqual(wrong('From: "boss@corp.example": ann@ours.example;'), "From: boss@corp.example")
        for name in (
            '"ann@ours.example"',
            "\"'sales@ours.example'\"",
            '"Ann @ Work"',
            "Ann",
            '"a@b"',
            "=?none?q?boss=40corp.example?=",
        ):
            self.assertEqual(wrong(f"From: {name} <ann@ours.example>"), "", name)
        finding = at_end('From: "boss@corp.example" <ann@ours.example>').finding
        assert finding is not None
        self.assertEqual(str(finding.reply(ANN)), "550 5.7.1 From shows boss@corp.example, which ann may not send as")

    def test_a_group_of_a_thousand(self) -> None:
        with self.assertRaises(PermanentFailure) as caught:
            at_end("From: All: " + ", ".join(["ann@ours.example"] * 1000) + ";")
        self.assertEqual(str(caught.exception), "550 5.6.0 From does not read: it has over 200 addresses")
        many = ", ".join([f"ann+{n}@ours.example" for n in range(199)])
        self.assertEqual(wrong(f"From: All: {many}, bob@ours.example;"), "From: bob@ours.example")
