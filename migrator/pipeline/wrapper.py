"""The faces of an extractor and a loader around another one: a wrapper says only what it does differently."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from migrator.checkpoint.target_guard import identity_of
from migrator.model import Batch, Document, Extractor, Fault, Loader, Outcome, Position, Record


def unconfirmed_of(*stages: object) -> tuple[str, ...]:
    """What sources and targets could not make sure of, as sentences; most have nothing of that kind to say."""
    return tuple(dict.fromkeys(text for stage in stages for text in getattr(stage, "unconfirmed", ())))


class ExtractorWrapper:
    """An extractor that does what the inner one does."""

    def __init__(self, inner: Extractor) -> None:
        self._inner = inner
        self.ordered = inner.ordered

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
        locate = getattr(self._inner, "describe_position", None)
        return str(locate(collection, position)) if locate else ""

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
        return identity_of(self._inner, collection)

    def is_empty(self, collection: str) -> bool:
        """As the inner one's; False where it tells nothing of it."""
        ask = getattr(self._inner, "is_empty", None)
        return ask is not None and bool(ask(collection))

    def flush(self, collection: str) -> int | None:
        """As the inner one's."""
        return self._inner.flush(collection)

    def finish(self, collection: str) -> None:
        """As the inner one's."""
        self._inner.finish(collection)

    def close(self) -> None:
        """As the inner one's."""
        self._inner.close()
