"""Which TLS is demanded for mail to a domain.  Pure.

Contract: of the patterns that match, the one that says most counts: the domain itself, then ``*.`` with the longest
tail, then ``*``; without one the default.
"""

from __future__ import annotations

from collections.abc import Mapping

from mta.tls.client import TlsLevel


class TlsRules:
    """See the module's text.  ``rules``: patterns as of the type ``DomainPattern``, which are normal already."""

    __slots__ = ("_default", "_rules")

    def __init__(self, default: TlsLevel, rules: Mapping[str, TlsLevel]) -> None:
        self._default = rules.get("*", default)
        self._rules = dict(rules)

    def level(self, domain: str) -> TlsLevel:
        """For a domain as by ``normal_domain``."""
        rules = self._rules
        if not rules:
            return self._default
        found = rules.get(domain)
        dot = domain.find(".")
        while found is None and dot >= 0:
            found = rules.get(f"*{domain[dot:]}")
            dot = domain.find(".", dot + 1)
        return self._default if found is None else found
