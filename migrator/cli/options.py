"""The flags that commands share, and how they become a JobConfig: a flag wins over the job file."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import click

from migrator.config import POLICIES, SORTS, JobConfig, load_job_file
from migrator.errors import EXIT_INTERRUPTED, ConfigError
from migrator.events import Event, Listener

F = TypeVar("F", bound=Callable[..., Any])


def together(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator, in this order."""

    def decorate(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


source_option = click.option(
    "--from",
    "source",
    metavar="SOURCE",
    help="memory:package.module:attribute, a .json export, a folder or file of .ndjson/.jsonl (also .gz, .zst), "
    "a .csv, .tsv or .parquet file, csv:FOLDER, parquet:FOLDER, mongo:FILE, elasticdump:FILE, "
    "http(s)://host:5984, http(s)://host:5984/database, sqlite:///FILE, "
    "postgresql://host/database, redis://host, dynamodb:TABLE or singer:FILE. - is NDJSON on standard input, "
    "csv:-, mongo:- and so on the same of other kinds.",
)
target_option = click.option(
    "--to",
    "target",
    metavar="TARGET",
    help="http(s)://host:5984 (one database per collection), http(s)://host:5984/database for one collection, "
    "a folder, or - for standard output. [default: COUCHDB_URL]",
)
collection_option = click.option(
    "--collection", metavar="NAME", multiple=True, help="Move only this collection; may be given again."
)
map_option = click.option(
    "--map", metavar="NAME=DATABASE", multiple=True, help="Name a collection's database; may be given again."
)
transform_option = click.option(
    "--transform",
    metavar="SPEC",
    multiple=True,
    help="id:field=NAME, id:template={a}-{b}, id:hash, id:uuid7, rename:old=new, drop:a,b, keep:a,b, "
    "set:name=value, where:name=value, or package.module:function of your own, which is code that runs. "
    "Applied in order.",
)
codec_option = click.option(
    "--codec",
    type=click.Choice(["plain", "tagged", "strict"]),
    help="How values that JSON lacks are written: as plain texts, tagged to be read back, "
    "or not at all. [default: plain]",
)
job_option = click.option(
    "-c", "--config", "job_file", metavar="JOB.toml", help="Read the job from a file; flags win over it."
)
connection_options = together(
    click.option(
        "--timeout",
        "timeout_s",
        type=float,
        metavar="SECONDS",
        help="Longest wait for a server's next byte. [default: 90]",
    ),
    click.option("--max-attempts", type=int, metavar="N", help="Tries of one request. [default: 10]"),
    click.option(
        "--max-outage",
        "max_outage_s",
        type=float,
        metavar="SECONDS",
        help="Give up when nothing has succeeded for so long. [default: 300]",
    ),
    click.option("--ca-file", metavar="FILE", help="PEM of the authority that signed the server's certificate."),
    click.option("--client-cert", metavar="FILE", help="PEM of a client certificate."),
    click.option("--client-key", metavar="FILE", help="PEM of the client certificate's key."),
)
write_options = together(
    click.option(
        "--on-conflict",
        type=click.Choice(POLICIES),
        help="When the target holds other content under an id: fail rejects the document. [default: fail]",
    ),
    click.option("--newer-field", metavar="NAME", help="The field that --on-conflict newer compares."),
    click.option(
        "--rejects",
        metavar="FILE",
        help="Where documents go that were not written. [default: migrator-….rejects.ndjson]",
    ),
    click.option("--max-errors", metavar="N|N%", help="Stop when more documents than that were rejected."),
    click.option(
        "--batch-docs",
        type=int,
        metavar="N",
        help="Most documents in a batch; how many are best is found out. [default: 1000]",
    ),
    click.option("--batch-bytes", type=int, metavar="N", help="Most bytes in a batch. [default: 2000000]"),
    click.option(
        "--in-flight",
        type=int,
        metavar="N",
        help="Most batches sent at once; how many are best is found out. [default: 8]",
    ),
    click.option(
        "--readers", type=int, metavar="N", help="Ranges of ids read at once from a CouchDB source. [default: 4]"
    ),
    click.option(
        "--sort",
        type=click.Choice(SORTS),
        help="Load in the order of ids, which spares the server half the work: where it gains, always, or never. "
        "[default: auto]",
    ),
    click.option("--q", type=int, metavar="N", help="Shards of databases that are created."),
    click.option("--n", type=int, metavar="N", help="Copies of databases that are created."),
    click.option("--partitioned", is_flag=True, default=None, help="Databases that are created are partitioned."),
)
log_options = together(
    click.option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="Of standard error.",
    ),
    click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        default="info",
        show_default=True,
        help="Least level shown.",
    ),
    click.option("-q", "--quiet", is_flag=True, help="No progress, and only warnings."),
)


def job_config(job_file: str | None, flags: dict[str, Any]) -> JobConfig:
    """Merge the job file and the flags that were given."""
    values = load_job_file(job_file) if job_file else {}
    pairs = flags.pop("map", ())
    values.update({name: value for name, value in flags.items() if value not in (None, ())})
    if pairs:
        values["map"] = {**values.get("map", {}), **dict(pair(text) for text in pairs)}
    for name in ("resume", "restart"):
        # A file's --resume gives way to the command's --restart, and the other way round.
        other = "restart" if name == "resume" else "resume"
        if flags.get(name) and not flags.get(other):
            values[other] = False
    config = JobConfig(**values)
    _refuse_files_of_other_tools(config.source)
    return config


def _refuse_files_of_other_tools(source: str) -> None:
    """Such files hold revisions, conflicts and tombstones, which an application's documents have none of."""
    if not source or not os.path.isfile(source):  # noqa: PTH113 anything can be a source, also what no path can be
        return
    from migrator.convert.formats.detect import foreign  # noqa: PLC0415 late, for a quick start

    if name := foreign(Path(source)):
        raise ConfigError(
            f"{source} is a file of the format {name}, with revisions.",
            hint=f"Load it as it is: migrator convert --from {shlex.quote(source)} --to http://host:5984/database",
        )


def pair(text: str) -> tuple[str, str]:
    """Read NAME=DATABASE.

    Raises:
        ConfigError: it is not of that form.
    """
    name, equals, database = text.rpartition("=")
    if not equals or not name or not database:
        raise ConfigError(
            f"--map {text!r} is not of the form NAME=DATABASE.", hint="For example --map Users=people"
        )
    return name, database


@contextlib.contextmanager
def listening(log_format: str, log_level: str, *, quiet: bool) -> Iterator[Listener]:
    """A progress bar where a person watches, log lines elsewhere; both on standard error."""
    if sys.stderr.isatty() and log_format == "text" and log_level == "info" and not quiet:
        from migrator.report.progress import ProgressListener  # noqa: PLC0415 late, for a quick start

        progress = ProgressListener()
        try:
            yield progress
        finally:
            progress.close()
        return
    from migrator.report.logs import LogListener  # noqa: PLC0415

    yield LogListener(log_format, "warning" if quiet and log_level in {"info", "debug"} else log_level)


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
