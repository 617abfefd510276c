"""SASLprep, with the examples of the RFC."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.sasl.prepare import saslprep


class Examples(SynchronousTestCase):
    def test_prepared(self) -> None:
        # RFC 4013 3
        for text, prepared in (
            ("I\u00adX", "IX"),
            ("user", "user"),
            ("USER", "USER"),
            ("\u00aa", "a"),
            ("\u2168", "IX"),
            ("a\u00a0b", "a b"),  # RFC 4013 2.1
        ):
            self.assertEqual(saslprep(text), prepared)

    def test_what_unicode_3_2_does_not_know_passes(self) -> None:
        # RFC 3454 7: the text is a query
        self.assertEqual(saslprep("\u1e9e\U0001f4e7"), "\u1e9e\U0001f4e7")

    def test_forbidden(self) -> None:
        # RFC 4013 3 and 2.3; RFC 3454 6
        for text in ("\u0007", "\u0627\u0031", "a\u0627", "x\u200e", "\ue000", "\ud800"):
            self.assertRaises(ValueError, saslprep, text)
        self.assertEqual(saslprep("\u06271\u0628"), "\u06271\u0628")
