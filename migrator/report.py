"""The report of a run: as JSON for machines, as a table for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from migrator.model import Counts, Report
from migrator.naming import printable

SCHEMA = 1
COLUMNS = ("read", "written", "unchanged", "skipped", "filtered", "rejected", "conflicts")


def report_to_json(report: Report, *, rejects: str | None = None, dry_run: bool = False) -> dict[str, Any]:
    """The report as the JSON object of the documented schema."""
    totals = report.totals
    value: dict[str, Any] = {
        "schema": SCHEMA,
        "ok": report.ok,
        "collections": {
            name: {"database": c.database, **c.counts.as_dict()} for name, c in report.collections.items()
        },
        "totals": totals.as_dict(),
        "seconds": round(report.seconds, 3),
        "documents_per_second": round(totals.read / report.seconds, 1) if report.seconds > 0 else 0.0,
    }
    if report.carried.read:
        value["settled_before"] = report.carried.as_dict()
    if rejects:
        value["rejects"] = rejects
    if dry_run:
        value["dry_run"] = True
    return value


def dump(value: dict[str, Any]) -> str:
    """JSON text with a line break at its end."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    try:
        text.encode()
    except UnicodeEncodeError:
        # A name holds half a surrogate pair, which can only be written escaped.
        return json.dumps(value, indent=2) + "\n"
    return text


def report_to_table(report: Report, *, dry_run: bool = False) -> str:
    """The report as an aligned table with a line of totals."""
    rows: list[Sequence[str]] = [("collection", "database", *COLUMNS)]
    for name, collection in report.collections.items():
        rows.append((printable(name), printable(collection.database), *_numbers(collection.counts)))
    rows.append(("total", "", *_numbers(report.totals)))
    lines = [table(rows, left=2)]
    rate = report.totals.read / report.seconds if report.seconds > 0 else 0.0
    verb = "would be moved (dry run, nothing was written)" if dry_run else "accounted for"
    lines.append(f"{report.totals.read:,} documents {verb} in {report.seconds:.1f} s ({rate:,.0f}/s)")
    if report.carried.read:
        lines.append(f"{report.carried.read:,} more had been settled by the interrupted run before")
    return "\n".join(lines) + "\n"


def table(rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Rows under a head, aligned; the first `left` columns to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for number, row in enumerate(rows):
        cells = [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
        if number == 0:
            lines.append("  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _numbers(counts: Counts) -> list[str]:
    return [f"{getattr(counts, name):,}" for name in COLUMNS]
