"""Accounts for a batch: from a loader's outcomes to counts and rejects, with no document left over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from migrator.codec import decode
from migrator.errors import UnaccountedError
from migrator.model import Batch, Counts, EncodedDocument, Outcome, Reject, Status
from migrator.naming import shown

MAX_IDS_SHOWN = 20


def account(batch: Batch, outcomes: Sequence[Outcome], database: str = "") -> tuple[Counts, list[Reject]]:
    """Say what became of everything that was read for a batch.

    Args:
        batch: what was loaded.
        outcomes: the loader's answer, one for each document, in the batch's order.
        database: the database or file that the batch is for; a reject says where it belongs.

    Raises:
        UnaccountedError: there is not exactly one outcome for each document, or the numbers do not add up.
    """
    _check_ids(batch, outcomes)
    counts = Counts(read=batch.read, filtered=batch.filtered, rejected=len(batch.rejects))
    rejects = [reject._replace(database=database) for reject in batch.rejects]
    for document, outcome in zip(batch.documents, outcomes, strict=True):
        status = outcome.status
        if status is Status.WRITTEN:
            counts.written += 1
        elif status is Status.UNCHANGED:
            counts.unchanged += 1
        elif status is Status.SKIPPED:
            counts.skipped += 1
        else:
            counts.rejected += 1
            rejects.append(_reject(batch.collection, database, document, outcome))
        counts.conflicts += outcome.conflict
    if not counts.accounted:
        raise UnaccountedError(
            f"{batch.collection}: the numbers of a batch do not add up: {counts.as_dict()}.",
            hint="Please report this.",
        )
    return counts, rejects


def _check_ids(batch: Batch, outcomes: Sequence[Outcome]) -> None:
    ids = [document.id for document in batch.documents]
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
        f"{batch.collection}: {len(ids)} documents were loaded, {len(answered)} outcomes came back; {what}.",
        hint="Run again with --resume: they are read again.",
    )


def _reject(collection: str, database: str, document: EncodedDocument, outcome: Outcome) -> Reject:
    return Reject(
        collection,
        outcome.id,
        "load",
        outcome.error,
        outcome.reason,
        outcome.attempts,
        outcome.http_status,
        decode(document.body),
        database,
    )
