"""Sends leaves to a writer in batches, several at once; those of one document one batch after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from migrator.config import JobConfig
from migrator.couch.leaf_sender import held_bytes
from migrator.errors import Interrupted
from migrator.model import BatchLimits, Outcome
from migrator.retry.dividing import in_batches
from migrator.retry.window import Window
from migrator.revisions import Attachment, Leaf, LeafFault, RevisionWriter

T = TypeVar("T")


class Sender:
    """Takes leaves; tells of each batch that is settled, in the order in which they were taken.

    Args:
        writer: writes; used by several threads.
        config: how large batches are, and how many are sent at once.
        stopping: ends the sending with Interrupted.
        settled: is told the leaves and outcomes of each batch, in the caller's thread.
    """

    def __init__(
        self,
        writer: RevisionWriter,
        config: JobConfig,
        stopping: threading.Event,
        settled: Callable[[Sequence[Leaf], Sequence[Outcome]], None],
    ) -> None:
        self.lock = threading.Lock()
        self._limits = BatchLimits(config.batch_docs, config.batch_bytes)
        self._stopping = stopping
        self._settled = settled
        self._pool = ThreadPoolExecutor(config.in_flight, thread_name_prefix="restore")
        # Two batches at one document would wait for each other at the server.
        self._window: Window[list[Leaf], Sequence[Outcome]] = Window(
            self._pool,
            writer.write,
            at_once=lambda: config.in_flight,
            queued=1,
            clash=lambda batch, other: batch[0].id == other[-1].id,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._window.abandon()
        self._pool.shutdown(wait=True)

    def __call__(self, leaves: Iterable[Leaf]) -> None:
        """Send leaves, and wait until everything is settled.

        Raises:
            Interrupted: it was asked to stop; what was under way is settled.
            MigratorError: a batch failed as a whole.
        """
        for batch in in_batches(leaves, self._limits, held_bytes):
            if self._stopping.is_set():
                break
            while not self._window.has_room(batch):
                self._settle()
            self._window.submit(batch)
        while self._window:
            self._settle()
        if self._stopping.is_set():
            raise Interrupted("Stopped while restoring.", hint="The same command goes on.")

    def _settle(self) -> None:
        leaves, outcomes = self._window.oldest()
        self._window.drop()
        self._settled(leaves, outcomes)


def opened_safely(leaves: Iterator[Leaf | LeafFault], lock: threading.Lock) -> Iterator[Leaf | LeafFault]:
    """The same leaves, whose attachments may be read in other threads while the reading goes on."""
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
