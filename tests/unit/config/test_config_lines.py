"""The lines in which sections begin."""

from __future__ import annotations

from config_cases import Folder
from twisted.trial.unittest import SynchronousTestCase

from mta.config.lines import element_line, section_line

TEXT = """\
# [domains."ours.example"]
[domains . "OURS.example"]   # written in another way
[domains.'b.example']
[[route]]
to = ["[a]"]
name = "one"
[[route]]
name = "two"
"""


class Lines(SynchronousTestCase):
    def setUp(self) -> None:
        folder = Folder(self)
        self.files = (folder.write("a.toml", "x = [\n  [1],\n]\n"), folder.write("b.toml", TEXT))

    def test_sections_in_any_spelling(self) -> None:
        self.assertEqual(section_line(self.files, "domains", "ours.example"), f"{self.files[1]}:2")
        self.assertEqual(section_line(self.files, "domains", "b.example"), f"{self.files[1]}:3")
        self.assertEqual(section_line(self.files, "domains", "c.example"), "")

    def test_elements_by_name(self) -> None:
        self.assertEqual(element_line(self.files, "route", "one"), f"{self.files[1]}:4")
        self.assertEqual(element_line(self.files, "route", "two"), f"{self.files[1]}:7")
        self.assertEqual(element_line(self.files, "route", "three"), "")

    def test_files_that_are_gone(self) -> None:
        self.assertEqual(section_line(("/none",), "domains", "b.example"), "")
