"""Draws small charts as inline SVG, without any style of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from migrator.report.html import wording
from migrator.report.html.elements import h

WIDTH, HEIGHT = 560, 210
LEFT, RIGHT, TOP, BOTTOM = 56, 8, 10, 26
MIN_SHARE = 0.006
MAX_GAP_SLICES = 4


@dataclass(frozen=True)
class Line:
    """One line of a chart. `css` names its colour; an area is filled below it."""

    label: str
    values: Sequence[float | None]
    css: str
    area: bool = False


@dataclass(frozen=True)
class Frame:
    """Where a chart's numbers are on paper."""

    seconds: float
    highest: float

    def x(self, at_s: float) -> float:
        """Left to right."""
        return round(LEFT + (WIDTH - LEFT - RIGHT) * at_s / self.seconds, 1)

    def y(self, value: float) -> float:
        """From below."""
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / self.highest, 1)


def timeline(
    name: str,
    title: str,
    lines: Sequence[Line],
    interval_s: float,
    spelled: Callable[[float | None], str],
    *,
    bars: bool = False,
    note: str = "",
) -> Element:
    """A figure with a value over time, by slices of `interval_s`.

    Args:
        name: a word for the figure's id.
        title: what is drawn.
        lines: the values.
        interval_s: the width of a slice.
        spelled: a value as text.
        bars: columns in place of lines; the lines' values stand on each other.
        note: one sentence for who cannot see it.
    """
    count = max((len(line.values) for line in lines), default=0)
    sums = [sum(line.values[n] or 0 for line in lines) for n in range(count)]
    singles = [value or 0 for line in lines for value in line.values]
    marks = wording.ticks(max((sums if bars else singles), default=0.0))
    frame = Frame(max(count, 1) * interval_s, marks[-1])
    drawing = [h("g", [_grid(frame, mark, spelled) for mark in marks], class_="grid")]
    drawing.append(
        h(
            "g",
            [
                h("text", wording.duration(at) if at else "0", x=frame.x(at), y=HEIGHT - 8, text_anchor="middle")
                for at in wording.time_ticks(frame.seconds)
                if frame.x(at) < WIDTH - 16
            ],
            class_="axis",
        )
    )
    if bars:
        drawing += _columns(frame, lines, count, interval_s)
    else:
        for line in lines:
            drawing += _curve(frame, line, interval_s)
    drawing.append(h("g", [_slice(frame, lines, n, interval_s, spelled) for n in range(count)], class_="slices"))
    svg = _picture(name, title, note, drawing)
    legend = [
        h("span", h("span", class_=f"key {line.css}"), line.label, class_="legend") for line in lines if line.label
    ]
    return h(
        "figure",
        h("figcaption", h("span", title, class_="title"), h("span", legend, class_="legends")),
        svg,
        h("output", "\u00a0", class_="readout"),
        class_="chart",
        id=name,
    )


def histogram(name: str, title: str, bars: Sequence[tuple[str, float]], note: str) -> Element:
    """A figure with one column for each label."""
    marks = wording.ticks(max((value for _, value in bars), default=0.0))
    frame = Frame(max(len(bars), 1), marks[-1])
    drawing = [h("g", [_grid(frame, mark, wording.number) for mark in marks], class_="grid")]
    for place, (label, value) in enumerate(bars):
        left, right = frame.x(place + 0.15), frame.x(place + 0.85)
        top = frame.y(value)
        drawing.append(
            h("rect", x=left, y=top, width=round(right - left, 1), height=_above(frame, top), class_="a bar", rx=2)
        )
        drawing.append(h("text", label, x=frame.x(place + 0.5), y=HEIGHT - 8, text_anchor="middle", class_="axis"))
        drawing.append(
            h(
                "rect",
                h("title", f"{label}: {wording.number(value)}"),
                x=frame.x(place),
                y=TOP,
                width=round(frame.x(place + 1) - frame.x(place), 1),
                height=HEIGHT - TOP - BOTTOM,
                class_="slice",
                data_say=f"{label}: {wording.number(value)}",
            )
        )
    svg = _picture(name, title, note, drawing)
    caption = h("figcaption", h("span", title, class_="title"))
    return h("figure", caption, svg, h("output", "\u00a0", class_="readout"), class_="chart", id=name)


