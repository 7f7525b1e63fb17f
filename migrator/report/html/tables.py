"""Tables of the page, and the box that searches one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from migrator.report.html import charts
from migrator.report.html.elements import h

FATES = ("written", "unchanged", "skipped", "filtered", "rejected")
LONG_CHARS = 32


def table(
    title: str,
    head: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    left: int = 1,
    foot: Sequence[Any] | None = None,
) -> Element:
    """A table in a frame that scrolls by itself; the first `left` columns are words, the others numbers."""
    return h(
        "div",
        h(
            "table",
            h("caption", title),
            h("thead", h("tr", [_head(word, place < left) for place, word in enumerate(head)])),
            h("tbody", [_row(row, left) for row in rows]),
            h("tfoot", _row(foot, left)) if foot else None,
        ),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label=title,
    )


def _head(word: str, left: bool) -> Element:
    if not word:
        return h("th", h("span", "shares", class_="unseen"), scope="col", class_="bar-cell")
    return h("th", word, scope="col", class_=None if left else "number")


def _row(cells: Sequence[Any], left: int) -> Element:
    made = [h("th", str(cells[0]), scope="row", class_=_kind(str(cells[0])))]
    for place, cell in enumerate(cells[1:], start=1):
        if isinstance(cell, Mapping):
            bar = charts.shares([(word, cell[word]) for word in FATES], css="share", label=told(cell))
            made.append(h("td", bar, class_="bar-cell"))
        elif isinstance(cell, int):
            made.append(h("td", f"{cell:,}", class_="number zero" if cell == 0 else "number"))
        else:
            made.append(h("td", str(cell), class_=_kind(str(cell)) if place < left else "number"))
    return h("tr", made)


def searchable(name: str, label: str, table: Element) -> Element:
    """A table under a box that searches it, which is there only where scripts run."""
    return h(
        "div",
        h(
            "div",
            h("label", label, for_=f"{name}-search"),
            h("input", type="search", id=f"{name}-search", autocomplete="off", spellcheck="false"),
            h("output", id=f"{name}-found", aria_live="polite", for_=f"{name}-search"),
            class_="search",
            hidden=True,
        ),
        table,
        class_="searchable",
    )


def _kind(text: str) -> str | None:
    # Of a long text any letter may begin a line; words that fit stay whole.
    return "long" if len(text) > LONG_CHARS else None


def told(counts: Mapping[str, int]) -> str:
    """How the documents ended, in words."""
    return ", ".join(f"{counts[word]:,} {word}" for word in FATES if counts[word]) or "nothing"
