"""A plan as people read it before they say yes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from migrator.naming import printable
from migrator.report.summary import table
from migrator.server.move.plan import DatabasePlan, ServerPlan

MAX_LINES = 50


def plan_to_text(plan: ServerPlan, file: str = "") -> str:
    """A plan for people.

    Args:
        plan: the plan.
        file: where it was written to; without it, how to write it is told.
    """
    return "\n".join(_lines(plan, file)) + "\n"


def _lines(plan: ServerPlan, file: str) -> Iterator[str]:
    for side, facts in (("from", plan.source), ("to", plan.target)):
        yield f"{side:<6}{facts.url}" + (f", CouchDB {facts.version}" if facts.version else "")
    yield f"made  {plan.made}"
    yield ""
    rows: list[Sequence[str]] = [
        ("database", "goes to", "target", "documents", "deleted", "attachments", "bytes", "q/n", "also")
    ]
    rows += [_row(database) for database in plan.databases]
    yield table(rows, left=3)
    documents = sum(database.documents for database in plan.databases)
    size = sum(database.external_bytes or 0 for database in plan.databases)
    yield f"{len(plan.databases):,} databases, {documents:,} documents, {size:,} bytes"
    yield ""
    yield f"users         {_number(plan.users, 'stay behind')}" + (" with their passwords" if plan.users else "")
    yield f"replications  {_number(plan.replications, 'stay behind')}" + (", paused" if plan.replications else "")
    free = "not told by CouchDB" if plan.disk_free_bytes is None else f"{plan.disk_free_bytes:,}"
    yield f"disk          about {plan.disk_needed_bytes:,} bytes at the target; free: {free}"
    if plan.estimate:
        took = timedelta(seconds=round(plan.estimate.seconds))
        yield (
            f"time          about {took}, from a sample of {plan.estimate.sample_documents:,} documents "
            f"({plan.estimate.documents_per_second:,.0f}/s)"
        )
    yield f"too large     {plan.found_by}"
    if any(database.attachments is None for database in plan.databases):
        yield "attachments   are counted only where documents were read, which is everywhere without --quick"
    yield from _listed("stays behind", [f"{name}: {reason}" for name, reason in plan.left_out.items()])
    yield from _listed(
        "cannot go", [f"{item.database} {item.id} {item.rev}: {item.reason}" for item in plan.cannot_go]
    )
    yield from _listed("warning", plan.warnings)
    yield from _listed("problem", plan.problems)
    yield ""
    if plan.problems:
        yield "This plan cannot be done as it is. Nothing was written."
    elif file:
        yield f"Nothing was written but the plan. Do it with: migrator apply {file}"
    else:
        yield "Nothing was written. Keep the plan with --output PLAN.json, then: migrator apply PLAN.json"


def _row(database: DatabasePlan) -> Sequence[str]:
    also = ["partitioned"] if database.partitioned else []
    for count, what in (
        (database.views, "views"),
        (database.indexes, "indexes"),
        (len(database.validators), "validation functions"),
        (database.conflicts or 0, "in conflict"),
    ):
        also += [f"{count} {what}"] if count else []
    also += ["_security"] if database.security else ["no members"]
    also += [f"revs_limit {database.revs_limit}"] if database.revs_limit not in {None, 1000} else []
    return (
        printable(database.source),
        printable(database.target),
        database.target_state,
        f"{database.documents:,}",
        f"{database.deleted_documents:,}",
        _number(database.attachments, "?"),
        _number(database.external_bytes, "?"),
        f"{_number(database.q, '-')}/{_number(database.n, '-')}",
        ", ".join(also),
    )


def _number(value: int | None, nothing: str) -> str:
    return nothing if value is None else f"{value:,}"


def _listed(what: str, lines: Sequence[str]) -> Iterator[str]:
    for line in lines[:MAX_LINES]:
        yield f"{what:<13} {printable(line)}"
    if len(lines) > MAX_LINES:
        yield f"{what:<13} and {len(lines) - MAX_LINES:,} more, all in the JSON"
