"""The log by address and by message, over files that were rotated, and while it is written."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mta.admin.logfile import Filter, LogReader, log_files
from mta.admin.privacy import full, mask_of

ONE, TWO = "38GDQNCPM0000", "38GDQNCPM0001"
FROM = "accepted: from 192.0.2.7 (a, ESMTP) listener mx, 9 octets;"
LINES = [
    f"2026-11-24T13:27:22.743Z {ONE} {FROM} <ann@a.example> to bob@b.example",
    f"2026-11-24T13:27:22.743Z {TWO} {FROM} <bob@b.example> to joann@a.example",
    "2026-11-24T13:27:22.750Z listening: listener mx on 127.0.0.1:25",
    f"2026-11-24T13:27:23.000Z {ONE} attempt: try 1 bob@b.example: deferred by internet mx.b.example",
    f"2026-11-24T13:27:23.000Z {TWO} attempt: try 1 joann@a.example: relayed by internet mx.a.example",
    "2026-11-24T13:27:24.000Z recipient-refused: 192.0.2.7: from <ann@a.example> to <x@a.example>: 550 5.1.1 No",
]


class Filters(SynchronousTestCase):
    def shown(self, lines: list[str] = LINES, **options: str) -> list[int]:
        chosen = Filter(**{"mask": full, **options})  # type: ignore[arg-type]
        return [number for number, line in enumerate(lines) if chosen.shows(line)]

    def test_without_condition_all(self) -> None:
        self.assertEqual(self.shown(), [0, 1, 2, 3, 4, 5])

    def test_to_an_address_with_all_that_follows_of_the_message(self) -> None:
        self.assertEqual(self.shown(to="bob@B.example"), [0, 3])

    def test_from_an_address(self) -> None:
        self.assertEqual(self.shown(sender="ann@a.example"), [0, 3, 5])

    def test_commands_that_were_refused(self) -> None:
        lines = [
            "2026-11-24T13:27:24.000Z command-refused: 192.0.2.7: MAIL: 552 5.3.4 No   FROM:<ann@a.example> SIZE=9999",
            "2026-11-24T13:27:24.000Z command-refused: 192.0.2.7: RCPT: 452 No   TO:<bob@b.example>   "
            "from <ann@a.example>",
            "2026-11-24T13:27:24.000Z refused: message from 192.0.2.7, sender <ann@a.example>: 554 No   bob@b.example",
        ]
        self.assertEqual(self.shown(lines, sender="ann@a.example"), [0, 1, 2])
        self.assertEqual(self.shown(lines, to="bob@b.example"), [1, 2])
        self.assertEqual(self.shown(lines, to="ann@a.example"), [])

    def test_part_of_an_address_is_another_one(self) -> None:
        self.assertEqual(self.shown(to="ann@a.example"), [])
        self.assertEqual(self.shown(to="joann@a.example"), [1, 4])

    def test_both(self) -> None:
        self.assertEqual(self.shown(sender="ann@a.example", to="x@a.example"), [5])

    def test_one_message(self) -> None:
        self.assertEqual(self.shown(id=TWO.lower()), [1, 4])

    def test_json_lines(self) -> None:
        lines = []
        for line in LINES:
            stamp, rest = line.split(" ", 1)
            id = rest[:13] if rest.startswith("38") else ""
            fields = {"time": stamp, "code": "x", "text": rest.split(": ", 1)[1]}
            lines.append(json.dumps({**fields, "id": id} if id else fields))
        self.assertEqual(self.shown([*lines, "{broken", "{}"], to="bob@b.example"), [0, 3])

    def test_masked_addresses_are_found_by_who_knows_them(self) -> None:
        state = self.mktemp()
        os.mkdir(state)
        mask = mask_of("hash", state)
        chosen = Filter(to="bob@b.example", mask=mask)
        self.assertEqual([n for n, line in enumerate(LINES) if chosen.shows(mask(line))], [0, 3])


class Files(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "mta.log"

    def test_rotated_files_come_first_oldest_first(self) -> None:
        with gzip.open(f"{self.path}.2.gz", "wt") as packed:
            packed.write("one\n")
        Path(f"{self.path}.1").write_text("two\n")
        Path(f"{self.path}.bak").write_text("no\n")
        self.path.write_text("three\nfour")
        self.assertEqual(list(LogReader(str(self.path)).existing()), ["one", "two", "three"])

    def test_files_named_by_date(self) -> None:
        for name in ("-20261124", "-20261123.gz", ""):
            Path(f"{self.path}{name}").touch()
        names = [path.name for path in log_files(str(self.path))]
        self.assertEqual(names, ["mta.log-20261123.gz", "mta.log-20261124", "mta.log"])

    def test_followed_over_a_rotation(self) -> None:
        reader = LogReader(str(self.path))
        self.assertEqual(list(reader.more()), [])
        with open(self.path, "a") as file:
            file.write("one\ntw")
            file.flush()
            self.assertEqual(list(reader.more()), ["one"])
            os.rename(self.path, f"{self.path}.1")
            file.write("o\n")
            file.flush()
            self.assertEqual(list(reader.more()), ["two"])
            self.path.write_text("three\n")
            self.assertEqual(list(reader.more()), ["three"])

    def test_cut_to_nothing_it_is_read_from_its_begin(self) -> None:
        self.path.write_text("one\ntwo\n")
        reader = LogReader(str(self.path))
        reader.skip()
        self.path.write_text("three\n")
        self.assertEqual(list(reader.more()), ["three"])

    def test_what_others_wrote_there_is_escaped(self) -> None:
        self.path.write_bytes(b"a\x1b[2Jb \\x1b\n")
        self.assertEqual(list(LogReader(str(self.path)).existing()), ["a\\x1b[2Jb \\x1b"])
