"""The plugin in docs/plugins.rst, as it stands there: it loads, is checked, and delivers."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

from config_cases import MINIMAL, Folder
from delivery_contract import DeliveryContract, services
from twisted.trial.unittest import SynchronousTestCase

from mta.delivery.adapt import completed
from mta.interfaces import IDeliveryService

PAGE = Path(__file__).parents[3] / "docs/plugins.rst"

USED = """
[plugins]
paths = ["plugins"]
[delivery.archive]
type = "jsonlines"
path = "archive.jsonl"
"""


def example() -> str:
    """The first block of code on the page."""
    lines = PAGE.read_text(encoding="utf-8").partition("whole plugin::\n")[2].splitlines()
    end = next(number for number, line in enumerate(lines) if line and not line.startswith("    "))
    return textwrap.dedent("\n".join(lines[:end]))


class Example(DeliveryContract, SynchronousTestCase):
    """It keeps the contract of every delivery service, though it writes nothing but ``deliver``."""

    def setUp(self) -> None:
        self.folder = Folder(self)
        self.folder.write("plugins/jsonlines.py", example())

    def make_service(self) -> IDeliveryService:
        section = self.folder.load(MINIMAL + USED).delivery["archive"]
        return completed(section.provider(section.options, services()), "out")

    def test_it_is_as_short_as_promised(self) -> None:
        self.assertLessEqual(len(example().strip().splitlines()), 30)

    def test_what_it_writes(self) -> None:
        self.test_one_after_the_other()
        lines = (Path(self.folder.path) / "archive.jsonl").read_text().splitlines()
        self.assertTrue(lines)
        self.assertIn("octets", json.loads(lines[0]))

    def test_wrong_option_is_told_with_its_key(self) -> None:
        said = self.folder.problems(MINIMAL + USED.replace("path =", "pth ="))
        self.assertIn("mta.toml: delivery.archive.pth: is not known", " ".join(said))

    def test_module_that_does_not_load_stops_who_names_it(self) -> None:
        self.folder.write("plugins/jsonlines.py", "import a_module_that_is_not_there")
        said = " ".join(self.folder.problems(MINIMAL + USED))
        self.assertIn("jsonlines.py", said)
        self.assertIn("a_module_that_is_not_there", said)
