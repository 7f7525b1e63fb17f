"""`migrator run`: move documents."""

from __future__ import annotations

import sys
import threading
from typing import Any

import click

from migrator.cli import options, sync_options, timer
from migrator.config import JobConfig
from migrator.errors import EXIT_DIFFERENCES, EXIT_REJECTS, Interrupted
from migrator.events import Listener


@click.command()
@options.source_option
@options.target_option
@options.collection_option
@options.map_option
@options.transform_option
@options.codec_option
@click.option(
    "--transform-workers",
    type=int,
    metavar="N",
    help="Apply the transformers in N other processes, for functions that need much of a processor. [default: 0]",
)
@options.write_options
@click.option(
    "--checkpoint",
    metavar="FILE",
    help="Where the position is kept. [default: migrator-….checkpoint.json, until done]",
)
@click.option(
    "--resume", is_flag=True, default=None, help="Go on from the checkpoint; start fresh where there is none."
)
@click.option("--restart", is_flag=True, default=None, help="Start over, whatever the checkpoint says.")
@click.option(
    "--report", metavar="FILE", help="Write the report as JSON; - for standard output in place of the table."
)
@click.option("--dry-run", is_flag=True, default=None, help="Read, transform and compare, but write nothing.")
@click.option("--verify", is_flag=True, default=None, help="Compare source and target at the end.")
@sync_options.sync_options
@timer.timer_options
@options.connection_options
@options.log_options
@options.job_option
def run(job_file: str | None, log_format: str, log_level: str, quiet: bool, **flags: Any) -> None:
    """Move documents from SOURCE through transformers to TARGET, collection by collection.

    What is there already with equal content is left alone, so a second run writes nothing.

    \b
    Examples:
      migrator run --from memory:app.db:service --to http://localhost:5984
      migrator run --from dump/ --to http://localhost:5984 --resume --checkpoint nightly.json
      migrator run --from export.json --to http://localhost:5984 --transform id:field=sku
      migrator run -c configs/one-shot-migration.toml
      migrator run --from http://a:5984/orders --to http://b:5984/orders --replicate
      migrator run --from dump/ --to http://localhost:5984 --executor dask://scheduler:8786
    """
    config = options.job_config(job_file, flags)
    watched = timer.timed("run", metrics=config.metrics, ping=config.ping, json_line=config.json)
    with options.stoppable() as stopping, watched as told:
        _run(config, log_format, log_level, quiet=quiet, stopping=stopping, told=told.listener)


def _run(
    config: JobConfig,
    log_format: str,
    log_level: str,
    *,
    quiet: bool,
    stopping: threading.Event,
    told: Listener,
) -> None:
    from migrator.cli.rendering import print_result, rejects_advice, write_result  # noqa: PLC0415 late, for a quick start
    from migrator.jobs.dispatch import run_any  # noqa: PLC0415
    from migrator.jobs.piped import refuse_second_reading  # noqa: PLC0415
    from migrator.report.history import HistoryListener  # noqa: PLC0415

    if config.verify and not config.dry_run:
        refuse_second_reading(config)
    history = HistoryListener()
    with options.listening(log_format, log_level, quiet=quiet) as listener:
        result = run_any(config, listener=options.all_listeners(listener, told, history), stopping=stopping)
    verification = None
    if not config.verify or config.dry_run:
        print_result(result, config, history)
    else:
        from migrator.cli.verify import verify_and_print  # noqa: PLC0415

        # What was moved is told before it is compared, which may fail; but standard output takes one object.
        if config.report != "-":
            print_result(result, config, history)
        try:
            verification = verify_and_print(
                config, log_format, log_level, quiet=quiet, stopping=stopping, run_checkpoint=result.state
            )
        finally:
            write_result(result, config, history, verification)
    if result.report.rejected:
        click.echo(rejects_advice(result, config), err=True)
        sys.exit(EXIT_REJECTS)
    if verification is not None and not verification.ok:
        sys.exit(EXIT_DIFFERENCES)
    if stopping.is_set() and not config.follow:
        raise Interrupted("Stopped after the last document.", hint="Nothing is left to do.")
