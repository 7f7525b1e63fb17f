"""What commands share: flags and how they become a JobConfig, and what surrounds their work."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from migrator.cli.flags import flags, given, made
from migrator.cli.messages import QUIET, HeldLog, asked, say
from migrator.config import Connection, JobConfig, LogOptions, Watch, load_job_file
from migrator.config.option import CommandOptions, option, options_class, options_of
from migrator.config.pace import PACE
from migrator.errors import ConfigError, Interrupted

if TYPE_CHECKING:
    from migrator.model.events import Event, Listener
    from migrator.monitoring.timed import TimedRun
    from migrator.server.admin.connection import Server

F = TypeVar("F", bound=Callable[..., Any])


@options_class
class DryRun:
    """Whether anything is done."""

    dry_run: bool = option(False, "Show what would be done, and do nothing.")


# What run, plan, retry and their like share.
sides = flags(JobConfig, "source", "target", "collection", "map", "transform", "codec")
WRITE = (
    *("on_conflict", "newer_field", "prove", "rejects", "max_errors", "batch_docs", "batch_bytes"),
    *("in_flight", "readers", "sort", "q", "n", "partitioned"),
)
REPORT = "Write the report as JSON; - prints it instead of the text."
job_option = flags(CommandOptions, "job_file")
connection_options = flags(Connection)
_asking_options = flags(Connection, without=PACE)
watch_options = flags(Watch)
log_options = flags(LogOptions)
_CONNECTION = tuple(each.name for kind in (Connection, Watch) for each in options_of(kind))


def server_options(function: F) -> F:
    """What commands about a server have after their own flags."""
    return _asking_options(log_options(function))


def job_config(values: Mapping[str, Any]) -> JobConfig:
    """Merge the job file, where one is named, and the flags that were given."""
    merged = load_job_file(values["job_file"]) if values.get("job_file") else {}
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


def part_of_job(values: Mapping[str, Any], *names: str, **more: Any) -> JobConfig:
    """How servers are reached and who is notified, for a command whose other flags may mean something else.

    Args:
        values: of all flags, by name.
        names: further options of a job that the command has.
        more: further fields, which win.
    """
    return made(JobConfig, {name: values.get(name) for name in (*_CONNECTION, *names)}, **more)


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
def listening(values: Mapping[str, Any], *others: Listener) -> Iterator[Listener]:
    """A progress bar where a person watches, log lines elsewhere; both on standard error, as the flags want it.

    Args:
        values: of all flags, by name.
        others: receive the events as well.
    """
    log = made(LogOptions, values)
    with contextlib.ExitStack() as stack:
        if sys.stderr.isatty() and log == LogOptions():
            from migrator.report.progress import ProgressListener

            shown: Listener = stack.enter_context(contextlib.closing(ProgressListener()))
        else:
            from migrator.report.logs import LogListener

            quieter = log.quiet and log.log_level in {"info", "debug"}
            # What follows for ever does not end well or badly: its warnings are wanted as they come.
            stream = HeldLog() if asked(QUIET) and not values.get("follow") else None
            shown = LogListener(log.log_format, "warning" if quieter else log.log_level, stream)

        from migrator.model.events import SettledListener

        settled = SettledListener()
        listeners: list[Listener] = [shown, settled, *others]

        def all_of_them(event: Event) -> None:
            for listener in listeners:
                listener(event)

        try:
            yield all_of_them
        except Interrupted as stop:
            stop.documents = settled.documents
            raise


@contextlib.contextmanager
def at_work(values: Mapping[str, Any], *others: Listener) -> Iterator[tuple[Listener, threading.Event]]:
    """What all work gets: a listener, as `listening` makes it, and an event that the first signal sets."""
    from migrator.cli.stopping import stoppable  # a page of help needs none of this

    with stoppable() as stopping, listening(values, *others) as listener:
        yield listener, stopping


@contextlib.contextmanager
def opened(
    url: str, values: Mapping[str, Any], *, defaults: Connection | None = None
) -> Iterator[tuple[Server, str | None]]:
    """The server that a URL names and the database, if any; closed afterwards, stopped by signals."""
    from migrator.server.admin.connection import open_server

    connection = replace(defaults or Connection(), **given(Connection, values))
    with at_work(values) as (listener, stopping):
        server, database = open_server(url, config=connection, listener=listener, stopping=stopping)
        with contextlib.closing(server):
            yield server, database


@contextlib.contextmanager
def timed(command: str, watch: Watch, *, json_line: bool = False) -> Iterator[TimedRun]:
    """Tell those who watch that the run begins and how it ends; give it the events as `listener`.

    Raises:
        ConfigError: the metrics file or the URL cannot be used.
    """
    from migrator.monitoring.timed import timed

    def tell(result: dict[str, Any]) -> None:
        # Names from outside can hold what is not Unicode text; escaped, they can be printed.
        click.echo(json.dumps(result))

    with timed(command, watch, partial(say, level="warning"), tell if json_line else None) as run:
        yield run
