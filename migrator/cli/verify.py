"""`migrator verify`: prove that a target holds what a source holds."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from migrator.checkpoint.file import Checkpoint
from migrator.cli import options
from migrator.cli.flags import flags
from migrator.cli.options import REPORT
from migrator.config import JobConfig
from migrator.errors import EXIT_DIFFERENCES

if TYPE_CHECKING:
    from migrator.verification.result import VerifyResult


@click.command()
@options.sides
@flags(
    JobConfig,
    *("checkpoint", "resume", "restart", "report"),
    help={"checkpoint": "Where the position is kept, for --resume.", "report": REPORT},
    default={"checkpoint": ""},
)
@click.option("--differences", metavar="FILE", help="Write every difference as NDJSON.")
@flags(JobConfig, "in_flight", hidden=True)
@options.connection_options
@options.log_options
@options.job_option
def verify(job_file: str | None, differences: str | None, **values: Any) -> None:
    """Compare what SOURCE holds, after the transformers, with what TARGET holds, document by document.

    Names each missing, extra and different document with the first differing path; exit 4 when there is one.

    \b
    Examples:
      migrator verify --from export.json --to http://localhost:5984
      migrator verify --from memory:app.db:service --to http://localhost:5984 --differences diff.ndjson
    """
    config = options.job_config(job_file, values)
    with options.stoppable() as stopping:
        result = verify_and_print(config, values, stopping=stopping, differences=differences)
    if not result.ok:
        sys.exit(EXIT_DIFFERENCES)


def verify_and_print(
    config: JobConfig,
    values: Mapping[str, Any],
    *,
    stopping: threading.Event,
    differences: str | None = None,
    run_checkpoint: Checkpoint | None = None,
) -> VerifyResult:
    """Verify and print the result.

    Args:
        config: the job.
        values: the command's flags, for the log.
        stopping: set it to stop.
        differences: a file for every difference.
        run_checkpoint: what the run that is verified has left.
    """
    from migrator.cli.rendering import write_report
    from migrator.report.summary import dump
    from migrator.verification.job import verify_job
    from migrator.verification.result import result_to_json, result_to_text

    with options.listening(values) as listener:
        result = verify_job(
            config, listener=listener, stopping=stopping, differences=differences, run_checkpoint=run_checkpoint
        )
    # A run's report has its own file; verification adds its result to what is printed.
    if config.verify:
        click.echo(result_to_text(result), nl=False, err=config.report == "-" or config.json)
    elif config.report == "-":
        click.echo(dump(result_to_json(result)), nl=False)
    else:
        if config.report:
            write_report(config.report, dump(result_to_json(result)))
        click.echo(result_to_text(result), nl=False)
    return result
