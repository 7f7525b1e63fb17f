"""Finds what the last run of a job that keeps a target up to date has left."""

from __future__ import annotations

from pathlib import Path

from migrator.checkpoint.file import Checkpoint, CheckpointFile
from migrator.errors import CheckpointError
from migrator.jobs.marks import read_marks
from migrator.jobs.open import OpenJob, default_paths

DATABASE = "database"


def paths_of(job: OpenJob, database: str | None) -> tuple[Path, Path]:
    """Checkpoint and reject file, and the target database in the fingerprint where its URL names one."""
    older = default_paths(job)
    if database is None:
        return older
    job.fingerprint[DATABASE] = database
    paths = default_paths(job)
    if older[0] != paths[0] and older[0].exists() and not paths[0].exists():
        # In older versions the database was no part of the name.
        found = former(CheckpointFile(older[0]), restart=True)
        if found is None or found.job.get(DATABASE, database) == database:
            return older
    return paths


def former(file: CheckpointFile, *, restart: bool) -> Checkpoint | None:
    """The checkpoint of the last run; a damaged one is no hindrance to a restart."""
    if not file.exists():
        return None
    try:
        found = file.load()
        read_marks(found)
    except CheckpointError:
        if restart:
            return None
        raise
    return found
