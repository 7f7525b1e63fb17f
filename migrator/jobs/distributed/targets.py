"""Makes sure that all workers of a job write to the same targets, and that runs that go on do so too."""

from __future__ import annotations

from pathlib import Path

from migrator.checkpoint.file import Checkpoint, CheckpointFile, CollectionState
from migrator.checkpoint.target_guard import TargetGuard, is_same
from migrator.errors import TargetReplaced
from migrator.jobs.distributed.split import Split
from migrator.jobs.distributed.worker import split_paths
from migrator.jobs.open import OpenJob
from migrator.jobs.run import refuse_other_targets


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


def other_target(guard: TargetGuard, folder: Path, split: Split) -> TargetReplaced | None:
    """What is wrong where a worker's split went to another target than the job's, or None."""
    written, begun = _target_of(folder, split), guard.known(split.collection)
    if written is None:
        return None
    try:
        if begun is None:
            guard.begin(split.collection, written)
        elif not is_same(begun, written):
            guard.check(split.collection)
            return guard.replaced(split.collection)
    except TargetReplaced as error:
        return error
    return None


def _target_of(folder: Path, split: Split) -> str | None:
    file = CheckpointFile(split_paths(folder, split.number)[0])
    state = file.load().collections.get(split.collection) if file.exists() else None
    return state.target if state else None
