"""One job: source, target, and everything that `migrator run` can be told, by flags or in a file of TOML."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from migrator.config import kinds
from migrator.config.connection import Connection, Watch
from migrator.config.option import (
    BYTES,
    CHOICE,
    DATABASES,
    RESUME,
    SYNC,
    TUNING,
    WRITING,
    option,
    options_class,
    options_of,
    wanted,
)
from migrator.config.pace import NUMBERS
from migrator.errors import ConfigError
from migrator.files.durable import refuse_place
from migrator.files.streams import is_standard_output
from migrator.model import BatchLimits
from migrator.naming import did_you_mean

SORTS = ("auto", "always", "never")
POLICIES = ("fail", "skip", "overwrite", "newer")

_writing = partial(option, group=WRITING)
_position = partial(option, group=RESUME)
_changes = partial(option, group=SYNC)
_tuning = partial(option, group=TUNING)
# A job file has a few lines; a larger file is something else.
MAX_FILE_BYTES = 1_000_000
# TOML and people say `from`, which is a word of Python's own.
ALIASES = {"from": "source", "to": "target", "database": "collection"}


@options_class
class JobConfig(Connection, Watch):
    """One job. Paths are texts as given."""

    source: str = option("", kinds.SOURCE_HELP, unit="SOURCE", flag="--from")
    target: str = option("", kinds.TARGET_HELP, unit="TARGET", flag="--to", text="COUCHDB_URL")
    collection: tuple[str, ...] = option((), CHOICE, unit="NAME", flag=DATABASES)
    map: Mapping[str, str] = option({}, "Name a collection's database.", unit="NAME=DATABASE")
    transform: tuple[str, ...] = option(
        (),
        f"{kinds.SPEC_FORMS}; the last is a function of your own, which is code that runs. Applied in order.",
        unit="SPEC",
    )
    codec: str = option(
        "plain",
        "How to write values that JSON lacks: as plain text, tagged so that they can be read back, or not at all "
        "(strict rejects the document).",
        choices=("plain", "tagged", "strict"),
    )
    transform_workers: int = _tuning(
        0,
        "Apply the transformers, and recognize what they make, in N other processes; verify compares ranges of "
        "ids in them. 0 for none.",
        unit="N",
        flag="--workers --transform-workers",
        at_least=0,
    )
    on_conflict: str = _writing(
        "fail",
        "What to do when the target holds other content under the same id; fail rejects the document.",
        choices=POLICIES,
    )
    newer_field: str = _writing("", "The field that --on-conflict newer compares.", unit="NAME")
    prove: bool | None = _writing(
        None,
        "Prove each document as it is written, by the revision that the server gives it; what was changed on its "
        "way is rejected, with exit 4.",
        flag="--prove/--no-prove",
        text="on where the compiled part is installed",
    )
    rejects: str = _writing(
        "", "Where rejected documents are written.", unit="FILE", text="migrator-….rejects.ndjson"
    )
    max_errors: str = _writing("", "Stop when more documents than this are rejected.", unit="N|N%")
    batch_docs: int = _tuning(
        BatchLimits().max_docs,
        "Maximum documents per batch; tuned automatically below that.",
        unit="N",
        at_least=1,
    )
    batch_bytes: int = _tuning(BatchLimits().max_bytes, "Maximum bytes per batch.", unit=BYTES, at_least=1)
    in_flight: int = _tuning(
        8, "Maximum batches sent at once; tuned automatically below that.", unit="N", at_least=1
    )
    readers: int = _tuning(4, "Ranges of ids to read at once from a CouchDB source.", unit="N", at_least=1)
    sort: str = _tuning(
        "auto",
        "Load in the order of ids, which halves the server's work: where it pays (auto), always, or never.",
        choices=SORTS,
    )
    q: int | None = _tuning(None, "Shards of databases that are created.", unit="N", at_least=1)
    n: int | None = _tuning(None, "Copies of databases that are created.", unit="N", at_least=1)
    partitioned: bool = _tuning(False, "Create partitioned databases.")
    checkpoint: str = _position(
        "",
        "Where the position is kept.",
        unit="FILE",
        text="migrator-….checkpoint.json, until done",
    )
    resume: bool = _position(False, "Continue from the checkpoint; start from the beginning if there is none.")
    restart: bool = _position(False, "Start from the beginning, whatever the checkpoint says.")
    report: str = option(
        "",
        "Write the report as JSON.",
        typed="Write the report as JSON; - prints it instead of the table.",
        unit="FILE",
    )
    dry_run: bool = option(False, "Read, transform and compare, but write nothing.")
    verify: bool = option(False, "Compare source and target at the end; what was proven is not read once more.")
    since_last: bool = _changes(
        False,
        "Between two servers: the first run copies everything, each later one what has changed since.",
    )
    follow: bool = _changes(False, "Like --since-last, then keep copying changes as they happen until stopped.")
    until_caught_up: bool = _changes(
        False,
        "With --follow: end when the target has everything that the source has, for a cut-over.",
    )
    deletions: str = _changes(
        "",
        "What to do with documents deleted at the source: carry deletes them at the target, ignore leaves them.",
        choices=("carry", "ignore"),
        text="carry",
    )
    executor: str = _tuning(
        "",
        "Have the workers of a Dask scheduler move the job, divided into splits; they must see SOURCE, TARGET and "
        "the folder of --checkpoint.",
        unit="dask://HOST:8786",
    )
    splits: int = _tuning(0, "Number of splits.", unit="N", text="four per worker")
    replicate: bool = _changes(False, "Have CouchDB's own replicator copy the revisions as they are.")
    replicator: str = _changes(
        "target",
        "Which server runs the replication; it must reach both URLs.",
        choices=("target", "source"),
    )
    keep_job: bool = _changes(False, "Leave the replication's document in _replicator.")
    json: bool = option(
        False,
        "Print the result as one line of JSON instead of the table, also when the run fails.",
    )

    def __post_init__(self) -> None:
        if self.on_conflict == "newer" and not self.newer_field:
            raise ConfigError(
                "on_conflict newer needs the field that tells which is newer.",
                hint="Add --newer-field updated_at.",
            )
        if self.resume and self.restart:
            raise ConfigError("--resume and --restart exclude each other.", hint="Keep one of them.")
        if is_standard_output(self.target) and (self.json or self.report == "-"):
            other = "--json" if self.json else "--report -"
            raise ConfigError(
                f"--to {self.target} and {other} would both write to standard output.",
                hint="Name a file: --report FILE.",
            )
        if self.json and self.report == "-":
            raise ConfigError("--json and --report - both print the result.", hint="Keep one of them.")
        if self.dry_run and (self.metrics or self.ping or self.webhook):
            raise ConfigError(
                "A dry run is not a success that --metrics, --ping or --webhook could report.",
                hint="Leave them out.",
            )
        parse_max_errors(self.max_errors)
        self._check_files()

    def _check_files(self) -> None:
        owners: dict[str, str] = {}
        for name in ("checkpoint", "rejects", "report", "metrics"):
            path = getattr(self, name)
            if path in {"", "-"}:
                continue
            if Path(path).is_dir():
                raise ConfigError(f"The {name} file {path} is a folder.", hint=f"Name a file: --{name} FILE.")
            if name == "report":
                instead = "name another with --report FILE"
                refuse_place(Path(path), what="Report", instead=instead, made=self.target)
            owner = owners.setdefault(os.path.realpath(path), name)
            if owner != name:
                raise ConfigError(
                    f"{owner} and {name} are the same file, {path}.", hint="Give one of them another name."
                )


def parse_max_errors(text: str) -> tuple[int | None, float | None]:
    """Read `N` or `N%`: a number of documents, or a percentage; (None, None) for an empty text."""
    if not text:
        return None, None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%?)\s*", text)
    if not match or (not match[2] and "." in match[1]) or (match[2] and float(match[1]) > 100):
        raise ConfigError(
            f"max_errors is {text!r}.", hint="Write a number of documents, 10, or a percentage, 0.5%."
        )
    return (None, float(match[1])) if match[2] else (int(match[1]), None)


def load_job_file(path: str, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Read a job file into fields of JobConfig.

    A value `env:NAME` is taken from the environment, so that no secret stands in the file.

    Raises:
        ConfigError: the file cannot be read, or a key or value is wrong; it names the nearest known key.
    """
    environ = os.environ if environ is None else environ
    try:
        with Path(path).open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
        if len(text) > MAX_FILE_BYTES:
            raise ConfigError(f"{path} is too large for a job file.", hint="Examples lie in configs/.")
        raw = tomllib.loads(text.decode())
    except FileNotFoundError:
        raise ConfigError(f"There is no job file {path}.", hint="Examples lie in configs/.") from None
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"Job file {path}: {reason}.", hint="It must be TOML; examples lie in configs/."
        ) from None
    kinds = {each.name: each.kind for each in options_of(JobConfig)}
    known = sorted({*kinds, *ALIASES} - {"source", "target"})
    values: dict[str, Any] = {}
    for key, value in raw.items():
        name = ALIASES.get(key.replace("-", "_"), key.replace("-", "_"))
        if name not in kinds:
            raise ConfigError(
                f"Job file {path}: there is no key {key!r}.",
                hint=did_you_mean(key, known) or f"Known are: {', '.join(known)}.",
            )
        if name in values:
            raise ConfigError(f"Job file {path}: {key!r} is given twice.", hint="Its other names count too.")
        values[name] = _checked(path, key, value, kinds[name], environ)
    return values


def _checked(path: str, key: str, value: Any, kind: str, environ: Mapping[str, str]) -> Any:
    if kind.startswith("tuple"):
        items = [value] if isinstance(value, str) else value
        if isinstance(items, list) and all(isinstance(item, str) for item in items):
            return tuple(_from_environment(path, key, item, environ) for item in items)
        needed = "a list of texts"
    elif key.replace("-", "_") in NUMBERS and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    elif not (needed := wanted(kind, value)):
        return _from_environment(path, key, value, environ) if kind == "str" else value
    raise ConfigError(f"Job file {path}: {key} must be {needed}.", hint=f"It is {value!r:.60}.")


def _from_environment(path: str, key: str, value: str, environ: Mapping[str, str]) -> str:
    if not value.startswith("env:"):
        return value
    name = value[4:]
    if name not in environ:
        raise ConfigError(
            f"Job file {path}: {key} names the variable {name}, which is not set.", hint=f"Set {name}."
        )
    return environ[name]
