"""What `migrator backups` prints: tables for people, JSON for machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from migrator.naming import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from migrator.backup.check import Checked
    from migrator.backup.listing import Listed
    from migrator.backup.prune import PrunePlan
    from migrator.backup.restore_test import Drill


def print_rows(rows: Sequence[Listed]) -> None:
    """A table of snapshots, and what is wrong with them."""
    from migrator.report.summary import table

    head = ("database", "snapshot", "kind", "finished", "documents", "size", "chain")
    body = [
        (
            printable(row.database),
            row.snapshot,
            row.kind,
            row.finished,
            f"{row.documents:,}",
            readable(row.size_bytes),
            str(row.chain) if row.chain else "broken",
        )
        for row in rows
    ]
    click.echo(table([head, *body], left=4))
    for row in rows:
        if row.problem:
            click.echo(f"{printable(row.database)} {row.snapshot}: {row.problem}")


def print_checked(checked: Checked, drills: Sequence[Drill], place: str) -> None:
    """What was looked at and restored, and each thing that is wrong."""
    from migrator.report.summary import unconfirmed_lines

    for problem in checked.problems:
        name = f"{printable(problem.database)} {problem.snapshot}".rstrip()
        click.echo(f"DAMAGED {name}: {problem.what}")
    click.echo(
        f"{checked.snapshots:,} snapshots of {checked.databases:,} databases in {place}: {checked.files:,} files, "
        f"{readable(checked.size_bytes)}, {checked.leaves:,} leaves, {checked.attachments:,} attachments"
    )
    if checked.sealed:
        click.echo(f"{checked.sealed:,} are encrypted: only digests were compared (--identity FILE looks inside)")
    click.echo("All is as it was written." if checked.ok else f"{len(checked.problems):,} problems.")
    for drill in drills:
        name = f"{printable(drill.database)} {drill.snapshot}"
        for difference in drill.differences:
            click.echo(f"DIFFERENT {name}: {difference}")
        if drill.faults:
            click.echo(f"{name}: {drill.faults:,} leaves could not be read when the backup was made")
        for line in unconfirmed_lines(drill.unconfirmed):
            click.echo(line)
        if drill.ok:
            click.echo(
                f"{name} was restored and is equal: {drill.leaves:,} leaves, {drill.attachments:,} attachments"
            )


def checked_as_dict(checked: Checked, drills: Sequence[Drill]) -> dict[str, Any]:
    """The same for machines."""
    from dataclasses import asdict

    value = {"ok": checked.ok and all(drill.ok for drill in drills), **asdict(checked)}
    value["problems"] = [problem._asdict() for problem in checked.problems]
    value["drills"] = [{"ok": drill.ok, **asdict(drill)} for drill in drills]
    return value


def print_plans(plans: Sequence[PrunePlan], *, dry_run: bool) -> None:
    """What becomes of each snapshot, and why."""
    from migrator.report.summary import table

    remove = "would be removed" if dry_run else "removed"
    rows = [("database", "snapshot", "kind", "finished", "what becomes of it", "size")]
    for plan in plans:
        for manifest, reasons in plan.decisions:
            fate = f"kept: {', '.join(reasons)}" if reasons else remove
            size = readable(manifest.size_bytes)
            rows.append(
                (printable(plan.database), manifest.snapshot, manifest.kind, manifest.finished, fate, size)
            )
        name = printable(plan.database)
        rows += [(name, snapshot, "damaged", "", "kept: damaged", "") for snapshot in sorted(plan.damaged)]
        rows += [(name, snapshot, "unfinished", "", remove, "") for snapshot in plan.stale]
    click.echo(table(rows, left=5))
    gone = [manifest for plan in plans for manifest in plan.removed]
    for plan in plans:
        for snapshot, problem in sorted((plan.damaged | plan.repaired).items()):
            click.echo(f"DAMAGED {printable(plan.database)} {snapshot}: {problem}")
    click.echo(f"{len(gone):,} snapshots {remove}, {readable(sum(each.size_bytes for each in gone))}")


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


def print_json(value: Any) -> None:
    """A result as JSON."""
    import json

    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def readable(size_bytes: int) -> str:
    """A length in the unit that suits it."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
