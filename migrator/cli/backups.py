"""`migrator backups`: list, check and prune what `migrator backup` wrote."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import click

from migrator.backup.options import RestoreOptions
from migrator.backup.retention import Policy
from migrator.cli import backup_options, options, timer
from migrator.cli.backups_printing import (
    checked_as_dict,
    plan_as_dict,
    print_checked,
    print_json,
    print_plans,
    print_rows,
)
from migrator.cli.flags import flags, made
from migrator.config import Watch
from migrator.config.option import options_of
from migrator.errors import EXIT_DIFFERENCES, ConfigError, Interrupted
from migrator.naming import printable

if TYPE_CHECKING:
    from migrator.backup.format.manifest import Manifest
    from migrator.backup.restore_test import Drill

from_option = flags(RestoreOptions, "place")
database_option = click.option(
    "--database",
    metavar="PATTERN",
    multiple=True,
    help="Only databases of this name; * stands for any characters. May be given more than once.",
)


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
@options.json_option
def list_command(place: str, database: tuple[str, ...], as_json: bool) -> None:
    """List the snapshots in PLACE, oldest first; the last column counts what a restore of it reads.

    Exit 4 when one cannot be restored, because it or one that it adds to is damaged or missing.

    Examples:

    \b
      migrator backups list --from /var/backups/couchdb
      migrator backups list --from s3://bucket/couchdb --database 'orders*' --json
    """
    from migrator.backup.catalog import Catalog
    from migrator.backup.listing import listing, matching
    from migrator.backup.storage.base import open_place

    opened = open_place(place)
    catalog = Catalog(opened)
    rows = listing(catalog, matching(catalog, database))
    if as_json:
        print_json([row._asdict() for row in rows])
    elif rows:
        print_rows(rows)
    else:
        click.echo(f"There are no backups in {opened.describe()}.")
    if any(row.problem for row in rows):
        sys.exit(EXIT_DIFFERENCES)


@backups.command("check", short_help="Read everything and name what is damaged.")
@from_option
@database_option
@flags(RestoreOptions, "identity")
@click.option(
    "--drill", "drilled", is_flag=True, help="Also restore the newest snapshot of each database and compare it."
)
@click.option(
    "--to",
    "target",
    metavar="URL",
    help="The server for --drill, http(s)://host:5984. Each snapshot is restored to a temporary database. "
    "[default: COUCHDB_URL]",
)
@options.json_option
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@timer.watch_options
@options.connection_options
def check_command(
    place: str,
    database: tuple[str, ...],
    identity: str | None,
    drilled: bool,
    target: str | None,
    as_json: bool,
    quiet: bool,
    **values: Any,
) -> None:
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
    from migrator.backup.catalog import Catalog
    from migrator.backup.check import check
    from migrator.backup.format.cipher import open_cipher
    from migrator.backup.listing import matching
    from migrator.backup.storage.base import open_place

    if target and not drilled:
        raise ConfigError("--to names a server, but nothing is restored.", hint="Add --drill, or leave it out.")
    config = backup_options.job(values, target=backup_options.server(target, "--to")) if drilled else None
    with timer.timed("check", made(Watch, values)), options.stoppable() as stopping:
        opened = open_place(place)
        cipher = open_cipher(identity_file=identity)
        databases = matching(Catalog(opened), database)
        if not databases:
            raise ConfigError(f"There are no backups in {opened.describe()}.", hint="Check what --from names.")

        def tell(manifest: Manifest, what: str = "reading") -> None:
            if stopping.is_set():
                raise Interrupted("Stopped; not all was looked at.", hint="Start it again.")
            if not quiet:
                click.echo(f"{what} {printable(manifest.database)} {manifest.snapshot}", err=True)

        checked = check(opened, databases, cipher, listener=tell)
        drills: list[Drill] = []
        if config:
            from migrator.backup.restore_test import drill

            asked = RestoreOptions(place=place, identity=identity or "")
            drills += drill(
                config, asked, databases, stopping=stopping, told=lambda manifest: tell(manifest, "restoring")
            )
        if as_json:
            print_json(checked_as_dict(checked, drills))
        else:
            print_checked(checked, drills, opened.describe())
        if not checked.ok or not all(each.ok for each in drills):
            sys.exit(EXIT_DIFFERENCES)


@backups.command("prune", short_help="Remove old snapshots.")
@from_option
@database_option
@flags(Policy)
@click.option("--dry-run", is_flag=True, help="Show what would be removed; remove nothing.")
@options.json_option
def prune_command(
    place: str,
    database: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Remove the snapshots in PLACE that no --keep flag keeps, of each database by itself.

    The newest always stays, and so do those that a kept one adds to. What killed runs left goes too, unless the
    next run can go on with it. A damaged snapshot stays, with what it may add to, and counts for no rule; then the
    command ends with 4.

    Examples:

    \b
      migrator backups prune --from /var/backups/couchdb --keep-daily 7 --keep-weekly 5 --dry-run
      migrator backups prune --from s3://bucket/couchdb --keep-last 3 --keep-within 30d
    """
    from migrator.backup.catalog import Catalog
    from migrator.backup.listing import matching
    from migrator.backup.prune import plan_pruning, prune
    from migrator.backup.storage.base import open_place

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
    if not Catalog(opened).databases(unfinished=True):
        raise ConfigError(f"There are no backups in {opened.describe()}.", hint="Check what --from names.")
    with contextlib.nullcontext() if dry_run else opened.lock():
        plans = list(plan_pruning(opened, matching(Catalog(opened), database, unfinished=True), policy))
        if not dry_run:
            for plan in plans:
                prune(opened, plan)
    if as_json:
        print_json([plan_as_dict(plan) for plan in plans])
    else:
        print_plans(plans, dry_run=dry_run)
    if any(plan.damaged or plan.repaired for plan in plans):
        sys.exit(EXIT_DIFFERENCES)
