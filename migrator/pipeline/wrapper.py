"""Wrappers of an extractor and a loader, with every capability: each says only what it does differently."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from migrator.capabilities import (
    Destined,
    Emptiable,
    Identified,
    Located,
    Previewing,
    Surveyable,
    Traits,
    traits_of,
    unconfirmed_of,
)
from migrator.model import Batch, Document, Extractor, Fault, Loader, Outcome, Position, Record, Status


class ExtractorWrapper:
    """An extractor that does what the inner one does."""

    def __init__(self, inner: Extractor) -> None:
        self._inner = inner
        self.ordered = inner.ordered

    @property
    def traits(self) -> Traits:
        """As the inner one's."""
        return traits_of(self._inner)

    @property
    def unconfirmed(self) -> Sequence[str]:
        """As the inner one's."""
        return unconfirmed_of(self._inner)

    def describe(self) -> str:
        """As the inner one's."""
        return self._inner.describe()

    def collections(self) -> Sequence[str]:
        """As the inner one's."""
        return self._inner.collections()

    def count(self, collection: str) -> int | None:
        """As the inner one's."""
        return self._inner.count(collection)

    def identity(self, collection: str) -> str:
        """As the inner one's."""
        return self._inner.identity(collection)

    def describe_position(self, collection: str, position: Position) -> str:
        """As the inner one's; "" where it names no places."""
        return self._inner.describe_position(collection, position) if isinstance(self._inner, Located) else ""

    @property
    def databases(self) -> Mapping[str, str]:
        """As the inner one's; empty where its documents were meant for none."""
        return self._inner.databases if isinstance(self._inner, Destined) else {}

    def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
        """As the inner one's."""
        return self._inner.extract(collection, after=after)

    def close(self) -> None:
        """As the inner one's."""
        self._inner.close()


class LoaderWrapper:
    """A loader that does what the inner one does."""

    def __init__(self, inner: Loader) -> None:
        self._inner = inner
        self.max_in_flight = inner.max_in_flight

    @property
    def traits(self) -> Traits:
        """As the inner one's."""
        return traits_of(self._inner)

    @property
    def unconfirmed(self) -> Sequence[str]:
        """As the inner one's."""
        return unconfirmed_of(self._inner)

    def describe(self) -> str:
        """As the inner one's."""
        return self._inner.describe()

    def target_name(self, collection: str) -> str:
        """As the inner one's."""
        return self._inner.target_name(collection)

    @property
    def screen(self) -> Callable[[str, Document, bytes], Fault | None]:
        """The inner one's itself: it is called for every document."""
        return self._inner.screen

    def prepare(self, collection: str, mark: int | None) -> None:
        """As the inner one's."""
        self._inner.prepare(collection, mark)

    def load(self, batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:
        """As the inner one's."""
        return self._inner.load(batch, resend=resend)

    def identity(self, collection: str) -> str | None:
        """As the inner one's; None where it tells none."""
        return self._inner.identity(collection) if isinstance(self._inner, Identified) else None

    def is_empty(self, collection: str) -> bool:
        """As the inner one's; False where it tells nothing of it."""
        return isinstance(self._inner, Emptiable) and self._inner.is_empty(collection)

    def survey(self, collection: str) -> int | None:
        """As the inner one's; None where it cannot look."""
        return self._inner.survey(collection) if isinstance(self._inner, Surveyable) else None

    def preview(self, batch: Batch) -> Sequence[Outcome]:
        """As the inner one's; all WRITTEN where it does not know better."""
        if isinstance(self._inner, Previewing):
            return self._inner.preview(batch)
        return [Outcome(document.id, Status.WRITTEN) for document in batch.documents]

    def flush(self, collection: str) -> int | None:
        """As the inner one's."""
        return self._inner.flush(collection)

    def finish(self, collection: str) -> None:
        """As the inner one's."""
        self._inner.finish(collection)

    def close(self) -> None:
        """As the inner one's."""
        self._inner.close()
