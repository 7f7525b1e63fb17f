"""`migrator backups`: list, check and prune what `migrator backup` wrote."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from migrator.cli.backup_options import database_option, from_option, identity_option, json_option
from migrator.errors import EXIT_DIFFERENCES, ConfigError
from migrator.naming import printable

if TYPE_CHECKING:
    from migrator.backup.checking import Checked
    from migrator.backup.listing import Listed
    from migrator.backup.manifest import Manifest
    from migrator.backup.pruning import PrunePlan

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
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
@json_option
def list_command(place: str, database: tuple[str, ...], as_json: bool) -> None:
    """List the snapshots in PLACE, oldest first; the last column counts what a restore of it reads.

    Exit 4 when one cannot be restored, because it or one that it adds to is damaged or missing.

    Examples:

    \b
      migrator backups list --from /var/backups/couchdb
      migrator backups list --from s3://bucket/couchdb --database 'orders*' --json
    """
    from migrator.backup.catalog import Catalog  # noqa: PLC0415 late, for a quick start
    from migrator.backup.listing import listing, matching  # noqa: PLC0415
    from migrator.backup.place import open_place  # noqa: PLC0415

    opened = open_place(place)
    catalog = Catalog(opened)
    rows = listing(catalog, matching(catalog, database))
    if as_json:
        _print_json([row._asdict() for row in rows])
    elif rows:
        _print_rows(rows)
    else:
        click.echo(f"There are no backups in {opened.describe()}.")
    if any(row.problem for row in rows):
        sys.exit(EXIT_DIFFERENCES)


@backups.command("check", short_help="Read all and name what is damaged.")
@from_option
@database_option
@identity_option
@json_option
@click.option("-q", "--quiet", is_flag=True, help="Do not say what is being read.")
def check_command(
    place: str,
    database: tuple[str, ...],
    identity: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Read all of the backups in PLACE: every file against its digest, every line, count and attachment.

    Names what is damaged and ends with 4. Without the key, encrypted files are held against their digests only.

    Examples:

    \b
      migrator backups check --from /var/backups/couchdb
      migrator backups check --from s3://bucket/couchdb --database orders --identity key.txt
    """
    from migrator.backup.catalog import Catalog  # noqa: PLC0415 late, for a quick start
    from migrator.backup.checking import check  # noqa: PLC0415
    from migrator.backup.cipher import open_cipher  # noqa: PLC0415
    from migrator.backup.listing import matching  # noqa: PLC0415
    from migrator.backup.place import open_place  # noqa: PLC0415

    opened = open_place(place)
    cipher = open_cipher(identity_file=identity)
    databases = matching(Catalog(opened), database)
    if not databases:
        raise ConfigError(f"There are no backups in {opened.describe()}.", hint="Check what --from names.")

    def tell(manifest: Manifest) -> None:
        if not quiet:
            click.echo(f"reading {printable(manifest.database)} {manifest.snapshot}", err=True)

    checked = check(opened, databases, cipher, listener=tell)
    if as_json:
        _print_json(_checked_as_dict(checked))
    else:
        _print_checked(checked, opened.describe())
    if not checked.ok:
        sys.exit(EXIT_DIFFERENCES)


def _number(name: str, text: str) -> Callable[[F], F]:
    return click.option(f"--keep-{name}", type=click.IntRange(min=1), metavar="N", help=text)


