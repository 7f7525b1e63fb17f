"""`migrator backups`: list, check and prune what `migrator backup` wrote, as a table or as JSON."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from migrator.backup.catalog import Catalog
from migrator.backup.format.cipher import open_cipher
from migrator.backup.listing import Listed, listing
from migrator.backup.options import RestoreOptions
from migrator.backup.prune import Policy
from migrator.backup.storage.base import open_place
from migrator.cli import options
from migrator.cli.flags import Group, flags, made
from migrator.cli.messages import say
from migrator.cli.options import DryRun
from migrator.cli.rendering import show
from migrator.cli.stopping import stoppable
from migrator.config import LogOptions, Watch
from migrator.config.option import CHOICE, option, options_class, options_of
from migrator.errors import EXIT_DIFFERENCES, ConfigError, Interrupted
from migrator.naming import counted, printable, was
from migrator.report.summary import table, unconfirmed_lines

if TYPE_CHECKING:
    from migrator.backup.check import Checked
    from migrator.backup.format.manifest import Manifest
    from migrator.backup.prune import PrunePlan
    from migrator.backup.restore_test import Drill

from_option = flags(RestoreOptions, "place")
database_option = flags(
    RestoreOptions,
    "databases",
    help={"databases": CHOICE},
    default={"databases": ""},
)


@options_class
class DrillOptions:
    """Whether backups are restored to be checked, and where."""

    drill: bool = option(False, "Also restore the newest snapshot of each database and compare it.")
    target: str = option(
        "",
        "The server for --drill, http(s)://host:5984. Each snapshot is restored to a temporary database.",
        unit="URL",
        flag="--to",
        text="COUCHDB_URL",
    )


@click.group(cls=Group)
def backups() -> None:
    """List, check and prune backups.

    Examples:

    \b
      migrator backups list --from /var/backups/couchdb
      migrator backups check --from s3://bucket/couchdb --identity key.txt
      migrator backups prune --from /var/backups/couchdb --keep-daily 7 --keep-weekly 5 --keep-monthly 12 --dry-run
    """


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


@backups.command("check", short_help="Read everything and name what is damaged.")
@from_option
@database_option
@flags(RestoreOptions, "identity")
@flags(DrillOptions)
@flags(LogOptions, "quiet", help={"quiet": "No progress."})
@options.watch_options
@options.connection_options
def check_command(**values: Any) -> None:
    """Read all of the backups in PLACE: every file against its digest, every line, count and attachment.

    Names what is damaged and ends with 4. Without the key, encrypted files are compared with their digests only.

    With --drill, the newest snapshot of each database is restored as well, and each leaf, its ancestry and its
    attachments are compared with the backup.

    Examples:

    \b
      migrator backups check --from /var/backups/couchdb
      migrator backups check --from s3://bucket/couchdb --database orders --identity key.txt
      migrator backups check --from /var/backups/couchdb --drill --to http://localhost:5984
    """
    from migrator.backup.check import check

    asked, wanted = made(DrillOptions, values), made(RestoreOptions, values)
    if asked.target and not asked.drill:
        raise ConfigError("--to names a server, but nothing is restored.", hint="Add --drill, or leave it out.")
    from migrator.jobs.registry import server_text

    config = options.part_of_job(values, target=server_text(asked.target, "target")) if asked.drill else None
    with options.timed("check", made(Watch, values)), stoppable() as stopping:
        opened = open_place(wanted.place)
        cipher = open_cipher(identity_file=wanted.identity or None)
        names = Catalog(opened).chosen(wanted.databases)

        def tell(manifest: Manifest, what: str = "reading") -> None:
            if stopping.is_set():
                raise Interrupted("Stopped; not all was looked at.", hint="Start it again.")
            if not values["quiet"]:
                say(f"{what} {printable(manifest.database)} {manifest.snapshot}")

        checked = check(opened, names, cipher, listener=tell)
        drills: list[Drill] = []
        if config:
            from migrator.backup.restore_test import drill

            restoring = partial(tell, what="restoring")
            drills += drill(config, wanted, names, stopping=stopping, told=restoring)
        show(
            checked_as_dict(checked, drills),
            checked_to_text(checked, drills, opened.describe()),
        )
        if not checked.ok or not all(each.ok for each in drills):
            sys.exit(EXIT_DIFFERENCES)


@backups.command("prune", short_help="Remove old snapshots.")
@from_option
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
    return _text(lines)


def checked_to_text(checked: Checked, drills: Sequence[Drill], place: str) -> str:
    """What was looked at and restored, and each thing that is wrong."""
    lines = [
        f"DAMAGED {f'{printable(problem.database)} {problem.snapshot}'.rstrip()}: {problem.what}"
        for problem in checked.problems
    ]
    lines.append(
        f"{counted(checked.snapshots, 'snapshot')} of {counted(checked.databases, 'database')} in {place}: "
        f"{counted(checked.files, 'file')}, {readable(checked.size_bytes)}, {_leaves(checked)}"
    )
    if checked.sealed:
        sealed = f"{checked.sealed:,} {was(checked.sealed, 'is', 'are')} encrypted"
        lines.append(f"{sealed}: only digests were compared (--identity FILE looks inside)")
    lines.append("All is as it was written." if checked.ok else f"{counted(len(checked.problems), 'problem')}.")
    for drill in drills:
        name = f"{printable(drill.database)} {drill.snapshot}"
        lines += [f"DIFFERENT {name}: {difference}" for difference in drill.differences]
        if drill.faults:
            faults = counted(drill.faults, "leaf", "leaves")
            lines.append(f"{name}: {faults} could not be read when the backup was made")
        lines += unconfirmed_lines(drill.unconfirmed)
        if drill.ok:
            lines.append(f"{name} was restored and is equal: {_leaves(drill)}")
    return _text(lines)


def _leaves(found: Checked | Drill) -> str:
    return f"{counted(found.leaves, 'leaf', 'leaves')}, {counted(found.attachments, 'attachment')}"


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
    lines.append(f"{counted(len(gone), 'snapshot')} {remove}, {readable(sum(each.size_bytes for each in gone))}")
    return _text(lines)


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
