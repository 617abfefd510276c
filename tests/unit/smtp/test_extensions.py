"""The one table of extensions: what we offer, and how the offer of a host is read."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.smtp.extensions import EXTENSIONS, Capabilities, ehlo_lines


class Table(SynchronousTestCase):
    def test_our_offer(self) -> None:
        self.assertEqual(ehlo_lines(50), ("SIZE 50", "PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"))

    def test_our_client_reads_our_offer(self) -> None:
        offer = Capabilities.read(ehlo_lines(50))
        self.assertEqual((offer.size, offer.size_offered), (50, True))
        self.assertTrue(offer.esmtp and offer.pipelining and offer.eight_bit_mime)

    def test_each_is_told_apart_and_has_its_source(self) -> None:
        for keyword, extension in EXTENSIONS.items():
            self.assertEqual(keyword, extension.keyword)
            self.assertTrue(extension.rfc.startswith("RFC "))
            self.assertTrue(extension.server or extension.client)


class Offers(SynchronousTestCase):
    def test_case_does_not_matter(self) -> None:
        # RFC 5321 4.1.1.1
        self.assertTrue(Capabilities.read(("pipelining", "8BitMime")).pipelining)

    def test_size(self) -> None:
        # RFC 1870 3, 4: no number and 0 say that there is no fixed limit
        for line, limit in (
            ("SIZE 1000", 1000),
            ("SIZE", 0),
            ("SIZE 0", 0),
            ("SIZE many", 0),
            ("SIZE -1", 0),
            ("SIZE \u00b2", 0),
            ("SIZE " + "9" * 21, 0),
        ):
            offer = Capabilities.read((line,))
            self.assertTrue(offer.size_offered)
            self.assertEqual(offer.size, limit)

    def test_what_we_do_not_know_is_kept_and_not_used(self) -> None:
        offer = Capabilities.read(("X-NEW a b", "", "CHUNKING"))
        self.assertEqual(offer.keywords, {"X-NEW": "a b", "CHUNKING": ""})
        self.assertFalse(offer.pipelining or offer.eight_bit_mime or offer.size_offered)
