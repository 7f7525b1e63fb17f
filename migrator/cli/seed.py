"""`migrator seed`: make databases what fixtures say, or fill them with a masked sample of others."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from migrator.cli import options
from migrator.cli.flags import flags, given, made
from migrator.cli.options import REPORT
from migrator.config import Connection, JobConfig
from migrator.couch.endpoint import is_server_url
from migrator.errors import EXIT_DIFFERENCES, EXIT_REJECTS, ConfigError
from migrator.fixtures.options import Masking, SeedOptions

ONLY = "Only this database."
# A database that tests have changed beyond that is told by its number.
MAX_SHOWN = 200


@click.command()
@click.argument("fixtures")
@flags(JobConfig, "target", "collection", help={"target": "http(s)://host:5984.", "collection": ONLY})
@flags(SeedOptions, "exact", "recreate")
@click.option("--prefix", metavar="NAME", default="", help="Prefix of each database's name.")
@flags(SeedOptions, "wait_s")
@click.option(
    "--diff", is_flag=True, help="Show what differs from the fixtures and write nothing; exit 4 if anything does."
)
@click.option(
    "--now",
    envvar="MIGRATOR_NOW",
    metavar="TIME",
    help="Value of ${now}, as in 2024-05-01. [default: now]",
)
@flags(JobConfig, "report", help={"report": REPORT})
@flags(Masking)
@options.connection_options
@options.log_options
def seed(fixtures: str, prefix: str, diff: bool, now: str | None, **values: Any) -> None:
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
    from migrator.couch.places import checked_place
    from migrator.jobs.registry import target_text

    fixtures = checked_place(fixtures, "FIXTURES", known=("memory",), reads=True)
    config = JobConfig(
        source=fixtures,
        target=values["target"] or "",
        collection=values["collection"],
        report=values["report"] or "",
        **given(Connection, values),
    )
    # Jobs with prefixes share a server, and with it its users.
    settings = made(SeedOptions, values, keep_users=bool(prefix))
    masking = made(Masking, values)
    if is_server_url(fixtures) or fixtures.startswith("memory:"):
        wrong = {"exact": settings.exact, "recreate": settings.recreate, "diff": diff, "now": now}
        for name, value in wrong.items():
            if value:
                raise ConfigError(f"--{name} goes with a folder of fixtures.", hint="Leave it out.")
        if settings.wait_s is not None:
            _wait(target_text(config), settings.wait_s)
        _stage(config, masking, prefix, values)
        return
    if masking.any:
        raise ConfigError(
            "--sample, --where and --mask go with a server as FIXTURES, not with a folder.",
            hint="Mask when the fixtures are made: migrator snapshot URL FOLDER --mask KIND:FIELD",
        )
    _seed(config, settings, values, prefix=prefix, diff=diff, now=now)


def _stage(config: JobConfig, masking: Masking, prefix: str, values: Mapping[str, Any]) -> None:
    from migrator.fixtures.staging import stage

    with options.stoppable() as stopping, options.listening(values) as listener:
        staged = stage(config, masking, environ=os.environ, prefix=prefix, listener=listener, stopping=stopping)
    finish(staged.as_dict(), staged.text, config.report)
    if not staged.masked:
        click.echo("Original values are at the target: delete its databases, and fix the masks.", err=True)
        sys.exit(EXIT_DIFFERENCES)
    if staged.report.totals.rejected:
        click.echo(f"{staged.report.totals.rejected} documents were rejected.", err=True)
        sys.exit(EXIT_REJECTS)


def _seed(
    config: JobConfig,
    settings: SeedOptions,
    values: Mapping[str, Any],
    *,
    prefix: str,
    diff: bool,
    now: str | None,
) -> None:
    from migrator.couch.locate import server_of
    from migrator.fixtures.folder import read_fixtures
    from migrator.fixtures.seeder import Seeder
    from migrator.fixtures.values import parse_now
    from migrator.jobs.registry import target_text

    started = time.monotonic()
    fixtures = read_fixtures(Path(config.source), environ=os.environ, now=parse_now(now), prefix=prefix).only(
        config.collection
    )
    url = target_text(config)
    if settings.wait_s is not None:
        _wait(url, settings.wait_s)
    endpoint, database = server_of(config, url, role="target", environ=os.environ)
    if database is not None:
        raise ConfigError(
            f"--to names the database {database}, but the fixtures' folder names the databases.",
            hint=f"Write --to {endpoint.url}, and --collection NAME for one of them.",
        )
    with options.stoppable() as stopping, options.listening(values) as listener:
        seeder = Seeder(endpoint, fixtures, settings, listener, stopping)
        try:
            if diff:
                found = seeder.differences()
            else:
                seeded = seeder.seed()
        finally:
            seeder.close()
    if diff:
        value = {"schema": 1, "ok": not found, "differences": found}
        finish(value, _differences(found), config.report, seeder.unconfirmed)
        if found:
            sys.exit(EXIT_DIFFERENCES)
        return
    seconds = round(time.monotonic() - started, 3)
    value = {"schema": 1, "ok": True, "databases": {n: s.as_dict() for n, s in seeded.items()}, "seconds": seconds}
    finish(value, _table(seeded, seconds), config.report, seeder.unconfirmed)


def _wait(url: str, timeout_s: float) -> None:
    from migrator.couch.ready import wait_for_server

    wait_for_server(url, timeout_s)


def finish(value: dict[str, Any], text: str, report: str, unconfirmed: Sequence[str] = ()) -> None:
    """Print a result, as JSON or as text, and write the report where one is wanted."""
    from migrator.cli.rendering import write_report
    from migrator.report.summary import dump, unconfirmed_lines

    if unconfirmed:
        value["unconfirmed"] = list(unconfirmed)
        text += "".join(f"{line}\n" for line in unconfirmed_lines(unconfirmed))
    if report == "-":
        click.echo(dump(value), nl=False)
        return
    if report:
        write_report(report, dump(value))
    click.echo(text, nl=False)


def _table(seeded: dict[str, Any], seconds: float) -> str:
    from migrator.report.summary import table

    rows = [["database", "written", "unchanged", "removed", "also"]]
    for result in seeded.values():
        also = ["created"] * result.created + result.others
        numbers = [f"{number:,}" for number in (result.written, result.unchanged, result.removed)]
        rows.append([result.database, *numbers, ", ".join(also)])
    total = sum(result.written + result.unchanged for result in seeded.values())
    return f"{table(rows)}\n{total:,} documents are as the fixtures say, in {seconds:.1f} s\n"


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
        f"{len(found):,} differences" if found else "No differences: the databases are what the fixtures say."
    )
    return "\n".join(lines) + "\n"
