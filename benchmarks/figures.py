"""Drawings for the README, as SVG written by hand: ``compare.svg`` and ``growth.svg``.

They follow the reader's light or dark scheme by themselves, name their fonts by kind, and say in words (``desc``) what
they show.  ``python -m benchmarks.figures [FILE [FOLDER]]`` draws again from the JSON of a run.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

from benchmarks.postfix import FOLDER as LAST
from benchmarks.report import Document, Result, machine_line, results, short
from benchmarks.rows import GROWTH, GROWTH_LEAST

FOLDER: Final = Path(__file__).parent / "figures"
WIDTH: Final = 900
_STYLE: Final = """\
text { font: 13px system-ui, "DejaVu Sans", sans-serif; fill: #24292f }
.small { font-size: 11px; fill: #57606a } .head { font-size: 16px; font-weight: 600 }
.paper { fill: #ffffff } .grid { stroke: #d8dee4; stroke-width: 1 } .one { stroke: #57606a; stroke-width: 1.5 }
.met { fill: #2a78c2 } .not { fill: #d9822b } .goal { stroke: #24292f; stroke-width: 2 }
.aim { stroke: #24292f; stroke-width: 2; stroke-dasharray: 2 2 }
.line { stroke: #2a78c2; stroke-width: 2.5; fill: none } .dot { fill: #2a78c2 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .small { fill: #9198a1 } .paper { fill: #0d1117 }
.grid { stroke: #30363d } .one { stroke: #9198a1 } .met { fill: #4c9be8 } .not { fill: #e8a04c }
.goal, .aim { stroke: #e6edf3 } .line { stroke: #4c9be8 } .dot { fill: #4c9be8 }
}"""


def draw(found: Document, folder: Path) -> None:
    """Both, as far as there is something to draw."""
    folder.mkdir(parents=True, exist_ok=True)
    compared = [result for result in results(found) if result.name != GROWTH and result.times is not None]
    if compared:
        (folder / "compare.svg").write_text(
            compare(compared, f"{machine_line(found)}; {found['date'][:10]}; {found['commit']}")
        )
    if len(found["growth"]) > 1:
        (folder / "growth.svg").write_text(growth(found["growth"]))


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def _picture(height: float, title: str, words: str, parts: Iterable[str]) -> str:
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
            f'height="{height:.0f}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<desc>{escape(words)}</desc>",
            f"<style>{_STYLE}</style>",
            '<rect width="100%" height="100%" class="paper"/>',
            _text(16, 28, title, "head"),
            *parts,
            "</svg>\n",
        ]
    )


# --- comparison ------------------------------------------------------------------------------------------------

_LEFT, _RIGHT, _TOP, _STEP = 290, 630, 88, 30
_MARKS: Final = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)


def compare(rows: Sequence[Result], where: str) -> str:
    """A bar for each row: how many times better than the better Postfix, with the goal; the scale is logarithmic."""
    most = max(max(row.times or 0, row.aim) for row in rows)
    top = next((mark for mark in _MARKS if mark >= most), most)
    least = min(_MARKS[0], *(row.times or 1 for row in rows))

    def x(times: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * (math.log(times) - math.log(least)) / (math.log(top) - math.log(least))

    bottom = _TOP + _STEP * len(rows)
    parts = [
        _text(
            16, 48, "times better than the better of Postfix's default and tuned configuration; logarithmic", "small"
        ),
        _text(16, bottom + 30, where, "small"),
        *_legend(),
    ]
    for mark in _MARKS:
        if least <= mark <= top:
            parts += [
                _line(x(mark), _TOP - 8, x(mark), bottom, "one" if mark == 1 else "grid"),
                _text(x(mark), bottom + 14, f"{mark:g}", "small", "middle"),
            ]
    for number, row in enumerate(rows):
        parts += _bar(row, _TOP + _STEP * number, x)
    words = "; ".join(f"{row.text}: {short(row.times)} times, goal {row.least:g}" for row in rows)
    return _picture(bottom + 42, "txmta and Postfix on one machine", words, parts)


def _bar(row: Result, y: float, x: Callable[[float], float]) -> list[str]:
    assert row.times is not None
    begin, end = sorted((x(1), x(row.times)))
    kind = "met" if row.met else "not"
    return [
        _text(_LEFT - 10, y + 15, row.text, "", "end"),
        f'<rect x="{begin:.1f}" y="{y + 3:.1f}" width="{end - begin:.1f}" height="16" rx="2" class="{kind}"/>',
        _line(x(row.least), y, x(row.least), y + 22, "goal"),
        _line(x(row.aim), y, x(row.aim), y + 22, "aim"),
        _text(_RIGHT + 14, y + 15, f"{short(row.times)}\u00d7"),
        _text(_RIGHT + 68, y + 15, f"{short(row.ours)} : {short(row.best)} {row.unit}", "small"),
    ]


def _legend() -> list[str]:
    y = 60.0
    return [
        f'<rect x="16" y="{y}" width="12" height="12" rx="2" class="met"/>',
        _text(34, y + 10, "goal met", "small"),
        f'<rect x="96" y="{y}" width="12" height="12" rx="2" class="not"/>',
        _text(114, y + 10, "not met", "small"),
        _line(176, y - 1, 176, y + 13, "goal"),
        _text(184, y + 10, "goal: at least", "small"),
        _line(276, y - 1, 276, y + 13, "aim"),
        _text(284, y + 10, "aim", "small"),
    ]


# --- growth ----------------------------------------------------------------------------------------------------


def growth(points: Sequence[dict[str, Any]]) -> str:
    """Messages delivered a second beside so many waiting recipients; the first point is that with the fewest."""
    rates = [statistics.median(point["delivered"]) for point in points]
    top = _round(max(rates) * 1.1)
    left, right, upper, lower = 80.0, WIDTH - 40.0, 76.0, 300.0
    step = (right - left - 60) / (len(points) - 1)

    def y(rate: float) -> float:
        return lower - (lower - upper) * rate / top

    places = [(left + 30 + step * number, y(rate)) for number, rate in enumerate(rates)]
    parts = [_text(16, 48, "new messages accepted and delivered a second, beside so many that wait", "small")]
    for quarter in range(5):
        mark = top * quarter / 4
        parts += [
            _line(left, y(mark), right, y(mark), "grid"),
            _text(left - 8, y(mark) + 4, f"{mark:,.0f}", "small", "end"),
        ]
    bound = y(rates[0] * GROWTH_LEAST)
    parts += [
        _line(left, bound, right, bound, "aim"),
        _text(right, bound + 16, f"goal: {GROWTH_LEAST:.0%} of the first", "small", "end"),
        f'<polyline points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in places)}" class="line"/>',
    ]
    for (a, b), point, rate in zip(places, points, rates, strict=True):
        parts += [
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="4" class="dot"/>',
            _text(a, b - 10, f"{rate:,.0f}", "", "middle"),
            _text(a, lower + 18, f"{point['waiting']:,}", "small", "middle"),
        ]
    parts.append(_text((left + right) / 2, lower + 38, "waiting recipients", "small", "middle"))
    words = "; ".join(f"{point['waiting']:,} waiting: {rate:,.0f}/s" for point, rate in zip(points, rates, strict=True))
    return _picture(lower + 52, "The rate beside a long queue", words, parts)


def _round(value: float) -> float:
    """Up to a number that four parts of look well."""
    scale: float = 10.0 ** math.floor(math.log10(value))
    return next(scale * factor for factor in (1, 2, 4, 6, 8, 10) if scale * factor >= value)


if __name__ == "__main__":
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else LAST / "last.json"
    draw(json.loads(source.read_text()), Path(sys.argv[2]) if len(sys.argv) > 2 else FOLDER)
