"""Tells of a backup or a restore as it goes on: events for who listens, rejected leaves to the reject file."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from migrator.backup.result import DatabaseResult, RevisionsResult
from migrator.checkpoint.reject_file import RejectFile
from migrator.events import (
    BatchLoaded,
    CollectionFinished,
    CollectionStarted,
    DocumentRejected,
    Listener,
    RunFinished,
    RunStarted,
)
from migrator.model import CollectionReport, Counts, Outcome, Reject, Report
from migrator.pipeline.accounting import account_leaves
from migrator.revisions import Leaf, LeafFault, leaf_bytes

TELL_EVERY = 1_000
TELL_EVERY_S = 1.0


class Progress:
    """Counts leaves.

    Args:
        command: whose it is.
        listener: receives every event.
        source: where from.
        target: where to.
        names: the databases, with their names at the target.
        rejects: the file for what is rejected; one of the command's name where it is "".
        again: the command that repeats it, for who reads the rejects.
    """

    def __init__(
        self,
        command: str,
        listener: Listener,
        source: str,
        target: str,
        names: Mapping[str, str],
        *,
        rejects: str,
        again: str,
    ) -> None:
        self._command, self._source, self._target = command, source, target
        self._listener = listener
        path = Path(rejects or f"migrator-{command}.rejects.ndjson")
        self._rejects = RejectFile(path, databases=names, again=again, shared=True)
        self.report = Report({name: CollectionReport(to, Counts()) for name, to in names.items()}, 0.0)
        self._counts = Counts()
        self._bytes = 0
        self._told = time.monotonic()
        listener(RunStarted(source, target, tuple(names), None))

    def close(self) -> None:
        """Let go of the reject file."""
        self._rejects.close()

    def started(self, name: str, total: int | None, *, resumed: bool = False) -> None:
        """A database begins."""
        self._told = time.monotonic()
        self._listener(CollectionStarted(name, self.report.collections[name].database, total, resumed))

    def copied(self, name: str, leaf: Leaf) -> None:
        """A leaf was read and put away."""
        self._counts.read += 1
        self._counts.written += 1
        self._bytes += leaf_bytes(leaf)
        if self._counts.read >= TELL_EVERY or time.monotonic() - self._told > TELL_EVERY_S:
            self.flush(name)

    def settled(self, name: str, leaves: Sequence[Leaf], outcomes: Sequence[Outcome]) -> None:
        """Leaves have come to their end at a server."""
        self._bytes += sum(map(leaf_bytes, leaves))
        self._account(*account_leaves(name, leaves, outcomes))
        self.flush(name)

    def fault(self, name: str, fault: LeafFault) -> None:
        """A leaf could not be read."""
        counts, rejects = account_leaves(name, [fault], [])
        document = {"_id": fault.id, "_rev": fault.rev} if fault.rev else {"_id": fault.id}
        self._account(counts, [reject._replace(document=document) for reject in rejects])

    def flush(self, name: str) -> None:
        """Say how far it is."""
        if not self._counts.read:
            return
        now = time.monotonic()
        self.report.collections[name].counts.add(self._counts)
        self._rejects.flush()
        self._listener(BatchLoaded(name, self._counts, self._bytes, now - self._told))
        self._counts, self._bytes, self._told = Counts(), 0, now

    def done(self, name: str) -> None:
        """A database is done."""
        self.flush(name)
        self._listener(CollectionFinished(name, self.report.collections[name].counts))

    def finished(self, results: Sequence[DatabaseResult], seconds: float) -> RevisionsResult:
        """All are; what became of them."""
        self._listener(RunFinished(replace(self.report, seconds=seconds)))
        rejects = str(self._rejects.kept or "") if self._rejects.count else ""
        return RevisionsResult(self._command, self._source, self._target, results, seconds, rejects)

    def _account(self, counts: Counts, rejects: Sequence[Reject]) -> None:
        self._counts.add(counts)
        if rejects:
            self._rejects.write(rejects)
        for reject in rejects:
            self._listener(DocumentRejected(reject))
