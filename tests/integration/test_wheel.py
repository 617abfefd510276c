"""A wheel, installed into an environment that has nothing but it and what it needs, starts the MTA."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tempfile
import unittest
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

from tests.integration.tools import Daemon

ROOT = Path(__file__).parents[2]
#: What the wheel is built from; the tree itself stays as it is.
SOURCES = ("setup.cfg", "pyproject.toml", "README.rst", "mta", "twisted")


def makes_wheels() -> bool:
    """Whether the setuptools that is here does it without help."""
    try:
        return find_spec("setuptools.command.bdist_wheel") is not None
    except ModuleNotFoundError:
        return False


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout


class Wheel(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="txmta-wheel-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def build(self) -> Path:
        """As ``pip wheel .`` does it, with the setuptools that are here: nothing is fetched."""
        if not makes_wheels():
            raise unittest.SkipTest("setuptools 70.1 or newer, which can make wheels, is not installed")
        source = self.folder / "source"
        source.mkdir()
        for name in SOURCES:
            here = ROOT / name
            if here.is_dir():
                shutil.copytree(here, source / name, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache"))
            else:
                shutil.copy(here, source)
        pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
        run(*pip, "wheel", ".", "--no-deps", "--no-build-isolation", "--wheel-dir", self.folder, cwd=source)
        (wheel,) = self.folder.glob("txmta-*.whl")
        shutil.rmtree(source)
        return wheel

    def install(self, wheel: Path) -> Path:
        """The folder of programs of a new environment."""
        environment = self.folder / "environment"
        venv.create(environment, with_pip=False, symlinks=True)
        bin = environment / "bin"
        pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", bin / "python")
        run(*pip, "install", "--no-deps", "--no-index", wheel, cwd=self.folder)
        # What it needs is taken from here; a .pth in there, as that of an editable install, is not read.
        packages = run(bin / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=self.folder)
        Path(packages.strip(), "needs.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
        return bin

    def test_it_holds_all_and_starts(self) -> None:
        wheel = self.build()
        names = zipfile.ZipFile(wheel).namelist()
        for name in (
            "twisted/plugins/mta_service.py",
            "mta/spool/schema.sql",
            *(f"mta/bounce/texts/{language}.toml" for language in ("de", "en", "es", "fr", "zh")),
            "mta/plugins/builtin.py",
            "mta/py.typed",
        ):
            self.assertIn(name, names)
        strangers = [name for name in names if not name.startswith(("mta/", "twisted/plugins/mta_", "txmta-"))]
        self.assertEqual(strangers, [])
        self.assertNotIn("twisted/plugins/__init__.py", names)
        bin = self.install(wheel)
        where = run(bin / "python", "-c", "import mta.service; print(mta.service.__file__)", cwd=self.folder)
        self.assertTrue(where.startswith(str(self.folder)), where)
        with Daemon(starter=(str(bin / "python"), "-m", "twisted"), bin=bin) as daemon:
            id = daemon.take("bob@ours.example")
            daemon.wait_for_mail("bob")
            self.assertIn("delivered by local", daemon.mta("explain", id).stdout)
            self.assertIn("is in order", daemon.mta("check").stdout)
