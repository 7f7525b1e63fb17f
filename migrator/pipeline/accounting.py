"""Accounts for what was sent: from a target's outcomes to counts and rejects, with no document left over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from migrator.codec import InvalidDocument, decode
from migrator.errors import UnaccountedError
from migrator.model import ALTERED, Batch, Counts, EncodedDocument, Outcome, Reject, Status
from migrator.model.revisions import Leaf, LeafFault, leaf_bytes
from migrator.naming import shown

T = TypeVar("T", EncodedDocument, Leaf)

MAX_IDS_SHOWN = 20


@dataclass
class Tally:
    """What became of some leaves, without their bodies but those of rejects; `attachments` of what is not one."""

    counts: Counts = field(default_factory=Counts)
    rejects: list[Reject] = field(default_factory=list)
    size_bytes: int = 0
    attachments: int = 0

    def add(self, other: Tally) -> None:
        """Take another one in."""
        self.counts.add(other.counts)
        self.rejects += other.rejects
        self.size_bytes += other.size_bytes
        self.attachments += other.attachments


def account(batch: Batch, outcomes: Sequence[Outcome], database: str = "") -> tuple[Counts, list[Reject]]:
    """Say what became of everything that was read for a batch.

    Args:
        batch: what was loaded.
        outcomes: the loader's answer, one for each document, in the batch's order.
        database: the database or file that the batch is for; a reject says where it belongs.

    Raises:
        UnaccountedError: there is not exactly one outcome for each document, or the numbers do not add up.
    """
    counts, rejects = _settled(batch.collection, batch.documents, outcomes, _reason)
    counts.read = batch.read
    counts.filtered = batch.filtered
    counts.rejected += len(batch.rejects)
    if not counts.accounted:
        raise UnaccountedError(
            f"{batch.collection}: the numbers of a batch do not add up: {counts.as_dict()}.",
            hint="Please report this.",
        )
    return counts, [reject._replace(database=database) for reject in (*batch.rejects, *rejects)]


def account_leaves(
    collection: str,
    leaves: Sequence[Leaf | LeafFault],
    outcomes: Sequence[Outcome],
    reason: Callable[[Leaf, Outcome], str] | None = None,
) -> Tally:
    """Say what became of whole revisions; one that could not be read is rejected.

    Args:
        collection: what they belong to.
        leaves: what was read.
        outcomes: of those that were not faults, in their order.
        reason: what a reject says of a leaf; the outcome's own reason by default.

    Raises:
        UnaccountedError: there is not exactly one outcome for each leaf.
    """
    sent = [leaf for leaf in leaves if isinstance(leaf, Leaf)]
    faults = [leaf for leaf in leaves if isinstance(leaf, LeafFault)]
    counts, rejects = _settled(collection, sent, outcomes, reason or _reason)
    counts.read += len(faults)
    counts.rejected += len(faults)
    unread = [Reject(collection, fault.id, "extract", fault.error, fault.reason) for fault in faults]
    kept = (leaf for leaf, outcome in zip(sent, outcomes, strict=True) if outcome.status is not Status.REJECTED)
    attachments = sum(len(leaf.attachments) for leaf in kept)
    return Tally(counts, [*unread, *rejects], sum(map(leaf_bytes, sent)), attachments)


def _settled(
    collection: str, items: Sequence[T], outcomes: Sequence[Outcome], reason: Callable[[T, Outcome], str]
) -> tuple[Counts, list[Reject]]:
    """The one place where what was sent gets its one outcome."""
    _check_ids(collection, items, outcomes)
    counts = Counts(read=len(items))
    rejects: list[Reject] = []
    for item, outcome in zip(items, outcomes, strict=True):
        status = outcome.status
        if status is Status.WRITTEN:
            counts.written += 1
        elif status is Status.UNCHANGED:
            counts.unchanged += 1
        elif status is Status.SKIPPED:
            counts.skipped += 1
        else:
            counts.rejected += 1
            said = (outcome.error, reason(item, outcome), outcome.attempts, outcome.http_status)
            rejects.append(Reject(collection, outcome.id, "load", *said, _document(item.body)))
            counts.altered += outcome.error == ALTERED
        counts.conflicts += outcome.conflict
        counts.proven += outcome.proof != ""
    return counts, rejects


def _check_ids(
    collection: str, items: Sequence[EncodedDocument] | Sequence[Leaf], outcomes: Sequence[Outcome]
) -> None:
    ids = [item.id for item in items]
    answered = [outcome.id for outcome in outcomes]
    if ids == answered:
        return
    lost = list((Counter(ids) - Counter(answered)).elements())
    what = (
        f"unaccounted for: {', '.join(shown(id) for id in lost[:MAX_IDS_SHOWN])}"
        if lost
        else "and they are others or in disorder"
    )
    raise UnaccountedError(
        f"{collection}: {len(ids)} documents were loaded, {len(answered)} outcomes came back; {what}.",
        hint="Run again with --resume: they are read again.",
    )


def _reason(_: object, outcome: Outcome) -> str:
    return outcome.reason


def _document(body: bytes) -> object:
    try:
        return decode(body)
    except InvalidDocument:
        return body.decode("utf-8", "replace")
