"""Carries whole revisions from a reader to a writer: several batches under way, each settled when confirmed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, groupby, pairwise
from typing import NamedTuple

from migrator.errors import Interrupted
from migrator.model import BatchLimits, Outcome
from migrator.model.revisions import Leaf, LeafFault, held_bytes, is_design
from migrator.pipeline.accounting import Tally, account_leaves
from migrator.retry.window import Window, in_batches


class Settled(NamedTuple):
    """What became of leaves that were carried together, and the id up to which everything has its end."""

    tally: Tally
    position: str
    seconds: float


class _Batch(NamedTuple):
    """`open_id` is the document that goes on in the next batch, None where none does."""

    leaves: Sequence[Leaf | LeafFault]
    ids: frozenset[str]
    size_bytes: int
    open_id: str | None
    has_design: bool


def carry_leaves(
    collection: str,
    leaves: Iterable[Leaf | LeafFault],
    write: Callable[[Sequence[Leaf]], Sequence[Outcome]],
    settle: Callable[[Settled], None],
    *,
    limits: BatchLimits,
    at_once: int,
    stopping: threading.Event,
    together: bool = False,
    size_bytes: Callable[[Leaf], int] = held_bytes,
    reason: Callable[[Leaf, Outcome], str] | None = None,
) -> None:
    """Send leaves, and settle them in the order of reading, all of a document together, so that none counts twice.

    What was read before reading ended by an error is settled first.

    Args:
        collection: what they belong to.
        leaves: what is read; for a position to mean anything, those of one document one after the other.
        write: answers one outcome for each leaf; called by several threads, never for one document at once.
        settle: keeps what became of them: rejects, then counts, then the position.
        limits: of a batch.
        at_once: so many batches are sent at once, fewer where leaves are larger than a batch.
        stopping: ends the reading between batches.
        together: all leaves of a document go in one batch, however many they are.
        size_bytes: how much of a leaf is in memory while it is sent.
        reason: what a reject says of a leaf; the outcome's own reason by default.

    Raises:
        Interrupted: it was asked to stop; what was under way is settled.
        MigratorError: a batch failed as a whole.
    """
    held = 0

    def read() -> Iterator[_Batch]:
        nonlocal held
        for batch in _batches(leaves, limits, size_bytes, together=together):
            if stopping.is_set():
                raise Interrupted("Stopped; what was in flight is settled.", hint="Go on with the same command.")
            held += batch.size_bytes
            yield batch

    def send(batch: _Batch) -> tuple[_Batch, Sequence[Outcome], float]:
        started = time.monotonic()
        sent = [leaf for leaf in batch.leaves if isinstance(leaf, Leaf)]
        return batch, write(sent) if sent else (), time.monotonic() - started

    with ThreadPoolExecutor(at_once, thread_name_prefix="carry") as pool:
        window = Window(
            pool,
            send,
            at_once=lambda: at_once if held <= (at_once + 1) * limits.max_bytes else 0,
            queued=1,
            # Two batches at one document would wait for each other at the server, or both count what they wrote.
            # A design document could refuse what was read before it.
            clash=lambda one, other: one.has_design or not one.ids.isdisjoint(other.ids),
        )
        begun, seconds = Tally(), 0.0
        try:
            for batch, outcomes, took in window.results(read()):
                held -= batch.size_bytes
                whole = sum(leaf.id != batch.open_id for leaf in batch.leaves)
                done = sum(isinstance(leaf, Leaf) for leaf in batch.leaves[:whole])
                begun.add(account_leaves(collection, batch.leaves[:whole], outcomes[:done], reason))
                rest = account_leaves(collection, batch.leaves[whole:], outcomes[done:], reason)
                seconds += took
                if whole:
                    settle(Settled(begun, batch.leaves[whole - 1].id, seconds))
                    begun, seconds = rest, 0.0
                else:
                    begun.add(rest)
        finally:
            window.abandon()


def _batches(
    leaves: Iterable[Leaf | LeafFault],
    limits: BatchLimits,
    size_bytes: Callable[[Leaf], int],
    *,
    together: bool,
) -> Iterator[_Batch]:
    def size(items: Iterable[Leaf | LeafFault]) -> int:
        return sum(size_bytes(leaf) for leaf in items if isinstance(leaf, Leaf))

    # What is sent together: the leaves of a document, or each leaf by itself.
    units = (list(of_one) for _, of_one in groupby(leaves, key=lambda leaf: leaf.id)) if together else zip(leaves)
    # Design documents go by themselves: they could refuse what is sent with them.
    kinds = groupby(units, key=lambda unit: is_design(unit[0]))
    parts = chain.from_iterable(in_batches(same, limits, size) for _, same in kinds)
    divided = map(list, map(chain.from_iterable, parts))
    for batch, following in pairwise(chain(divided, ([],))):
        open_id = batch[-1].id if following and following[0].id == batch[-1].id else None
        ids = frozenset([leaf.id for leaf in batch])
        yield _Batch(batch, ids, size(batch), open_id, is_design(batch[0]))
