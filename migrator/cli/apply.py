"""`migrator apply`: do what a plan of a whole server says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from migrator.cli import options
from migrator.errors import EXIT_DIFFERENCES, EXIT_REJECTS


@click.command()
@click.argument("plan_file", metavar="PLAN", type=click.Path(path_type=Path))
@click.option(
    "--from",
    "source",
    default="",
    metavar="URL",
    help="The plan's source, by another address or with credentials.",
)
@click.option(
    "--to", "target", default="", metavar="URL", help="The plan's target, by another address or with credentials."
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where the state is kept. [default: PLAN.checkpoint, until done]",
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint; start fresh where there is none.")
@click.option("--restart", is_flag=True, help="Start over; what is there already stays as it is.")
@click.option(
    "--report", metavar="FILE", help="Write the report as JSON; - for standard output in place of the table."
)
@click.option(
    "--rejects",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where documents go that were not written. [default: PLAN.rejects.ndjson]",
)
@click.option(
    "--verify/--no-verify",
    default=None,
    help="Afterwards read every document and attachment on both sides too; or compare nothing. "
    "[default: compare revisions, settings and indexes]",
)
@click.option("--no-warm", is_flag=True, help="Do not wait for indexes before the databases are opened.")
@click.option(
    "--side-by-side",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    metavar="N",
    help="Databases at once.",
)
@click.option("--batch-docs", type=int, metavar="N", help="Most documents in a request. [default: 500]")
@click.option("--batch-bytes", type=int, metavar="N", help="Most bytes in a request. [default: 4000000]")
@options.connection_options
@options.log_options
def apply(
    plan_file: Path,
    report: str | None,
    rejects: Path | None,
    checkpoint: Path | None,
    verify: bool | None,
    no_warm: bool,
    side_by_side: int,
    source: str,
    target: str,
    resume: bool,
    restart: bool,
    log_format: str,
    log_level: str,
    quiet: bool,
    **connection: Any,
) -> None:
    """Do exactly what PLAN says, which `migrator plan --output PLAN` has written.

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
    from migrator.cli.again import this_command  # noqa: PLC0415 late, for a quick start
    from migrator.cli.care_options import print_json  # noqa: PLC0415
    from migrator.cli.rendering import write_report  # noqa: PLC0415
    from migrator.config import JobConfig  # noqa: PLC0415
    from migrator.errors import ConfigError  # noqa: PLC0415
    from migrator.report.summary import dump  # noqa: PLC0415
    from migrator.server.move.apply import ApplyOptions, apply_plan  # noqa: PLC0415
    from migrator.server.move.plan import load_plan  # noqa: PLC0415
    from migrator.server.move.result import applied_to_json, applied_to_text  # noqa: PLC0415

    if resume and restart:
        raise ConfigError("--resume and --restart exclude each other.", hint="Keep one of them.")
    plan = load_plan(plan_file)
    config = JobConfig(**{key: value for key, value in connection.items() if value is not None})
    rejects = rejects or plan_file.with_name(f"{plan_file.name}.rejects.ndjson")
    settings = ApplyOptions(
        checkpoint=checkpoint or plan_file.with_name(f"{plan_file.name}.checkpoint"),
        keep_checkpoint=checkpoint is not None,
        rejects=rejects,
        resume=resume,
        restart=restart,
        warm=not no_warm,
        verify="revisions" if verify is None else "contents" if verify else "no",
        side_by_side=side_by_side,
        source=source,
        target=target,
        again=this_command("--restart"),
    )
    with (
        options.stoppable() as stopping,
        options.listening(log_format, log_level, quiet=quiet) as listener,
    ):
        applied = apply_plan(plan, settings, config=config, listener=listener, stopping=stopping)
    value = applied_to_json(applied, str(rejects) if rejects.exists() else "")
    if report == "-":
        print_json(value)
    else:
        if report:
            write_report(report, dump(value))
        click.echo(applied_to_text(applied), nl=False)
    if applied.totals.rejected:
        click.echo(
            f"{applied.totals.rejected:,} revisions were rejected. They are in {rejects}.\n"
            f"Mend what stands in their way, then: {settings.again} (what is there already stays as it is)",
            err=True,
        )
        sys.exit(EXIT_REJECTS)
    if not applied.ok:
        click.echo(
            f"The target has not all that the source has. Write what is missing: {settings.again}", err=True
        )
        sys.exit(EXIT_DIFFERENCES)
