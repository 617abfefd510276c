"""Plugins: found where they should be, used by name, and never missing in silence."""

from __future__ import annotations

import importlib
import os
import sys

from config_cases import MINIMAL, Folder
from twisted.trial.unittest import SynchronousTestCase

from mta.config.providers import Providers
from mta.delivery.maildir import Maildir
from mta.delivery.smtp import SmtpDelivery
from mta.routing.tables import FileTable

TICKET = """\
from mta.plugin import Batch, Options, Services, option, provider

class TicketOptions(Options):
    url: str = option(doc="Where tickets go.")

@provider("delivery", "ticket", TicketOptions)
class Ticket:
    def __init__(self, options: TicketOptions, services: Services) -> None:
        self.url = options.url
    async def deliver(self, batch: Batch) -> None:
        pass
"""
TABLE = """\
from mta.plugin import Options, Services, provider

class EverybodyOptions(Options):
    pass

@provider("table", "everybody", EverybodyOptions)
class Everybody:
    def __init__(self, options: EverybodyOptions, services: Services) -> None:
        pass
    def lookup(self, key: str) -> str | None:
        return key
"""
PATHS = '[plugins]\npaths = ["plugins"]\n'
NAMED = PATHS + '[delivery.t]\ntype = "ticket"\nurl = "https://t.site.com/"\n'


class BuiltIn(SynchronousTestCase):
    def test_they_are_found_as_any_plugin_is(self) -> None:
        found = Providers.find()
        self.assertEqual(found.broken, ())
        self.assertIs(found.get("delivery", "smtp"), SmtpDelivery)
        self.assertIs(found.get("delivery", "maildir"), Maildir)
        self.assertIs(found.get("table", "file"), FileTable)


class ByPath(SynchronousTestCase):
    """``[plugins] paths``."""

    def setUp(self) -> None:
        self.folder = Folder(self)

    def said(self, text: str) -> list[str]:
        return [problem.replace(f"{self.folder.path}/", "") for problem in self.folder.problems(MINIMAL + text)]

    def test_used_by_its_type(self) -> None:
        self.folder.write("plugins/ticket.py", TICKET)
        self.folder.write("plugins/everybody.py", TABLE)
        found = self.folder.load(MINIMAL + NAMED + '[tables.all]\ntype = "everybody"\n')
        self.assertEqual(found.delivery["t"].provider.__name__, "Ticket")
        self.assertEqual(dict(found.items())["delivery.t.url"], '"https://t.site.com/"')
        self.assertEqual(found.tables["all"].type_name, "everybody")

    def test_a_wrong_option_is_told_by_its_key(self) -> None:
        self.folder.write("plugins/ticket.py", TICKET)
        self.assertEqual(
            self.said(NAMED.replace("url", "ulr")),
            [
                'mta.toml: delivery.t.ulr: is not known; did you mean "url"?',
                "mta.toml: delivery.t: url is missing; write url = ...",
            ],
        )

    def test_a_changed_file_is_loaded_anew_and_an_unchanged_one_is_not(self) -> None:
        path = self.folder.write("plugins/ticket.py", TICKET)
        first = self.folder.load(MINIMAL + NAMED).delivery["t"].provider
        self.assertIs(self.folder.load(MINIMAL + NAMED).delivery["t"].provider, first)
        self.folder.write("plugins/ticket.py", TICKET + "\n# changed\n")
        os.utime(path, (1, 1))
        self.assertIsNot(self.folder.load(MINIMAL + NAMED).delivery["t"].provider, first)

    def test_one_that_does_not_load_stops_the_start(self) -> None:
        self.folder.write("plugins/ticket.py", "\nimport no_such_module\n" + TICKET)
        why = "ModuleNotFoundError: No module named 'no_such_module' (plugins/ticket.py:2)"
        self.assertEqual(
            self.said(NAMED),
            [
                f"plugin: plugins/ticket.py: {why}; repair or remove it",
                'mta.toml: delivery.t.type: there is no delivery of type "ticket" (modules that did not load: '
                f"plugins/ticket.py: {why}); known are: discard, lmtp, maildir, pipe, smtp",
            ],
        )

    def test_whatever_it_raises(self) -> None:
        for text, why in {
            "def f(:": "SyntaxError: invalid syntax (plugins/bad.py:1)",
            "1/0": "ZeroDivisionError: division by zero (plugins/bad.py:1)",
            "raise SystemExit(3)": "SystemExit: 3 (plugins/bad.py:1)",
        }.items():
            self.folder.write("plugins/bad.py", text)
            self.assertEqual(self.said(PATHS), [f"plugin: plugins/bad.py: {why}; repair or remove it"])

    def test_code_that_anybody_may_write_is_not_run(self) -> None:
        self.folder.write("plugins/ticket.py", "raise RuntimeError('it ran')", 0o666)
        self.assertEqual(
            self.said(PATHS),
            [
                "plugin: plugins/ticket.py: anybody may write to it; run: chmod o-w plugins/ticket.py; "
                "repair or remove it"
            ],
        )
        os.chmod(os.path.join(self.folder.path, "plugins/ticket.py"), 0o644)
        os.chmod(os.path.join(self.folder.path, "plugins"), 0o1777)
        self.assertEqual(
            self.said(PATHS),
            ["plugin: plugins: anybody may write to it; run: chmod o-w plugins; repair or remove it"],
        )

    def test_a_folder_that_is_not_there(self) -> None:
        self.assertEqual(
            self.said(PATHS), ["plugin: plugins: cannot be read: No such file or directory; repair or remove it"]
        )

    def test_a_type_that_is_there_already(self) -> None:
        self.folder.write("plugins/smtp2.py", TICKET.replace('"ticket"', '"smtp"'))
        self.assertEqual(
            self.said(PATHS),
            ['plugin: plugins/smtp2.py: registers delivery "smtp", as mta.delivery.smtp does; repair or remove it'],
        )


