"""The page's charts: numbers on paper, which `parts.html` draws as inline SVG, without any style of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from migrator.report.html import wording

WIDTH, HEIGHT = 560, 210
LEFT, RIGHT, TOP, BOTTOM = 56, 8, 10, 26
MIN_SHARE = 0.006
MAX_GAP_SLICES = 4
Shape: TypeAlias = "tuple[str, dict[str, object]]"


@dataclass(frozen=True)
class Line:
    """One line of a chart. `css` names its colour; an area is filled below it."""

    label: str
    values: Sequence[float | None]
    css: str
    area: bool = False


@dataclass
class Chart:
    """One figure.

    Args:
        name: a word for the figure's id.
        title: what is drawn.
        note: one sentence for who cannot see it.
        steps: from left to right.
        highest: the top.
        lines: what the legend names.
        marks: the places and words of the vertical axis, `ticks` of the horizontal one.
        shapes: SVG elements and their attributes.
        slices: unseen columns that say their values: place, width, words.
    """

    name: str
    title: str
    note: str
    steps: float
    highest: float
    lines: Sequence[Line] = ()
    marks: list[tuple[float, str]] = field(default_factory=list)
    ticks: list[tuple[float, str]] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)
    slices: list[tuple[float, float, str]] = field(default_factory=list)
    width, height, left, right, top, bottom = WIDTH, HEIGHT, LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM

    def x(self, step: float) -> float:
        """Left to right."""
        return round(LEFT + (WIDTH - LEFT - RIGHT) * step / self.steps, 1)

    def y(self, value: float) -> float:
        """From below."""
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / self.highest, 1)

    def column(self, step: float, width: float, base: float, value: float, css: str) -> None:
        """Draw a column that stands on `base`."""
        left, right, top = self.x(step), self.x(step + width), self.y(base + value)
        size = {"width": round(max(right - left, 0.8), 1), "height": round(self.y(base) - top, 1)}
        self.shapes.append(("rect", {"x": left, "y": top, **size, "class": f"bar {css}"}))

    def say(self, step: float, width: float, text: str) -> None:
        """Say something about a part of the chart."""
        self.slices.append((self.x(step), round(self.x(step + width) - self.x(step), 2), text))


def over_time(report: Mapping[str, Any]) -> Iterator[Chart]:
    """How the run went over time."""
    history = report["history"]
    series, interval = history["series"], history["interval_s"]
    rates = [count / interval for count in series["documents"]]
    # The last slice ended with the run, so it is shorter than the others.
    last = report["seconds"] - interval * (len(rates) - 1) if "seconds" in report else interval
    if rates and 0.05 * interval < last < interval:
        rates[-1] = series["documents"][-1] / last
    note = f"On average {wording.number(report.get('documents_per_second', 0))} documents a second."
    lines = [Line("", rates, "a", area=True)]
    yield timeline("throughput", "Documents a second", note, lines, interval, wording.number)
    latency = series["latency_ms"]
    note = "How long a batch took, retries included: the median, the 95th percentile, and the slowest."
    named = [("max", "max", "d"), ("p95", "p95", "b"), ("median", "p50", "a")]
    lines = [Line(label, latency[name], css) for label, name, css in named]
    yield timeline("latency", "Time of a batch", note, lines, interval, wording.milliseconds)
    lines = [Line("", [count / interval for count in series["bytes"]], "a", area=True)]
    yield timeline("bytes", "Bytes a second", "Encoded documents sent.", lines, interval, wording.size)
    note = "Documents in the largest batch of each slice of time."
    lines = [Line("documents", [count or None for count in series["largest_batch"]], "a")]
    yield timeline("batch", "Largest batch", note, lines, interval, wording.number)
    if any(series["retries"]) or any(series["rejected"]):
        note = "How many there were in each slice of time."
        lines = [Line("retries", series["retries"], "b"), Line("rejects", series["rejected"], "fate-rejected")]
        yield timeline("trouble", "Retries and rejects", note, lines, interval, wording.number, bars=True)
    if history["batch_sizes"]:
        bars = [(f"≤ {size['up_to']:,}", size["batches"]) for size in history["batch_sizes"]]
        yield _histogram("sizes", "Batches by size", "How many batches had at most so many documents.", bars)


def shares(counts: Mapping[str, int]) -> Iterator[tuple[str, str, str]]:
    """The parts of a bar that shows how the documents ended: word, place and width, in the counts' proportion."""
    there = [(word, counts[word]) for word in wording.FATES if counts[word]]
    total = sum(count for _, count in there)
    # What is there can be seen, however small its share.
    widths = [max(count / total, MIN_SHARE) for _, count in there]
    at = 0.0
    for (word, _), share in zip(there, widths, strict=True):
        width = share * 100 / sum(widths)
        yield word, f"{at:.3f}%", f"{width:.3f}%"
        at += width


