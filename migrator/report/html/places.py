"""A place of backups as one HTML page, by the pieces of the report's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from migrator.naming import counted, span_text
from migrator.report.html import charts, render, wording
from migrator.report.html.charts import Chart, Line
from migrator.report.html.wording import DAY_S, NOTHING, Row

MAX_SNAPSHOTS = 2_000
"""So many have a row on the page, the newest."""

MAX_DRAWN = 6
"""So many databases have a chart of their own, the largest."""

MAX_SLICES = 120
SLICES_S = (3_600, 21_600, *(days * DAY_S for days in (1, 2, 7, 14, 28, 91, 182, 364)))


def render_place(place: Mapping[str, Any]) -> str:
    """The page of a place.

    Args:
        place: what `migrator backups show --json` prints.
    """
    tables = (by_database, by_snapshot, gaps, found, growth, marks)
    return render("place.html", tables, place=place, title=_headline(place))


def _headline(place: Mapping[str, Any]) -> str:
    bad = sum(bool(each["problem"]) for database in place["databases"] for each in database["snapshots"])
    if bad:
        return f"{counted(bad, 'snapshot')} of {place['snapshots']:,} {'has' if bad == 1 else 'have'} a problem"
    return f"{counted(len(place['databases']), 'database')}, {counted(place['snapshots'], 'snapshot')}"


def marks(place: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is said of the place in a few words each, good or bad or neither."""
    databases = place["databases"]
    never = {kind: sum(each[kind] is None for each in databases) for kind in ("check", "drill")}
    missing = sum(len(each["gaps"]) for each in databases)
    said = [
        ("good", "✓ by their manifests all can be restored")
        if place["ok"]
        else ("bad", "! not all can be restored")
    ]
    if never["check"]:
        said.append(("", f"{counted(never['check'], 'database')} never checked"))
    if never["drill"]:
        said.append(("", f"{counted(never['drill'], 'database')} never restored and compared"))
    if missing:
        said.append(("bad", f"{counted(missing, 'gap')} in the schedule"))
    return said


def by_database(place: Mapping[str, Any]) -> tuple[Row, list[Row], Row | None]:
    """What there is of each database: the table's head, its rows and its foot."""
    head = ["database", "newest good", "age", "every", "checked", "restored", "snapshots", "documents", "stored"]
    rows = [
        [
            each["database"],
            _when(each["finished"]),
            _span(each["age_s"]),
            _span(each["usual_interval_s"]),
            _proven(each["check"], "problems", "problem"),
            _proven(each["drill"], "differences", "difference"),
            len(each["snapshots"]),
            NOTHING if each["documents"] is None else each["documents"],
            wording.size(each["size_bytes"]),
        ]
        for each in place["databases"]
    ]
    known = [each["documents"] for each in place["databases"] if each["documents"] is not None]
    foot = ["total", *[""] * 5, place["snapshots"], sum(known), wording.size(place["size_bytes"])]
    return head, rows, foot if len(rows) > 1 else None


def by_snapshot(place: Mapping[str, Any]) -> tuple[Row, list[Row]]:
    """The newest snapshots, newest first."""
    head = ["database", "snapshot", "kind", "finished", "state", "documents", "change", "stored"]
    every = [each for database in place["databases"] for each in database["snapshots"]]
    return head, [
        [
            each["database"],
            each["snapshot"],
            f"{each['kind']}, encrypted" if each["encrypted"] else each["kind"],
            _when(each["finished"]),
            each["problem"] or (f"{counted(each['faults'], 'fault')}" if each["faults"] else "good"),
            NOTHING if each["database_documents"] is None else each["database_documents"],
            NOTHING if each["change"] is None else f"{each['change']:+,}",
            wording.size(each["size_bytes"]),
        ]
        for each in sorted(every, key=lambda each: str(each["snapshot"]), reverse=True)[:MAX_SNAPSHOTS]
    ]


def gaps(place: Mapping[str, Any]) -> list[Row]:
    """Where snapshots are missing."""
    return [
        [
            each["database"],
            _when(gap["from"]),
            _when(gap["until"]) if gap["until"] else "now",
            _span(gap["seconds"]),
            _span(each["usual_interval_s"]),
        ]
        for each in place["databases"]
        for gap in each["gaps"]
    ]


