"""What needs a restart is the whole service's: a worker that is started again has it from its parent, not from a file
that was changed meanwhile.

What it is: the values of ``mta.config.fingerprint.at_start`` in memory that the workers inherit.  A worker that took
``state`` from the file would write a spool whose lock nobody holds.
Contract: ``apply`` gives the configuration that was read, with these values of the parent.
As JSON: nothing that could run is ever read, our own parent's octets included.
Limits: the parent is believed; it is the same program.
"""

from __future__ import annotations

import json
import os
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Final, get_type_hints

from cattrs.preconf.json import make_converter

from mta.config.fingerprint import at_start, with_start
from mta.config.option import Network, Server
from mta.config.schema import Configuration

_converter = make_converter()
for _kind in (IPv4Network, IPv6Network):
    _converter.register_unstructure_hook(_kind, str)
_converter.register_structure_hook(Network, lambda text, _: ip_network(text))
_converter.register_structure_hook(Server, lambda parts, _: Server(*parts))
_KINDS: Final = get_type_hints(Configuration)


def make(configuration: Configuration) -> int:
    """The memory, as a descriptor.  Raises ``OSError``."""
    descriptor = os.memfd_create("configuration")
    with open(descriptor, "w", encoding="ascii", closefd=False) as file:
        json.dump(_converter.unstructure(at_start(configuration)), file)
    return descriptor


def apply(descriptor: int, read: Configuration) -> Configuration:
    """See the module's text; the descriptor, which others have too, is read from its beginning."""
    plain: dict[str, Any] = json.loads(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
    values = {key: _converter.structure(value, _KINDS.get(key, int)) for key, value in plain.items()}
    return with_start(values, read)
