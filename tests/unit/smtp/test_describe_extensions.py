"""The page on extensions is what the one table says."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mta.smtp.describe import extensions
from mta.smtp.extensions import EXTENSIONS

ROOT = Path(__file__).parents[3]


class Page(SynchronousTestCase):
    def test_it_is_what_the_table_says(self) -> None:
        shipped = (ROOT / "docs/extensions.rst").read_text(encoding="utf-8")
        self.assertEqual(shipped, extensions(), "run: python -m mta.config.describe")

    def test_every_extension_stands_in_it_with_its_parameters_and_source(self) -> None:
        text = extensions()
        for extension in EXTENSIONS.values():
            self.assertIn(f"\n``{extension.keyword}``: {extension.title} (`{extension.rfc} <https://", text)
            for word in (*extension.mail, *extension.rcpt, *extension.verbs):
                self.assertIn(f"``{word}``", text)
