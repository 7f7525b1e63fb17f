"""`migrator backups ls, find, diff`: looks into backups without restoring them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from migrator.backup.catalog import Catalog, open_catalog
from migrator.backup.format.manifest import is_snapshot_id
from migrator.backup.listing import noted, snapshots_at
from migrator.backup.options import RestoreOptions
from migrator.cli.backup_options import at_option, database_option, from_option, identity_option
from migrator.cli.backup_rows import ROWS, cells, one_database, print_rows, say_broken
from migrator.cli.flags import Command, flags, made
from migrator.cli.messages import AS_JSON, asked, print_text, say
from migrator.errors import EXIT_DIFFERENCES, ConfigError, DamagedBackup
from migrator.naming import counted, is_pattern, printable, shown

if TYPE_CHECKING:
    from migrator.backup.changes import Change
    from migrator.backup.find import Found

DOCUMENT = ("rev", "state", "conflicts", "attachments", "size")


@click.command("ls", cls=Command, prints=True, json_help=ROWS, short_help="List the documents of a database.")
@click.argument("words", metavar="[DATABASE] [PATTERN]...", nargs=-1)
@from_option
@at_option
@database_option
@identity_option
def ls_command(words: tuple[str, ...], **values: Any) -> None:
    """List the documents of DATABASE, deleted ones too, as of a backup: all, or those that a PATTERN means.

    Without DATABASE, list the databases as of that time; several are chosen with --database. A PATTERN is an id or
    has * and ? for any characters; what begins with _ is meant by one that begins with it too: '_design/*'.

    Examples:

    \b
      migrator backups ls --from /var/backups/couchdb
      migrator backups ls --from /var/backups/couchdb orders
      migrator backups ls --from s3://bucket/couchdb --at 2026-11-25 orders 'o-17*' --json
    """
    from migrator.backup.contents import Contents
    from migrator.backup.find import Found, selected_documents

    wanted = made(RestoreOptions, values)
    catalog = open_catalog(wanted.place, wanted.identity)
    if not words and not wanted.databases:
        _list_databases(catalog, wanted.at)
        return
    patterns = words if wanted.databases else words[1:]
    manifests, broken = snapshots_at(catalog, wanted.databases or (one_database(catalog, words[0]),), wanted.at)
    missing = {each for each in patterns if not is_pattern(each)}

    def found() -> Iterator[Found]:
        for database, manifest in manifests.items():
            with noted(broken, database, alone=len(manifests) == 1), Contents(catalog, manifest) as contents:
                for document in selected_documents(contents, patterns):
                    missing.discard(document.id)
                    yield Found(database, manifest, document)

    head = ("database", "id", *DOCUMENT)[0 if wanted.databases else 1 :]
    count = print_rows(
        found(),
        head,
        lambda each: (printable(each.database), printable(each.document.id), *cells(each.document))[-len(head) :],
        lambda each: each.as_dict(),
        left=len(head) - 3,
    )
    say_broken(broken)
    if not broken and (missing or (patterns and not count)):
        with Contents(catalog, next(iter(manifests.values()))) as contents:
            raise contents.missing(min(missing) if missing else patterns[0])
    if not (count or broken or asked(AS_JSON)):
        print_text("There was no document.\n")
    if broken:
        sys.exit(EXIT_DIFFERENCES)


@click.command(
    "find", cls=Command, prints=True, json_help=ROWS, short_help="Find documents by id, pattern or field."
)
@click.argument("what", metavar="[ID|PATTERN|CONDITION]", required=False)
@from_option
@at_option
@database_option
@flags(RestoreOptions, "ids", help={"ids": "This document, whatever characters its id has."})
@identity_option
def find_command(what: str | None, **values: Any) -> None:
    """Find documents in all databases of PLACE, or in those that are chosen, as of their newest snapshots.

    An ID that no newest snapshot holds is looked for in older ones too. A PATTERN has * and ? for any characters;
    what begins with _ is meant by one that begins with it too. A CONDITION is one of the transformer `where`:
    field=value, with !=, <, <=, > and >=, or field~regex; it is asked of winning revisions.

    Examples:

    \b
      migrator backups find --from /var/backups/couchdb o-17
      migrator backups find --from s3://bucket/couchdb 'user:*' --database 'app_*' --identity key.txt
      migrator backups find --from /var/backups/couchdb --at 2026-11-25 address.city=Rome --json
    """
    from migrator.backup.find import Query, find, find_earlier, nearest, parse_query

    wanted = made(RestoreOptions, values)
    if bool(what) is bool(wanted.ids):
        raise ConfigError("What is looked for?", hint="Name an id, a pattern or a condition, or ids by --id.")
    query = parse_query(what) if what else Query(ids=wanted.ids)
    catalog = open_catalog(wanted.place, wanted.identity)
    manifests, broken = snapshots_at(catalog, wanted.databases, wanted.at)
    missing = set(query.ids)
    unread: dict[str, str] = {}

    def found() -> Iterator[Found]:
        for each in find(catalog, manifests, query, broken):
            missing.discard(each.document.id)
            yield each
        # Of one that is broken as of its newest snapshot all that are readable; as of a time nobody knows which.
        older = manifests if wanted.at else {**dict.fromkeys(broken), **manifests}
        for each in find_earlier(catalog, older, sorted(missing), unread) if missing else ():
            missing.discard(each.document.id)
            yield each

    count = print_rows(
        found(),
        ("database", "id", *DOCUMENT, "snapshot"),
        lambda each: (
            printable(each.database),
            printable(each.document.id),
            *cells(each.document),
            each.manifest.snapshot,
        ),
        lambda each: each.as_dict(),
        left=4,
    )
    say_broken(broken)
    if missing or not (count or query.condition):
        nothing = shown(min(missing) if missing else query.pattern)
        what = f"No document {nothing} is in the backups of {counted(len(manifests), 'database')}"
        where = f"in {catalog.place.describe()}"
        for snapshot, problem in unread.items():
            say(f"{snapshot} could not be searched: {problem}", "warning")
        if unread or broken:
            check = "Find out what is damaged: migrator backups check --from PLACE"
            raise DamagedBackup(f"{what} {where} that can be read.", hint=check)
        near = nearest(catalog, manifests, min(missing)) if missing else ""
        part = "Look for a part of it: migrator backups find --from PLACE '*PART*'"
        raise ConfigError(f"{what} {where}.", hint=f"{near} {part}".strip())
    if not (count or broken or asked(AS_JSON)):
        print_text(f"No document meets {printable(query.condition)}.\n")
    if broken:
        sys.exit(EXIT_DIFFERENCES)


@click.command(
    "diff", cls=Command, prints=True, json_help=ROWS, short_help="Show what changed between two points in time."
)
@click.argument("before", metavar="TIME")
@click.argument("after", metavar="[TIME]", required=False, default="")
@from_option
@database_option
@identity_option
def diff_command(before: str, after: str, **values: Any) -> None:
    """Show which documents were added, changed or deleted from one TIME to another, or to the newest backup.

    A TIME is what --at takes: a time, a date or a snapshot's id. Of a changed document the first path that differs
    is named; _conflicts where only these differ, _rev where its content is equal.

    Examples:

    \b
      migrator backups diff --from /var/backups/couchdb 2026-11-24 2026-11-25
      migrator backups diff --from s3://bucket/couchdb --database orders '2026-11-25 03:00' --json
    """
    from migrator.backup.changes import KINDS, changes
    from migrator.backup.contents import Contents

    wanted = made(RestoreOptions, values)
    catalog = open_catalog(wanted.place, wanted.identity)
    if not before:
        raise ConfigError("TIME is empty.", hint="Name a time, a date or a snapshot's id.")
    older, broken = snapshots_at(catalog, wanted.databases, before, "TIME")
    newer, more_broken = snapshots_at(catalog, wanted.databases, after, "TIME")
    broken |= more_broken
    names = sorted({*older, *newer} - broken.keys())
    if any(map(is_snapshot_id, (before, after))):
        # Which is of one database.
        names = [name for name in names if name in older and name in newer]
    counts = dict.fromkeys(KINDS, 0)

    def found() -> Iterator[tuple[str, Change]]:
        for database in names:
            with noted(broken, database, alone=len(names) == 1), contextlib.ExitStack() as opened:
                sides = [
                    opened.enter_context(Contents(catalog, each[database])) if database in each else None
                    for each in (older, newer)
                ]
                for change in changes(*sides):
                    counts[change.change] += 1
                    yield database, change

    print_rows(
        found(),
        ("database", "change", "id", "path", "before", "after"),
        lambda each: (
            printable(each[0]),
            each[1].change,
            printable(each[1].id),
            printable(each[1].path),
            each[1].before or "",
            each[1].after or "",
        ),
        lambda each: {"database": each[0], **each[1]._asdict()},
        left=6,
    )
    if not asked(AS_JSON):
        text = ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count)
        print_text(f"{text or ('No changes found' if broken else 'No changes')}.\n")
    say_broken(broken)
    if broken:
        sys.exit(EXIT_DIFFERENCES)


def _list_databases(catalog: Catalog, at: str) -> None:
    """What `ls` says without a database."""
    manifests, broken = snapshots_at(catalog, (), at)
    print_rows(
        manifests.values(),
        ("database", "snapshot", "finished", "kind"),
        lambda each: (printable(each.database), each.snapshot, each.finished, each.kind),
        lambda each: {
            "database": each.database,
            "snapshot": each.snapshot,
            "as_of": each.finished,
            "kind": each.kind,
        },
        left=4,
    )
    say_broken(broken)
    if broken:
        sys.exit(EXIT_DIFFERENCES)
