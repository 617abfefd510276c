"""Every row of hostile input (``rows.toml``) has tests that are there and carry its clauses."""

from __future__ import annotations

import ast
import inspect
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.targets import TARGETS
from tests.rfc_tags import tags

TESTS = Path(__file__).parents[1]
ROWS: list[dict[str, Any]] = tomllib.loads((Path(__file__).parent / "rows.toml").read_text(encoding="utf-8"))["row"]


def evidence(row: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    """What a row names, and its text: of a test with its class and its module's; None where it is not there."""
    for name in row.get("tests", ()):
        path, *parts = name.split("::")
        file = TESTS / path
        yield name, _text(file.read_text(encoding="utf-8"), parts) if file.is_file() else None
    for name in row.get("fuzz", ()):
        yield f"fuzz {name}", inspect.getsource(TARGETS[name].check) if name in TARGETS else None


def _text(source: str, parts: list[str]) -> str | None:
    if not parts:
        return source
    tree = ast.parse(source)
    for node in tree.body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == parts:
            return source
        if not isinstance(node, ast.ClassDef) or node.name != parts[0]:
            continue
        methods = {item.name for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)}
        if parts[1] in methods:
            return f"{ast.get_docstring(tree) or ''}\n{ast.get_source_segment(source, node) or ''}"
    return None


class Rows(SynchronousTestCase):
    def test_each_is_told_apart_and_said_in_full(self) -> None:
        self.assertEqual(len({row["id"] for row in ROWS}), len(ROWS))
        for row in ROWS:
            self.assertTrue(row["input"] and row["answer"], row["id"])
            self.assertLessEqual(row.keys(), {"id", "input", "answer", "clauses", "tests", "fuzz", "comes"}, row["id"])

    def test_each_has_a_test_or_says_with_what_it_comes(self) -> None:
        bare = [row["id"] for row in ROWS if bool(row.get("tests")) == bool(row.get("comes"))]
        self.assertEqual(bare, [])

    def test_every_test_that_is_named_is_there(self) -> None:
        gone = [f"{row['id']}: {name}" for row in ROWS for name, text in evidence(row) if text is None]
        self.assertEqual(gone, [])

    def test_each_clause_is_carried_by_one_of_them(self) -> None:
        missing = []
        for row in ROWS:
            found = [tag for _, text in evidence(row) for tag in tags(text or "")]
            wanted = [] if row.get("comes") else [tag for clause in row["clauses"] for tag in tags(clause)]
            missing += [f"{row['id']}: {tag}" for tag in wanted if not any(other.carries(tag) for other in found)]
        self.assertEqual(missing, [])
