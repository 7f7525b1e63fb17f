"""`migrator backups cat, history`: prints a document of a backup, and what each snapshot holds of it."""

from __future__ import annotations

import sys
from typing import Any

import click

from migrator.backup.catalog import open_catalog
from migrator.backup.listing import snapshot_at
from migrator.backup.options import CatOptions, RestoreOptions
from migrator.cli.backup_options import at_option, from_option, identity_option
from migrator.cli.backup_rows import ROWS, one_database, print_rows, write_bytes
from migrator.cli.flags import Command, flags, made
from migrator.cli.messages import say
from migrator.errors import EXIT_DIFFERENCES, ConfigError


@click.command(
    "cat",
    cls=Command,
    prints=True,
    json_help="The same as without: a document is a line of JSON.",
    short_help="Print a document or an attachment.",
)
@click.argument("named", metavar="DATABASE")
@click.argument("id", metavar="ID")
@from_option
@at_option
@flags(CatOptions)
@identity_option
def cat_command(named: str, id: str, **values: Any) -> None:
    """Print a document of a backup as JSON, as the server gave it, each number as it was spelled.

    Attachments are named with type, length and digest; --attachment gives the bytes of one. `backups history`
    names the revisions that are kept.

    Examples:

    \b
      migrator backups cat --from /var/backups/couchdb orders o-17
      migrator backups cat --from /var/backups/couchdb --at 2026-11-24 orders o-17 --conflicts
      migrator backups cat --from s3://bucket/couchdb orders o-17 --attachment invoice.pdf --output invoice.pdf
    """
    from migrator.backup.cat import chosen_leaves
    from migrator.backup.contents import attachment_of, document_text

    wanted, of_it = made(RestoreOptions, values), made(CatOptions, values)
    if of_it.conflicts and (of_it.rev or of_it.attachment):
        raise ConfigError("--conflicts goes with neither --rev nor --attachment.", hint="Leave one of them out.")
    catalog = open_catalog(wanted.place, wanted.identity)
    with chosen_leaves(catalog, one_database(catalog, named), id, wanted.at, of_it) as leaves:
        if of_it.attachment:
            write_bytes(attachment_of(leaves[0], of_it.attachment)(), of_it.output)
        elif of_it.output:
            write_bytes((document_text(leaf) + b"\n" for leaf in leaves), of_it.output)
        else:
            for leaf in leaves:
                click.echo(document_text(leaf).decode())


@click.command(
    "history", cls=Command, prints=True, json_help=ROWS, short_help="Show what each snapshot holds of a document."
)
@click.argument("named", metavar="DATABASE")
@click.argument("id", metavar="ID")
@from_option
@identity_option
def history_command(named: str, id: str, **values: Any) -> None:
    """Show what each snapshot of DATABASE holds of a document, oldest first: the winning revision, whether it
    changed or was deleted, its conflicts, and the revisions whose bodies are kept, for `backups cat --rev`.

    Exit 4 when a snapshot cannot be read.

    Examples:

    \b
      migrator backups history --from /var/backups/couchdb orders o-17
      migrator backups history --from s3://bucket/couchdb orders o-17 --json
    """
    from migrator.backup.contents import Contents
    from migrator.backup.history import History

    wanted = made(RestoreOptions, values)
    catalog = open_catalog(wanted.place, wanted.identity)
    database = one_database(catalog, named)
    versions = list(History(catalog, database, id).versions())
    if not any(each.leaves or each.unread or each.problem for each in versions):
        with Contents(catalog, snapshot_at(catalog, database, "")) as contents:
            raise contents.missing(id)
    print_rows(
        versions,
        ("finished", "snapshot", "change", "revision", "conflicts", "kept"),
        lambda each: (
            each.finished,
            each.snapshot,
            each.change,
            f"{each.rev}{' (deleted)' if each.deleted else ''}" if each.rev else "",
            " ".join(each.conflicts),
            " ".join(each.leaves),
        ),
        lambda each: {"database": database, "id": id, **each.as_dict()},
        left=6,
    )
    problems = [each for each in versions if each.problem]
    for each in problems:
        say(f"{each.snapshot}: {each.problem}", "warning")
    if problems:
        sys.exit(EXIT_DIFFERENCES)
