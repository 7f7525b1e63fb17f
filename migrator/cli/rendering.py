"""What commands print of a result: a table or JSON on standard output, and a report file where one is named."""

from __future__ import annotations

from pathlib import Path

import click

from migrator.config import JobConfig
from migrator.errors import ConfigError
from migrator.jobs import JobResult
from migrator.report import dump, report_to_json, report_to_table


def print_result(result: JobResult, config: JobConfig) -> None:
    """Print a run's report, and write it to the file that the job names.

    Raises:
        ConfigError: the file cannot be written.
    """
    text = dump(report_to_json(result.report, rejects=str(result.rejects or ""), dry_run=config.dry_run))
    if config.report and config.report != "-":
        write_report(config.report, text)
    click.echo(text if config.report == "-" else report_to_table(result.report, dry_run=config.dry_run), nl=False)


def write_report(path: str, text: str) -> None:
    """Write a report file whole."""
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"Report {path} cannot be written: {error.strerror}.", hint="Name another with --report."
        ) from None


def rejected_text(count: int) -> str:
    """How many documents were rejected, in words."""
    return "1 document was rejected" if count == 1 else f"{count:,} documents were rejected"
