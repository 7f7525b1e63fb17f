"""What `migrator backups` prints: tables for people, JSON for machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from migrator.naming import printable
from migrator.report.summary import table, unconfirmed_lines

if TYPE_CHECKING:
    from migrator.backup.check import Checked
    from migrator.backup.listing import Listed
    from migrator.backup.prune import PrunePlan
    from migrator.backup.restore_test import Drill


def rows_to_text(rows: Sequence[Listed]) -> str:
    """A table of snapshots, and what is wrong with them; "" where there are none."""
    if not rows:
        return ""
    body: list[Sequence[str]] = [("database", "snapshot", "kind", "finished", "documents", "size", "chain")]
    for row in rows:
        numbers = (f"{row.documents:,}", readable(row.size_bytes), str(row.chain) if row.chain else "broken")
        body.append((printable(row.database), row.snapshot, row.kind, row.finished, *numbers))
    lines = [table(body, left=4)]
    lines += [f"{printable(row.database)} {row.snapshot}: {row.problem}" for row in rows if row.problem]
    return _text(lines)


def checked_to_text(checked: Checked, drills: Sequence[Drill], place: str) -> str:
    """What was looked at and restored, and each thing that is wrong."""
    lines = []
    for problem in checked.problems:
        name = f"{printable(problem.database)} {problem.snapshot}".rstrip()
        lines.append(f"DAMAGED {name}: {problem.what}")
    lines.append(
        f"{checked.snapshots:,} snapshots of {checked.databases:,} databases in {place}: {checked.files:,} files, "
        f"{readable(checked.size_bytes)}, {checked.leaves:,} leaves, {checked.attachments:,} attachments"
    )
    if checked.sealed:
        lines.append(
            f"{checked.sealed:,} are encrypted: only digests were compared (--identity FILE looks inside)"
        )
    lines.append("All is as it was written." if checked.ok else f"{len(checked.problems):,} problems.")
    for drill in drills:
        name = f"{printable(drill.database)} {drill.snapshot}"
        lines += [f"DIFFERENT {name}: {difference}" for difference in drill.differences]
        if drill.faults:
            lines.append(f"{name}: {drill.faults:,} leaves could not be read when the backup was made")
        lines += unconfirmed_lines(drill.unconfirmed)
        if drill.ok:
            lines.append(
                f"{name} was restored and is equal: {drill.leaves:,} leaves, {drill.attachments:,} attachments"
            )
    return _text(lines)


def checked_as_dict(checked: Checked, drills: Sequence[Drill]) -> dict[str, Any]:
    """The same for machines."""
    value = {"ok": checked.ok and all(drill.ok for drill in drills), **asdict(checked)}
    value["problems"] = [problem._asdict() for problem in checked.problems]
    value["drills"] = [{"ok": drill.ok, **asdict(drill)} for drill in drills]
    return value


def plans_to_text(plans: Sequence[PrunePlan], *, dry_run: bool) -> str:
    """What becomes of each snapshot, and why."""
    remove = "would be removed" if dry_run else "removed"
    rows = [("database", "snapshot", "kind", "finished", "what becomes of it", "size")]
    for plan in plans:
        name = printable(plan.database)
        for manifest, reasons in plan.decisions:
            fate = f"kept: {', '.join(reasons)}" if reasons else remove
            size = readable(manifest.size_bytes)
            rows.append((name, manifest.snapshot, manifest.kind, manifest.finished, fate, size))
        rows += [(name, snapshot, "damaged", "", "kept: damaged", "") for snapshot in sorted(plan.damaged)]
        rows += [(name, snapshot, "unfinished", "", remove, "") for snapshot in plan.stale]
    lines = [table(rows, left=5)]
    for plan in plans:
        for snapshot, problem in sorted((plan.damaged | plan.repaired).items()):
            lines.append(f"DAMAGED {printable(plan.database)} {snapshot}: {problem}")
    gone = [manifest for plan in plans for manifest in plan.removed]
    lines.append(f"{len(gone):,} snapshots {remove}, {readable(sum(each.size_bytes for each in gone))}")
    return _text(lines)


def plan_as_dict(plan: PrunePlan) -> dict[str, Any]:
    """The same for machines."""
    return {
        "database": plan.database,
        "snapshots": [
            {"snapshot": manifest.snapshot, "kept": bool(reasons), "reasons": reasons}
            for manifest, reasons in plan.decisions
        ],
        "unfinished_removed": plan.stale,
        "damaged": plan.damaged | plan.repaired,
    }


def readable(size_bytes: int) -> str:
    """A length in the unit that suits it."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
