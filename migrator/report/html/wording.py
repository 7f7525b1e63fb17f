"""Numbers as people read them, and the rows of the page's tables, from the JSON of a report."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypeAlias

from migrator.naming import counted

NOTHING = "\N{EN DASH}"
FATES = ("written", "unchanged", "skipped", "filtered", "rejected")
# What is said of documents beside how they ended; reports of versions before have the first alone.
MARKS = ("conflicts", "proven", "altered")
DAY_S = 86_400
# Of what was tried again for one reason, so many operations are named.
MAX_NAMED = 3
Row: TypeAlias = list[Any]


def number(value: float | None) -> str:
    """Grouped; fractions only where the number is small."""
    if value is None:
        return NOTHING
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= 1 else f"{value:.2g}"


def size(count: float | None) -> str:
    """Bytes with the unit that fits."""
    count = count or 0
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{number(count)} {unit}"
        count /= 1000
    raise AssertionError


def duration(seconds: float) -> str:
    """Seconds as hours, minutes and seconds, the two largest."""
    if seconds < 60:
        return f"{number(round(seconds, 3 if seconds < 1 else 1))} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"


def milliseconds(value: float | None) -> str:
    """A latency."""
    if value is None:
        return NOTHING
    return f"{number(value)} ms" if value < 1000 else duration(value / 1000)


def documents(count: int) -> str:
    """So many documents."""
    return counted(count, "document")


def in_words(counts: Mapping[str, int]) -> str:
    """How the documents ended."""
    return ", ".join(f"{counts[word]:,} {word}" for word in FATES if counts[word]) or "nothing"


FILTERS = (number, size, duration, milliseconds, documents, in_words)


def ticks(highest: float, wanted: int = 4) -> list[float]:
    """Round numbers from 0 to at least `highest`."""
    if highest <= 0:
        return [0.0, 1.0]
    rough = highest / wanted
    scale: float = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * scale for factor in (1, 2, 2.5, 5, 10) if factor * scale >= rough * 0.999)
    return [step * place for place in range(math.ceil(highest / step * 0.999) + 1)]


def time_ticks(highest: float, wanted: int = 5) -> list[float]:
    """Moments that people would choose on a clock, from 0 on."""
    seconds = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30)
    steps = (*seconds, *(minutes * 60 for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440)))
    step = next((step for step in steps if highest / step <= wanted), highest / wanted)
    return [step * place for place in range(int(highest / step * 1.001) + 1)]


def moment(time: datetime, *, hours: bool = True) -> str:
    """A time in UTC as people write it."""
    return f"{time:%Y-%m-%d %H:%M}" if hours else f"{time:%Y-%m-%d}"


def date_ticks(highest: float, begun: datetime, wanted: int = 5) -> list[float]:
    """Beginnings of days, or full hours where all is within few days, in seconds from `begun` on."""
    steps = (3_600, 10_800, 21_600, *(days * DAY_S for days in (1, 2, 7, 14, 28, 91, 182, 364)))
    step = next((step for step in steps if highest / step <= wanted), math.ceil(highest / wanted / DAY_S) * DAY_S)
    first = -begun.timestamp() % min(step, DAY_S)
    return [first + step * place for place in range(int((highest - first) / step) + 1)]


def by_collection(report: Mapping[str, Any]) -> tuple[Row, list[Row], Row | None]:
    """What became of the documents of each collection: the table's head, its rows and its foot."""
    totals = report["totals"]
    courses = report.get("history", {}).get("collections", {})
    # A column in which nothing is tells nothing.
    shown = ["read", *(word for word in (*FATES, *MARKS) if totals.get(word))]
    mixed = sum(totals[word] > 0 for word in FATES) > 1

    def row(name: str, database: str, counts: Mapping[str, int], size_bytes: int, seconds: float) -> Row:
        course = [size(size_bytes), duration(seconds)] if courses else []
        return [name, database, *([counts] if mixed else []), *(counts[word] for word in shown), *course]

    rows = []
    for name, counts in report["collections"].items():
        course = courses.get(name, {})
        rows.append(row(name, counts["database"], counts, course.get("bytes", 0), course.get("seconds", 0)))
    all_bytes = sum(course["bytes"] for course in courses.values())
    foot = row("total", "", totals, all_bytes, report["seconds"])
    head = ["collection", "database", *([""] if mixed else []), *shown, *(["size", "time"] if courses else [])]
    return head, rows, foot if len(rows) > 1 else None


def by_slice(history: Mapping[str, Any]) -> tuple[Row, list[Row]]:
    """The numbers of each slice of time in which there was something."""
    series, latency = history["series"], history["series"]["latency_ms"]
    head = ["from", "documents", "bytes", "batches", "largest batch"]
    head += ["median", "p95", "max", "retries", "rejects"]
    rows = [
        [
            duration(place * history["interval_s"]) if place else "0 s",
            count,
            size(series["bytes"][place]),
            series["batches"][place],
            series["largest_batch"][place],
            *(milliseconds(latency[name][place]) for name in ("p50", "p95", "max")),
            series["retries"][place],
            series["rejected"][place],
        ]
        for place, count in enumerate(series["documents"])
        if count or series["batches"][place] or series["retries"][place]
    ]
    return head, rows


def retried(history: Mapping[str, Any]) -> list[Row]:
    """What was tried again, by reason; reasons that differ only by a number are one."""
    groups: dict[str, tuple[str, Counter[str]]] = {}
    for each in history["retry_reasons"]:
        _, at = groups.setdefault(re.sub(r"\d[\d.,]*", "0", each["reason"]), (each["reason"], Counter()))
        at[each["operation"]] += each["count"]
    rows = []
    for reason, at in sorted(groups.values(), key=lambda group: -group[1].total()):
        said = [f"{name} ({count:,})" if len(at) > 1 else name for name, count in at.most_common(MAX_NAMED)]
        rest = len(at) - len(said)
        rows.append([reason, ", ".join(said) + (f" and {rest:,} more" if rest else ""), at.total()])
    return rows


def changes(history: Mapping[str, Any]) -> list[Row]:
    """How the limits gave way."""
    return [
        [duration(limit["at_s"]), limit["reason"], limit["max_docs"], limit["in_flight"]]
        for limit in history["limits"]
    ]


def sampled(reasons: Iterable[Mapping[str, Any]]) -> list[Row]:
    """The rejects that the report names."""
    return [
        [reason["error"], item["collection"], item["id"], item["reason"]]
        for reason in reasons
        for item in reason["sample"]
    ]


def compared(verified: Mapping[str, Any]) -> tuple[Row, list[Row], Row | None]:
    """What a verification counted in each collection: the table's head, its rows and its foot."""
    totals = verified["totals"]
    names = list(totals)
    rows = [[name, *(counts[key] for key in names)] for name, counts in verified["collections"].items()]
    return ["collection", *names], rows, ["total", *totals.values()] if len(rows) > 1 else None


TABLES = (by_collection, by_slice, changes, compared, retried, sampled)
