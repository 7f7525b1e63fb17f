"""The report of a run: as JSON for machines, as a table for people; and the plan of one."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from migrator.errors import ConfigError
from migrator.files.own_json import from_json
from migrator.model import CollectionReport, Counts, Report
from migrator.naming import counted, printable

SCHEMA = 1
# Numbers under each other would make a report a hundred times as long as it is wide.
_LIST_OF_NUMBERS = re.compile(r"\[\n\s+((?:-?[\d.]+|null)(?:,\n\s+(?:-?[\d.]+|null))*)\n\s+\]")
COLUMNS = tuple(Counts().as_dict())
# Beside the rows of its table.
LINES_OF_A_PLAN = 16
MIN_ROWS = 4
_NOTHING = ("", "0", "?", "-/-")
ALWAYS = ("read", "written", "rejected")


def report_to_json(
    report: Report,
    *,
    rejects: str | None = None,
    retry: Sequence[str] = (),
    dry_run: bool = False,
    verification: Mapping[str, Any] | None = None,
    history: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The report as the JSON object of the documented schema.

    Args:
        report: what was done.
        rejects: the reject file.
        retry: the commands that write what is in it after a fix.
        dry_run: nothing was written.
        verification: what a verification at the end found.
        history: how the run went, from `HistoryListener`.
    """
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
    more = {
        "settled_before": report.carried.as_dict() if report.carried.read else None,
        "unconfirmed": list(report.unconfirmed) or None,
        "rejects": rejects or None,
        "retry": list(retry) if rejects else None,
        "dry_run": dry_run or None,
        "verification": None if verification is None else dict(verification),
        "history": None if history is None else dict(history),
    }
    value |= {name: each for name, each in more.items() if each is not None}
    return value


