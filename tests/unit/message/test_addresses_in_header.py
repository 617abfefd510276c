"""Where addresses stand in the header of a message."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.message.addresses import MOST, found
from mta.message.edits import Edit, apply
from mta.message.header import scan


def places(text: str | bytes) -> list[str]:
    """The octets of each, as they stand."""
    octets = text if isinstance(text, bytes) else text.encode()
    header = scan(octets + b"\r\n\r\n")
    every = list(found(header))
    for one in every:
        assert 0 <= one.start < one.end <= len(octets)
    return [header.octets[one.start : one.end].decode() for one in every]


class Fields(SynchronousTestCase):
    def test_the_forms_of_rfc_5322(self) -> None:
        for value, expected in (
            ("ann@a.example", ["ann@a.example"]),
            ("Ann Lee <ann@a.example>", ["ann@a.example"]),
            ('"Lee, Ann" <ann@a.example>, bob@b.example', ["ann@a.example", "bob@b.example"]),
            ("ann@a.example (her <other@a.example> (nested) too), bob@b.example", ["ann@a.example", "bob@b.example"]),
            ("Team: ann@a.example, Bob <bob@b.example>;", ["ann@a.example", "bob@b.example"]),
            ("Undisclosed recipients:;", []),
            ("<ann@a.example>,\r\n\tBob\r\n <bob@b.example>", ["ann@a.example", "bob@b.example"]),
            ('"an n"@a.example', ['"an n"@a.example']),
            ("ann@[192.0.2.1]", ["ann@[192.0.2.1]"]),
            ("ann@[IPv6:2001:db8::1], x@b.example", ["ann@[IPv6:2001:db8::1]", "x@b.example"]),
            ("Jos\u00e9 <jos\u00e9@a.example>", ["jos\u00e9@a.example"]),
            ("=?utf-8?q?a=40b.example?= <ann@a.example>", ["ann@a.example"]),
            ('"ann@old.example" <ann@a.example>', ["ann@a.example"]),
        ):
            self.assertEqual(places(f"To: {value}"), expected, value)

    def test_what_is_not_sure_is_passed_over(self) -> None:
        for value in (
            "ann @ a.example",
            "ann@ a.example",
            "<@a.example,@b.example:ann@c.example>",
            "<@a.example:ann@c.example>",
            "ann@@a.example",
            "(ann@a.example",
            '"ann@a.example',
            "ann@",
            "@a.example",
            "",
        ):
            self.assertEqual(places(f"To: {value}"), [], value)

    def test_which_fields(self) -> None:
        names = ["From", "Sender", "Reply-To", "To", "CC", "Resent-From", "Resent-Sender", "Resent-To", "Resent-Cc"]
        header = "".join(f"{name}: {number}@a.example\r\n" for number, name in enumerate(names))
        other = "Subject: x@a.example\r\nMessage-ID: <y@a.example>\r\nX-To: z@a.example\r\nReturn-Path: <r@a.example>"
        self.assertEqual(places(header + other), [f"{number}@a.example" for number in range(len(names))])
        kinds = [one.sender for one in found(scan((header + "\r\n").encode()))]
        self.assertEqual(kinds, [True, True, True, False, False, True, True, False, False])

    def test_so_many(self) -> None:
        self.assertEqual(len(places("To: " + ", ".join(f"a{n}@a.example" for n in range(2 * MOST)))), MOST)

    def test_linear(self) -> None:
        for hostile in ("(" * 100_000, '"' * 100_001, "<" * 100_000, "a@" * 50_000, "[" * 100_000, '"\\' * 50_000):
            self.assertEqual(places(f"To: {hostile}"), [])

    @given(st.binary(max_size=200))
    def test_any_octets(self, octets: bytes) -> None:
        header = scan(b"To:" + octets + b"\r\n\r\n")
        end = 0
        for one in found(header):
            self.assertGreaterEqual(one.start, end)
            end = one.end
            self.assertIn(b"@", header.octets[one.start : one.end])


_NAME = st.sampled_from(["", "Ann ", '"Ann, (x)" ', "=?utf-8?q?x=40y?= ", "(a <b@c.example>) "])
_LOCAL = st.sampled_from(["ann", "a.b", '"a b"', "x+y", "jos\u00e9"])
_BETWEEN = st.sampled_from([", ", ",\r\n\t", " ,  ", ",(c),"])


class InPlace(SynchronousTestCase):
    @given(st.lists(st.tuples(_NAME, _LOCAL, _BETWEEN), min_size=1, max_size=8))
    def test_nothing_but_the_address_changes(self, mailboxes: list[tuple[str, str, str]]) -> None:
        text = "".join(f"{name}<{local}@old.example>{between}" for name, local, between in mailboxes)
        octets = f"To: {text}x@far.example\r\nSubject: ann@old.example\r\n\r\n".encode()
        header = scan(octets)
        edits = [
            Edit(one.start, one.end - one.start, str(Address(one.address.local, "new.test")).encode())
            for one in found(header)
            if one.address.domain == "old.example"
        ]
        wanted = octets.replace(b"@old.example>", b"@new.test>")
        self.assertEqual(apply(octets, edits), wanted)
