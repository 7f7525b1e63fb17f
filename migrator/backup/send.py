"""Sends leaves to a writer in batches, several at once; those of one document one batch after the other."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import takewhile
from typing import TypeVar

from migrator.config import JobConfig
from migrator.couch.leaf_sender import held_bytes
from migrator.errors import Interrupted
from migrator.model import BatchLimits, Outcome
from migrator.retry.dividing import in_batches
from migrator.retry.window import Window
from migrator.revisions import Attachment, Leaf, LeafFault, RevisionWriter

T = TypeVar("T")


def sent(
    leaves: Iterable[Leaf], writer: RevisionWriter, config: JobConfig, stopping: threading.Event
) -> Generator[tuple[list[Leaf], Sequence[Outcome]]]:
    """Send leaves, and give those of each batch that is settled with their outcomes, in the order of reading.

    Args:
        leaves: those of one document one after the other.
        writer: writes; used by several threads.
        config: how large batches are, and how many are sent at once.
        stopping: ends the sending.

    Raises:
        Interrupted: it was asked to stop; what was under way is settled.
        MigratorError: a batch failed as a whole.
    """
    batches = in_batches(leaves, BatchLimits(config.batch_docs, config.batch_bytes), held_bytes)
    with ThreadPoolExecutor(config.in_flight, thread_name_prefix="restore") as pool:
        # Two batches at one document would wait for each other at the server.
        window: Window[list[Leaf], tuple[list[Leaf], Sequence[Outcome]]] = Window(
            pool,
            lambda batch: (batch, writer.write(batch)),
            at_once=lambda: config.in_flight,
            queued=1,
            clash=lambda batch, other: batch[0].id == other[-1].id,
        )
        try:
            yield from window.results(takewhile(lambda _: not stopping.is_set(), batches))
        finally:
            window.abandon()
    if stopping.is_set():
        raise Interrupted("Stopped while restoring.", hint="The same command goes on.")


def opened_safely(leaves: Iterator[Leaf | LeafFault]) -> Iterator[Leaf | LeafFault]:
    """The same leaves, whose attachments may be read in other threads while the reading goes on."""
    lock = threading.Lock()
    for leaf in _one_at_a_time(leaves, lock):
        if isinstance(leaf, Leaf) and leaf.attachments:
            yield leaf._replace(attachments=tuple(_safe(each, lock) for each in leaf.attachments))
        else:
            yield leaf


def _safe(attachment: Attachment, lock: threading.Lock) -> Attachment:
    return replace(attachment, open=partial(_opened, attachment, lock))


def _opened(attachment: Attachment, lock: threading.Lock) -> Iterator[bytes]:
    with lock:
        pieces = attachment.open()
    return _one_at_a_time(pieces, lock)


def _one_at_a_time(items: Iterator[T], lock: threading.Lock) -> Iterator[T]:
    nothing = object()
    while True:
        with lock:
            item = next(items, nothing)
        if item is nothing:
            return
        yield item  # type: ignore[misc]
