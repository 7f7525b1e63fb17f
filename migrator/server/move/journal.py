"""What is settled of a move: checkpoint, rejects and counts of all databases, kept in step for several threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from migrator.checkpoint.file import Checkpoint, CheckpointFile, CollectionState
from migrator.checkpoint.reject_file import RejectFile
from migrator.model import Outcome
from migrator.model.events import BatchLoaded, CheckpointSaved, DocumentRejected, Listener, ignore
from migrator.model.revisions import Leaf, LeafFault
from migrator.pipeline.accounting import Tally, account_leaves

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

    def settle(
        self,
        part: str,
        leaves: Sequence[Leaf | LeafFault],
        outcomes: Sequence[Outcome],
        *,
        position: str | None = None,
        seconds: float = 0.0,
    ) -> None:
        """Note what became of leaves, one outcome for each; a leaf that could not be read is rejected.

        Args:
            part: the part of the move.
            leaves: what was read.
            outcomes: of the leaves that were no faults, in their order.
            position: the id up to which everything is settled.
            seconds: how long it took.
        """
        tally = account_leaves(part, leaves, outcomes, told)
        self.settle_tally(part, tally, position=position, seconds=seconds)

    def settle_tally(self, part: str, settled: Tally, *, position: str | None, seconds: float = 0.0) -> None:
        """Note what became of leaves that are tallied; all of a document together, so that none counts twice."""
        with self._lock:
            state = self.state(part)
            if settled.rejects:
                self._rejects.write(settled.rejects)
            state.counts.add(settled.counts)
            if position is not None:
                state.position = position
            if time.monotonic() - self._saved >= SAVE_INTERVAL_S:
                self.save()
                self._listener(CheckpointSaved(part))
            for reject in settled.rejects:
                self._listener(DocumentRejected(reject))
            self._listener(BatchLoaded(part, settled.counts, settled.size_bytes, seconds))

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
