"""What a job is made of: one frozen dataclass, filled from flags and a TOML file; a flag wins over the file.

A flag, its TOML key and the field have one name: `--on-conflict`, `on_conflict`, `on_conflict`.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from migrator.errors import ConfigError
from migrator.files.streams import is_standard_output

SORTS = ("auto", "always", "never")
POLICIES = ("fail", "skip", "overwrite", "newer")
# A day; what systems take as a timeout ends somewhere beyond.
MAX_SECONDS = 86_400
# A job file has a few lines; a larger file is something else.
MAX_FILE_BYTES = 1_000_000
# TOML and people say `from`, which is a word of Python's own.
ALIASES = {"from": "source", "to": "target"}


@dataclass(frozen=True, kw_only=True)
class JobConfig:
    """One job. Paths are texts as given; sizes in bytes, times in seconds.

    Args:
        source: SOURCE as on the command line.
        target: TARGET as on the command line.
        collection: names of the collections to move; all when empty.
        transform: SPECs, applied in order.
        transform_workers: processes that apply the transformers; 0 for this one.
        map: target name by collection.
        codec: how values that JSON lacks are written: plain, tagged or strict.
        on_conflict: fail, skip, overwrite or newer.
        newer_field: dotted path of the field that `newer` compares.
        checkpoint: the checkpoint file.
        resume: go on from it.
        restart: start over whatever it says.
        rejects: the reject file.
        max_errors: `N` or `N%`.
        report: where the JSON report goes; `-` is standard output.
        dry_run: read and compare, write nothing.
        verify: compare source and target at the end.
        batch_docs: most documents in a batch; how many are best is found out.
        batch_bytes: most bytes in a batch.
        in_flight: most batches sent at once; how many are best is found out.
        readers: ranges of ids that are read at once out of a CouchDB source.
        q: shards of databases that are created.
        n: copies of databases that are created.
        partitioned: databases that are created are partitioned.
        sort: load in the order of ids: auto (where it gains), always or never.
        timeout_s: longest wait for the next byte of an answer.
        max_attempts: of one request.
        max_outage_s: give up when nothing has succeeded for so long.
        ca_file: PEM of the authority that signed the server's certificate.
        client_cert: PEM of a client certificate.
        client_key: PEM of its key.
        since_last: carry only what changed since the last run with this checkpoint.
        follow: go on carrying changes until told to stop.
        until_caught_up: of following: end when the target has caught up.
        deletions: what becomes of documents deleted at the source: carry or ignore.
        executor: the scheduler whose workers move the job in splits, `dask://host:8786`.
        splits: into how many; four for each worker where 0.
        replicate: have CouchDB's own replicator do it.
        replicator: which server runs the replication: target or source.
        keep_job: leave the replication's document where it is.
        metrics: a file for Prometheus' textfile collector.
        ping: a URL that is told of start, success and failure.
        json: print the result as one line of JSON.
    """

    source: str = ""
    target: str = ""
    collection: tuple[str, ...] = ()
    transform: tuple[str, ...] = ()
    transform_workers: int = 0
    map: Mapping[str, str] = field(default_factory=dict)
    codec: str = "plain"
    on_conflict: str = "fail"
    newer_field: str = ""
    checkpoint: str = ""
    resume: bool = False
    restart: bool = False
    rejects: str = ""
    max_errors: str = ""
    report: str = ""
    dry_run: bool = False
    verify: bool = False
    batch_docs: int = 1_000
    batch_bytes: int = 2_000_000
    in_flight: int = 8
    readers: int = 4
    q: int | None = None
    n: int | None = None
    partitioned: bool = False
    sort: str = "auto"
    timeout_s: float = 90.0
    max_attempts: int = 10
    max_outage_s: float = 300.0
    ca_file: str = ""
    client_cert: str = ""
    client_key: str = ""
    since_last: bool = False
    follow: bool = False
    until_caught_up: bool = False
    deletions: str = ""
    executor: str = ""
    splits: int = 0
    replicate: bool = False
    replicator: str = "target"
    keep_job: bool = False
    metrics: str = ""
    ping: str = ""
    json: bool = False

    def __post_init__(self) -> None:
        for name in ("collection", "transform"):
            object.__setattr__(self, name, texts(name, getattr(self, name)))
        if self.on_conflict not in POLICIES:
            raise ConfigError(f"on_conflict is {self.on_conflict!r}.", hint=f"Known are: {', '.join(POLICIES)}.")
        if self.on_conflict == "newer" and not self.newer_field:
            raise ConfigError(
                "on_conflict newer needs the field that tells which is newer.",
                hint="Add --newer-field updated_at.",
            )
        if self.sort not in SORTS:
            raise ConfigError(f"sort is {self.sort!r}.", hint=f"Known are: {', '.join(SORTS)}.")
        if self.resume and self.restart:
            raise ConfigError("--resume and --restart exclude each other.", hint="Keep one of them.")
        for name in ("batch_docs", "batch_bytes", "in_flight", "readers", "max_attempts", "q", "n"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}.", hint="It must be at least 1.")
        if self.transform_workers < 0:
            raise ConfigError(f"transform_workers is {self.transform_workers}.", hint="It must be at least 0.")
        for name in ("timeout_s", "max_outage_s"):
            if not 0 < getattr(self, name) <= MAX_SECONDS:
                raise ConfigError(
                    f"{name} is {getattr(self, name)}.", hint=f"It must be above 0 and at most {MAX_SECONDS}."
                )
        if self.deletions not in {"", "carry", "ignore"}:
            raise ConfigError(f"deletions is {self.deletions!r}.", hint="Known are: carry, ignore.")
        if self.replicator not in {"target", "source"}:
            raise ConfigError(f"replicator is {self.replicator!r}.", hint="Known are: target, source.")
        if is_standard_output(self.target) and (self.json or self.report == "-"):
            other = "--json" if self.json else "--report -"
            raise ConfigError(
                f"--to {self.target} and {other} would both write to standard output.",
                hint="Name a file: --report FILE.",
            )
        if self.json and self.report == "-":
            raise ConfigError("--json and --report - both print the result.", hint="Keep one of them.")
        if self.dry_run and (self.metrics or self.ping):
            raise ConfigError(
                "A dry run is no success that --metrics or --ping could tell of.", hint="Leave them out."
            )
        parse_max_errors(self.max_errors)
        self._check_files()

    @property
    def longest_silence_s(self) -> float:
        """How long an answer may stay away: not longer than an outage may last."""
        return min(self.timeout_s, self.max_outage_s)

    def _check_files(self) -> None:
        owners: dict[str, str] = {}
        for name in ("checkpoint", "rejects", "report", "metrics"):
            path = getattr(self, name)
            if path in {"", "-"}:
                continue
            owner = owners.setdefault(os.path.realpath(path), name)
            if owner != name:
                raise ConfigError(f"{owner} and {name} are the same file, {path}.", hint="Name one of them anew.")


def texts(name: str, value: object) -> tuple[str, ...]:
    """A list of texts; one text is a list of one, not of its letters.

    Raises:
        ConfigError: it is something else.
    """
    items = (value,) if isinstance(value, str) else value
    if items is None:
        return ()
    if isinstance(items, list | tuple) and all(isinstance(item, str) for item in items):
        return tuple(items)
    raise ConfigError(f"{name} is {value!r:.60}.", hint=f'Give a list of texts, {name}=["…"].')


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
    kinds = {f.name: str(f.type) for f in fields(JobConfig)}
    known = sorted({*kinds, *ALIASES} - set(ALIASES.values()))
    values: dict[str, Any] = {}
    for key, value in raw.items():
        name = ALIASES.get(key.replace("-", "_"), key.replace("-", "_"))
        if name not in kinds:
            near = difflib.get_close_matches(key, known, n=1)
            raise ConfigError(
                f"Job file {path}: there is no key {key!r}.",
                hint=f"Did you mean {near[0]!r}?" if near else f"Known are: {', '.join(known)}.",
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
        wanted = "a list of texts"
    elif kind.startswith("Mapping"):
        if isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
            return value
        wanted = "a table of texts"
    elif kind == "bool":
        if isinstance(value, bool):
            return value
        wanted = "true or false"
    elif kind == "str":
        if isinstance(value, str):
            return _from_environment(path, key, value, environ)
        if key.replace("-", "_") == "max_errors" and isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        wanted = "a text"
    else:
        number = (int, float) if kind == "float" else (int,)
        if isinstance(value, number) and not isinstance(value, bool):
            return value
        wanted = "a number"
    raise ConfigError(f"Job file {path}: {key} must be {wanted}.", hint=f"It is {value!r:.60}.")


def _from_environment(path: str, key: str, value: str, environ: Mapping[str, str]) -> str:
    if not value.startswith("env:"):
        return value
    name = value[4:]
    if name not in environ:
        raise ConfigError(
            f"Job file {path}: {key} names the variable {name}, which is not set.", hint=f"Set {name}."
        )
    return environ[name]
