"""The one table of extensions: what we offer, and how the offer of a host is read."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mta.smtp.extensions import EXTENSIONS, Capabilities, Circumstances, ehlo_lines, latest_release


class Table(SynchronousTestCase):
    def test_our_offer(self) -> None:
        # RFC 5321 2.2, 4.1.1.1
        self.assertEqual(
            ehlo_lines(Circumstances(message_size=50, recipients=100, transactions=1000, deliver_by=60)),
            (
                "SIZE 50",
                "PIPELINING",
                "8BITMIME",
                "ENHANCEDSTATUSCODES",
                "CHUNKING",
                "BINARYMIME",
                "SMTPUTF8",
                "DSN",
                "DELIVERBY 60",
                "MT-PRIORITY",
                "LIMITS MAILMAX=1000 RCPTMAX=100",
                "HELP",
            ),
        )

    def test_offer_goes_by_the_circumstances(self) -> None:
        plain = Circumstances(message_size=50, recipients=100, transactions=1000)

        def keywords(**changes: Any) -> set[str]:
            return {line.split()[0] for line in ehlo_lines(plain._replace(**changes))}

        self.assertEqual(keywords(starttls=True) - keywords(), {"STARTTLS"})
        # RFC 3207 4.2: not again; RFC 8689 2: only there
        self.assertEqual(keywords(starttls=True, tls=True) - keywords(), {"REQUIRETLS"})
        self.assertEqual(keywords(rights=True) - keywords(), {"ETRN"})
        self.assertEqual(keywords(expn=True) - keywords(), {"EXPN"})
        self.assertEqual(keywords(rights=True, future_release=60) - keywords(), {"ETRN", "FUTURERELEASE"})
        self.assertEqual(keywords(future_release=60), keywords())

    def test_reports_are_offered_to_those_who_get_them(self) -> None:
        # RFC 3461 5.2.2
        lines = ehlo_lines(Circumstances(50, 100, 1000, deliver_by=60, reports=False))
        self.assertFalse([line for line in lines if line.startswith(("DSN", "DELIVERBY"))])

    def test_future_release_tells_time_and_date(self) -> None:
        # RFC 4865 3
        latest = latest_release(1_700_000_000_000, 3600)
        lines = ehlo_lines(Circumstances(50, 100, 1000, future_release=3600, latest_release=latest, rights=True))
        self.assertIn("FUTURERELEASE 3600 2023-11-14T23:13:00Z", lines)

    def test_limit_that_cannot_be_written_is_left_out(self) -> None:
        # RFC 9422 4: six digits
        self.assertIn("LIMITS RCPTMAX=100", ehlo_lines(Circumstances(50, 100, 1_000_000)))

    def test_our_client_reads_our_offer(self) -> None:
        offer = Capabilities.read(ehlo_lines(Circumstances(50, 100, 1000, deliver_by=60)))
        self.assertEqual((offer.size, offer.size_offered), (50, True))
        self.assertTrue(offer.esmtp and offer.pipelining and offer.eight_bit_mime)
        self.assertTrue(offer.chunking and offer.binarymime and offer.smtputf8 and offer.dsn and offer.mt_priority)
        self.assertEqual(offer.deliverby, 60)
        self.assertEqual(offer.limits, {"MAILMAX": 1000, "RCPTMAX": 100})
        self.assertFalse(offer.starttls or offer.requiretls or offer.auth)

    def test_each_is_told_apart_and_has_its_source(self) -> None:
        for keyword, extension in EXTENSIONS.items():
            self.assertEqual(keyword, extension.keyword)
            self.assertTrue(extension.rfc.startswith(("RFC ", "Postfix ")))
            self.assertTrue(extension.server or extension.client)


class Offers(SynchronousTestCase):
    def test_case_does_not_matter(self) -> None:
        # RFC 5321 4.1.1.1
        self.assertTrue(Capabilities.read(("pipelining", "8BitMime")).pipelining)

    def test_size(self) -> None:
        # RFC 1870 3: no number and 0 say that there is no fixed limit
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
        offer = Capabilities.read(("X-NEW a b", "", "ETRN"))
        self.assertEqual(offer.keywords, {"X-NEW": "a b", "ETRN": ""})
        self.assertFalse(offer.pipelining or offer.eight_bit_mime or offer.size_offered)

    def test_binary_needs_chunks(self) -> None:
        # RFC 3030 3
        self.assertFalse(Capabilities.read(("BINARYMIME",)).binarymime)
        self.assertTrue(Capabilities.read(("CHUNKING", "BINARYMIME")).binarymime)

    def test_deliver_by(self) -> None:
        # RFC 2852 2
        self.assertIsNone(Capabilities.read(()).deliverby)
        self.assertEqual(Capabilities.read(("DELIVERBY",)).deliverby, 0)
        self.assertEqual(Capabilities.read(("DELIVERBY 240",)).deliverby, 240)
        self.assertEqual(Capabilities.read(("DELIVERBY 240,later=x,more",)).deliverby, 240)
        self.assertEqual(Capabilities.read(("DELIVERBY ,later",)).deliverby, 0)

    def test_limits(self) -> None:
        # RFC 9422 4: what is not well formed counts as not told
        offer = Capabilities.read(("LIMITS rcptmax=20 MAILMAX=0 RCPTDOMAINMAX=1234567 X=1 MAILMAX RCPTDOMAINMAX=1",))
        self.assertEqual(offer.limits, {"RCPTMAX": 20, "RCPTDOMAINMAX": 1})

    def test_mechanisms(self) -> None:
        # RFC 4954 3
        self.assertEqual(Capabilities.read(("AUTH plain  SCRAM-SHA-256",)).auth, ("PLAIN", "SCRAM-SHA-256"))
