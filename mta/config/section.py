"""A section of the configuration that a provider reads: ``[delivery.X]``, ``[tables.X]``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from mta.config.option import Options


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What ``type`` names: the provider's class, and its options as they were read.

    A type of policy may have a class for each of several stages: ``providers`` are all of them, ``common`` the options
    that every policy has.
    """

    type_name: str
    provider: Any
    options: Options
    providers: tuple[Any, ...] = ()
    common: Options | None = None


#: Sections by the kind of their provider.
DeliverySection: TypeAlias = Annotated[Section, "delivery"]
TableSection: TypeAlias = Annotated[Section, "table"]
PolicySection: TypeAlias = Annotated[Section, "policy"]
AccountsSection: TypeAlias = Annotated[Section, "accounts"]
