"""What the pipeline says while it runs, as frozen dataclasses; the core does not know who listens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, dataclass_transform

from migrator.model import Counts, Reject, Report


@dataclass(frozen=True)
@dataclass_transform(frozen_default=True)
class Event:
    """Something that happened; each class of it is a frozen dataclass."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclass(frozen=True)(cls)


class RunStarted(Event):
    """A run begins. `total` is the number of documents where every collection knows its own."""

    source: str
    target: str
    collections: tuple[str, ...]
    total: int | None


def run_started(source: str, target: str, counts: Mapping[str, int | None]) -> RunStarted:
    """The event of a run whose collections hold so many documents, None where that is not known."""
    known = [count for count in counts.values() if count is not None]
    return RunStarted(source, target, tuple(counts), sum(known) if len(known) == len(counts) else None)


class FolderChosen(Event):
    """The target is a folder: files are written, and nothing goes to a server."""

    folder: str


class CollectionStarted(Event):
    """A collection begins; `resumed` says that an earlier run had settled a part of it, so many documents.

    Where `total` is not known, `share` is the part of the source that these are, from 0 to 1, if that is.
    """

    collection: str
    database: str
    total: int | None
    resumed: bool
    settled: int = 0
    share: float | None = None


class CollectionCounted(Event):
    """It is known now how many documents a collection has, those that were settled before among them."""

    collection: str
    total: int


class BatchLoaded(Event):
    """Every document of a batch has its end.

    `documents` of `size_bytes` were sent; `seconds` is how long that took, retries included. `share` is how much
    of the collection is done, from 0 to 1, where the source knows it.
    """

    collection: str
    counts: Counts
    size_bytes: int
    seconds: float
    documents: int = 0
    share: float | None = None


class DocumentRejected(Event):
    """One document goes to the reject file."""

    reject: Reject


class RetryScheduled(Event):
    """A call failed and will be tried again after `wait_s` seconds."""

    operation: str
    attempt: int
    wait_s: float
    reason: str


class BatchSplit(Event):
    """A refused batch of `documents` is sent again in parts."""

    collection: str
    documents: int
    reason: str


class LimitsChanged(Event):
    """Batch size and concurrency adapt to what the server bears."""

    max_docs: int
    in_flight: int
    reason: str


class DocumentsCompared(Event):
    """Verification went on by so many documents of the source, and has `share` of it, as in `BatchLoaded`."""

    collection: str
    documents: int
    share: float | None = None


class LagMeasured(Event):
    """A target that follows its source is so many changes behind; 0 when it has caught up."""

    collection: str
    changes: int


class CheckpointSaved(Event):
    """The position moved and is on disk."""

    collection: str


class CollectionFinished(Event):
    """Every document of a collection has its end."""

    collection: str
    counts: Counts


SORTING = "sorting"
"""The task of who sorts a collection before it is moved."""


class TaskProgressed(Event):
    """The server itself is at something: `task` is its word, `where` a database or index, `share` from 0 to 1.

    Or this side is, before it can do what it counts.
    """

    task: str
    where: str
    share: float


class RunFinished(Event):
    """The run is over."""

    report: Report


class SettledListener:
    """Listens to a run and counts the documents that have their end, those of earlier runs too."""

    documents = 0

    def __call__(self, event: Event) -> None:
        """Count."""
        if isinstance(event, CollectionStarted):
            self.documents += event.settled
        elif isinstance(event, BatchLoaded):
            self.documents += event.counts.read
        elif isinstance(event, DocumentsCompared):
            self.documents += event.documents


Listener: TypeAlias = Callable[[Event], None]
"""Called in the pipeline's own thread or a loader's; must not block."""


def ignore(event: Event) -> None:
    """The listener that listens to nothing."""


def one_at_a_time(listener: Listener) -> Listener:
    """The listener for several threads: it receives one event after the other."""
    lock = threading.Lock()

    def tell(event: Event) -> None:
        with lock:
            listener(event)

    return tell
