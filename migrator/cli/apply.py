"""`migrator apply`: do what a plan of a whole server says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from migrator.cli import options
from migrator.cli.flags import flags, given, made
from migrator.config import Connection, JobConfig
from migrator.errors import EXIT_DIFFERENCES, EXIT_REJECTS
from migrator.server.move.options import ApplyOptions

OF_JOB = ("report", "batch_docs", "batch_bytes")


@click.command()
@click.argument("plan_file", metavar="PLAN", type=click.Path(path_type=Path))
@flags(ApplyOptions)
@flags(JobConfig, *OF_JOB, help={"batch_docs": "Maximum documents per batch."})
@options.connection_options
@options.log_options
def apply(plan_file: Path, **values: Any) -> None:
    """Do exactly what PLAN says, which `migrator plan-server --output PLAN` has written.

    Databases with their options, all revisions and attachments; then indexes and views, built; validation
    functions, users, and last of all who may come in. Then both servers are compared. Kill it and go on with
    --resume. A plan that does not fit source or target any more is refused with exit code 6 before anything is
    written. Exit 3 when something was rejected, 4 when the comparison finds something missing.

    The plan holds no credentials: set COUCHDB_SOURCE_USER and COUCHDB_SOURCE_PASSWORD, COUCHDB_TARGET_USER and
    COUCHDB_TARGET_PASSWORD, or give --from and --to again.

    \b
    Example:
      migrator apply move.json --resume --report report.json
    """
    from migrator.cli.admin_options import print_json
    from migrator.cli.again import this_command
    from migrator.cli.rendering import write_report
    from migrator.report.summary import dump
    from migrator.server.move.apply import apply_plan
    from migrator.server.move.plan import load_plan
    from migrator.server.move.result import applied_to_json, applied_to_text

    plan = load_plan(plan_file)
    config = JobConfig(**given(Connection, values), **given(JobConfig, {name: values[name] for name in OF_JOB}))
    rejects = values["rejects"] or plan_file.with_name(f"{plan_file.name}.rejects.ndjson")
    settings = made(
        ApplyOptions,
        values,
        checkpoint=values["checkpoint"] or plan_file.with_name(f"{plan_file.name}.checkpoint"),
        keep_checkpoint=values["checkpoint"] is not None,
        rejects=rejects,
        again=this_command("--restart"),
    )
    with (
        options.stoppable() as stopping,
        options.listening(values) as listener,
    ):
        applied = apply_plan(plan, settings, config=config, listener=listener, stopping=stopping)
    value = applied_to_json(applied, str(rejects) if rejects.exists() else "")
    if config.report == "-":
        print_json(value)
    else:
        if config.report:
            write_report(config.report, dump(value))
        click.echo(applied_to_text(applied), nl=False)
    if applied.totals.rejected:
        click.echo(
            f"{applied.totals.rejected:,} revisions were rejected. They are in {rejects}.\n"
            f"Fix what stands in their way, then: {settings.again} (what is there already stays as it is)",
            err=True,
        )
        sys.exit(EXIT_REJECTS)
    if not applied.ok:
        click.echo(
            f"The target has not all that the source has. Write what is missing: {settings.again}", err=True
        )
        sys.exit(EXIT_DIFFERENCES)
