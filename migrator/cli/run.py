"""`migrator run`: move documents."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from typing import Any

import click

from migrator.cli import options, timer
from migrator.cli.flags import flags
from migrator.config import JobConfig
from migrator.errors import EXIT_DIFFERENCES, EXIT_REJECTS, Interrupted
from migrator.events import Listener


@click.command()
@flags(JobConfig)
@options.log_options
@options.job_option
def run(job_file: str | None, **values: Any) -> None:
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
    config = options.job_config(job_file, values)
    watched = timer.timed("run", config, json_line=config.json)
    with options.stoppable() as stopping, watched as told:
        _run(config, values, stopping=stopping, told=told.listener)


def _run(config: JobConfig, values: Mapping[str, Any], *, stopping: threading.Event, told: Listener) -> None:
    from migrator.cli.rendering import print_result, rejects_advice, write_result
    from migrator.jobs.dispatch import run_any
    from migrator.jobs.piped import refuse_second_reading
    from migrator.report.history import HistoryListener

    if config.verify and not config.dry_run:
        refuse_second_reading(config)
    history = HistoryListener()
    with options.listening(values) as listener:
        result = run_any(config, listener=options.all_listeners(listener, told, history), stopping=stopping)
    verification = None
    if not config.verify or config.dry_run:
        print_result(result, config, history)
    else:
        from migrator.cli.verify import verify_and_print

        # What was moved is told before it is compared, which may fail; but standard output takes one object.
        if config.report != "-":
            print_result(result, config, history)
        try:
            verification = verify_and_print(config, values, stopping=stopping, run_checkpoint=result.state)
        finally:
            write_result(result, config, history, verification)
    if result.report.rejected:
        click.echo(rejects_advice(result, config), err=True)
        sys.exit(EXIT_REJECTS)
    if verification is not None and not verification.ok:
        sys.exit(EXIT_DIFFERENCES)
    if stopping.is_set() and not config.follow:
        raise Interrupted("Stopped after the last document.", hint="Nothing is left to do.")
