"""Reports in every language: read by people, by programs, and passed on by any host."""

from __future__ import annotations

from email import message_from_bytes, policy
from typing import Any

from flufl.bounce import all_failures
from test_report import ARRIVED, BOB, ID, NOW, POSTMASTER, compose, failed, parts, text
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.bounce.catalog import Catalog, catalog, languages
from mta.bounce.decide import Kind, Notice
from mta.bounce.explain import CAUSES
from mta.bounce.human import About, human_text, moment, subject
from mta.bounce.wrap import columns
from mta.envelope import Envelope, Origin, Status
from mta.notes.text import note
from mta.reply import Reply

EVE = Address("eve", "b.example")
LATE = NOW - 60_000
#: Each kind of report: its recipients' outcomes, and what an independent reader finds in it.
FAILURE = {
    Kind.FAILURE: (Status.FAILED, Reply.of(550, "5.1.1", "no such user"), 550),
    Kind.DOUBLE_BOUNCE: (Status.EXPIRED, Reply.of(451, "4.4.1", "No host"), 550),
    Kind.DELAY: (Status.DEFERRED, Reply.of(451, "4.4.1", "No host"), 450),
}
#: 2023-11-14 22:12 in UTC, as each language writes it.
WHEN = {
    "de": "14. November 2023 um 22:12 Uhr (UTC)",
    "en": "14 November 2023 at 22:12 UTC",
    "es": "14 de noviembre de 2023, 22:12\xa0h (UTC)",
    "fr": "14\xa0novembre 2023 \xe0 22\xa0h\xa012 (UTC)",
    "zh": "2023\u5e7411\u670814\u65e5 22:12 UTC",
}
PAIRS = [(one,) for one in languages()] + [("de", "fr"), ("zh", "en")]


def flat(text: str) -> str:
    return "".join(text.split())


class FoundByOthers(SynchronousTestCase):
    """flufl.bounce, which is Mailman's reader."""

    def test_exactly_those_that_failed(self) -> None:
        for spoken in PAIRS:
            for kind, (status, reply, found) in FAILURE.items():
                two = [failed(number, who, reply, status=status) for number, who in enumerate((BOB, EVE))]
                octets = compose(*two, kind=kind, languages=spoken)
                temporary, permanent = all_failures(message_from_bytes(octets))
                there = {b"bob@b.example", b"eve@b.example"}
                wanted = (set(), there) if found == 550 else (there, set())
                self.assertEqual((temporary, permanent), wanted, (spoken, kind))

    def test_nobody_where_it_went_well(self) -> None:
        for spoken in PAIRS:
            for status in (Status.DELIVERED, Status.RELAYED, Status.EXPANDED):
                pair = failed(reply=Reply.of(250, "2.0.0", "Ok"), status=status)
                octets = compose(pair, kind=Kind.SUCCESS, languages=spoken)
                self.assertEqual(all_failures(message_from_bytes(octets)), (set(), set()), (spoken, status))


class Passes(SynchronousTestCase):
    def test_it_is_ascii_and_says_which_language_it_is_in(self) -> None:
        for spoken in PAIRS:
            octets = compose(languages=spoken)
            # RFC 5322 2.1.1: docs/decisions/reports-are-ascii.rst
            self.assertTrue(octets.isascii())
            self.assertTrue(all(len(line) <= 78 for line in octets.split(b"\r\n")), spoken)
            whole, human, *_ = parts(octets)
            # RFC 5646
            self.assertEqual(human["Content-Language"], ", ".join(catalog(one).tag for one in spoken))
            self.assertNotEqual(human["Content-Transfer-Encoding"], "8bit")
            # RFC 2047
            read = message_from_bytes(octets, policy=policy.default)
            self.assertEqual(read["Subject"], " / ".join(catalog(one).say("subject.failure") for one in spoken))
            self.assertEqual(whole.defects, [])

    def test_the_shorter_encoding_is_taken(self) -> None:
        # RFC 2045 6
        for spoken, encoding in ((("en",), None), (("fr",), "quoted-printable"), (("zh",), "base64")):
            _, human, *_ = parts(compose(languages=spoken))
            self.assertEqual(human["Content-Transfer-Encoding"], encoding)
            self.assertEqual(human.get_content_charset(), "utf-8" if encoding else "us-ascii")

    def test_no_line_is_wider_than_a_screen(self) -> None:
        for spoken in PAIRS:
            for kind in Kind:
                _, human, *_ = parts(compose(kind=kind, languages=spoken))
                self.assertTrue(all(columns(line) <= 78 for line in text(human).splitlines()), text(human))


