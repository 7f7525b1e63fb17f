"""`migrator verify`: prove that a target holds what a source holds."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

import click

from migrator.checkpoint.file import Checkpoint
from migrator.cli import options
from migrator.config import JobConfig
from migrator.errors import EXIT_DIFFERENCES

if TYPE_CHECKING:
    from migrator.verification.result import VerifyResult


@click.command()
@options.source_option
@options.target_option
@options.collection_option
@options.map_option
@options.transform_option
@options.codec_option
@click.option("--checkpoint", metavar="FILE", help="Where the position is kept, for --resume.")
@click.option("--resume", is_flag=True, default=None, help="Go on from the checkpoint.")
@click.option("--restart", is_flag=True, default=None, help="Start over, whatever the checkpoint says.")
@click.option(
    "--report", metavar="FILE", help="Write the result as JSON; - for standard output in place of the text."
)
@click.option("--differences", metavar="FILE", help="Write every difference as NDJSON.")
@click.option("--in-flight", type=int, metavar="N", hidden=True)
@options.connection_options
@options.log_options
@options.job_option
def verify(
    job_file: str | None, differences: str | None, log_format: str, log_level: str, quiet: bool, **flags: Any
) -> None:
    """Compare what SOURCE holds, after the transformers, with what TARGET holds, document by document.

    Names each missing, extra and different document with the first differing path; exit 4 when there is one.

    \b
    Examples:
      migrator verify --from export.json --to http://localhost:5984
      migrator verify --from memory:app.db:service --to http://localhost:5984 --differences diff.ndjson
    """
    config = options.job_config(job_file, flags)
    with options.stoppable() as stopping:
        result = verify_and_print(
            config, log_format, log_level, quiet=quiet, stopping=stopping, differences=differences
        )
    if not result.ok:
        sys.exit(EXIT_DIFFERENCES)


def verify_and_print(
    config: JobConfig,
    log_format: str,
    log_level: str,
    *,
    quiet: bool,
    stopping: threading.Event,
    differences: str | None = None,
    run_checkpoint: Checkpoint | None = None,
) -> VerifyResult:
    """Verify and print the result."""
    from migrator.cli.rendering import write_report  # noqa: PLC0415 late, for a quick start
    from migrator.report.summary import dump  # noqa: PLC0415
    from migrator.verification.job import verify_job  # noqa: PLC0415
    from migrator.verification.result import result_to_json, result_to_text  # noqa: PLC0415

    with options.listening(log_format, log_level, quiet=quiet) as listener:
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
