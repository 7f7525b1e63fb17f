"""`migrator backups show`: a place at a glance, as a table, as JSON or as one page."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from migrator.backup.age import time_text, watched
from migrator.backup.catalog import Catalog
from migrator.backup.format.records import CheckRecord, DrillRecord
from migrator.backup.options import PLACES
from migrator.backup.show import ShownDatabase, ShownPlace, show_place
from migrator.backup.storage.base import open_place
from migrator.cli.backup_options import database_option, lines_text, readable
from migrator.cli.flags import Command, flags, made
from migrator.cli.messages import say
from migrator.cli.rendering import show
from migrator.config.option import option, options_class
from migrator.errors import EXIT_DIFFERENCES, ConfigError
from migrator.naming import counted, printable, span_text
from migrator.report.summary import table

MAX_LISTED, MAX_ROWS = 20, 40
"""Of so many databases snapshots are listed, so many of all together."""

MAX_GAPS = 5


@options_class
class ShowOptions:
    """Which place is shown, and how."""

    place: str = option("", f"Where backups are: {PLACES}.", unit="PLACE", flag="--from")
    html: str = option(
        "", "Write one self-contained page, with charts and a search; - for standard output.", unit="FILE"
    )


@click.command(
    "show", cls=Command, prints=True, short_help="Show what there is, how it grew, and what was proven when."
)
@click.argument("named", metavar="[PLACE]", required=False)
@flags(ShowOptions)
@database_option
def show_command(named: str | None, databases: tuple[str, ...], **values: Any) -> None:
    """Show the backups in PLACE, which --from names as well: of each database its snapshots, size and growth, the
    last whole check, the last restore test, and gaps in the schedule.

    Reads manifests only, and needs no key. Exit 4 when a snapshot cannot be restored.

    Examples:

    \b
      migrator backups show /var/backups/couchdb
      migrator backups show s3://bucket/couchdb --database 'orders*' --json
      migrator backups show /var/backups/couchdb --html backups.html
    """
    asked = made(ShowOptions, values)
    if named and asked.place and named != asked.place:
        raise ConfigError("PLACE and --from name two places.", hint="Leave one of them out.")
    catalog = Catalog(open_place(named or asked.place))
    shown = show_place(catalog, watched(catalog, databases), datetime.now(UTC))
    if asked.html:
        _write_page(shown, asked.html)
    else:
        show(shown.as_dict(), shown_to_text(shown))
    if not shown.ok:
        sys.exit(EXIT_DIFFERENCES)


def _write_page(shown: ShownPlace, path: str) -> None:
    from migrator.report.html.places import render_place  # only for this
    from migrator.report.result import write_report

    page = render_place(shown.as_dict())
    if path == "-":
        click.echo(page, nl=False)
        return
    write_report(path, page, instead="name another with --html FILE")
    say(f"Wrote {path}.")


def shown_to_text(shown: ShownPlace) -> str:
    """A row for each database, the newest snapshots of each, and what its owner should know."""
    snapshots = sum(len(each.points) for each in shown.databases)
    stored = readable(sum(each.size_bytes for each in shown.databases))
    lines = [
        f"{shown.place}: {counted(len(shown.databases), 'database')}, {counted(snapshots, 'snapshot')}, {stored}",
        "",
        table(list(_overview(shown.databases)), left=1),
    ]
    if len(shown.databases) <= MAX_LISTED:
        lines += ["", table(list(_newest(shown.databases)), left=3)]
    else:
        lines += ["", "--database NAME lists the snapshots of one, --json those of all."]
    notes = [note for each in shown.databases for note in _notes(each)]
    return lines_text([*lines, *([""] if notes else []), *notes])


def _overview(databases: Sequence[ShownDatabase]) -> Iterator[Sequence[str]]:
    yield "database", "snapshots", "stored", "documents", "newest good", "every", "checked", "drilled"
    for each in databases:
        good, usual = each.newest_good, each.schedule.usual
        yield (
            printable(each.database),
            f"{len(each.points):,}",
            readable(each.size_bytes),
            _number(good.database_documents if good else None),
            "none" if each.age is None else f"{span_text(each.age.total_seconds())} old",
            "-" if usual is None else span_text(usual.total_seconds()),
            _proven(each.check),
            _proven(each.drill),
        )


def _newest(databases: Sequence[ShownDatabase]) -> Iterator[Sequence[str]]:
    """The newest snapshots of each database, with what changed from one to the next."""
    yield "database", "snapshot", "kind", "documents", "change", "stored"
    at_most = MAX_ROWS // len(databases)
    for each in databases:
        name = printable(each.database)
        for point in each.points[-at_most:]:
            row = point.row
            numbers = (_number(point.database_documents), _number(point.change, "+"), readable(row.size_bytes))
            yield name, row.snapshot, row.kind, *numbers
        if (older := len(each.points) - at_most) > 0:
            yield name, f"and {older:,} older", "", "", "", ""


def _notes(each: ShownDatabase) -> Iterator[str]:
    name = printable(each.database)
    yield from (f"DAMAGED {name} {row.snapshot}: {row.problem}" for row in each.problems)
    usual = each.schedule.usual
    for gap in each.schedule.gaps[-MAX_GAPS:]:
        after = time_text(gap.after.finished_at)
        until = f"between {after} and {time_text(gap.before.finished_at)}" if gap.before else f"since {after}"
        often = f", where there is one every {span_text(usual.total_seconds())}" if usual else ""
        yield f"GAP {name}: no snapshot {until}, {span_text(gap.length.total_seconds())}{often}"
    if more := len(each.schedule.gaps[:-MAX_GAPS]):
        yield f"GAP {name}: {counted(more, 'older one')}; --json has all"
    if each.unfinished:
        yield f"{name}: {counted(len(each.unfinished), 'snapshot')} begun and not finished: {each.unfinished[-1]}"
    if each.ahead:
        yield f"{name}: {each.ahead[-1]} seems to be from the future: this clock or another was wrong"
    faults = each.points[-1].faults if each.points else 0
    if faults:
        yield f"{name}: {counted(faults, 'leaf', 'leaves')} of the newest could not be read when it was made"
    yield from (f"{name}: {what}" for what in each.unreadable)


def _number(value: int | None, form: str = "") -> str:
    return "-" if value is None else f"{value:{form},}"


def _proven(record: CheckRecord | DrillRecord | None) -> str:
    """When something was proven, and what came of it."""
    if record is None:
        return "never"
    return f"{record.finished[:10]} {'ok' if record.ok else 'NOT OK'}"
