"""Sends leaves to a writer in batches, several at once; those of one document one batch after the other."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from migrator.config import JobConfig
from migrator.couch.leaf_sender import inline_bytes
from migrator.errors import Interrupted
from migrator.model import Outcome
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
        self._writer = writer
        self._max_docs = config.batch_docs
        self._max_bytes = config.batch_bytes
        self._in_flight = config.in_flight
        self._stopping = stopping
        self._settled = settled
        self._batch: list[Leaf] = []
        self._bytes = 0
        self._last_id = ""
        self._running: deque[tuple[list[Leaf], Future[Sequence[Outcome]]]] = deque()
        self._pool = ThreadPoolExecutor(self._in_flight, thread_name_prefix="restore")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _, future in self._running:
            future.cancel()
        self._pool.shutdown(wait=True)

    def __call__(self, leaf: Leaf) -> None:
        """Take a leaf.

        Raises:
            MigratorError: a batch before it failed as a whole.
        """
        size = inline_bytes(leaf)
        # What is streamed counts by its document alone.
        length = len(leaf.body) if size is None else size
        if self._batch and (len(self._batch) >= self._max_docs or self._bytes + length > self._max_bytes):
            self._send()
            if leaf.id == self._last_id:
                # Two batches at one document would wait for each other at the server.
                self._settle(0)
        self._batch.append(leaf)
        self._bytes += length
        self._last_id = leaf.id

    def drain(self) -> None:
        """Send what is left, and wait until everything is settled."""
        self._send()
        self._settle(0)

    def _send(self) -> None:
        if self._stopping.is_set():
            self._settle(0)
            raise Interrupted("Stopped while restoring.", hint="The same command goes on.")
        if self._batch:
            self._settle(self._in_flight)
            self._running.append((self._batch, self._pool.submit(self._writer.write, self._batch)))
            self._batch, self._bytes = [], 0

    def _settle(self, most: int) -> None:
        """Wait until no more than so many batches are running."""
        while len(self._running) > most:
            leaves, future = self._running.popleft()
            self._settled(leaves, future.result())


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
