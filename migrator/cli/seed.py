"""`migrator seed` and `migrator snapshot`: fixtures into databases, or a masked sample of others, and back."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from migrator.cli import options
from migrator.cli.flags import Command, flags, made
from migrator.cli.messages import say
from migrator.cli.options import CommandOptions
from migrator.cli.rendering import rejected_text, rejects_exit, show
from migrator.config import JobConfig
from migrator.couch.endpoint import is_server_url
from migrator.couch.locate import wait_for_server
from migrator.couch.places import checked_place
from migrator.errors import EXIT_DIFFERENCES, ConfigError
from migrator.fixtures.options import Masking, SeedOptions
from migrator.naming import counted, was
from migrator.report.summary import table, unconfirmed_lines

if TYPE_CHECKING:
    from migrator.fixtures.model import Fixtures

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
    from migrator.jobs.registry import target_text

    source = checked_place(fixtures, "FIXTURES", known=("memory",), reads=True)
    config = options.part_of_job(values, "target", "collection", "report", source=source)
    asked = made(CommandOptions, values)
    # Jobs with prefixes share a server, and with it its users.
    settings = made(SeedOptions, values, keep_users=bool(asked.prefix))
    masking = made(Masking, values)
    staging = is_server_url(source) or source.startswith("memory:")
    if staging:
        wrong = {"exact": settings.exact, "recreate": settings.recreate, "diff": asked.diff, "now": asked.now}
        for name, value in wrong.items():
            if value:
                raise ConfigError(f"--{name} goes with a folder of fixtures.", hint="Leave it out.")
    elif masking.any:
        raise ConfigError(
            "--sample, --where and --mask go with a server as FIXTURES, not with a folder.",
            hint="Mask when the fixtures are made: migrator snapshot URL FOLDER --mask KIND:FIELD",
        )
    started = time.monotonic()
    databases: Fixtures | None = None
    if not staging:
        from migrator.fixtures.folder import read_fixtures
        from migrator.fixtures.values import parse_now

        now = parse_now(asked.now)
        found = read_fixtures(Path(config.source), environ=os.environ, now=now, prefix=asked.prefix)
        databases = found.only(config.collection)
    if settings.wait_s is not None:
        wait_for_server(target_text(config), settings.wait_s)
    if databases is None:
        _stage(config, masking, asked.prefix, values)
    else:
        _seed(config, databases, settings, values, diff=asked.diff, started=started)


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


def _stage(config: JobConfig, masking: Masking, prefix: str, values: Mapping[str, Any]) -> None:
    from migrator.fixtures.staging import stage

    with options.at_work(values) as (listener, stopping):
        staged = stage(config, masking, environ=os.environ, prefix=prefix, listener=listener, stopping=stopping)
    _finish(staged.as_dict(), staged.text, config.report)
    if not staged.masked:
        say("Original values are at the target: delete its databases, and fix the masks.", "error")
        sys.exit(EXIT_DIFFERENCES)
    if staged.report.totals.rejected:
        say(f"{rejected_text(staged.report.totals.rejected)}.", "warning")
        sys.exit(rejects_exit(staged.report.altered))


def _seed(
    config: JobConfig,
    fixtures: Fixtures,
    settings: SeedOptions,
    values: Mapping[str, Any],
    *,
    diff: bool,
    started: float,
) -> None:
    from migrator.couch.locate import locate
    from migrator.fixtures.seeder import Seeder
    from migrator.jobs.registry import target_text

    endpoint, database = locate(target_text(config), config=config, role="target", environ=os.environ)
    if database is not None:
        raise ConfigError(
            f"--to names the database {database}, but the fixtures' folder names the databases.",
            hint=f"Write --to {endpoint.url}, and --collection NAME for one of them.",
        )
    with (
        options.at_work(values) as (listener, stopping),
        contextlib.closing(Seeder(endpoint, fixtures, settings, listener, stopping)) as seeder,
    ):
        found = seeder.differences() if diff else []
        seeded = {} if diff else seeder.seed()
    if diff:
        value: dict[str, Any] = {"schema": 1, "ok": not found, "differences": found}
        _finish(value, _differences(found), config.report, seeder.unconfirmed)
        if found:
            sys.exit(EXIT_DIFFERENCES)
        return
    seconds = round(time.monotonic() - started, 3)
    databases = {name: result.as_dict() for name, result in seeded.items()}
    value = {"schema": 1, "ok": True, "databases": databases, "seconds": seconds}
    _finish(value, _table(seeded, seconds), config.report, seeder.unconfirmed)


def _finish(value: dict[str, Any], text: str, report: str, unconfirmed: Sequence[str] = ()) -> None:
    """Print a result, as JSON or as text, and write the report where one is wanted."""
    if unconfirmed:
        value["unconfirmed"] = list(unconfirmed)
        text += "".join(f"{line}\n" for line in unconfirmed_lines(unconfirmed))
    show(value, text, report=report)


def _table(seeded: dict[str, Any], seconds: float) -> str:

    rows = [["database", "written", "unchanged", "removed", "also"]]
    for result in seeded.values():
        also = ["created"] * result.created + result.others
        numbers = [f"{number:,}" for number in (result.written, result.unchanged, result.removed)]
        rows.append([result.database, *numbers, ", ".join(also)])
    total = sum(result.written + result.unchanged for result in seeded.values())
    documents = f"{counted(total, 'document')} {was(total, 'is', 'are')}"
    return f"{table(rows)}\n{documents} as the fixtures say, in {seconds:.1f} s\n"


def _differences(found: list[dict[str, Any]]) -> str:
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
