"""What is settled of a move: checkpoint, rejects and counts of all databases, kept in step for several threads."""

from __future__ import annotations

import threading
import time

from migrator.checkpoint.file import Checkpoint, CheckpointFile, CollectionState
from migrator.checkpoint.reject_file import RejectFile
from migrator.model import Outcome
from migrator.model.events import BatchLoaded, CheckpointSaved, DocumentRejected, Listener, ignore
from migrator.model.revisions import Leaf
from migrator.pipeline.leaves import Settled

# A save costs a flush to disk, and databases side by side would save all the time.
SAVE_INTERVAL_S = 1.0


class Journal:
    """Settles leaves: rejects to disk first, then counts and position into the checkpoint, saved now and then.

    Args:
        checkpoint: what earlier runs have settled.
        file: where it is kept.
        rejects: where rejects go.
        listener: receives what was settled.
    """

    def __init__(
        self, checkpoint: Checkpoint, file: CheckpointFile, rejects: RejectFile, listener: Listener = ignore
    ) -> None:
        self.checkpoint = checkpoint
        self._file = file
        self._rejects = rejects
        self._listener = listener
        self._lock = threading.RLock()
        self._saved = 0.0

    def state(self, part: str) -> CollectionState:
        """What is settled of a part; a new one begins."""
        with self._lock:
            return self.checkpoint.collections.setdefault(part, CollectionState())

    def begin(self, part: str) -> None:
        """Something of a part is about to be made, so that the checkpoint is none to be written over."""
        with self._lock:
            state = self.state(part)
            if state.position is None:
                state.position = ""

    def detail(self, kind: str, database: str) -> str:
        """What was noted of a database."""
        with self._lock:
            return str(self.checkpoint.details.get(kind, {}).get(database, ""))

    def note(self, kind: str, database: str, value: str) -> None:
        """Note something of a database, durably, before what follows from it is done."""
        with self._lock:
            self.checkpoint.details.setdefault(kind, {})[database] = value
            self.save()

    def settle(self, part: str, settled: Settled, *, position: bool = True) -> None:
        """Note what became of leaves, and with `position` up to which id everything has its end."""
        tally = settled.tally
        with self._lock:
            state = self.state(part)
            if tally.rejects:
                self._rejects.write(tally.rejects)
            state.counts.add(tally.counts)
            if position:
                state.position = settled.position
            if time.monotonic() - self._saved >= SAVE_INTERVAL_S:
                self.save()
                self._listener(CheckpointSaved(part))
            for reject in tally.rejects:
                self._listener(DocumentRejected(reject))
            self._listener(BatchLoaded(part, tally.counts, tally.size_bytes, settled.seconds))

    def finish(self, part: str) -> None:
        """A part is complete."""
        with self._lock:
            self.state(part).finished = True
            self.save()

    def save(self) -> None:
        """Write the checkpoint, after the rejects that it vouches for."""
        with self._lock:
            self.checkpoint.vouch_for(self._rejects)
            self._file.save(self.checkpoint)
            self._saved = time.monotonic()


def told(leaf: Leaf, outcome: Outcome) -> str:
    """What a reject says of a leaf."""
    return f"revision {leaf.rev}: {outcome.reason}"
