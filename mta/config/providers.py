"""Finds the providers: the classes that ``mta.plugin.provider`` registered, built-in ones and plugins alike.

Contract: ``Providers.find`` imports every module of ``mta/plugins`` of any installed distribution and every Python
file in the folders that the configuration names.  ``get`` returns the class for a kind and a type, or raises
``Wrong`` that names the types there are and every module that did not load, with the reason.
How it fails: a module that does not load is a ``BrokenModule``, never an exception here and never silence; who
names a type that is thereby missing cannot start.  Code that anybody may write is not run.
Why not ``twisted.plugin.getPlugins``: it keeps a pickled ``dropin.cache`` beside the modules (stale after a
downgrade, unwritable in a system folder, code if others may write it) and only logs import errors.  What counts
as a plugin is the same: an object of a plugin module that provides ``IPlugin`` and ``IProvider``.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any, Final, NamedTuple
from zlib import crc32

from twisted.plugin import IPlugin
from zope.interface.verify import verifyObject

import mta.plugins
from mta.config.files import unsafe
from mta.config.problems import Wrong
from mta.config.values import nearest
from mta.interfaces import IProvider


class BrokenModule(NamedTuple):
    """A plugin module that did not load.

    ``stops``: nothing may start with it, even if none of its types is named: the configuration names its folder,
    it takes a name that is taken, or anybody may write it (then it was not even tried).
    """

    name: str
    reason: str
    stops: bool = False

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


class _Loaded(NamedTuple):
    stamp: tuple[int, int]
    module: ModuleType


#: Modules loaded from a path: a reload runs a file anew only when it has changed.
_loaded: Final[dict[str, _Loaded]] = {}


class Providers:
    """The providers there are, by kind and type."""

    def __init__(self, classes: Iterable[Any] = (), broken: Iterable[BrokenModule] = ()) -> None:
        """``classes`` are providers.  Two of one kind and type make a broken module of the second."""
        self._classes: dict[tuple[str, str], Any] = {}
        failures = list(broken)
        for cls in classes:
            first = self._classes.setdefault((cls.kind, cls.type_name), cls)
            if first is not cls:
                what = f'registers {cls.kind} "{cls.type_name}", as {origin(first)} does'
                failures.append(BrokenModule(origin(cls), what, stops=True))
        self.broken = tuple(failures)

    @classmethod
    def find(cls, paths: Sequence[str] = (), package: ModuleType = mta.plugins) -> Providers:
        """All of the package and of the folders ``paths``; see the module's text."""
        classes: list[Any] = []
        broken: list[BrokenModule] = []
        for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
            name = f"{package.__name__}.{info.name}"
            _collect(name, _import, classes, broken, named=False)
        for folder in paths:
            for file in _python_files(folder, broken):
                _collect(file, _import_path, classes, broken, named=True)
        return cls(classes, broken)

    def get(self, kind: str, type_name: str) -> Any:
        """The class.  Raises ``Wrong``."""
        return self.family(kind, type_name)[0]

    def family(self, kind: str, type_name: str) -> tuple[Any, ...]:
        """The classes of a type, of the kind and of those below it ("policy.sender" is below "policy"); one at least.
        Raises ``Wrong``."""
        found = tuple(
            self._classes[known] for known in sorted(self._classes) if known[1] == type_name and _within(kind, known[0])
        )
        if found:
            return found
        what = f'there is no {kind} of type "{type_name}"'
        if self.broken:
            what += f" (modules that did not load: {'; '.join(map(str, self.broken))})"
        raise Wrong(what, nearest(type_name, self.types(kind)))

    def types(self, kind: str) -> list[str]:
        """The names of the types of a kind, sorted."""
        return sorted({type_name for known, type_name in self._classes if _within(kind, known)})

    def all(self) -> list[Any]:
        """Every provider, by kind and type."""
        return [self._classes[key] for key in sorted(self._classes)]


def _within(kind: str, known: str) -> bool:
    return known == kind or known.startswith(f"{kind}.")


def origin(provider: Any) -> str:
    """The module of a provider, by the name that people know: its file where it was loaded from one."""
    module = sys.modules.get(provider.__module__)
    file = getattr(module, "__file__", None)
    return str(file if file in _loaded else provider.__module__)


def _collect(
    name: str, load: Callable[[str], ModuleType], classes: list[Any], broken: list[BrokenModule], *, named: bool
) -> None:
    try:
        module = load(name)
        found = [value for value in vars(module).values() if _is_provider(value)]
        for cls in found:
            verifyObject(IProvider, cls)
    except Wrong as wrong:
        broken.append(BrokenModule(name, f"{wrong.what}; {wrong.instead}", stops=True))
    except (Exception, SystemExit) as error:  # a stranger's module may raise anything
        broken.append(BrokenModule(name, _reason(error), named))
    else:
        classes += found


def _is_provider(value: Any) -> bool:
    return isinstance(value, type) and bool(IPlugin.providedBy(value)) and bool(IProvider.providedBy(value))


def _reason(error: BaseException) -> str:
    """The error and the line of the plugin's code that it comes from."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    if isinstance(error, SyntaxError):
        place = f" ({error.filename}:{error.lineno})"
        return f"{type(error).__name__}: {error.msg}{place}"
    return f"{type(error).__name__}: {error}{place}"


def _import(name: str) -> ModuleType:
    if name not in sys.modules:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin and os.path.exists(spec.origin):
            _refuse_unsafe(spec.origin)
    return importlib.import_module(name)


def _refuse_unsafe(file: str) -> None:
    trouble = unsafe(file)
    if trouble is not None:
        raise trouble


def _python_files(folder: str, broken: list[BrokenModule]) -> list[str]:
    try:
        trouble = unsafe(folder, folder=True)
        if trouble is None:
            names = sorted(os.listdir(folder))
            return [os.path.join(folder, name) for name in names if name.endswith(".py") and name[0] not in "._"]
    except OSError as error:
        broken.append(BrokenModule(folder, f"cannot be read: {error.strerror or error}", stops=True))
        return []
    broken.append(BrokenModule(folder, f"{trouble.what}; {trouble.instead}", stops=True))
    return []


def _import_path(file: str) -> ModuleType:
    _refuse_unsafe(file)
    status = os.stat(file)
    stamp = (status.st_mtime_ns, status.st_size)
    known = _loaded.get(file)
    if known is not None and known.stamp == stamp:
        return known.module
    stem = os.path.basename(file).removesuffix(".py")
    name = f"mta_plugin_{stem}_{crc32(os.fsencode(file)):08x}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python module")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module  # dataclasses look for their module there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before
        raise
    _loaded[file] = _Loaded(stamp, module)
    return module
