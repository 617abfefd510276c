"""A section of the configuration that a provider reads: ``[delivery.X]``, ``[tables.X]``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from mta.config.option import Options


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What ``type`` names: the provider's class, and its options as they were read."""

    type_name: str
    provider: Any
    options: Options


#: Sections by the kind of their provider.
DeliverySection: TypeAlias = Annotated[Section, "delivery"]
TableSection: TypeAlias = Annotated[Section, "table"]
