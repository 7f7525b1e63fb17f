"""The flags that commands share, and how they become a JobConfig: a flag wins over the job file."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import click

from migrator.cli.flags import flags, given, made
from migrator.config import Connection, JobConfig, LogOptions, load_job_file
from migrator.errors import EXIT_INTERRUPTED, ConfigError
from migrator.events import Event, Listener

job_option = click.option(
    "-c", "--config", "job_file", metavar="JOB.toml", help="Read the job from a file; flags win over it."
)
# What run, plan, retry and their like share.
sides = flags(JobConfig, "source", "target", "collection", "map", "transform", "codec")
target_side = flags(JobConfig, "target", "map", "transform", "codec")
WRITE = (
    *("on_conflict", "newer_field", "rejects", "max_errors", "batch_docs", "batch_bytes"),
    *("in_flight", "readers", "sort", "q", "n", "partitioned"),
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
REPORT = "Write the report as JSON; - prints it instead of the text."
connection_options = flags(Connection)
log_options = flags(LogOptions)


def job_config(job_file: str | None, values: Mapping[str, Any]) -> JobConfig:
    """Merge the job file and the flags that were given."""
    merged = load_job_file(job_file) if job_file else {}
    typed = given(JobConfig, values)
    if "map" in typed:
        typed["map"] = {**merged.get("map", {}), **typed["map"]}
    merged |= typed
    for name, other in (("resume", "restart"), ("restart", "resume")):
        # A file's --resume gives way to the command's --restart, and the other way round.
        if name in typed and other not in typed:
            merged[other] = False
    config = JobConfig(**merged)
    _refuse_files_of_other_tools(config.source)
    return config


def _refuse_files_of_other_tools(source: str) -> None:
    """Such files hold revisions, conflicts and tombstones, which an application's documents have none of."""
    if not source or not os.path.isfile(source):  # noqa: PTH113 anything can be a source, also what no path can be
        return
    from migrator.convert.formats.detect import foreign

    if name := foreign(Path(source)):
        raise ConfigError(
            f"{source} is a file of the format {name}, with revisions.",
            hint=f"Load it as it is: migrator convert --from {shlex.quote(source)} --to http://host:5984/database",
        )


@contextlib.contextmanager
def listening(values: Mapping[str, Any]) -> Iterator[Listener]:
    """A progress bar where a person watches, log lines elsewhere; both on standard error, as the flags want it."""
    log = made(LogOptions, values)
    if sys.stderr.isatty() and log == LogOptions():
        from migrator.report.progress import ProgressListener

        progress = ProgressListener()
        try:
            yield progress
        finally:
            progress.close()
        return
    from migrator.report.logs import LogListener

    quieter = log.quiet and log.log_level in {"info", "debug"}
    yield LogListener(log.log_format, "warning" if quieter else log.log_level)


@contextlib.contextmanager
def stoppable() -> Iterator[threading.Event]:
    """The first SIGINT or SIGTERM asks to stop and settle; the second ends the process at once."""
    stopping = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        if stopping.is_set():
            os._exit(EXIT_INTERRUPTED)
        stopping.set()
        with contextlib.suppress(OSError):
            os.write(2, b"Stopping: settling what is in flight (once more to end at once).\n")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def all_listeners(*listeners: Listener) -> Listener:
    """One listener that tells several."""

    def tell(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return tell
