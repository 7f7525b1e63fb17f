"""Writes results as tables in Markdown, which a terminal shows as well."""

from __future__ import annotations

from collections.abc import Sequence

from tests.benchmark.results import Case, Results, summarise

MB = 1_000_000


def render(results: Results) -> str:
    """All tables, under a line that says where and how they came about."""
    parts = [conditions(results)]
    parts += [case_table(case) for case in results.cases if case.samples]
    for title, rows in results.rows.items():
        header = list(rows[0])
        parts.append(f"{title}\n\n{grid(header, [[_cell(row[name]) for name in header] for row in rows])}")
    return "\n\n".join(parts) + "\n"


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
