"""The texts of reports: every language has all of them, and what is wrong with a file is told."""

from __future__ import annotations

import os
import re
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mta.bounce import catalog as module
from mta.bounce.catalog import (
    MAX_FILE,
    MAX_TEXT,
    CatalogError,
    catalog,
    catalogs,
    differences,
    languages,
    placeholders,
    read_catalog,
)
from mta.bounce.catalog import wrong_languages as wrong
from mta.bounce.explain import CAUSES, Side

SMALL = """
[language]
name = "Small"
tag = "en"
[a]
one = "{host} said {words}"
two = "two"
"""


class Shipped(SynchronousTestCase):
    def test_the_languages_there_are(self) -> None:
        self.assertEqual(languages(), ("de", "en", "es", "fr", "zh"))

    def test_all_have_the_same_keys_and_placeholders(self) -> None:
        for language in languages():
            self.assertEqual(list(differences(catalog("en"), catalog(language))), [], language)

    def test_all_causes_sides_and_advice_are_worded_and_no_others(self) -> None:
        for table, wanted in (
            ("cause", {*CAUSES, "expired"}),
            ("side", {side.value for side in Side}),
            ("advice", {advice for _, advice in CAUSES.values()}),
        ):
            there = {key.removeprefix(f"{table}.") for key in catalog("en").texts if key.startswith(f"{table}.")}
            self.assertEqual(there, wanted)

    def test_nothing_was_left_in_english(self) -> None:
        english = catalog("en").texts
        for language in languages():
            texts = catalog(language).texts.items() if language != "en" else ()
            same = [key for key, text in texts if text == english[key] and key != "date.first"]
            self.assertEqual(same, [], language)

    def test_they_are_tidy(self) -> None:
        for language in languages():
            self.assertRegex(catalog(language).tag, r"^[a-z]{2}(-[A-Z][a-z]{3})?$")
            for key, text in catalog(language).texts.items():
                self.assertFalse(re.search(r"  |^\s|\s$", text), (language, key))
                if key.startswith(("cause.", "side.", "advice.", "good.", "closing.")):
                    self.assertRegex(text, r"([.。]|\{happened\})$", (language, key))

    def test_french_has_its_no_break_spaces(self) -> None:
        for key, text in catalog("fr").texts.items():
            self.assertNotRegex(text, r" [;:!?]|\w[;:!?]( |$)", key)


class Read(SynchronousTestCase):
    def test_the_keys_are_those_of_the_tables(self) -> None:
        read = read_catalog(SMALL)
        self.assertEqual((read.name, read.tag), ("Small", "en"))
        self.assertEqual(read.say("a.one", host="{words}", words="no {x}"), "{words} said no {x}")

    def test_what_is_wrong_is_told(self) -> None:
        measure = read_catalog(SMALL)
        other = read_catalog(SMALL.replace("{words}", "{stage}").replace("two =", "three ="))
        self.assertEqual(
            sorted(differences(measure, other)),
            [
                "a.one has the placeholders ['host', 'stage'] and not ['host', 'words']",
                "a.three is not known",
                "a.two is missing",
            ],
        )

    def test_a_placeholder_is_a_name_and_no_more(self) -> None:
        self.assertEqual(placeholders("{a} {{b}} {a}"), {"a"})
        for text in ("{}", "{0}", "{a.b}", "{a[0]}", "{a!r}", "{a:>9}", "{a"):
            self.assertRaises(ValueError, placeholders, text)

    def test_what_is_no_text(self) -> None:
        for line in ("one = 1", 'one = ""', 'one = "a\\nb"', "one = ["):
            self.assertRaises(ValueError, read_catalog, SMALL.partition("[a]")[0] + "[a]\n" + line)
        self.assertRaises(CatalogError, read_catalog, 'a = "b"')


