"""User names by RFC 8265 3.3."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.sasl.precis import username


class Username(SynchronousTestCase):
    def test_the_examples_of_rfc_8265(self) -> None:
        # RFC 8265 3.3.2, by the examples of its 3.5.
        for said, kept in (
            ("juliet@example.com", "juliet@example.com"),
            ("fussball", "fussball"),
            ("fu\u00dfball", "fu\u00dfball"),
            ("\u03c0", "\u03c0"),
            ("\u03a3", "\u03c3"),
            ("\u03c3", "\u03c3"),
            ("\u03c2", "\u03c2"),
        ):
            self.assertEqual(username(said), kept)
        # Table 2: 8, 9, 10, 11.
        for wrong in ("foo bar", "", "henry\u2163", "\u265a"):
            self.assertRaises(ValueError, username, wrong)

    def test_width_case_and_composition_make_no_other_name(self) -> None:
        # RFC 8264 5.2.1
        self.assertEqual(username("\uff22\uff4f\uff42"), "bob")
        self.assertEqual(username("JOSE\u0301"), "jos\u00e9")

    def test_what_may_stand_in_a_name_and_what_may_not(self) -> None:
        # RFC 8264 8, by the classes of 9: RFC 8264 9.1, RFC 8264 9.6 (RFC 5892 2.6), RFC 8264 9.9, RFC 8264 9.17
        for good in ("\u00e9\u4e00", "\u00df\u3007", "l\u00b7l"):
            username(good)
        for wrong in ("\u0640", "\u1100", "\u2163", "\u265a", "\u00b7", "a\u0378"):
            self.assertRaises(ValueError, username, wrong)

    def test_nothing_invisible_and_no_control_stands_in_a_name(self) -> None:
        # RFC 8264 4.2
        for wrong in "\0\r\n\t \x7f\u0085\u00a0\u00ad\u200b\u200d\u202e\u2028\ufeff\ufffe\ud800":
            self.assertRaises(ValueError, username, f"bob{wrong}")
        self.assertRaises(ValueError, username, "a" * 256)

    def test_directions_do_not_mix(self) -> None:
        # RFC 5893 2
        self.assertEqual(username("\u05d0\u05d1\u05d2"), "\u05d0\u05d1\u05d2")
        self.assertRaises(ValueError, username, "\u05d0a")

    @given(st.text(max_size=20))
    def test_a_prepared_name_is_its_own_form(self, text: str) -> None:
        # RFC 8264 7
        try:
            name = username(text)
        except ValueError:
            return
        self.assertEqual(username(name), name)
