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
    if not config.json:
        table = report_to_table(result.report, dry_run=config.dry_run)
        click.echo(text if config.report == "-" else table, nl=False)


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


def rejects_advice(result: JobResult, config: JobConfig) -> str:
    """What to do about a run's rejected documents."""
    text = f"{rejected_text(result.report.rejected)}."
    if config.replicate:
        return (
            f"{text} The server does not name them; migrator verify --from SOURCE --to TARGET does. "
            "Once refused they are not tried again; after a fix: the same command with --restart"
        )
    if result.rejects:
        return f"{text} They are in {result.rejects}; after a fix: migrator retry {result.rejects} --to TARGET"
    return text