def found(place: Mapping[str, Any]) -> list[Row]:
    """What the owner should know."""
    rows: list[Row] = []
    for each in place["databases"]:
        name = each["database"]
        rows += [[name, point["snapshot"], point["problem"]] for point in each["snapshots"] if point["problem"]]
        rows += [[name, snapshot, "begun and not finished"] for snapshot in each["unfinished"]]
        rows += [
            [name, snapshot, "seems to be from the future: a clock was wrong"]
            for snapshot in each["from_the_future"]
        ]
        rows += [[name, "", what] for what in each["unreadable_records"]]
        if each["newest_good"] is None:
            rows.append([name, "", "no snapshot can be restored, or of none the age can be told"])
    return rows


def growth(place: Mapping[str, Any]) -> Iterator[Chart]:
    """How the place grew: its documents and what is stored, over time, and the largest databases."""
    until = datetime.fromisoformat(place["at"])
    dated = {
        each["database"]: [
            (datetime.fromisoformat(point["finished"]), point)
            for point in each["snapshots"]
            if point["finished"] and datetime.fromisoformat(point["finished"]) <= until + timedelta(minutes=10)
        ]
        for each in place["databases"]
    }
    times = [time for points in dated.values() for time, _ in points]
    if not times:
        return
    first, last = min(times), max(times)
    span_s = (last - first).total_seconds()
    slice_s = next((each for each in SLICES_S if span_s / each < MAX_SLICES - 1), span_s / (MAX_SLICES - 2))
    begun = datetime.fromtimestamp(first.timestamp() // slice_s * slice_s, UTC)
    count = int((last - begun).total_seconds() // slice_s) + 1

    def course(points: Sequence[tuple[datetime, Mapping[str, Any]]]) -> list[int | None]:
        """The documents of a database at the end of each slice, as its newest snapshot says."""
        values: list[int | None] = [None] * count
        for time, point in sorted(points, key=lambda each: each[0]):
            if point["database_documents"] is not None:
                place = int((time - begun).total_seconds() // slice_s)
                values[place:] = [point["database_documents"]] * (count - place)
        return values

    courses = {name: course(points) for name, points in dated.items()}
    total = [_sum([values[place] for values in courses.values()]) for place in range(count)]
    if any(value is not None for value in total):
        note = "Documents at the server when snapshots were begun, of all databases together."
        lines = [Line("", total, "a", area=True)]
        yield charts.timeline("documents", "Documents", note, lines, slice_s, wording.number, begun=begun)
    lines = []
    for label, css in (("full", "a"), ("incremental", "b")):
        stored: list[float | None] = [0] * count
        for time, point in (each for points in dated.values() for each in points):
            if point["kind"] == label:
                place_at = int((time - begun).total_seconds() // slice_s)
                stored[place_at] = (stored[place_at] or 0) + point["size_bytes"]
        lines.append(Line(label, stored, css))
    title = f"Stored every {_span(slice_s)}"
    note = "What the snapshots of each slice of time take that are still there."
    yield charts.timeline("stored", title, note, lines, slice_s, wording.size, bars=True, begun=begun)
    largest = sorted(place["databases"], key=lambda each: -each["size_bytes"])
    for number, each in enumerate(largest[:MAX_DRAWN] if len(largest) > 1 else ()):
        values = courses[each["database"]]
        if any(value is not None for value in values):
            name, title = f"database-{number}", f"Documents of {each['database']}"
            lines = [Line("", values, "a", area=True)]
            yield charts.timeline(name, title, note, lines, slice_s, wording.number, begun=begun)


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _when(text: str | None) -> str:
    return wording.moment(datetime.fromisoformat(text).astimezone(UTC)) if text else NOTHING


def _span(seconds: float | None) -> str:
    return NOTHING if seconds is None else span_text(seconds)


def _proven(record: Mapping[str, Any] | None, number: str, one: str) -> str:
    if record is None:
        return "never"
    return f"{_when(record['finished'])}: {'good' if record['ok'] else counted(record[number], one)}"
