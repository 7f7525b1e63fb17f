"""`migrator seed`: make databases what fixtures say, or fill them with a masked sample of others."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from migrator.cli import options
from migrator.config import JobConfig
from migrator.couch.endpoint import is_server_url
from migrator.errors import EXIT_DIFFERENCES, EXIT_REJECTS, ConfigError

if TYPE_CHECKING:
    from migrator.fixtures.staging import Masking

F = TypeVar("F", bound=Callable[..., Any])
DEFAULT_WAIT_S = 60.0
# A database that tests have changed beyond that is told by its number.
MAX_SHOWN = 200


def staging_options(function: F) -> F:
    """The flags for taking a part of real data as test data."""
    for decorate in reversed(
        (
            click.option(
                "--sample",
                metavar="N%[,FIELD]",
                help="Take a share, always the same; by FIELD, so that joins hold.",
            ),
            click.option(
                "--where", metavar="CONDITION", multiple=True, help="Take what meets it, as in status=open."
            ),
            click.option(
                "--mask",
                metavar="KIND:FIELD,...",
                multiple=True,
                help="pseudonym, hash, drop or fake.name, fake.email, ... A report proves that nothing survived.",
            ),
            click.option("--mask-key-file", metavar="FILE", help="The masks' key. [default: MIGRATOR_MASK_KEY]"),
        )
    ):
        function = decorate(function)
    return function


@click.command()
@click.argument("fixtures")
@options.target_option
@click.option("--collection", metavar="NAME", multiple=True, help="Only this database; may be given again.")
@click.option("--exact", is_flag=True, help="Remove documents, design documents and indexes that are no fixtures.")
@click.option("--recreate", is_flag=True, help="Delete the databases first (never _users).")
@click.option("--prefix", metavar="NAME", default="", help="Goes before each database's name.")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    is_flag=False,
    flag_value=DEFAULT_WAIT_S,
    help=f"Wait so long for the server, and then for the indexes. [{DEFAULT_WAIT_S:g} where no number is given]",
)
@click.option(
    "--diff", is_flag=True, help="Show what differs from the fixtures, write nothing; exit 4 if anything."
)
@click.option(
    "--now", envvar="MIGRATOR_NOW", metavar="TIME", help="What ${now} is, as in 2024-05-01. [default: the present]"
)
@click.option(
    "--report", metavar="FILE", help="Write the report as JSON; - for standard output in place of the text."
)
@staging_options
@options.connection_options
@options.log_options
def seed(
    fixtures: str,
    target: str | None,
    collection: tuple[str, ...],
    report: str | None,
    sample: str | None,
    where: tuple[str, ...],
    mask: tuple[str, ...],
    mask_key_file: str | None,
    wait_s: float | None,
    log_format: str,
    log_level: str,
    quiet: bool,
    exact: bool,
    recreate: bool,
    prefix: str,
    diff: bool,
    now: str | None,
    **connection: Any,
) -> None:
    """Make the databases of a server what the folder FIXTURES says. Seeding twice writes nothing.

    Every fault in the fixtures is told with its file and line, all at once, before anything is written.
    FIXTURES can also be a server's URL: then a sample of its documents is written, masked.

    \b
    Examples:
      migrator seed fixtures/ --to http://localhost:5984 --wait
      migrator seed fixtures/ --exact --prefix "ci_${CI_JOB_ID}_"
      migrator seed fixtures/ --diff
      migrator seed https://prod.example.com --to https://staging.example.com --sample 5% --mask pseudonym:email
    """
    from migrator.couch.places import checked_place  # noqa: PLC0415 late, for a quick start
    from migrator.fixtures.staging import Masking  # noqa: PLC0415
    from migrator.jobs.registry import target_text  # noqa: PLC0415

    given = {key: value for key, value in connection.items() if value is not None}
    fixtures = checked_place(fixtures, "FIXTURES", known=("memory",), reads=True)
    config = JobConfig(source=fixtures, target=target or "", collection=collection, **given)
    masking = Masking(sample, where, mask, mask_key_file)
    run = _Run(config, masking, prefix, report, (log_format, log_level, quiet))
    if is_server_url(fixtures) or fixtures.startswith("memory:"):
        for name, value in {"exact": exact, "recreate": recreate, "diff": diff, "now": now}.items():
            if value:
                raise ConfigError(f"--{name} goes with a folder of fixtures.", hint="Leave it out.")
        if wait_s is not None:
            _wait(target_text(config), wait_s)
        _stage(run)
        return
    if masking.any:
        raise ConfigError(
            "--sample, --where and --mask go with a server as FIXTURES, not with a folder.",
            hint="Mask when the fixtures are made: migrator snapshot URL FOLDER --mask KIND:FIELD",
        )
    _seed(run, exact=exact, recreate=recreate, wait_s=wait_s, diff=diff, now=now)


class _Run:
    def __init__(
        self,
        config: JobConfig,
        masking: Masking,
        prefix: str,
        report: str | None,
        log: tuple[str, str, bool],
    ) -> None:
        self.config = config
        self.masking = masking
        self.prefix = prefix
        self.report = report
        self.log_format, self.log_level, self.quiet = log


def _stage(run: _Run) -> None:
    from migrator.fixtures.staging import stage  # noqa: PLC0415

    with (
        options.stoppable() as stopping,
        options.listening(run.log_format, run.log_level, quiet=run.quiet) as listener,
    ):
        staged = stage(
            run.config, run.masking, environ=os.environ, prefix=run.prefix, listener=listener, stopping=stopping
        )
    finish(staged.as_dict(), staged.text, run.report)
    if not staged.masked:
        click.echo("Original values are at the target: delete its databases, and mend the masks.", err=True)
        sys.exit(EXIT_DIFFERENCES)
    if staged.report.totals.rejected:
        click.echo(f"{staged.report.totals.rejected} documents were rejected.", err=True)
        sys.exit(EXIT_REJECTS)


def _seed(run: _Run, *, exact: bool, recreate: bool, wait_s: float | None, diff: bool, now: str | None) -> None:
    from migrator.fixtures.folder import read_fixtures  # noqa: PLC0415
    from migrator.fixtures.seeder import Seeder, SeedOptions  # noqa: PLC0415
    from migrator.fixtures.values import parse_now  # noqa: PLC0415
    from migrator.jobs.registry import target_text  # noqa: PLC0415
    from migrator.jobs.sources import server_of  # noqa: PLC0415

    config = run.config
    started = time.monotonic()
    fixtures = read_fixtures(Path(config.source), environ=os.environ, now=parse_now(now), prefix=run.prefix).only(
        config.collection
    )
    url = target_text(config)
    if wait_s is not None:
        _wait(url, wait_s)
    endpoint, database = server_of(config, url, role="target", environ=os.environ)
    if database is not None:
        raise ConfigError(
            f"--to names the database {database}, but the fixtures' folder names the databases.",
            hint=f"Write --to {endpoint.url}, and --collection NAME for one of them.",
        )
    settings = SeedOptions(
        exact=exact,
        recreate=recreate,
        wait_s=wait_s,
        # Jobs with prefixes share a server, and with it its users.
        keep_users=bool(run.prefix),
        max_attempts=config.max_attempts,
        max_outage_s=config.max_outage_s,
    )
    with (
        options.stoppable() as stopping,
        options.listening(run.log_format, run.log_level, quiet=run.quiet) as listener,
    ):
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
        finish(value, _differences(found), run.report, seeder.unconfirmed)
        if found:
            sys.exit(EXIT_DIFFERENCES)
        return
    seconds = round(time.monotonic() - started, 3)
    value = {"schema": 1, "ok": True, "databases": {n: s.as_dict() for n, s in seeded.items()}, "seconds": seconds}
    finish(value, _table(seeded, seconds), run.report, seeder.unconfirmed)


def _wait(url: str, timeout_s: float) -> None:
    from migrator.couch.ready import wait_for_server  # noqa: PLC0415

    wait_for_server(url, timeout_s)


def finish(value: dict[str, Any], text: str, report: str | None, unconfirmed: Sequence[str] = ()) -> None:
    """Print a result, as JSON or as text, and write the report where one is wanted."""
    from migrator.cli.rendering import write_report  # noqa: PLC0415
    from migrator.report.summary import dump, unconfirmed_lines  # noqa: PLC0415

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
    from migrator.report.summary import table  # noqa: PLC0415

    rows = [["database", "written", "unchanged", "removed", "besides"]]
    for result in seeded.values():
        besides = ["created"] * result.created + result.others
        numbers = [f"{number:,}" for number in (result.written, result.unchanged, result.removed)]
        rows.append([result.database, *numbers, ", ".join(besides)])
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
