"""The import rule and the layout (docs/decisions/import-rule.rst)."""

from __future__ import annotations

import ast
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mta"

#: Nothing of Twisted's networking may be imported here: values, wire code and decisions.
PURE = (
    "address.py",
    "envelope.py",
    "reply.py",
    "sender.py",
    "verdict.py",
    "events.py",
    "smtp/wire.py",
    "smtp/grammar.py",
    "smtp/extensions.py",
    "smtp/parameters.py",
    "dkim/canon.py",
    "dkim/fields.py",
    "dkim/keys.py",
    "dkim/ledger.py",
    "dkim/published.py",
    "dkim/sign.py",
    "lists/author.py",
    "lists/fields.py",
    "lists/posting.py",
    "lists/signing.py",
    "lists/values.py",
    "message/",
    "policy/sound.py",
    "policy/values.py",
    "queue/admission.py",
    "queue/calendar.py",
    "queue/lane.py",
    "queue/pace.py",
    "queue/senders.py",
    "queue/turns.py",
    "queue/schedule.py",
    "queue/destination.py",
    "queue/retry.py",
    "queue/trouble.py",
    "queue/progress.py",
    "queue/untried.py",
    "queue/poison.py",
    "queue/conclude.py",
    "routing/calling.py",
    "routing/canonical.py",
    "routing/values.py",
    "routing/rules.py",
    "routing/router.py",
    "routing/expand.py",
    "routing/ours.py",
    "routing/forwarding.py",
    "routing/sender_policy.py",
    "routing/srs.py",
    "routing/steps/",
    "routing/mx.py",
    "routing/patterns.py",
    "simulate/assume.py",
    "simulate/far_end.py",
    "simulate/tally.py",
    "spool/values.py",
    "state/values.py",
    "submission/brake.py",
    "submission/fields.py",
    "submission/holding.py",
    "submission/identity.py",
    "submission/ownership.py",
    "submission/syntax.py",
    "bounce/catalog.py",
    "bounce/decide.py",
    "bounce/explain.py",
    "bounce/hiding.py",
    "bounce/human.py",
    "bounce/report.py",
    "bounce/status.py",
    "bounce/wrap.py",
)
NETWORKING = (
    "twisted.internet",
    "twisted.application",
    "twisted.protocols",
    "twisted.mail",
    "twisted.web",
    "twisted.names",
    "socket",
    "asyncio",
    "selectors",
)


def modules() -> list[tuple[str, ast.Module]]:
    return [
        (str(path.relative_to(PACKAGE)), ast.parse(path.read_text(encoding="utf-8")))
        for path in sorted(PACKAGE.rglob("*.py"))
    ]


def imported(tree: ast.Module) -> list[str]:
    """All names that are imported at run time, wherever in the file."""
    names: list[str] = []
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


class Imports(SynchronousTestCase):
    def broken(self, applies: tuple[str, ...], forbidden: tuple[str, ...]) -> list[str]:
        return [
            f"{path} imports {name}"
            for path, tree in modules()
            if any(path == prefix or (prefix.endswith("/") and path.startswith(prefix)) for prefix in applies)
            for name in imported(tree)
            if within(name, forbidden)
        ]

    def test_values_wire_and_decisions_know_no_network(self) -> None:
        self.assertEqual(self.broken(PURE, NETWORKING), [])

    def test_every_pure_module_is_there(self) -> None:
        missing = [path for path in PURE if not (PACKAGE / path).exists()]
        self.assertEqual(missing, [])

    def test_the_wire_knows_neither_queue_nor_delivery(self) -> None:
        # mta.delivery.values are values that interfaces speak of, not a delivery.
        self.assertEqual(self.broken(("smtp/",), ("mta.queue", "mta.delivery")), [])

    def test_nobody_knows_the_service_or_the_global_reactor(self) -> None:
        others = tuple(path for path, _ in modules() if path != "service.py")
        self.assertEqual(self.broken(others, ("mta.service", "twisted.internet.reactor")), [])

    def test_only_the_service_builds(self) -> None:
        others = tuple(path for path, _ in modules() if path not in ("service.py", "build.py"))
        self.assertEqual(self.broken(others, ("mta.build",)), [])


class Layout(SynchronousTestCase):
    def test_no_file_is_longer_than_it_may_be(self) -> None:
        long = [
            f"{path.relative_to(ROOT)}: {lines}"
            for path in sorted(PACKAGE.rglob("*.py"))
            if (lines := path.read_text(encoding="utf-8").count("\n")) > 500
        ]
        self.assertEqual(long, [])

    def test_every_module_says_what_it_is(self) -> None:
        silent = [path for path, tree in modules() if not ast.get_docstring(tree)]
        self.assertEqual(silent, [])

    def test_the_plugin_folder_of_twisted_is_no_package(self) -> None:
        self.assertFalse((ROOT / "twisted/plugins/__init__.py").exists())
        self.assertFalse((ROOT / "twisted/__init__.py").exists())
