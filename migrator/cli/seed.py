"""`migrator seed` and `migrator snapshot`: fixtures into databases, or a masked sample of others, and back."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from migrator.cli import options
from migrator.cli.flags import Command, flags, made
from migrator.cli.messages import say
from migrator.cli.rendering import rejected_text, show
from migrator.config import JobConfig
from migrator.config.option import CommandOptions
from migrator.couch.places import checked_place
from migrator.fixtures.options import Masking, SeedOptions
from migrator.naming import counted, was
from migrator.report.summary import table, unconfirmed_lines

if TYPE_CHECKING:
    from migrator.fixtures.seeding import SeedResult

# A database that tests have changed beyond that is told by its number.
MAX_SHOWN = 200


@click.command(cls=Command)
@click.argument("fixtures")
@flags(JobConfig, "target", "collection", help={"target": "http(s)://host:5984."})
@flags(SeedOptions, "exact", "recreate")
@flags(CommandOptions, "prefix")
@flags(SeedOptions, "wait_s")
@flags(CommandOptions, "diff", "now")
@flags(JobConfig, "report", help={"report": options.REPORT})
@flags(Masking)
@options.connection_options
@options.log_options
def seed(fixtures: str, **values: Any) -> None:
    """Load the fixtures in the folder FIXTURES into databases of a server. Seeding twice writes nothing.

    Every fault in the fixtures is reported with its file and line, all at once, before anything is written.
    FIXTURES can also be a server's URL: then a sample of its documents is written, masked.

    \b
    Examples:
      migrator seed fixtures/ --to http://localhost:5984 --wait
      migrator seed fixtures/ --exact --prefix "ci_${CI_JOB_ID}_"
      migrator seed fixtures/ --diff
      migrator seed https://prod.example.com --to https://staging.example.com --sample 5% --mask pseudonym:email
    """
    from migrator.fixtures.seeding import SeedResult, seed_whole

    source = checked_place(fixtures, "FIXTURES", known=("memory",), reads=True)
    config = options.part_of_job(values, "target", "collection", "report", source=source)
    asked = made(CommandOptions, values)
    # Jobs with prefixes share a server, and with it its users.
    settings = made(SeedOptions, values, keep_users=bool(asked.prefix))
    more: dict[str, Any] = {"prefix": asked.prefix, "diff": asked.diff, "now": asked.now}
    with options.at_work(values) as (listener, stopping):
        found = seed_whole(config, settings, made(Masking, values), **more, listener=listener, stopping=stopping)
    if isinstance(found, SeedResult):
        text = _table(found) if found.differences is None else _differences(found.differences)
        _finish(found.to_dict(), text, config.report, found.unconfirmed)
    else:
        _finish(found.to_dict(), found.text, config.report)
        if not found.masked:
            say("Original values are at the target: delete its databases, and fix the masks.", "error")
        elif found.report.rejected:
            say(f"{rejected_text(found.report.rejected)}.", "warning")
    if found.exit_code:
        sys.exit(found.exit_code)


@click.command(cls=Command)
@click.argument("url")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@flags(JobConfig, "collection")
@flags(CommandOptions, "format")
@flags(JobConfig, "report", help={"report": options.REPORT})
@flags(Masking)
@options.connection_options
@options.log_options
def snapshot(url: str, folder: Path, **values: Any) -> None:
    """Write the databases at URL (one, or all of a server) into FOLDER as fixtures for `migrator seed`.

    Keys and files are sorted, so that a pull request shows what changed and nothing else. What FOLDER holds of
    these databases is replaced. `_users` is written only where it is named.

    \b
    Examples:
      migrator snapshot http://localhost:5984 fixtures/
      migrator snapshot https://db.example.com/orders staging/ --sample 5% --mask pseudonym:email
    """
    from migrator.fixtures.snapshot import take

    checked_place(str(folder), "FOLDER")
    config = made(JobConfig, values, source=url)
    asked: dict[str, Any] = {"format": made(CommandOptions, values).format, "masking": made(Masking, values)}
    with options.listening(values) as listener:
        taken = take(config, folder, environ=os.environ, listener=listener, **asked)
    _finish(taken.as_dict(), taken.as_text(), config.report, taken.unconfirmed)


def _finish(value: dict[str, Any], text: str, report: str, unconfirmed: Sequence[str] = ()) -> None:
    """Print a result, as JSON or as text, and write the report where one is wanted."""
    if unconfirmed:
        text += "".join(f"{line}\n" for line in unconfirmed_lines(unconfirmed))
    show(value, text, report=report)


def _table(found: SeedResult) -> str:
    seeded = found.databases
    rows = [["database", "written", "unchanged", "removed", "also"]]
    for result in seeded.values():
        also = ["created"] * result.created + result.others
        numbers = [f"{number:,}" for number in (result.written, result.unchanged, result.removed)]
        rows.append([result.database, *numbers, ", ".join(also)])
    total = sum(result.written + result.unchanged for result in seeded.values())
    documents = f"{counted(total, 'document')} {was(total, 'is', 'are')}"
    return f"{table(rows)}\n{documents} as the fixtures say, in {found.seconds:.1f} s\n"


def _differences(found: Sequence[dict[str, Any]]) -> str:
    lines = []
    for difference in found[:MAX_SHOWN]:
        lines.append(f"{difference['kind']}: {difference['database']} {difference['what']}")
        for change in difference.get("changes", ()):
            where = change["path"] or "the value"
            if change["fixture"] or change["there"]:
                fixture, there = (change[side] or "nothing" for side in ("fixture", "there"))
                lines.append(f"    {where}: fixture {fixture:.200}, database {there:.200}")
            else:
                lines.append(f"    {where}")
    if len(found) > MAX_SHOWN:
        lines.append(f"... and {len(found) - MAX_SHOWN:,} more; --report FILE writes all of them")
    lines.append(
        counted(len(found), "difference") if found else "No differences: the databases are what the fixtures say."
    )
    return "\n".join(lines) + "\n"
