"""`migrator retry`: write the documents of a reject file again."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from migrator.cli import options
from migrator.cli.flags import flags
from migrator.config import JobConfig
from migrator.errors import EXIT_REJECTS, ConfigError
from migrator.model import Extractor


@click.command()
@click.argument("rejects_file", metavar="REJECTS", type=click.Path(path_type=Path))
@flags(JobConfig, "target", "collection")
@click.option(
    "--stage",
    "stages",
    type=click.Choice(["extract", "transform", "load"]),
    multiple=True,
    help="Only what was rejected at this stage. May be given more than once. [default: all]",
)
@flags(
    JobConfig, "map", "transform", "codec", *options.WRITE, "report", "dry_run", help={"dry_run": "Write nothing."}
)
@options.connection_options
@options.log_options
def retry(rejects_file: Path, stages: tuple[str, ...], **values: Any) -> None:
    """Write the documents of the REJECTS file again, after a fix at the target, in the file, or by --transform.

    Each goes to the database that it was meant for, which the file says; --map or a database in TARGET changes
    that. A document that was rejected at the target is kept as it was sent, so only the transformers given here
    apply; --stage extract --stage transform chooses those that the run's transformers are still to be applied to.
    The file itself is left as it is; what is rejected again goes to a new one.

    \b
    Examples:
      migrator retry rejects.ndjson --to http://localhost:5984
      migrator retry rejects.ndjson --to http://localhost:5984 --transform rename:__v=version
    """
    config = options.job_config(None, values)
    from migrator.checkpoint.target_guard import advising
    from migrator.cli.rendering import print_result, rejects_advice
    from migrator.couch.endpoint import is_server_url
    from migrator.extractors.appended import AppendedRejects
    from migrator.extractors.rejects import RejectsExtractor
    from migrator.files.copies import copied
    from migrator.files.streams import is_stream
    from migrator.jobs.registry import scheme_of, target_text
    from migrator.jobs.run import run_job
    from migrator.naming import file_name
    from migrator.report.history import HistoryListener

    if config.rejects and not is_stream(rejects_file) and Path(config.rejects).resolve() == rejects_file.resolve():
        raise ConfigError(
            f"--rejects names {rejects_file} itself.", hint="Name another file for what is rejected again."
        )
    if is_stream(rejects_file):
        rejects_file = copied(str(rejects_file), "rejects.ndjson")
    rejects = RejectsExtractor(rejects_file, stages=stages, loose=bool(config.transform))
    source: Extractor = rejects
    target = target_text(config)
    if not is_server_url(target) and not scheme_of(target) and not is_stream(target):
        files = {name: Path(target) / f"{file_name(name)}.ndjson" for name in rejects.collections()}
        files = {name: file for name, file in files.items() if file.exists()}
        if files and config.on_conflict in {"fail", "overwrite"}:
            # A folder's file is replaced as a whole, with what it has and what it lacked.
            source, config = AppendedRejects(rejects, files), replace(config, on_conflict="overwrite")
    history = HistoryListener()
    with (
        options.stoppable() as stopping,
        options.listening(values) as listener,
        advising("Retry again: what is there already stays as it is."),
    ):
        result = run_job(
            # An interrupted retry begins again: the file is small, and what is there stays.
            replace(config, restart=True),
            listener=options.all_listeners(listener, history),
            stopping=stopping,
            source=source,
        )
    print_result(result, config, history)
    if result.report.totals.rejected:
        click.echo(rejects_advice(result, config), err=True)
        sys.exit(EXIT_REJECTS)
