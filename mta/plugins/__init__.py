"""Plugin modules of txmta: a module that any installed distribution puts in its ``mta/plugins/`` is found here.

As with ``twisted.plugins``, such a folder has no ``__init__.py`` of its own.  ``mta.config.providers`` reads it.
"""

from __future__ import annotations

from twisted.plugin import pluginPackagePaths

__path__.extend(pluginPackagePaths(__name__))
__all__: list[str] = []
