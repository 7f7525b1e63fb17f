"""How far a target follows its source: what a checkpoint of such a job keeps of each collection.

A mark moves only when a run has settled all that it read: then the next run begins after it. What the last run has
left is found here too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from migrator.checkpoint.file import Checkpoint, CheckpointFile
from migrator.errors import CheckpointError
from migrator.files.own_json import from_json
from migrator.jobs.open import OpenJob, default_paths
from migrator.model import Reject

# So many rejected documents are remembered by name, to be tried again; with more, all of a run is read again.
MAX_REMEMBERED = 1_000
MAX_ID_CHARS = 1_000
KEY = "marks"


@dataclass(slots=True)
class Mark:
    """Where a run of one collection stands.

    Args:
        since: it reads changes after this sequence; None where it reads all.
        until: the source's sequence before all was read: after it the next run begins.
        source: tells the source database from a later one of the same name.
        target: the same of the target.
        again: what the target holds is this job's own: it was empty, or a copy was whole before.
        retried: ids that earlier runs rejected, which this run reads first.
        rejected: ids that are to be tried again by the next run.
        stays: the next run must read all of this again.
    """

    since: str | None
    until: str
    source: str = ""
    target: str = ""
    again: bool = False
    retried: list[str] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    stays: bool = False

    def note(self, reject: Reject, *, ids_are_kept: bool) -> None:
        """Remember a rejected document, so that a later run tries it again until it passes or is gone."""
        foreign = self.since is None and not self.again and reject.error == "conflict"
        id = reject.id
        known = bool(id) and ids_are_kept and not foreign and len(id) <= MAX_ID_CHARS
        if known and id not in self.rejected and len(self.rejected) < MAX_REMEMBERED:
            self.rejected.append(id)
        elif not known or id not in self.rejected:
            # Documents that were at the target before this job are not overwritten by a second run unasked.
            self.stays = True

    def following(self, position: object, now: str, *, retry: bool) -> Mark:
        """The mark of the next run.

        Args:
            position: where the reading of this run ended.
            now: the source's sequence.
            retry: read what was rejected first; else it waits for a later run.
        """
        if self.stays:
            since, again = self.since, self.again
        elif self.since is None:
            since, again = self.until, True
        else:
            since, again = str(position or self.since), True
        waiting = list(self.rejected) if retry else []
        kept = [] if retry else [*self.retried, *self.rejected]
        return Mark(since, now, self.source, self.target, again, waiting, list(dict.fromkeys(kept)))


def read_marks(checkpoint: Checkpoint | None) -> dict[str, Mark]:
    """The marks of a checkpoint.

    Raises:
        CheckpointError: they are damaged.
    """
    if checkpoint is None:
        return {}
    try:
        return {
            name: from_json(Mark, value, defaults=True) for name, value in checkpoint.details.get(KEY, {}).items()
        }
    except (TypeError, AttributeError):
        raise CheckpointError(
            "The checkpoint is damaged where it says how far the target follows.",
            hint="Copy all once more with --restart; documents that are there already stay as they are.",
        ) from None


DATABASE = "database"


def paths_of(job: OpenJob, database: str | None) -> tuple[Path, Path]:
    """Checkpoint and reject file, and the target database in the fingerprint where its URL names one."""
    older = default_paths(job)
    if database is None:
        return older
    job.fingerprint[DATABASE] = database
    paths = default_paths(job)
    if older[0] != paths[0] and older[0].exists() and not paths[0].exists():
        # In older versions the database was not part of the name.
        found = former(CheckpointFile(older[0]), restart=True)
        if found is None or found.job.get(DATABASE, database) == database:
            return older
    return paths


def former(file: CheckpointFile, *, restart: bool) -> Checkpoint | None:
    """The checkpoint of the last run; a damaged one does not keep it from a restart."""
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