def timeline(
    name: str,
    title: str,
    note: str,
    lines: Sequence[Line],
    interval_s: float,
    spelled: Callable[[float | None], str],
    *,
    bars: bool = False,
    begun: datetime | None = None,
) -> Chart:
    """Values over time, by slices of `interval_s`; with `bars` as columns that stand on each other.

    With `begun`, which is when the first slice begins, times are those of the calendar.
    """
    count = max(len(line.values) for line in lines)
    sums = [sum(line.values[n] or 0 for line in lines) for n in range(count)]
    singles = [value or 0 for line in lines for value in line.values]
    chart = _chart(name, title, note, max(count, 1) * interval_s, sums if bars else singles, spelled)
    chart.lines = lines
    marks = wording.date_ticks(chart.steps, begun) if begun else wording.time_ticks(chart.steps)
    at = [(chart.x(at_s), _time(at_s, begun, interval_s) if at_s or begun else "0") for at_s in marks]
    chart.ticks = [(x, text) for x, text in at if x < WIDTH - (40 if begun else 16)]
    for place in range(count):
        start, values = place * interval_s, [(line, line.values[place]) for line in lines]
        base = 0.0
        for line, value in values if bars else ():
            if value:
                chart.column(start + 0.1 * interval_s, 0.8 * interval_s, base, value, line.css)
                base += value
        said = ", ".join(f"{line.label} {spelled(value)}".strip() for line, value in values)
        chart.say(start, interval_s, f"at {_time(start, begun, interval_s)}: {said}")
    for line in () if bars else lines:
        chart.shapes += _curve(chart, line, interval_s)
    return chart


def _time(at_s: float, begun: datetime | None, interval_s: float) -> str:
    if begun:
        return wording.moment(begun + timedelta(seconds=at_s), hours=interval_s < wording.DAY_S)
    return wording.duration(at_s) if at_s else "0 s"


def _histogram(name: str, title: str, note: str, bars: Sequence[tuple[str, float]]) -> Chart:
    """One column for each label."""
    chart = _chart(name, title, note, len(bars), [value for _, value in bars], wording.number)
    for place, (label, value) in enumerate(bars):
        chart.column(place + 0.15, 0.7, 0, value, "a")
        chart.ticks.append((chart.x(place + 0.5), label))
        chart.say(place, 1, f"{label}: {wording.number(value)}")
    return chart


def _chart(
    name: str,
    title: str,
    note: str,
    steps: float,
    values: Sequence[float],
    spelled: Callable[[float | None], str],
) -> Chart:
    marks = wording.ticks(max(values, default=0.0))
    chart = Chart(name, title, note, steps, marks[-1])
    chart.marks = [(chart.y(mark), spelled(mark)) for mark in marks]
    return chart


def _curve(chart: Chart, line: Line, interval_s: float) -> Iterator[Shape]:
    """The line, broken where there was no value for long."""
    pieces: list[list[tuple[float, float]]] = [[]]
    last = 0
    for place, value in enumerate(line.values):
        if value is not None:
            if place - last > MAX_GAP_SLICES:
                pieces.append([])
            last = place
            pieces[-1].append((chart.x((place + 0.5) * interval_s), chart.y(value)))
    for points in filter(None, pieces):
        if len(points) == 1:
            yield "circle", {"cx": points[0][0], "cy": points[0][1], "r": 2.5, "class": f"dot {line.css}"}
            continue
        path = " ".join(f"{x},{y}" for x, y in points)
        if line.area:
            floor = chart.y(0)
            closed = f"{points[0][0]},{floor} {path} {points[-1][0]},{floor}"
            yield "polygon", {"points": closed, "class": f"area {line.css}"}
        yield "polyline", {"points": path, "class": f"line {line.css}"}
