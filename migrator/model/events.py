"""What the pipeline says while it runs, as frozen dataclasses; who listens is no concern of the core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from migrator.model import Counts, Reject, Report


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run begins. `total` is the number of documents where every collection knows its own."""

    source: str
    target: str
    collections: tuple[str, ...]
    total: int | None


@dataclass(frozen=True, slots=True)
class FolderChosen:
    """The target is a folder: files are written, and nothing goes to a server."""

    folder: str


@dataclass(frozen=True, slots=True)
class CollectionStarted:
    """A collection begins; `resumed` says that an earlier run had settled a part of it."""

    collection: str
    database: str
    total: int | None
    resumed: bool


@dataclass(frozen=True, slots=True)
class BatchLoaded:
    """Every document of a batch has its end.

    `documents` of `size_bytes` were sent; `seconds` is how long that took, retries included.
    """

    collection: str
    counts: Counts
    size_bytes: int
    seconds: float
    documents: int = 0


@dataclass(frozen=True, slots=True)
class DocumentRejected:
    """One document goes to the reject file."""

    reject: Reject


@dataclass(frozen=True, slots=True)
class RetryScheduled:
    """A call failed and will be tried again after `wait_s` seconds."""

    operation: str
    attempt: int
    wait_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class BatchSplit:
    """A refused batch of `documents` is sent again in parts."""

    collection: str
    documents: int
    reason: str


@dataclass(frozen=True, slots=True)
class LimitsChanged:
    """Batch size and concurrency adapt to what the server bears."""

    max_docs: int
    in_flight: int
    reason: str


@dataclass(frozen=True, slots=True)
class DocumentsCompared:
    """Verification went on by so many documents of the source."""

    collection: str
    documents: int


@dataclass(frozen=True, slots=True)
class LagMeasured:
    """A target that follows its source is so many changes behind; 0 when it has caught up."""

    collection: str
    changes: int


@dataclass(frozen=True, slots=True)
class CheckpointSaved:
    """The position moved and is on disk."""

    collection: str


@dataclass(frozen=True, slots=True)
class CollectionFinished:
    """Every document of a collection has its end."""

    collection: str
    counts: Counts


@dataclass(frozen=True, slots=True)
class TaskProgressed:
    """The server itself is at something: `task` is its word, `where` a database or index, `share` from 0 to 1."""

    task: str
    where: str
    share: float


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The run is over."""

    report: Report


Event: TypeAlias = (
    RunStarted
    | FolderChosen
    | CollectionStarted
    | BatchLoaded
    | DocumentRejected
    | RetryScheduled
    | BatchSplit
    | LimitsChanged
    | DocumentsCompared
    | LagMeasured
    | CheckpointSaved
    | CollectionFinished
    | TaskProgressed
    | RunFinished
)

Listener: TypeAlias = Callable[[Event], None]
"""Called in the pipeline's own thread or a loader's; must not block."""


def ignore(event: Event) -> None:
    """The listener that listens to nothing."""
