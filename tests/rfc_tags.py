"""``make rfc-tags``: which clauses does the code name, and which test carries each?

A clause stands beside the line that obeys it, as ``RFC 5321 4.1.1.4`` or ``CVE-2023-51764``; so it does in the test
that shows it.  Listed are clauses of the code (``mta/``) that no test carries, and those of tests that the code does
not name.  Exit status 1 if there are any of the first kind.

A clause of the code is carried by a test with the same clause or one within it: ``RFC 5321 4.1.1.4`` carries
``RFC 5321 4.1``.  Where an RFC is named without a clause, any mention of that RFC will do.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
CODE = ("mta/**/*.py",)
TESTS = ("tests/**/*.py", "tests/**/*.dialogue")

#: "4.1.1.4", "4", "X.1.7", "C"; a number alone is a section only while it is small.
_CLAUSE = (
    r"(?:[A-Z]\.)?[0-9]+(?:\.[0-9]+)+|(?:[12]?[0-9]|30)(?![0-9.]*[0-9])|(?:[Aa]ppendix )?[A-F](?:\.[0-9]+)*(?![A-Za-z])"
)
_BETWEEN = r" to |, and |, | and "
_RFC = re.compile(rf"RFC ([0-9]{{3,5}})((?: (?:{_CLAUSE})(?:(?:{_BETWEEN})(?:{_CLAUSE}))*)?)")
_FURTHER = re.compile(rf"({_BETWEEN}| )({_CLAUSE})")
_CVE = re.compile(r"CVE-[0-9]{4}-[0-9]+")
#: A reference may go on in the next line of a comment or docstring.
_FOLD = re.compile(r"\s*\n\s*(?:#\s*)?")


class Tag(NamedTuple):
    """``source`` is "RFC 5321" or a CVE; ``clause`` "" where there is none."""

    source: str
    clause: str = ""

    def __str__(self) -> str:
        return f"{self.source} {self.clause}".rstrip()

    def carries(self, other: Tag) -> bool:
        """A test with this tag shows what the other says."""
        if self.source != other.source:
            return False
        return not other.clause or self.clause == other.clause or self.clause.startswith(f"{other.clause}.")


def tags(text: str) -> Iterator[Tag]:
    """All clauses that a text names, in order."""
    text = _FOLD.sub(" ", text)
    for match in _RFC.finditer(text):
        source, clauses = f"RFC {match[1]}", match[2]
        if not clauses:
            yield Tag(source)
        last = ""
        for between, found in _FURTHER.findall(clauses):
            clause = found.removeprefix("appendix ").removeprefix("Appendix ")
            for step in _steps(last, clause) if between == " to " else [clause]:
                yield Tag(source, step)
            last = clause
    for match in _CVE.finditer(text):
        yield Tag(match[0])


def _steps(first: str, last: str) -> Iterator[str]:
    """What "4.1.1.8 to 4.1.1.10" means, the first left out."""
    above, _, start = first.rpartition(".")
    below, _, end = last.rpartition(".")
    if above != below:
        yield last
        return
    for number in range(int(start) + 1, int(end) + 1):
        yield f"{above}.{number}".lstrip(".")


def named(patterns: Iterable[str], root: Path = ROOT) -> Mapping[Tag, list[str]]:
    """The tags in these files, each with the files that name it."""
    found: dict[Tag, list[str]] = {}
    for path in sorted({path for pattern in patterns for path in root.glob(pattern)}):
        if path.name.endswith("rfc_tags.py"):
            continue  # this, and its test, name clauses as examples
        name = str(path.relative_to(root))
        for tag in tags(path.read_text(encoding="utf-8")):
            if name not in (files := found.setdefault(tag, [])):
                files.append(name)
    return found


def missing(code: Mapping[Tag, list[str]], tests: Mapping[Tag, list[str]]) -> list[Tag]:
    """What the code names and no test carries."""
    return sorted(tag for tag in code if not any(test.carries(tag) for test in tests))


def dead(code: Mapping[Tag, list[str]], tests: Mapping[Tag, list[str]]) -> list[Tag]:
    """What tests name, and the code neither names nor anything around it."""
    return sorted(tag for tag in tests if not any(tag.carries(other) or other.carries(tag) for other in code))


def main() -> int:
    code, tests = named(CODE), named(TESTS)
    without = missing(code, tests)
    for tag in without:
        print(f"{tag}: no test; {', '.join(code[tag])}")
    for tag in dead(code, tests):
        print(f"{tag}: not in the code; {', '.join(tests[tag])}")
    print(f"{len(code)} clauses in the code, {len(tests)} in tests; {len(without)} without a test")
    return 1 if without else 0


if __name__ == "__main__":
    sys.exit(main())
