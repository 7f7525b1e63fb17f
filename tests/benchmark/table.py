"""Writes results as tables in Markdown, which a terminal shows as well."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from tests.benchmark.results import Case, Results, summarise

MB = 1_000_000
_BLOCK = re.compile(r"(<!-- bench (.+?) -->)\n.*?(<!-- end -->)", re.DOTALL)


def render(results: Results) -> str:
    """All tables, under a line that says where and how they came about."""
    parts = [conditions(results)]
    parts += [case_table(case) for case in results.cases if case.samples]
    for title, rows in results.rows.items():
        parts.append(f"{title}\n\n{rows_table(rows)}")
    return "\n\n".join(parts) + "\n"


def filled(page: str, results: Results) -> str:
    """A page with its tables made again: each stands between `<!-- bench NAME -->` and `<!-- end -->`.

    NAME is a case with its number of documents, or the title of other rows.

    Raises:
        KeyError: nothing of that name was measured.
    """
    tables = {f"{case.name} {case.documents}": case_table(case) for case in results.cases if case.samples}
    tables |= {title: rows_table(rows) for title, rows in results.rows.items()}
    return _BLOCK.sub(lambda match: f"{match[1]}\n\n{tables[match[2]]}\n\n{match[3]}", page)


def rows_table(rows: Sequence[Mapping[str, object]]) -> str:
    """A table of rows that have the same names."""
    header = list(rows[0])
    return grid(header, [[_cell(row[name]) for name in header] for row in rows])


def conditions(results: Results) -> str:
    """What the numbers depend on."""
    line = (
        f"{results.server}, {results.cpus} processors shared by client and server, Python {results.python}, "
        f"{results.rounds} rounds in turn, "
        f"load average {results.load_before:.1f} before and {results.load_after:.1f} after."
    )
    return line + (" The sandbox is not a measure of CouchDB." if results.is_sandbox else "")


def case_table(case: Case) -> str:
    """One case: what was done, and a line for each contender."""
    summaries = summarise(case)
    with_files = any(summary.file_bytes for summary in summaries)
    header = ["", "seconds", "documents/s", f"of {summaries[0].contender}"]
    header += ["CPU s per 100,000", "peak memory, MB", *(["file, MB"] if with_files else []), "spread"]
    rows = []
    for summary in summaries:
        row = [summary.contender, f"{summary.seconds:.3g}", f"{summary.documents_per_second:,.0f}"]
        row += [f"{summary.ratio:.0%}", f"{summary.cpu_seconds_per_100k:.2f}", f"{summary.peak_bytes / MB:.0f}"]
        if with_files:
            row.append("" if summary.file_bytes is None else f"{summary.file_bytes / MB:.0f}")
        rows.append([*row, f"{summary.spread:.0%}"])
    return f"{case.what}: {case.documents:,} documents, {case.bytes / MB:,.0f} MB\n\n{grid(header, rows)}"


def grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    widths = [max(len(row[place]) for row in [header, *rows]) for place in range(len(header))]
    lines = []
    for row in [header, *rows]:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append(f"| {' | '.join(cells)} |")
    rule = ["-" * widths[0], *(f"{'-' * (width - 1)}:" for width in widths[1:])]
    lines.insert(1, f"| {' | '.join(rule)} |")
    return "\n".join(lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