@backups.command("prune", short_help="Remove what is not to be kept.")
@from_option
@database_option
@_number("last", "Keep the N newest.")
@_number("daily", "Keep the newest of each of the last N days that have one. Days are those of UTC.")
@_number("weekly", "Keep the newest of each of the last N weeks that have one.")
@_number("monthly", "Keep the newest of each of the last N months that have one.")
@click.option(
    "--keep-within", metavar="DURATION", help="Keep what is at most so much older than the newest: 7d, 2w, 1y6m."
)
@click.option("--dry-run", is_flag=True, help="Show what would be removed; remove nothing.")
@json_option
def prune_command(
    place: str,
    database: tuple[str, ...],
    keep_last: int | None,
    keep_daily: int | None,
    keep_weekly: int | None,
    keep_monthly: int | None,
    keep_within: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove the snapshots in PLACE that no --keep flag keeps, of each database by itself.

    The newest always stays, and so do those that a kept one adds to. What killed runs left goes too, unless the
    next run can go on with it.

    Examples:

    \b
      migrator backups prune --from /var/backups/couchdb --keep-daily 7 --keep-weekly 5 --dry-run
      migrator backups prune --from s3://bucket/couchdb --keep-last 3 --keep-within 30d
    """
    from migrator.backup.catalog import Catalog  # noqa: PLC0415 late, for a quick start
    from migrator.backup.listing import matching  # noqa: PLC0415
    from migrator.backup.place import open_place  # noqa: PLC0415
    from migrator.backup.pruning import plan_pruning, prune  # noqa: PLC0415
    from migrator.backup.retention import Policy, parse_duration  # noqa: PLC0415

    policy = Policy(
        keep_last or 0,
        keep_daily or 0,
        keep_weekly or 0,
        keep_monthly or 0,
        None if keep_within is None else parse_duration(keep_within),
    )
    if policy.empty:
        raise ConfigError(
            "Nothing says what to keep, so nothing is removed.",
            hint="For example: --keep-daily 7 --keep-weekly 5 --keep-monthly 12",
        )
    opened = open_place(place)
    with contextlib.nullcontext() if dry_run else opened.lock():
        plans = list(plan_pruning(opened, matching(Catalog(opened), database, unfinished=True), policy))
        if not dry_run:
            for plan in plans:
                prune(opened, plan)
    if as_json:
        _print_json([_plan_as_dict(plan) for plan in plans])
    else:
        _print_plans(plans, dry_run=dry_run)


def _print_rows(rows: list[Listed]) -> None:
    from migrator.report import table  # noqa: PLC0415

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


def _print_checked(checked: Checked, place: str) -> None:
    for problem in checked.problems:
        click.echo(f"DAMAGED {printable(problem.database)} {problem.snapshot}: {problem.what}")
    click.echo(
        f"{checked.snapshots:,} snapshots of {checked.databases:,} databases in {place}: {checked.files:,} files, "
        f"{readable(checked.size_bytes)}, {checked.leaves:,} leaves, {checked.attachments:,} attachments"
    )
    if checked.sealed:
        click.echo(f"{checked.sealed:,} are encrypted: only digests were compared (--identity FILE looks inside)")
    click.echo("All is as it was written." if checked.ok else f"{len(checked.problems):,} problems.")


def _checked_as_dict(checked: Checked) -> dict[str, Any]:
    from dataclasses import asdict  # noqa: PLC0415

    value = {"ok": checked.ok, **asdict(checked)}
    value["problems"] = [problem._asdict() for problem in checked.problems]
    return value


def _print_plans(plans: list[PrunePlan], *, dry_run: bool) -> None:
    from migrator.report import table  # noqa: PLC0415

    remove = "would be removed" if dry_run else "removed"
    rows = [("database", "snapshot", "kind", "finished", "what becomes of it", "size")]
    for plan in plans:
        for manifest, reasons in plan.decisions:
            fate = f"kept: {', '.join(reasons)}" if reasons else remove
            size = readable(manifest.size_bytes)
            rows.append(
                (printable(plan.database), manifest.snapshot, manifest.kind, manifest.finished, fate, size)
            )
        rows += [(printable(plan.database), snapshot, "unfinished", "", remove, "") for snapshot in plan.stale]
    click.echo(table(rows, left=5))
    gone = [manifest for plan in plans for manifest in plan.removed]
    click.echo(f"{len(gone):,} snapshots {remove}, {readable(sum(each.size_bytes for each in gone))}")


def _plan_as_dict(plan: PrunePlan) -> dict[str, Any]:
    return {
        "database": plan.database,
        "snapshots": [
            {"snapshot": manifest.snapshot, "kept": bool(reasons), "reasons": reasons}
            for manifest, reasons in plan.decisions
        ],
        "unfinished_removed": plan.stale,
    }


def _print_json(value: Any) -> None:
    import json  # noqa: PLC0415

    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def readable(size_bytes: int) -> str:
    """A length in the unit that suits it."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
