"""Compares a target with what a run has proven as it wrote, by the list of ids and revisions alone."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from migrator.checkpoint.file import CollectionState
from migrator.checkpoint.proofs import with_proofs
from migrator.couch.rows import Row
from migrator.errors import Interrupted
from migrator.files.identity import same_content
from migrator.verification.compare import Comparison


def says_enough(ran: CollectionState, identity: str) -> bool:
    """True when a run has proven all that it made of its source, which still has the same content.

    Args:
        ran: what the run has left of a collection.
        identity: of the source as it is now.
    """
    counts = ran.counts
    all_of_it = counts.proven == counts.read - counts.filtered
    return bool(ran.proofs) and all_of_it and same_content(ran.identity, identity)


def as_proven(
    ran: CollectionState, rows: Iterable[Row], stopping: threading.Event, *, ignore_extra_design: bool
) -> Comparison | None:
    """The numbers where a target holds exactly what a run has proven; None where it holds anything else.

    Args:
        ran: what the run has left of a collection.
        rows: the target's.
        stopping: set to stop.
        ignore_extra_design: design documents that only the target has are its own.

    Raises:
        Interrupted: it was asked to stop.
    """
    numbers = Comparison()

    def listed() -> Iterator[tuple[str, str]]:
        for row in rows:
            if stopping.is_set():
                raise Interrupted("Stopped before anything was compared.", hint="Go on with --resume.")
            numbers.target += 1
            if not (ignore_extra_design and row.id.startswith("_design/")):
                numbers.source += 1
                yield row.id, row.rev

    if with_proofs("", listed()) != ran.proofs:
        return None
    numbers.equal = numbers.source
    return numbers
