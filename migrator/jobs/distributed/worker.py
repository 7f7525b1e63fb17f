"""What a worker does: moves one split, and goes on with it where another worker was killed."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from migrator.checkpoint.file import CheckpointFile
from migrator.config import JobConfig
from migrator.errors import (
    EndpointError,
    Forbidden,
    LockedError,
    MigratorError,
    StorageError,
    TargetMissing,
    Unauthorized,
)
from migrator.events import BatchLoaded, BatchSplit, Event, LimitsChanged, RetryScheduled
from migrator.jobs.distributed.split import RangeExtractor, Split
from migrator.jobs.registry import open_extractor
from migrator.jobs.run import run_job
from migrator.model import Counts

STOP_FILE = "stop"
TELL_EVERY_S = 0.5
# The system lets go of a killed worker's lock at once; one that is only slow is given this long.
WAIT_FOR_LOCK_S = 60.0
# No other try ends differently, and a refused login must not be repeated.
FINAL = (Unauthorized, Forbidden, TargetMissing, StorageError)
FORWARDED: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (BatchLoaded, BatchSplit, LimitsChanged, RetryScheduled)
}


class SplitFailed(Exception):
    """A split failed in a way that may pass: the engine tries again. It crosses processes, so it holds texts."""


def split_paths(folder: Path, number: int) -> tuple[Path, Path]:
    """Checkpoint and reject file of a split."""
    return folder / f"{number:05}.checkpoint.json", folder / f"{number:05}.rejects.ndjson"


def move_split(
    config: Mapping[str, Any], split: Mapping[str, Any], folder: str, tell: Callable[[Any], None]
) -> dict[str, Any]:
    """Move one split.

    Args:
        config: the job's fields.
        split: the fields of a Split.
        folder: where the splits' files are.
        tell: takes messages for the coordinator.

    Returns:
        `number` and `error`: None, or what ended it for good as [kind, message, hint].

    Raises:
        SplitFailed: trying again may help.
    """
    part = Split(**split)
    checkpoint, rejects = split_paths(Path(folder), part.number)
    job = JobConfig(
        **{
            **config,
            "collection": (part.collection,),
            "map": {part.collection: part.database} if part.collection in config["map"] else {},
            "checkpoint": str(checkpoint),
            "rejects": str(rejects),
            "resume": True,
        }
    )
    outcome: dict[str, Any] = {"number": part.number, "error": None}
    if CheckpointFile(checkpoint).exists() and CheckpointFile(checkpoint).load().finished:
        # An earlier try was done, and its answer was lost.
        return outcome
    forward = _Forwarder(tell)
    try:
        with _stopping(Path(folder) / STOP_FILE) as stopping:
            _when_unlocked(job, part, forward, stopping)
    except MigratorError as error:
        if isinstance(error, EndpointError) and not isinstance(error, FINAL):
            raise SplitFailed(type(error).__name__, error.message, error.hint) from None
        outcome["error"] = [type(error).__name__, error.message, error.hint]
    finally:
        forward.flush()
    return outcome


def counts_of(folder: Path, split: Split) -> Counts:
    """What all tries of a split have settled."""
    file = CheckpointFile(split_paths(folder, split.number)[0])
    return file.load().totals if file.exists() else Counts()


def _when_unlocked(job: JobConfig, split: Split, forward: _Forwarder, stopping: threading.Event) -> None:
    end = time.monotonic() + WAIT_FOR_LOCK_S
    while True:
        source = RangeExtractor(open_extractor(job), split)
        try:
            run_job(job, source=source, listener=forward, stopping=stopping)
        except LockedError:
            if time.monotonic() > end or stopping.wait(0.5):
                raise
        else:
            return


@contextlib.contextmanager
def _stopping(file: Path) -> Iterator[threading.Event]:
    """Set while the coordinator wants everybody to stop; a file reaches workers that no message reaches."""
    stopping, done = threading.Event(), threading.Event()

    def watch() -> None:
        while not done.wait(0.3):
            if file.exists():
                stopping.set()

    watcher = threading.Thread(target=watch, daemon=True, name="stop-file")
    watcher.start()
    try:
        yield stopping
    finally:
        done.set()
        watcher.join()


class _Forwarder:
    """Sends what the coordinator's listeners want to know, several at a time."""

    def __init__(self, tell: Callable[[Any], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._waiting: list[tuple[str, dict[str, Any]]] = []
        self._told = time.monotonic()

    def __call__(self, event: Event) -> None:
        name = type(event).__name__
        if name not in FORWARDED:
            return
        with self._lock:
            self._waiting.append((name, dataclasses.asdict(event)))
        if time.monotonic() - self._told >= TELL_EVERY_S:
            self.flush()

    def flush(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
            self._told = time.monotonic()
        if waiting:
            self._tell(waiting)


def event_of(name: str, fields: Mapping[str, Any]) -> Event:
    """An event that was forwarded."""
    values = dict(fields)
    if "counts" in values:
        values["counts"] = Counts(**values["counts"])
    made: Event = FORWARDED[name](**values)
    return made