def dump(value: dict[str, Any]) -> str:
    """JSON text with a line break at its end; lists of numbers stand on one line."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    try:
        text.encode()
    except UnicodeEncodeError:
        # A name holds half a surrogate pair, which can only be written escaped.
        text = json.dumps(value, indent=2) + "\n"
    # A text of JSON has no line break within, so this finds lists only.
    return _LIST_OF_NUMBERS.sub(lambda match: "[" + re.sub(r",\n\s+", ", ", match[1]) + "]", text)


def report_from_json(value: Any, *, name: str) -> Report:
    """A report as it was before it became JSON.

    Args:
        value: what `report_to_json` gave.
        name: what it is called in errors.

    Raises:
        ConfigError: it is not a report.
    """
    try:
        if value["schema"] != SCHEMA:
            raise ConfigError(f"{name} is a report of another version.", hint="Use the version that wrote it.")
        collections = {
            str(key): CollectionReport(str(item["database"]), from_json(Counts, item))
            for key, item in value["collections"].items()
        }
        carried = from_json(Counts, value.get("settled_before", {}), defaults=True)
        unconfirmed = tuple(str(text) for text in value.get("unconfirmed", ()))
        return Report(collections, float(value["seconds"]), carried, unconfirmed)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ConfigError(
            f"{name} is not a report.", hint="Name a file that --report of migrator run, retry or verify wrote."
        ) from None


def report_to_table(report: Report, *, dry_run: bool = False) -> str:
    """The report as an aligned table with a line of totals, without the columns in which nothing is."""
    totals = report.totals
    columns = [name for name in COLUMNS if name in ALWAYS or (getattr(totals, name) and name != "proven")]
    rows: list[Sequence[str]] = [("collection", "database", *columns)]
    for name, collection in report.collections.items():
        rows.append((printable(name), printable(collection.database), *numbers(collection.counts, columns)))
    rows.append(("total", "", *numbers(totals, columns)))
    lines = [table(rows, left=2, foot=True)]
    rate = report.totals.read / report.seconds if report.seconds > 0 else 0.0
    verb = "would be moved (dry run, nothing was written)" if dry_run else "accounted for"
    proven = f", {totals.proven:,} proven" if totals.proven else ""
    lines.append(f"{counted(totals.read, 'document')} {verb} in {report.seconds:.1f} s ({rate:,.0f}/s){proven}")
    if report.carried.read:
        lines.append(f"{report.carried.read:,} more had been settled by the interrupted run before")
    lines += unconfirmed_lines(report.unconfirmed)
    return "\n".join(lines) + "\n"


def plan_to_text(plan: Mapping[str, Any], *, max_lines: int | None = None) -> str:
    """The plan of a job for people.

    Args:
        plan: the plan.
        max_lines: of the screen that it is for.
    """
    rows = [("collection", "goes to", "target", "documents", "there now")]
    for name, item in plan["collections"].items():
        state = {True: "exists", False: "is created", None: "?"}[item["exists"]]
        rows.append((name, item["target"], state, number(item["documents"]), number(item["documents_there"])))
    batches = counted(plan["batch_docs"], "document"), counted(plan["batch_bytes"], "byte")
    lines = [
        f"source       {plan['source']}",
        f"target       {plan['target']}",
        f"transform    {', then '.join(plan['transform']) or 'nothing; documents go as they are'}",
        f"codec        {plan['codec']}",
        f"on conflict  {plan['on_conflict']}",
        f"batches      {', '.join(batches)}, {plan['in_flight']} in flight",
        f"checkpoint   {plan['checkpoint']}" + (" (exists)" if plan["checkpoint_exists"] else ""),
        f"rejects      {plan['rejects']}",
        *(f"also         {text}" for text in plan.get("also", ())),
        "",
        table(rows, left=3, max_rows=None if max_lines is None else max_lines - LINES_OF_A_PLAN),
        *unconfirmed_lines(plan.get("unconfirmed", ())),
        "",
        "Nothing was written. Do it with: migrator run (the same arguments)",
    ]
    return "\n".join(lines)


def unconfirmed_lines(sentences: Iterable[str]) -> list[str]:
    """For people: what could not be made sure of, a line each."""
    return [printable(f"not confirmed: {text}") for text in sentences]


def table(rows: Sequence[Sequence[str]], *, left: int = 1, foot: bool = False, max_rows: int | None = None) -> str:
    """Rows under a head, aligned; the first `left` columns to the left, the others to the right.

    Args:
        rows: the head, then the others.
        left: columns of words.
        foot: the last row sums up the others.
        max_rows: how many are shown below the head, of which the last line then says how many there are.
    """
    more = 0 if max_rows is None else len(rows) - 1 - max(MIN_ROWS, max_rows)
    if more > 0:
        rows = rows[: len(rows) - more]
    widths = [max(_width(row[column]) for row in rows) for column in range(len(rows[0]))]
    rule = "  ".join("-" * width for width in widths)
    lines = []
    for number, row in enumerate(rows):
        if foot and number == len(rows) - 1:
            lines.append(rule)
        cells = []
        for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
            space = " " * (width - _width(cell))
            cells.append(cell + space if column < left else space + cell)
        lines.append("  ".join(cells).rstrip())
        if number == 0:
            lines.append(rule)
    if more > 0:
        lines.append(f"and {more:,} more: --json has all")
    return "\n".join(lines)


def without_idle(rows: Sequence[Sequence[str]]) -> Sequence[Sequence[str]]:
    """Rows without the columns that say nothing of any: there is nothing in them, or what the first one has."""
    busy = [
        column
        for column in range(len(rows[0]))
        if column == 0 or any(row[column] not in {*_NOTHING, row[0]} for row in rows[1:])
    ]
    return [[row[column] for column in busy] for row in rows]


def _width(text: str) -> int:
    """Columns of a terminal: two for what East Asia writes, none for what is set over the letter before."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def numbers(counts: Counts, columns: Sequence[str]) -> list[str]:
    """The counts of these columns for people.

    Args:
        counts: the counts.
        columns: their names.
    """
    return [f"{getattr(counts, name):,}" for name in columns]


def number(value: int | None, nothing: str = "?") -> str:
    """A number for people; `nothing` where it is not known."""
    return nothing if value is None else f"{value:,}"
