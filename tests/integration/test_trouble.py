"""What hinders a start: it ends with status 1, one clear text and no traceback; and plugins that do not load."""

from __future__ import annotations

import os
import sys
import unittest

from tests.integration.tools import Daemon, Dialogue, Sink, mounted

TWISTED = (sys.executable, "-m", "twisted")


class Starting(unittest.TestCase):
    def test_every_mistake_of_the_configuration_is_told(self) -> None:
        wrong = '[limits]\nrecipients = 0\n[queue]\nretry = [1]\nx = 1\n[domains."b.example"]\ndeliver = "nowhere"\n'
        with Daemon(wrong, start=False) as daemon:
            said = daemon.refused()
            mistakes = ("limits.recipients", "queue.retry", "queue.x", 'domains."b.example".deliver')
            for words in mistakes:
                self.assertRegex(said, rf"(?m)^.*mta\.toml: {words}")
            checked = daemon.mta("check", check=False)
            self.assertEqual(checked.returncode, 1)
            for words in mistakes:
                self.assertIn(words, checked.stderr)
            self.assertFalse(daemon.state.exists(), "nothing was begun")

    def test_file_that_is_no_toml(self) -> None:
        with Daemon("[limits\n", start=False) as daemon:
            self.assertRegex(daemon.refused(), r"mta\.toml.*line \d+")

    def test_no_configuration(self) -> None:
        with Daemon(start=False) as daemon:
            daemon.configuration.unlink()
            self.assertIn(str(daemon.configuration), daemon.refused())

    def test_port_in_use(self) -> None:
        for starter in ((), TWISTED):
            with Sink() as other, Daemon(start=False) as daemon:
                daemon.starter = starter or daemon.starter
                daemon.change(f"tcp:{daemon.port}:", f"tcp:{other.port}:")
                said = daemon.refused()
                self.assertIn(f"mta: listener mx cannot have tcp:{other.port}:", said)
                self.assertIn("in use", said)

    def test_it_is_said_on_standard_error_though_there_is_a_log_file(self) -> None:
        with Sink() as other, Daemon('[log]\nfile = "mta.log"\n', start=False) as daemon:
            daemon.change(f"tcp:{daemon.port}:", f"tcp:{other.port}:")
            self.assertIn("in use", daemon.refused())
            self.assertIn("in use", (daemon.folder / "mta.log").read_text())

    def test_log_that_cannot_be_written(self) -> None:
        with Daemon('[log]\nfile = "not/there/mta.log"\n', start=False) as daemon:
            self.assertIn("not/there/mta.log", daemon.refused())

    def test_state_that_another_daemon_holds(self) -> None:
        with Daemon() as first, Daemon(start=False) as second:
            second.change('state = "state"', f'state = "{first.state}"')
            said = second.refused()
            assert first.process is not None
            self.assertIn(str(first.process.pid), said)
            first.take("bob@ours.example")
            first.wait_for_mail("bob")
            self.assertIn("in order", first.mta("status").stdout, "its control socket is its own still")

    def test_file_where_the_state_should_be(self) -> None:
        with Daemon(start=False) as daemon:
            daemon.state.write_text("in the way")
            self.assertIn(f"'{daemon.state}'", daemon.refused())

    def test_state_that_may_not_be_written(self) -> None:
        with Daemon(start=False) as daemon:
            daemon.state.mkdir(mode=0o500)
            if os.access(daemon.state, os.W_OK):
                raise unittest.SkipTest("who runs this may write everywhere, as root may")
            self.assertIn("Permission denied", daemon.refused())

    def test_state_on_a_file_system_that_is_read_only(self) -> None:
        with Daemon(start=False) as daemon, mounted(daemon.state, "ro"):
            said = daemon.refused()
            self.assertIn("Read-only file system", said)
            self.assertIn(str(daemon.state), said)

    def test_what_is_broken_leaves_the_queue_readable(self) -> None:
        with Daemon('[relay]\nnetworks = ["127.0.0.0/8"]\n[queue]\nactive = 0\n') as daemon:
            id = daemon.take("x@far.example")
            daemon.stop()
            daemon.add("[limits]\nrecipients = 0\n")
            done = daemon.mta("queue", "list")
            self.assertIn(id, done.stdout)
            self.assertIn("the configuration is wrong: see mta check", done.stderr)


BROKEN = "import a_module_that_is_not_there\n"
TYPE = '[delivery.x]\ntype = "broken"\n'


class Plugins(unittest.TestCase):
    """A plugin that does not load never fails open."""

    def test_file_in_a_folder_that_the_configuration_names(self) -> None:
        with Daemon('[plugins]\npaths = ["plugins"]\n', start=False) as daemon:
            (daemon.folder / "plugins").mkdir()
            file = daemon.folder / "plugins/broken.py"
            file.write_text(BROKEN)
            for more in ("", TYPE):
                daemon.add(more)
                said = daemon.refused()
                self.assertIn(str(file), said)
                self.assertIn("No module named 'a_module_that_is_not_there'", said)
            file.write_text("")  # now it loads, but has no such type
            self.assertIn('there is no delivery of type "broken"', daemon.refused())

    def test_installed_one_is_a_warning_until_it_is_named(self) -> None:
        with Daemon(start=False) as daemon:
            installed = daemon.folder / "installed"
            (installed / "mta/plugins").mkdir(parents=True)
            (installed / "mta/plugins/broken.py").write_text(BROKEN)
            daemon.wrap = ("env", f"PYTHONPATH={installed}")
            warning = daemon.mta("check").stdout
            self.assertIn("a_module_that_is_not_there", warning)
            daemon.start()
            with Dialogue(daemon.port) as client:
                client.greet()
            daemon.stop()
            daemon.add(TYPE)
            said = daemon.refused()
            for words in ('there is no delivery of type "broken"', "mta.plugins.broken", "a_module_that_is_not_there"):
                self.assertIn(words, said)

    def test_reload_with_one_changes_nothing(self) -> None:
        with Daemon() as daemon:
            (daemon.folder / "plugins").mkdir()
            (daemon.folder / "plugins/broken.py").write_text(BROKEN)
            daemon.add('[plugins]\npaths = ["plugins"]\n' + TYPE)
            done = daemon.mta("reload", check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("a_module_that_is_not_there", done.stderr)
            daemon.take("bob@ours.example")
            daemon.wait_for_mail("bob")
