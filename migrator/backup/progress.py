"""Tells of a backup or a restore as it goes on: events for who listens, rejected leaves to the reject file."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from migrator.checkpoint.reject_file import RejectFile
from migrator.codec import InvalidDocument, decode
from migrator.events import (
    BatchLoaded,
    CollectionFinished,
    CollectionStarted,
    DocumentRejected,
    Listener,
    RunFinished,
    RunStarted,
)
from migrator.model import CollectionReport, Counts, Outcome, Reject, Report, Status
from migrator.revisions import Leaf, LeafFault

TELL_EVERY = 1_000
TELL_EVERY_S = 1.0
_COUNTED = {Status.WRITTEN: "written", Status.UNCHANGED: "unchanged", Status.REJECTED: "rejected"}


class Teller:
    """Counts leaves.

    Args:
        listener: hears of everything.
        rejects: takes what is rejected.
        source: where from.
        target: where to.
        names: the databases.
    """

    def __init__(
        self, listener: Listener, rejects: RejectFile, source: str, target: str, names: Sequence[str]
    ) -> None:
        self._listener = listener
        self._rejects = rejects
        self.report = Report({name: CollectionReport(name, Counts()) for name in names}, 0.0)
        self._counts = Counts()
        self._bytes = 0
        self._told = time.monotonic()
        listener(RunStarted(source, target, tuple(names), None))

    def started(self, name: str, total: int | None, *, database: str = "", resumed: bool = False) -> None:
        """A database begins."""
        if database:
            self.report.collections[name] = CollectionReport(database, Counts())
        self._told = time.monotonic()
        self._listener(CollectionStarted(name, database or name, total, resumed))

    def copied(self, name: str, leaf: Leaf) -> None:
        """A leaf was read and put away."""
        self._counts.read += 1
        self._counts.written += 1
        self._bytes += len(leaf.body) + sum(each.length_bytes or 0 for each in leaf.attachments)
        if self._counts.read >= TELL_EVERY or time.monotonic() - self._told > TELL_EVERY_S:
            self.flush(name)

    def settled(self, name: str, leaves: Sequence[Leaf], outcomes: Sequence[Outcome]) -> None:
        """Leaves have come to their end at a server."""
        self._counts.read += len(leaves)
        for leaf, outcome in zip(leaves, outcomes, strict=True):
            counted = _COUNTED[outcome.status]
            setattr(self._counts, counted, getattr(self._counts, counted) + 1)
            self._bytes += len(leaf.body) + sum(each.length_bytes or 0 for each in leaf.attachments)
            if outcome.status is Status.REJECTED:
                document = _document(leaf.body)
                error, reason, status = outcome.error, outcome.reason, outcome.http_status
                self._reject(Reject(name, leaf.id, "load", error, reason, status=status, document=document))
        self.flush(name)

    def fault(self, name: str, fault: LeafFault) -> None:
        """A leaf could not be read."""
        self._counts.read += 1
        self._counts.rejected += 1
        document = {"_id": fault.id, "_rev": fault.rev} if fault.rev else {"_id": fault.id}
        self._reject(Reject(name, fault.id, "extract", fault.error, fault.reason, document=document))

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

    def finished(self, seconds: float) -> None:
        """All are."""
        self._listener(RunFinished(replace(self.report, seconds=seconds)))

    def _reject(self, reject: Reject) -> None:
        self._rejects.write([reject])
        self._listener(DocumentRejected(reject))


def _document(body: bytes) -> object:
    try:
        return decode(body)
    except InvalidDocument:
        return body.decode("utf-8", "replace")