def shares(parts: Sequence[tuple[str, int]], *, css: str, label: str) -> Element:
    """One bar, divided in the parts' proportion; each part's word is its colour too."""
    there = [(word, count) for word, count in parts if count]
    total = sum(count for _, count in there)
    # What is there can be seen, however small its share.
    widths = [max(count / total, MIN_SHARE) for _, count in there]
    scale = 100 / sum(widths, start=0.0) if widths else 0.0
    pieces = []
    at = 0.0
    for (word, count), share in zip(there, widths, strict=True):
        width = share * scale
        piece = h("title", f"{word}: {count:,}")
        style = f"fate-{word}"
        pieces.append(h("rect", piece, x=f"{at:.3f}%", width=f"{width:.3f}%", height="100%", class_=style))
        at += width
    return h("svg", h("title", label), pieces, class_=css, role="img", aria_label=label)


def _grid(frame: Frame, mark: float, spelled: Callable[[float | None], str]) -> list[Element]:
    y = frame.y(mark)
    return [
        h("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y),
        h("text", spelled(mark), x=LEFT - 8, y=y + 4, text_anchor="end"),
    ]


def _curve(frame: Frame, line: Line, interval_s: float) -> list[Element]:
    """The line, broken where there was no value for long."""
    pieces: list[list[tuple[float, float]]] = [[]]
    last = 0
    for place, value in enumerate(line.values):
        if value is not None:
            if place - last > MAX_GAP_SLICES:
                pieces.append([])
            last = place
            pieces[-1].append((frame.x((place + 0.5) * interval_s), frame.y(value)))
    drawn = []
    for points in pieces:
        if not points:
            continue
        if len(points) == 1:
            drawn.append(h("circle", cx=points[0][0], cy=points[0][1], r=2.5, class_=f"dot {line.css}"))
            continue
        path = " ".join(f"{x},{y}" for x, y in points)
        if line.area:
            floor = frame.y(0)
            closed = f"{points[0][0]},{floor} {path} {points[-1][0]},{floor}"
            drawn.append(h("polygon", points=closed, class_=f"area {line.css}"))
        drawn.append(h("polyline", points=path, class_=f"line {line.css}"))
    return drawn


def _columns(frame: Frame, lines: Sequence[Line], count: int, interval_s: float) -> list[Element]:
    drawn = []
    for place in range(count):
        base = 0.0
        for line in lines:
            value = line.values[place] or 0
            if value:
                left, right = frame.x((place + 0.1) * interval_s), frame.x((place + 0.9) * interval_s)
                top = frame.y(base + value)
                height = round(frame.y(base) - top, 1)
                width = round(max(right - left, 0.8), 1)
                drawn.append(h("rect", x=left, y=top, width=width, height=height, class_=f"bar {line.css}"))
                base += value
    return drawn


def _slice(
    frame: Frame, lines: Sequence[Line], place: int, interval_s: float, spelled: Callable[[float | None], str]
) -> Element:
    """An unseen column over one slice that says its values."""
    values = ", ".join(f"{line.label} {spelled(line.values[place])}".strip() for line in lines)
    said = f"at {wording.duration(place * interval_s) if place else '0 s'}: {values}"
    left = frame.x(place * interval_s)
    return h(
        "rect",
        h("title", said),
        x=left,
        y=TOP,
        width=round(frame.x((place + 1) * interval_s) - left, 2),
        height=HEIGHT - TOP - BOTTOM,
        class_="slice",
        data_say=said,
    )


def _above(frame: Frame, top: float) -> float:
    return round(frame.y(0) - top, 1)


def _picture(name: str, title: str, note: str, drawing: Sequence[Element]) -> Element:
    """A drawing with its name and description for those who cannot see it."""
    return h(
        "svg",
        h("title", title, id=f"{name}-title"),
        h("desc", note, id=f"{name}-desc"),
        drawing,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        tabindex="0",
        aria_labelledby=f"{name}-title {name}-desc",
    )
