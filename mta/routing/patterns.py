"""Patterns of domains, as ``to`` in ``[[route]]`` has them.

Contract: ``partner.example`` is that domain alone; ``*.partner.example`` everything below it and not
``partner.example`` itself; ``*`` every domain.  They are compared as A-labels, like all domains.
How it fails: ``ValueError`` says what is wrong with a pattern and what would be right.
"""

from __future__ import annotations

from collections.abc import Iterable

from mta.address import AddressError, normal_domain


class DomainPatterns:
    """A list of patterns, made ready to be compared in a few dictionary look-ups."""

    __slots__ = ("_all", "_below", "_exact")

    def __init__(self, patterns: Iterable[str]) -> None:
        exact, below = set(), set()
        self._all = False
        for pattern in patterns:
            if pattern == "*":
                self._all = True
            elif pattern.startswith("*."):
                below.add(_domain(pattern, pattern[2:]))
            else:
                exact.add(_domain(pattern, pattern))
        self._exact = frozenset(exact)
        self._below = frozenset(below)

    def match(self, domain: str) -> bool:
        """Does one of them match?  ``domain`` as by ``normal_domain``."""
        return self._all or self.names(domain)

    def names(self, domain: str) -> bool:
        """Does one of them match that says more than ``*``?"""
        if domain in self._exact:
            return True
        if not self._below or domain.startswith("["):
            return False
        dot = domain.find(".")
        while dot >= 0:
            if domain[dot + 1 :] in self._below:
                return True
            dot = domain.find(".", dot + 1)
        return False


def _domain(pattern: str, text: str) -> str:
    if "*" in text:
        raise ValueError(f'"{pattern}": a star may only stand alone or as the first label: "*.partner.example"')
    if "@" in text:
        raise ValueError(f'"{pattern}": patterns are of domains; leave out what stands up to the "@"')
    try:
        return normal_domain(text)
    except AddressError as error:
        raise ValueError(f'"{pattern}": {error}; a pattern is like "partner.example"') from error