class Installed(SynchronousTestCase):
    """A module in the plugin package of any distribution; here in one of our own."""

    def setUp(self) -> None:
        self.folder = Folder(self)
        self.folder.write("some_plugins/__init__.py", "")
        sys.path.insert(0, self.folder.path)
        self.addCleanup(self._forget)

    def _forget(self) -> None:
        sys.path.remove(self.folder.path)
        for name in [name for name in sys.modules if name.partition(".")[0] == "some_plugins"]:
            del sys.modules[name]

    def find(self) -> Providers:
        importlib.invalidate_caches()
        return Providers.find(package=importlib.import_module("some_plugins"))

    def test_found(self) -> None:
        self.folder.write("some_plugins/ticket.py", TICKET)
        self.assertEqual(self.find().types("delivery"), ["ticket"])
        left = sorted(name for name in os.listdir(os.path.join(self.folder.path, "some_plugins")) if "cache" in name)
        self.assertNotIn("dropin.cache", left)

    def test_one_that_does_not_load_is_a_warning_to_who_does_not_name_it(self) -> None:
        self.folder.write("some_plugins/bad.py", "import no_such_module")
        broken = self.find().broken
        providers = Providers(Providers.find().all(), broken)
        (warning,) = self.folder.load(MINIMAL, providers=providers).warnings
        self.assertIn("some_plugins.bad: ModuleNotFoundError: No module named 'no_such_module'", str(warning))

    def test_one_that_does_not_load_stops_who_names_it(self) -> None:
        self.folder.write("some_plugins/bad.py", "import no_such_module")
        providers = Providers(Providers.find().all(), self.find().broken)
        (said,) = self.folder.problems(MINIMAL + NAMED.removeprefix(PATHS), providers=providers)
        self.assertIn("some_plugins.bad: ModuleNotFoundError", said)
