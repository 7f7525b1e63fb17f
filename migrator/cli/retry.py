"""`migrator retry`: write the documents of a reject file again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from migrator.cli import options
from migrator.errors import EXIT_REJECTS, ConfigError


@click.command()
@click.argument("rejects_file", metavar="REJECTS", type=click.Path(path_type=Path))
@options.target_option
@options.collection_option
@options.map_option
@options.transform_option
@options.codec_option
@options.write_options
@click.option(
    "--report", metavar="FILE", help="Write the report as JSON; - for standard output in place of the table."
)
@click.option("--dry-run", is_flag=True, default=None, help="Write nothing.")
@options.connection_options
@options.log_options
def retry(rejects_file: Path, log_format: str, log_level: str, quiet: bool, **flags: Any) -> None:
    """Write the documents of the REJECTS file again, after a fix at the target, in the file, or by --transform.

    A document that was rejected at the target is kept as it was sent, so only the transformers given here apply.
    The file itself is left as it is; what is rejected again goes to a new one.

    \b
    Examples:
      migrator retry rejects.ndjson --to http://localhost:5984
      migrator retry rejects.ndjson --to http://localhost:5984 --transform rename:__v=version
    """
    config = options.job_config(None, flags)
    from migrator.cli.rendering import print_result, rejected_text  # noqa: PLC0415 late, for a quick start
    from migrator.extractors.rejects import RejectsExtractor  # noqa: PLC0415
    from migrator.history import HistoryListener  # noqa: PLC0415
    from migrator.jobs import run_job  # noqa: PLC0415

    if config.rejects and Path(config.rejects).resolve() == rejects_file.resolve():
        raise ConfigError(
            f"--rejects names {rejects_file} itself.", hint="Name another file for what is rejected again."
        )
    history = HistoryListener()
    with (
        options.stoppable() as stopping,
        options.listening(log_format, log_level, quiet=quiet) as listener,
    ):
        result = run_job(
            config,
            listener=options.all_listeners(listener, history),
            stopping=stopping,
            source=RejectsExtractor(rejects_file),
        )
    print_result(result, config, history)
    if result.report.totals.rejected:
        click.echo(f"{rejected_text(result.report.totals.rejected)} again: see {result.rejects}.", err=True)
        sys.exit(EXIT_REJECTS)
