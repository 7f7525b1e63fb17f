"""What a move did: every document of every database accounted for, as JSON and for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from migrator.errors import EXIT_DIFFERENCES, EXIT_OK, EXIT_REJECTS
from migrator.model import Counts
from migrator.naming import counted, printable
from migrator.report.result import Result
from migrator.report.summary import SCHEMA, numbers, table, unconfirmed_lines
from migrator.server.move.compare import Verified, verified_lines

COLUMNS = ("read", "written", "unchanged", "rejected")


@dataclass(frozen=True, slots=True)
class DatabaseReport:
    """What became of one database; `counts` are of leaves, of all runs that the checkpoint went on from, too."""

    target: str
    counts: Counts
    design_documents: int = 0
    indexes_ready: int = 0
    security: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class Applied(Result):
    """What a move did. `caught_up` counts what had changed at the source meanwhile and was carried, too.

    `verified` is the comparison of both servers afterwards; None where it was left out. `unconfirmed` says what of
    the lists that were read could not be made sure of. `rejects` is the reject file, None where there is none.
    """

    databases: Mapping[str, DatabaseReport] = field(default_factory=dict)
    users: Counts | None = None
    replications: Counts | None = None
    caught_up: int = 0
    seconds: float = 0.0
    warmed: bool = True
    verified: Verified | None = None
    unconfirmed: Sequence[str] = ()
    rejects: Path | None = None

    @property
    def totals(self) -> Counts:
        """The sum over all databases, users and replications."""
        parts = (*(d.counts for d in self.databases.values()), self.users, self.replications)
        return Counts.sum(counts for counts in parts if counts is not None)

    @property
    def ok(self) -> bool:
        """True when every leaf is accounted for, none was rejected, and the comparison found nothing missing."""
        totals = self.totals
        return totals.rejected == 0 and totals.accounted and (self.verified is None or self.verified.ok)

    @property
    def exit_code(self) -> int:
        """3 where something was rejected, 4 where the comparison finds something missing."""
        return EXIT_REJECTS if self.totals.rejected else EXIT_OK if self.ok else EXIT_DIFFERENCES

    def to_dict(self) -> dict[str, Any]:
        """For machines, in the manner of a run's report."""
        totals = self.totals
        value: dict[str, Any] = {
            "schema": SCHEMA,
            "ok": self.ok,
            "databases": {
                name: {
                    "database": database.target,
                    **database.counts.as_dict(),
                    "design_documents": database.design_documents,
                    "indexes_ready": database.indexes_ready,
                    "security": database.security,
                }
                for name, database in self.databases.items()
            },
            "users": self.users.as_dict() if self.users else None,
            "replications": self.replications.as_dict() if self.replications else None,
            "totals": totals.as_dict(),
            "caught_up": self.caught_up,
            "warmed": self.warmed,
            "verification": self.verified.as_dict() if self.verified else None,
            "seconds": round(self.seconds, 3),
            "documents_per_second": round(totals.read / self.seconds, 1) if self.seconds > 0 else 0.0,
        }
        if self.unconfirmed:
            value["unconfirmed"] = list(self.unconfirmed)
        if self.rejects:
            value["rejects"] = str(self.rejects)
        return value


def applied_to_text(applied: Applied) -> str:
    """For people: a line a database, and the totals."""
    rows: list[Sequence[str]] = [("database", "goes to", *COLUMNS, "designs", "indexes", "_security")]
    for name, database in applied.databases.items():
        counts = numbers(database.counts, COLUMNS)
        also = (f"{database.design_documents:,}", f"{database.indexes_ready:,}")
        closed = "set" if database.security else "open to all"
        rows.append((printable(name), printable(database.target), *counts, *also, closed))
    for name, also_moved in (("_users", applied.users), ("_replicator (paused)", applied.replications)):
        if also_moved is not None:
            rows.append((name, "", *numbers(also_moved, COLUMNS), "", "", ""))
    totals = applied.totals
    rows.append(("total", "", *numbers(totals, COLUMNS), "", "", ""))
    lines = [table(rows, left=2)]
    rate = totals.read / applied.seconds if applied.seconds > 0 else 0.0
    lines.append(
        f"{counted(totals.read, 'revision')} accounted for; this run took {applied.seconds:.1f} s ({rate:,.0f}/s)"
    )
    if applied.caught_up:
        lines.append(f"{applied.caught_up:,} had changed at the source meanwhile, and were carried, too")
    lines += unconfirmed_lines(applied.unconfirmed)
    if applied.verified:
        lines += verified_lines(applied.verified)
    return "\n".join(lines) + "\n"
