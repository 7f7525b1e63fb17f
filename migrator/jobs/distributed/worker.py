"""What a worker does: moves one split, and goes on with it where another worker was killed.

What workers leave is put together here too: they wrote to one target, and their rejects go into one file.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from migrator import errors
from migrator.checkpoint.file import Checkpoint, CheckpointFile, CollectionState
from migrator.checkpoint.reject_file import file_digest
from migrator.checkpoint.rejects import line_to_reject
from migrator.checkpoint.target_guard import TargetGuard, is_same
from migrator.config import JobConfig
from migrator.files.durable import keep_older, link_target, replacing
from migrator.files.failures import RESUME, writing
from migrator.files.own_json import from_json
from migrator.files.streams import is_stream
from migrator.jobs.distributed.engine import STOP_FILE, SplitFailed
from migrator.jobs.open import OpenJob
from migrator.jobs.registry import open_extractor
from migrator.jobs.run import refuse_other_targets, run_job
from migrator.jobs.splits import RangeExtractor, Split, told_of
from migrator.model import Counts, events
from migrator.retry.window import watching

TELL_EVERY_S = 0.5
# The system lets go of a killed worker's lock at once; one that is only slow is given this long.
WAIT_FOR_LOCK_S = 60.0
# No other try ends differently, and a refused login must not be repeated.
FINAL = (errors.Unauthorized, errors.Forbidden, errors.TargetMissing, errors.StorageError)
FORWARDED: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (events.BatchLoaded, events.BatchSplit, events.LimitsChanged, events.RetryScheduled)
}


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
    before = _left(Path(folder), part)
    if before and before.finished:
        # An earlier try was done, and its answer was lost.
        return outcome
    forward = _Forwarder(tell)
    try:
        # A file reaches workers that no message reaches.
        stopping = threading.Event()
        with watching((Path(folder) / STOP_FILE).exists, stopping.set):
            _when_unlocked(job, part, forward, stopping)
    except errors.MigratorError as error:
        if isinstance(error, errors.EndpointError) and not isinstance(error, FINAL):
            raise SplitFailed(*told_of(error)) from None
        outcome["error"] = told_of(error)
    finally:
        forward.flush()
    return outcome


def counts_of(folder: Path, split: Split) -> Counts:
    """What all tries of a split have settled."""
    left = _left(folder, split)
    return left.totals if left else Counts()


def _left(folder: Path, split: Split) -> Checkpoint | None:
    """The checkpoint that the tries of a split have left."""
    file = CheckpointFile(split_paths(folder, split.number)[0])
    return file.load() if file.exists() else None


def _when_unlocked(job: JobConfig, split: Split, forward: _Forwarder, stopping: threading.Event) -> None:
    end = time.monotonic() + WAIT_FOR_LOCK_S
    while True:
        source = RangeExtractor(open_extractor(job), split)
        try:
            run_job(job, source=source, listener=forward, stopping=stopping)
        except errors.LockedError:
            if time.monotonic() > end or stopping.wait(0.5):
                raise
        else:
            return


class _Forwarder:
    """Sends what the coordinator's listeners want to know, several at a time."""

    def __init__(self, tell: Callable[[Any], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._waiting: list[tuple[str, dict[str, Any]]] = []
        self._told = time.monotonic()

    def __call__(self, event: events.Event) -> None:
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


def event_of(name: str, fields: Mapping[str, Any]) -> events.Event:
    """An event that was forwarded."""
    made: events.Event = from_json(FORWARDED[name], fields)
    return made


def open_targets(job: OpenJob, checkpoint: Checkpoint) -> TargetGuard:
    """The guard of a job's targets; databases are made here, once for all workers.

    Raises:
        TargetReplaced: a target is not the one that earlier runs of this job wrote to.
    """
    refuse_other_targets(job.loader, checkpoint)
    guard = TargetGuard(job.loader)
    for name in job.collections:
        state = checkpoint.collections.get(name, CollectionState())
        if job.loader.traits.couchdb:
            job.loader.prepare(name, None)
        elif not state.finished:
            # Each file is one worker's own, who looks after it while it is made.
            continue
        guard.begin(name, state.target if state.begun else None)
    return guard


def other_target(guard: TargetGuard, folder: Path, split: Split) -> errors.TargetReplaced | None:
    """What is wrong where a worker's split went to another target than the job's, or None."""
    left, begun = _left(folder, split), guard.known.get(split.collection)
    state = left.collections.get(split.collection) if left else None
    if state is None or state.target is None:
        return None
    try:
        if begun is None:
            guard.begin(split.collection, state.target)
        elif not is_same(begun, state.target):
            guard.check(split.collection)
            return guard.replaced(split.collection)
    except errors.TargetReplaced as error:
        return error
    return None


# Rejects that listeners hear of; all are in the file.
MAX_REJECTS_TOLD = 1_000


def merge_rejects(path: Path, parts: Sequence[Path], checkpoint: Checkpoint, listener: events.Listener) -> int:
    """Write all splits' rejects into one file, from the beginning each time, so that none stands there twice.

    Args:
        path: the file; what another run has left there keeps a name of its own.
        parts: the splits' reject files, which need not be there.
        checkpoint: the job's, which tells what this job wrote there before.
        listener: told of the first of them.

    Returns:
        How many there are.

    Raises:
        StorageError: there is no room, or no right to write.
        ConfigError: the path is wrong.
    """
    parts = [part for part in parts if part.exists() and part.stat().st_size]
    if not parts:
        return 0
    told = 0
    instead = "name another with --rejects FILE"
    with writing(path, what="Reject file", instead=instead, again=RESUME):
        _keep_another_runs(path, checkpoint)
        with replacing(path) as merged:
            for part in parts:
                with part.open("rb") as lines:
                    for line in lines:
                        merged.write(line)
                        told += 1
                        if told <= MAX_REJECTS_TOLD:
                            listener(events.DocumentRejected(line_to_reject(line, str(part))))
        if not is_stream(path):
            checkpoint.rejects_bytes = path.stat().st_size
            checkpoint.rejects_digest = file_digest(path, checkpoint.rejects_bytes)
    return told


def _keep_another_runs(path: Path, checkpoint: Checkpoint) -> None:
    real, mine = link_target(path), checkpoint.rejects_bytes
    if is_stream(path) or not real.exists() or not real.stat().st_size:
        return
    if not mine or file_digest(real, mine) != checkpoint.rejects_digest:
        keep_older(real)