class OfTheSite(SynchronousTestCase):
    """A folder with more languages, and other words for those there are."""

    def setUp(self) -> None:
        self.folder = self.mktemp()
        os.makedirs(self.folder)

    def write(self, name: str, text: str | bytes) -> None:
        with open(os.path.join(self.folder, name), "wb") as stream:
            stream.write(text.encode() if isinstance(text, str) else text)

    def test_what_it_says_counts_and_the_rest_is_as_shipped(self) -> None:
        self.write("de.toml", '[closing]\nhelp = "Die Hotline ist 4711 ({postmaster})."')
        german, english = catalogs(("de", "en"), self.folder)
        self.assertEqual(german.say("closing.help", postmaster="p"), "Die Hotline ist 4711 (p).")
        self.assertEqual((german.name, german.tag), ("Deutsch", "de"))
        self.assertEqual(german.texts["closing.text"], catalog("de").texts["closing.text"])
        self.assertEqual(english, catalog("en"))
        self.assertNotEqual(catalog("de").texts["closing.help"], german.texts["closing.help"])

    def test_another_language_falls_back_to_english(self) -> None:
        self.write("pt-BR.toml", '[language]\nname = "Portugu\xeas"\ntag = "pt-BR"\n[good]\nnothing = "Nada."')
        (found,) = catalogs(("pt-BR",), self.folder)
        self.assertEqual((found.tag, found.say("good.nothing")), ("pt-BR", "Nada."))
        self.assertEqual(found.texts["good.delivered"], catalog("en").texts["good.delivered"])
        self.assertIsNone(wrong(("en", "pt-BR"), self.folder))
        self.assertIn('or "pt-BR" or "zh"', str(wrong(("xx",), self.folder)))

    def test_it_is_read_again(self) -> None:
        self.write("en.toml", '[good]\nnothing = "No."')
        before = catalogs(("en",), self.folder)
        self.write("en.toml", '[good]\nnothing = "Nil."')
        self.assertEqual(
            [one[0].say("good.nothing") for one in (before, catalogs(("en",), self.folder))], ["No.", "Nil."]
        )

    def test_what_is_wrong_is_told_with_the_file(self) -> None:
        # RFC 5646 2.1
        head = '[language]\nname = "X"\n'
        for name, text, told in (
            ("de", '[good]\nnothin = "x"', "good.nothin is not known"),
            ("de", '[closing]\nhelp = "x"', "closing.help has the placeholders [] and not ['postmaster']"),
            ("de", '[closing]\nhelp = "{postmaster.x}"', "closing.help: "),
            ("de", '[good]\nnothing = "a\\u0085b"', "good.nothing is not a text in one line"),
            ("de", f'[good]\nnothing = "{"x" * (MAX_TEXT + 1)}"', "good.nothing is not a text in one line"),
            ("de", '[date]\nmonths = "1, 2"', "date.months has not twelve names"),
            ("de", "[good", "de.toml: "),
            ("de", b"\xff", "de.toml: "),
            ("de", " " * (MAX_FILE + 1), "has more than 256 KiB"),
            ("xx", '[good]\nnothing = "x"', "language.name is missing; language.tag is missing"),
            ("xx", head + 'tag = "x\xe4"', "is no tag of a language"),
        ):
            self.write(f"{name}.toml", text)
            self.assertIn(told, str(wrong((name,), self.folder)))
            self.assertRaises(CatalogError, catalogs, (name,), self.folder)
            os.remove(os.path.join(self.folder, f"{name}.toml"))

    def test_a_folder_that_is_wrong(self) -> None:
        self.assertIn("nowhere cannot be read", str(wrong(("de",), os.path.join(self.folder, "nowhere"))))
        self.write("de at.toml", "")
        self.assertIn("the name of a file is a language", str(wrong(("de",), self.folder)))


class Chosen(SynchronousTestCase):
    def test_in_the_order_that_was_chosen(self) -> None:
        self.assertEqual([one.tag for one in catalogs(("fr", "zh"))], ["fr", "zh-Hans"])
        self.assertRaises(CatalogError, catalogs, ("en", "../en"))

    def test_what_the_check_of_the_configuration_says(self) -> None:
        self.assertIsNone(wrong(("de", "fr")))
        self.assertIn('has "xx", for which there are no texts; write "de" or "en"', str(wrong(("en", "xx"))))
        self.assertIn("twice", str(wrong(("de", "de"))))
        self.assertIn("is empty", str(wrong(())))

    def test_a_broken_file_is_refused_before_a_report_needs_it(self) -> None:
        class Broken:
            def iterdir(self) -> list[Any]:
                return [self]

            name = "en.toml"

            def joinpath(self, name: str) -> Broken:
                return self

            def read_text(self, encoding: str) -> str:
                return "[language"

        self.patch(module, "_folder", Broken)
        for one in (languages, catalog):
            one.cache_clear()
            self.addCleanup(one.cache_clear)
        self.assertIn("cannot be used: en.toml: ", str(wrong(("en",))))
