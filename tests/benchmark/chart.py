"""Draws the cases as bars, in SVG that needs nothing to be made and nothing to be shown."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from tests.benchmark.results import Case, Summary, summarise

OURS = "migrator"
WIDTH = 860
_LABELS = 250
_NUMBERS = 110
_BAR = 16
_STEP = 22
_HEAD = 34
_GAP = 18
_MARGIN = 16
_COLOURS = {True: "#1f6feb", False: "#9aa4b2"}
_TEXT = "#24292f"


def draw(cases: Sequence[Case]) -> str:
    """One group of bars for each case, all bars of a group to one scale; longer is faster."""
    groups = [(case, summarise(case)) for case in cases if case.samples]
    parts: list[str] = []
    y = _MARGIN
    for case, summaries in groups:
        parts.append(_text(_MARGIN, y + 14, f"{case.what}, documents/s", weight="bold"))
        y += _HEAD - 8
        most = max(summary.documents_per_second for summary in summaries)
        for summary in summaries:
            parts += _bar(y, summary, summary.documents_per_second / most)
            y += _STEP
        y += _GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" '
        'font-family="system-ui, sans-serif" font-size="13">'
    )
    title = "<title>Documents per second by contender and case; longer is faster</title>"
    return (
        "\n".join([head, title, f'<rect width="{WIDTH}" height="{y}" fill="#ffffff"/>', *parts, "</svg>"]) + "\n"
    )


def _bar(y: int, summary: Summary, share: float) -> list[str]:
    ours = summary.contender == OURS
    length = max(1, round((WIDTH - _LABELS - _NUMBERS - 2 * _MARGIN) * share))
    weight = "bold" if ours else "normal"
    return [
        _text(_LABELS, y + 13, summary.contender, anchor="end", weight=weight),
        f'<rect x="{_LABELS + 8}" y="{y}" width="{length}" height="{_BAR}" rx="2" fill="{_COLOURS[ours]}"/>',
        _text(_LABELS + length + 14, y + 13, f"{summary.documents_per_second:,.0f}", weight=weight),
    ]


def _text(x: int, y: int, text: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x}" y="{y}" fill="{_TEXT}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'
    )
