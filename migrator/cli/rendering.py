"""What commands print of a result: a table or JSON on standard output, and a report file where one is named."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from migrator.config import Connection, JobConfig
from migrator.config.option import options_of
from migrator.couch.places import is_server_url, redact
from migrator.errors import EXIT_DIFFERENCES, EXIT_REJECTS, without_passwords
from migrator.files.durable import replace_file
from migrator.files.failures import AGAIN, RESUME, writing
from migrator.files.streams import is_standard_output
from migrator.naming import counted
from migrator.report.summary import dump, report_to_json, report_to_table

if TYPE_CHECKING:
    from migrator.jobs.run import JobResult
    from migrator.report.history import HistoryListener
    from migrator.verification.result import VerifyResult

# What decides how and where documents are written.
_CARRIED = {"on_conflict", "newer_field", "q", "n", "partitioned"} | {each.name for each in options_of(Connection)}
# What was not rejected at the target has not passed the run's transformers.
_BEFORE_LOADING = ("extract", "transform")


def print_result(result: JobResult, config: JobConfig, history: HistoryListener) -> None:
    """Print a run's report, and write it to the file that the job names.

    Raises:
        StorageError, ConfigError: the file cannot be written.
    """
    write_result(result, config, history)
    if config.report != "-" and not config.json:
        click.echo(
            report_to_table(result.report, dry_run=config.dry_run), nl=False, err=is_standard_output(config.target)
        )


def write_result(
    result: JobResult, config: JobConfig, history: HistoryListener, verification: VerifyResult | None = None
) -> None:
    """Write a run's report as JSON where the job wants it: to a file, or with `-` to standard output."""
    if not config.report:
        return
    compared: dict[str, Any] | None = None
    if verification is not None:
        from migrator.verification.result import result_to_json

        compared = result_to_json(verification)
    value = report_to_json(
        result.report,
        rejects=str(result.rejects or ""),
        retry=retry_commands(result.rejects, config, counts_of(result)) if result.rejects else (),
        dry_run=config.dry_run,
        verification=compared,
        history=history.as_dict(),
    )
    if config.report != "-":
        # The checkpoint of a run that is through may be there.
        write_report(config.report, dump(value), again=RESUME)
    elif not config.json:
        click.echo(dump(value), nl=False)


def show(value: Any, text: str, *, as_json: bool | None = False, report: str = "") -> None:
    """Print a result, as JSON or as text, and write the report where one is wanted.

    Args:
        value: the result for machines.
        text: the same for people.
        as_json: print the one for machines.
        report: the report file; `-` prints it instead of the text.

    Raises:
        StorageError, ConfigError: the file cannot be written.
    """
    if report and report != "-":
        write_report(report, dump(value))
    click.echo(dump(value) if as_json or report == "-" else text, nl=False)


def write_report(
    path: str, text: str, *, instead: str = "name another with --report FILE", again: str = AGAIN
) -> None:
    """Write a report file whole, for its owner only.

    Raises:
        StorageError: there is no room, or no right to write.
        ConfigError: the path is wrong.
    """
    with writing(path, what="Report", instead=instead, again=again):
        replace_file(Path(path), text)


def rejected_text(count: int, what: str = "document") -> str:
    """How many documents, or others, were rejected, in words."""
    return f"{counted(count, what)} {'was' if count == 1 else 'were'} rejected"


def rejects_exit(altered: int) -> int:
    """The exit code of a run with rejects; some were changed on their way, as if a verification had found them."""
    return EXIT_DIFFERENCES if altered else EXIT_REJECTS


def rejects_advice(result: JobResult, config: JobConfig) -> str:
    """What to do about a run's rejected documents."""
    text = f"{rejected_text(result.report.rejected)}."
    if altered := result.report.altered:
        text += f" {altered:,} of them {'was' if altered == 1 else 'were'} changed on the way to the server."
    if config.replicate:
        return (
            f"{text} The server does not name them; migrator verify --from SOURCE --to TARGET does. "
            "Once refused they are not tried again; after a fix: the same command with --restart"
        )
    return f"{text} {retry_advice(result.rejects, config, counts_of(result))}" if result.rejects else text


def counts_of(result: JobResult) -> dict[str, int]:
    """Rejected documents by collection, of all runs of the job."""
    return {name: state.counts.rejected for name, state in result.state.collections.items()}


def retry_advice(rejects: str | os.PathLike[str], config: JobConfig, counts: Mapping[str, int]) -> str:
    """Where rejects are, and the whole commands that write them after a fix."""
    commands = retry_commands(rejects, config, counts)
    return f"They are in {rejects}; after a fix: {'; '.join(commands)}{credentials_hint(config)}"


def retry_commands(rejects: str | os.PathLike[str], config: JobConfig, counts: Mapping[str, int]) -> list[str]:
    """The commands that write a run's rejects again: one, or two where only some need the transformers again.

    Args:
        rejects: the reject file.
        config: the run's job.
        counts: rejected documents by collection.
    """
    from migrator.checkpoint.rejects import stages_in  # only where there are rejects
    from migrator.jobs.registry import target_text

    target = target_text(config)
    path = os.fspath(rejects)
    path = f"./{path}" if path.startswith("-") else path
    words = ["migrator", "retry", path, "--to", redact(target) if is_server_url(target) else target]
    for name, database in config.map.items() if is_server_url(target) else ():
        if counts.get(name):
            words += ["--map", f"{name}={database}"]
    transforms = [word for spec in config.transform for word in ("--transform", without_passwords(spec))]
    stages = stages_in(Path(rejects)) if transforms else set()
    early = [stage for stage in _BEFORE_LOADING if stage in stages]
    loaded = sorted(stages.difference(_BEFORE_LOADING))
    if not (early and loaded):
        return [shlex.join([*words, *(transforms if early else ()), *_carried(config)])]
    by_stage = [[word for stage in some for word in ("--stage", stage)] for some in (loaded, early)]
    return [
        shlex.join([*words, *by_stage[0], *_carried(config)]),
        shlex.join([*words, *by_stage[1], *transforms, *_carried(config)]),
    ]


def credentials_hint(config: JobConfig) -> str:
    """What to do about credentials that a hint's command leaves out; "" where there were none in it."""
    from migrator.jobs.registry import target_text  # only where there are rejects

    target = target_text(config)
    hint = ""
    if is_server_url(target) and redact(target) != target:
        hint = " (set COUCHDB_USER and COUCHDB_PASSWORD first, as credentials are not shown)"
    if any(spec != without_passwords(spec) for spec in config.transform):
        hint += " (--transform had credentials, which are not shown: add them)"
    return hint


def _carried(config: JobConfig) -> list[str]:
    words: list[str] = []
    usual = JobConfig()
    for each in options_of(config):
        if each.name in _CARRIED and each.value != getattr(usual, each.name):
            words += [each.flags[-1]] if each.value is True else [each.flags[-1], each.default]
    return words
