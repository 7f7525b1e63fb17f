"""Rows of the page's tables, from the JSON of a report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from migrator.report.html import wording

__all__ = ["by_collection", "by_slice", "changes", "compared", "sampled"]

Row: TypeAlias = list[Any]


def by_collection(report: Mapping[str, Any]) -> tuple[Row, list[Row], Row | None]:
    """What became of the documents of each collection: the table's head, its rows and its foot."""
    totals = report["totals"]
    courses = report.get("history", {}).get("collections", {})
    # A column in which nothing is tells nothing.
    shown = ["read", *(word for word in (*wording.FATES, "conflicts") if totals[word])]
    mixed = sum(totals[word] > 0 for word in wording.FATES) > 1

    def row(name: str, database: str, counts: Mapping[str, int], size_bytes: int, seconds: float) -> Row:
        course = [wording.size(size_bytes), wording.duration(seconds)] if courses else []
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
    head += ["half", "95 %", "slowest", "retries", "rejects"]
    rows = [
        [
            wording.duration(place * history["interval_s"]) if place else "0 s",
            count,
            wording.size(series["bytes"][place]),
            series["batches"][place],
            series["largest_batch"][place],
            *(wording.milliseconds(latency[name][place]) for name in ("p50", "p95", "max")),
            series["retries"][place],
            series["rejected"][place],
        ]
        for place, count in enumerate(series["documents"])
        if count or series["batches"][place] or series["retries"][place]
    ]
    return head, rows


def changes(history: Mapping[str, Any]) -> list[Row]:
    """How the limits gave way."""
    return [
        [wording.duration(limit["at_s"]), limit["reason"], limit["max_docs"], limit["in_flight"]]
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