class ForPeople(SynchronousTestCase):
    def test_what_happened_whose_side_what_to_do_in_each_language(self) -> None:
        for language in languages():
            texts = catalog(language).texts
            said = flat(text(parts(compose(languages=(language,)))[1]))
            for key in (
                "opening.failure.one",
                "cause.no_mailbox",
                "side.yours",
                "advice.check_address",
                "closing.header",
            ):
                self.assertIn(flat(texts[key]), said)
            self.assertIn("5505.1.1nosuchuser", said)
            self.assertIn(flat(moment(ARRIVED, catalog(language))), said)

    def test_in_german(self) -> None:
        said = text(parts(compose(languages=("de",)))[1])
        self.assertIn("<bob@b.example>\n  Was geschah:    Dieses Postfach gibt es nicht.\n", said.replace("\r", ""))

    def test_two_languages_one_after_the_other(self) -> None:
        said = text(parts(compose(languages=("fr", "de")))[1]).replace("\r", "")
        self.assertTrue(said.startswith("Weiter unten steht ein deutscher Text.\n\nCeci est le système"), said)
        self.assertEqual(said.count("<bob@b.example>"), 2)
        french, german = said.split("\n\n* * *\n\n")
        self.assertIn("n'existe pas", french)
        self.assertTrue(german.startswith("Dies ist das Mailsystem"))

    def test_what_strangers_wrote_is_no_text_of_ours(self) -> None:
        for language in languages():
            pair = failed(reply=Reply.of(550, "5.1.1", "{hostname} {0} %s \u202e \u200b\x1bx"))
            said = text(parts(compose(pair, languages=(language,)))[1])
            self.assertIn("{hostname} {0} %s", " ".join(said.split()))
            for odd in ("\u202e", "\u200b", "\x1b"):
                self.assertNotIn(odd, said)

    def test_late_by_the_time_that_was_set_or_only_late(self) -> None:
        # RFC 2852 4.1.3
        pair = failed(reply=Reply.of(451, "4.2.0", "greylisted"), status=Status.DEFERRED)
        for language in languages():
            texts = catalog(language).texts
            for deliver_by, key in ((NOW - 60_000, "late"), (0, "delay"), (NOW + 60_000, "delay")):
                octets = compose(pair, kind=Kind.DELAY, languages=(language,), by_mode="N", deliver_by=deliver_by)
                wanted = texts[f"opening.{key}.one"].replace("{when}", WHEN[language])
                self.assertIn(flat(wanted), flat(text(parts(octets)[1])))

    def test_a_warning_names_when_it_ends_and_that_nothing_has_to_be_done(self) -> None:
        # RFC 3464 2.3.9, for people: the last of those that are listed.
        two = [
            failed(number, who, Reply.of(451, "4.4.1", "No host"), status=Status.DEFERRED, progress={"until": until})
            for number, (who, until) in enumerate(((BOB, LATE), (EVE, LATE - 86_400_000)))
        ]
        for language in languages():
            texts = catalog(language).texts
            said = flat(text(parts(compose(*two, kind=Kind.DELAY, languages=(language,)))[1]))
            self.assertIn(flat(texts["opening.until"].replace("{until}", WHEN[language])), said)
            self.assertIn(flat(texts["opening.delay.many"]), said)
            self.assertNotIn(flat(texts["label.advice"]), said)
            unknown = flat(
                text(parts(compose(failed(status=Status.DEFERRED), kind=Kind.DELAY, languages=(language,)))[1])
            )
            self.assertNotIn(flat(texts["opening.until"].partition("{")[0]), unknown)

    def test_each_month_and_the_first_day(self) -> None:
        january = 1_704_067_200_000  # 2024-01-01
        self.assertEqual(moment(january, catalog("fr")), "1er\xa0janvier 2024 \xe0 00\xa0h\xa000 (UTC)")
        self.assertEqual(moment(january, catalog("de")), "1. Januar 2024 um 00:00 Uhr (UTC)")
        for language in languages():
            named = {moment(january + day * 86_400_000, catalog(language)) for day in range(366)}
            self.assertEqual(len(named), 366, language)


class Recorded(dict[str, str]):
    """The texts of a language, that knows which of them were asked for."""

    def __init__(self, texts: Any) -> None:
        super().__init__(texts)
        self.asked: set[str] = set()

    def __getitem__(self, key: str) -> str:
        self.asked.add(key)
        return super().__getitem__(key)


class Complete(SynchronousTestCase):
    def test_no_text_is_without_use(self) -> None:
        """All that is asked for is there, and the other way round."""
        recorded = Recorded(catalog("en").texts)
        english = Catalog("English", "en", recorded)
        envelope = Envelope(origin=Origin(listener="mx", protocol="ESMTP"), reverse_path=BOB, arrived=ARRIVED)
        late = Envelope(origin=envelope.origin, reverse_path=BOB, arrived=ARRIVED, deliver_by=1, by_mode="N")
        good = [
            failed(status=status, reply=Reply.of(250, "2.0.0", "Ok"), stage=stage, original=EVE)
            for status, stage in ((Status.RELAYED, "greeting"), (Status.DELIVERED, "data"), (Status.EXPANDED, "x"))
        ]
        told = good[0][0], good[0][1].__class__(**{**_fields(good[0][1]), "dsn_taken_over": True})
        for kind in Kind:
            bad = [failed(progress={"until": NOW}), failed(status=Status.EXPIRED)]
            ended = [*good, told] if kind is Kind.SUCCESS else bad
            for one in (tuple(ended), (ended[0],), tuple(pair for pair in ended if pair[1].status == "delivered")):
                for about in (envelope, late):
                    for attached in ("", "header", "text"):
                        it: Any = attached
                        notice = Notice(BOB, kind, one)
                        human_text(notice, About(about, ID, it, "mx", POSTMASTER, NOW), [english, english])
                        subject(notice, [english])
        note(BOB, EVE, "new@c.example", b"", ID, "mx", NOW, [english])
        # These are asked for by the names in CAUSES: see test_catalog and test_explain.
        by_name = {key for key in recorded if key.startswith(("cause.", "side.", "advice."))}
        self.assertEqual(recorded.keys() - recorded.asked - by_name, set())
        self.assertGreater(len(CAUSES), 30)


def _fields(outcome: Any) -> dict[str, Any]:
    return {name: getattr(outcome, name) for name in outcome.__dataclass_fields__}
