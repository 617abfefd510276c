"""What RFC 5322 3.6 asks of a header that is submitted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.message.address_list import Malformed, read_addresses
from mta.message.header import scan
from mta.reply import PermanentFailure
from mta.submission.syntax import ONCE, Names, read_names, spelled

FROM = b"From: ann@ours.example\r\n"
ANN = Address("ann", "ours.example")


def names(header: bytes) -> Names:
    return read_names(scan(header + b"\r\n"))


class Counts(SynchronousTestCase):
    def refused(self, header: bytes) -> str:
        with self.assertRaises(PermanentFailure) as caught:
            names(header)
        self.assertEqual((caught.exception.reply.code, caught.exception.reply.enhanced), (550, "5.6.0"))
        return caught.exception.reply.text

    def test_two_of_what_may_stand_once(self) -> None:
        # RFC 5322 3.6
        for name in ONCE:
            header = name + b": ann@ours.example\r\n" + name.upper() + b" : ann@ours.example\r\n"
            said = self.refused(header if name == b"from" else FROM + header)
            self.assertEqual(said, f"{spelled(name)} stands 2 times")

    def test_from(self) -> None:
        for header, said in {
            b"": "From is missing",
            b"Subject: x\r\n": "From is missing",
            b"From:\r\n": "From has no address",
            b"From: \r\n \r\n": "From has no address",
            b"From: ()\r\n": "From has no address",
            b"From: nobody:;\r\n": "From has no address",
            b"From: <>\r\n": "From does not read: an address is missing",
            b"From: Ann\r\n": "From does not read: an address has no domain",
            b"From: Ann <ann@ours.example\r\n": "From does not read: an address has no closing bracket",
            b"From: <@evil.example:ann@ours.example>\r\n": "From does not read: it has a source route",
            b"From: bob@x.example <ann@ours.example>\r\n": "From does not read: something stands behind an address",
            b"From: ann@ours.example bob@x.example\r\n": "From does not read: a domain is not well formed",
            b"From: ann@ours.example <\r\n": "From does not read: something stands behind an address",
            b"From: ann@ours.example\0\r\n": "From does not read: it has a control character",
            b"From: \xe4nn@ours.example\r\n": "From does not read: an address has octets that are no UTF-8",
            b"From: A: B: ann@ours.example;;\r\n": "From does not read: a group stands within a group",
            b"From: A: ann@ours.example\r\n": "From does not read: a group has no end",
        }.items():
            self.assertEqual(self.refused(header), said, header)

    def test_a_line_that_is_no_field(self) -> None:
        for header, line in {
            b"broken line\r\n" + FROM: 1,
            FROM + b"broken line\r\nFrom: boss@corp.example\r\n": 2,
            b" folded\r\n" + FROM: 1,
            FROM + b": x\r\n": 2,
            b"From ann@ours.example Tue Nov 24\r\n" + FROM: 1,
        }.items():
            self.assertEqual(self.refused(header), f"line {line} of the header is no field")

    def test_senders(self) -> None:
        two = b"ann@ours.example, bob@ours.example\r\n"
        self.assertEqual(self.refused(FROM + b"Sender: " + two), "Sender has 2 addresses, and may have one")
        resent = b"Resent-From: ann@ours.example\r\nResent-Sender: "
        self.assertEqual(self.refused(resent + two + FROM), "Resent-Sender has 2 addresses, and may have one")
        self.assertEqual(
            self.refused(b"Resent-Sender: a@b.example\r\n" + FROM), "Resent-Sender stands without Resent-From"
        )

    def test_what_is_taken(self) -> None:
        found = names(b"Resent-From: a@x.example\r\nReceived: x\r\nResent-From: b@x.example\r\n"
                      b"Resent-Sender: c@x.example\r\nTo: undisclosed recipients\r\n" + FROM)  # fmt: skip
        self.assertEqual(found.from_, (ANN,))
        self.assertEqual((found.resent_from, found.resent_sender), ((Address("a", "x.example"),), None))
        self.assertEqual(read_names(scan(b"From: ann@ours.example")).from_, (ANN,))  # a message of its header alone


class Lists(SynchronousTestCase):
    def test_forms(self) -> None:
        # RFC 5322 3.4.1, 4.4; groups where authors stand: RFC 6854
        for text, expected in {
            "ann@ours.example": [ANN],
            "Ann <ann@ours.example>": [ANN],
            '"Ann, B." <ann@ours.example>': [ANN],
            "A. B. Ann <ann@ours.example>": [ANN],
            ",, ann@ours.example ,": [ANN],
            "ann (comment (within)) @ ours . example": [ANN],
            '"ann"@ours.example': [ANN],
            "A: ann@ours.example;, B:;": [ANN],
            "ann@[IPv6:2001:DB8::1]": [Address("ann", "[IPv6:2001:db8::1]")],
            "b\u00fccher@b\u00fccher.example": [Address("b\u00fccher", "xn--bcher-kva.example")],
        }.items():
            self.assertEqual(list(read_addresses(text.encode()).addresses), expected, text)

    def test_nested_comments_have_an_end(self) -> None:
        self.assertRaises(Malformed, read_addresses, b"(" * 1000 + b")" * 1000 + b"ann@ours.example")

    @given(st.binary(max_size=60))
    def test_any_octets(self, octets: bytes) -> None:
        try:
            found = read_addresses(octets)
        except Malformed:
            return
        for address in found.addresses:
            self.assertEqual(Address.parse(str(address), utf8=True), address)

    @given(
        st.lists(
            st.sampled_from(["<", ">", "@", ",", ":", ";", "a", '"', "(", ")", ".", " ", "b.c", "\\"]), max_size=12
        )
    )
    def test_any_signs_read_to_what_stands_there(self, signs: list[str]) -> None:
        text = "".join(signs)
        try:
            found = read_addresses(text.encode())
        except Malformed:
            return
        self.assertLessEqual(len(found.addresses), text.count("@"))
