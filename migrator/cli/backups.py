"""`migrator backups`: list, check and prune what `migrator backup` wrote, as a table or as JSON."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from migrator.backup.catalog import Catalog
from migrator.backup.listing import Listed, listing
from migrator.backup.options import PLACES, RestoreOptions
from migrator.backup.prune import Policy
from migrator.backup.storage.base import open_place
from migrator.cli.backup_options import database_option, from_option, lines_text, readable
from migrator.cli.backups_cat import cat_command, history_command
from migrator.cli.backups_check import check_command
from migrator.cli.backups_copy import copy_command
from migrator.cli.backups_look import diff_command, find_command, ls_command
from migrator.cli.backups_show import show_command
from migrator.cli.flags import Group, flags, made
from migrator.cli.options import DryRun
from migrator.cli.rendering import show
from migrator.config.option import options_of
from migrator.errors import EXIT_DIFFERENCES, ConfigError
from migrator.naming import counted, printable
from migrator.report.summary import table

if TYPE_CHECKING:
    from migrator.backup.prune import PrunePlan


@click.group(cls=Group)
def backups() -> None:
    """List, show, check, copy and prune backups, and look into them without restoring them.

    Examples:

    \b
      migrator backups show /var/backups/couchdb
      migrator backups list --from /var/backups/couchdb
      migrator backups check --from s3://bucket/couchdb --identity key.txt
      migrator backups copy /var/backups/couchdb s3://bucket/couchdb
      migrator backups find --from /var/backups/couchdb o-17
      migrator backups cat --from /var/backups/couchdb --at 2026-11-24 orders o-17
      migrator backups prune --from /var/backups/couchdb --keep-daily 7 --keep-weekly 5 --keep-monthly 12 --dry-run
    """


backups.add_command(check_command)
backups.add_command(show_command)
backups.add_command(copy_command)
for _command in (ls_command, find_command, diff_command, cat_command, history_command):
    backups.add_command(_command)


@backups.command("list", short_help="List snapshots.")
@from_option
@database_option
def list_command(place: str, databases: tuple[str, ...]) -> None:
    """List the snapshots in PLACE, oldest first; the last column counts what a restore of it reads.

    Exit 4 when one cannot be restored, because it or one that it adds to is damaged or missing.

    Examples:

    \b
      migrator backups list --from /var/backups/couchdb
      migrator backups list --from s3://bucket/couchdb --database 'orders*' --json
    """
    catalog = Catalog(open_place(place))
    rows = listing(catalog, catalog.chosen(databases))
    show([row._asdict() for row in rows], rows_to_text(rows))
    if any(row.problem for row in rows):
        sys.exit(EXIT_DIFFERENCES)


@backups.command("prune", short_help="Remove old snapshots.")
@flags(RestoreOptions, "place", help={"place": f"Where backups are: {PLACES}."})
@database_option
@flags(Policy)
@flags(DryRun, help={"dry_run": "Show what would be removed; remove nothing."})
def prune_command(place: str, databases: tuple[str, ...], **values: Any) -> None:
    """Remove the snapshots in PLACE that no --keep flag keeps, of each database by itself.

    The newest always stays, and so do those that a kept one adds to. What killed runs left goes too, unless the
    next run can go on with it. A damaged snapshot stays, with what it may add to, and counts for no rule; then the
    command ends with 4.

    Examples:

    \b
      migrator backups prune --from /var/backups/couchdb --keep-daily 7 --keep-weekly 5 --dry-run
      migrator backups prune --from s3://bucket/couchdb --keep-last 3 --keep-within 30d
    """
    from migrator.backup.prune import plan_pruning, prune

    for each in options_of(Policy):
        if values[each.name] == 0:
            raise ConfigError(f"{each.flags[0]} is 0.", hint="It must be at least 1.")
    policy = made(Policy, values)
    if policy.empty:
        raise ConfigError(
            "Nothing says what to keep, so nothing is removed.",
            hint="For example: --keep-daily 7 --keep-weekly 5 --keep-monthly 12",
        )
    opened = open_place(place)
    # Before the lock, which would make the folder of a name that was mistyped.
    Catalog(opened).chosen(databases, unfinished=True)
    dry_run = made(DryRun, values).dry_run
    with contextlib.nullcontext() if dry_run else opened.lock():
        names = Catalog(opened).chosen(databases, unfinished=True)
        plans = list(plan_pruning(opened, names, policy))
        if not dry_run:
            for plan in plans:
                prune(opened, plan)
    text = plans_to_text(plans, dry_run=dry_run)
    value = [
        {
            "database": plan.database,
            "snapshots": [
                {"snapshot": manifest.snapshot, "kept": bool(reasons), "reasons": reasons}
                for manifest, reasons in plan.decisions
            ],
            "unfinished_removed": plan.stale,
            "damaged": plan.damaged | plan.repaired,
        }
        for plan in plans
    ]
    show(value, text)
    if any(plan.damaged or plan.repaired for plan in plans):
        sys.exit(EXIT_DIFFERENCES)


def rows_to_text(rows: Sequence[Listed]) -> str:
    """A table of snapshots, and what is wrong with them."""
    body: list[Sequence[str]] = [("database", "snapshot", "kind", "finished", "documents", "size", "chain")]
    for row in rows:
        numbers = (f"{row.documents:,}", readable(row.size_bytes), str(row.chain) if row.chain else "broken")
        body.append((printable(row.database), row.snapshot, row.kind, row.finished, *numbers))
    lines = [table(body, left=4)]
    lines += [f"{printable(row.database)} {row.snapshot}: {row.problem}" for row in rows if row.problem]
    return lines_text(lines)


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
    lines.append(f"{counted(len(gone), 'snapshot')} {remove}, {readable(sum(each.size_bytes for each in gone))}")
    return lines_text(lines)
