"""No record of the spool, the control socket or the network can hold anything that runs."""

from __future__ import annotations

import ast
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

PACKAGE = Path(__file__).parents[2] / "mta"
#: Modules whose readers make objects of the writer's choice, or run what they read.
RUNNERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "shelve", "marshal", "yaml", "jsonpickle", "codeop"}
CALLS = {"eval", "exec", "compile", "__import__"}


def _names(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module.partition(".")[0], *(alias.name for alias in node.names)}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found.add(node.func.id)
    return found


class Formats(SynchronousTestCase):
    def test_nothing_that_could_run_is_read(self) -> None:
        broken = {
            str(path.relative_to(PACKAGE)): sorted(wrong)
            for path in sorted(PACKAGE.rglob("*.py"))
            if (wrong := _names(ast.parse(path.read_text(encoding="utf-8"))) & (RUNNERS | CALLS))
        }
        self.assertEqual(broken, {})
        self.assertIn("pickle", _names(ast.parse("from pickle import loads")), "the test would notice")

    def test_no_shell_is_started(self) -> None:
        # CVE-2020-7247, CVE-2019-10149
        broken = []
        for path in sorted(PACKAGE.rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and node.attr in {"system", "popen"}:
                    broken.append(f"{path.name}:{node.lineno}")
                if isinstance(node, ast.keyword) and node.arg == "shell":
                    broken.append(f"{path.name}:{node.lineno}")
        self.assertEqual(broken, [])
