"""Tells one configuration from another: a fingerprint, and what a reload cannot change.

Contract: configurations whose options have equal values have equal fingerprints, however they are written.
Secrets do not enter it: it is stored with each message, and must not help to guess one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from mta.config.schema import Configuration, Listen

_LENGTH: Final = 12
#: Options that only a start applies: names are given out, sockets bound, files open.
NEED_RESTART: Final = ("hostname", "state", "workers", "listen", "local", "dns", "queue.reserve", "log")


def fingerprint(configuration: Configuration) -> str:
    """Twelve hexadecimal digits."""
    lines = "\n".join(f"{key} = {value}" for key, value in configuration.items())
    return hashlib.sha256(lines.encode("utf-8", "surrogatepass")).hexdigest()[:_LENGTH]


def changed_needing_restart(old: Configuration, new: Configuration) -> tuple[str, ...]:
    """The key paths of what differs and comes into force only with a restart."""
    return tuple(key for key in NEED_RESTART if _bound(old, key) != _bound(new, key))


def keep_running(old: Configuration, new: Configuration) -> Configuration:
    """The new configuration, with what needs a restart as it was: what a reload puts in force."""
    return with_start(at_start(old), new)


def at_start(configuration: Configuration) -> dict[str, Any]:
    """What needs a restart, by key path."""
    return {key: _get(configuration, key) for key in NEED_RESTART}


def with_start(values: Mapping[str, Any], new: Configuration) -> Configuration:
    """The new configuration with these values of ``at_start``."""
    plain = dict(values)
    queue = replace(new.queue, reserve=plain.pop("queue.reserve"))
    listeners = {listener.name: listener for listener in new.listen}
    listen = tuple(_reloaded(one, listeners.get(one.name, one)) for one in plain.pop("listen"))
    kept = replace(new, queue=queue, listen=listen, **plain)
    return replace(kept, fingerprint=fingerprint(kept))


def _reloaded(old: Listen, new: Listen) -> Listen:
    """A listener as it is bound, with what a session asks of it as it is written now."""
    return replace(old, identity=new.identity, policy=new.policy)


def _bound(configuration: Configuration, key: str) -> object:
    """What a restart would change."""
    if key != "listen":
        return _get(configuration, key)
    return tuple(replace(one, identity=None, policy=None) for one in configuration.listen)


def _get(configuration: Configuration, key: str) -> object:
    value: object = configuration
    for part in key.split("."):
        value = getattr(value, part)
    return value
