"""Wrappers of an extractor and a loader, with every capability: each says only what it does differently.

Two try again what may pass later, one divides a refused batch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar, cast

from migrator.errors import BatchRefused, TransientError
from migrator.model import (
    Batch,
    Document,
    EncodedDocument,
    Extractor,
    Fault,
    Loader,
    Outcome,
    Position,
    Record,
    Status,
    capabilities,
)
from migrator.model.events import BatchSplit, Listener, ignore
from migrator.retry.retrier import Retrier, is_transient
from migrator.retry.window import divide_refused, refuse_trouble, refused_alone

S = TypeVar("S", Extractor, Loader)
F = TypeVar("F", bound=Callable[..., Any])


class _Wrapper(Generic[S]):
    """What an extractor and a loader have in common."""

    def __init__(self, inner: S) -> None:
        self._inner: S = inner

    @property
    def traits(self) -> capabilities.Traits:
        """As the inner one's."""
        return capabilities.traits_of(self._inner)

    @property
    def unconfirmed(self) -> Sequence[str]:
        """As the inner one's."""
        return capabilities.unconfirmed_of(self._inner)

    def describe(self) -> str:
        """As the inner one's."""
        return self._inner.describe()

    def close(self) -> None:
        """As the inner one's."""
        self._inner.close()


class ExtractorWrapper(_Wrapper[Extractor]):
    """An extractor that does what the inner one does."""

    def __init__(self, inner: Extractor) -> None:
        super().__init__(inner)
        self.ordered = inner.ordered

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
        if isinstance(self._inner, capabilities.Located):
            return self._inner.describe_position(collection, position)
        return ""

    def share(self, collection: str, position: Position | None = None) -> float | None:
        """As the inner one's; None where it does not know."""
        return self._inner.share(collection, position) if isinstance(self._inner, capabilities.Measured) else None

    @property
    def databases(self) -> Mapping[str, str]:
        """As the inner one's; empty where its documents were meant for none."""
        return self._inner.databases if isinstance(self._inner, capabilities.Destined) else {}

    def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
        """As the inner one's."""
        return self._inner.extract(collection, after=after)

    def finish(self, collection: str) -> None:
        """All of a collection is settled: what a wrapper has kept of it is needed no more."""
        if isinstance(self._inner, ExtractorWrapper):
            self._inner.finish(collection)


class LoaderWrapper(_Wrapper[Loader]):
    """A loader that does what the inner one does."""

    def __init__(self, inner: Loader) -> None:
        super().__init__(inner)
        self.max_in_flight = inner.max_in_flight
        # Called for every document, as `screen` is.
        recognizer = capabilities.recognizer_of(inner)
        self.recognize, self.takes = recognizer.recognize, recognizer.takes

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
        return self._inner.identity(collection) if isinstance(self._inner, capabilities.Identified) else None

    def is_empty(self, collection: str) -> bool:
        """As the inner one's; False where it tells nothing of it."""
        return isinstance(self._inner, capabilities.Emptiable) and self._inner.is_empty(collection)

    def survey(self, collection: str) -> int | None:
        """As the inner one's; None where it cannot look."""
        return self._inner.survey(collection) if isinstance(self._inner, capabilities.Surveyable) else None

    def preview(self, batch: Batch) -> Sequence[Outcome]:
        """As the inner one's; all WRITTEN where it does not know better."""
        if isinstance(self._inner, capabilities.Previewing):
            return self._inner.preview(batch)
        return [Outcome(document.id, Status.WRITTEN) for document in batch.documents]

    def flush(self, collection: str) -> int | None:
        """As the inner one's."""
        return self._inner.flush(collection)

    def finish(self, collection: str) -> None:
        """As the inner one's."""
        self._inner.finish(collection)


class BisectingLoader(LoaderWrapper):
    """A loader that divides a refused batch until exactly the bad documents are alone.

    Wrap it around the retrying loader: a fault that arrives here does not pass by itself.
    """

    def __init__(self, inner: Loader, listener: Listener = ignore) -> None:
        super().__init__(inner)
        self._listener = listener

    def load(self, batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:
        """As the wrapped loader's, but a document that spoils its batch is an outcome, not an error.

        Raises:
            TransientError: the server fails at every single document: the fault is its own.
        """

        def send(part: Sequence[EncodedDocument], resend: bool) -> Sequence[Outcome]:
            return self._inner.load(replace(batch, documents=tuple(part)), resend=resend)

        def announce(count: int, refused: BatchRefused) -> None:
            self._listener(BatchSplit(batch.collection, count, refused.message))

        outcomes = divide_refused(
            batch.documents,
            send,
            lambda document, refused: refused_alone(document.id, refused),
            id_of=lambda document: document.id,
            resend=resend,
            on_split=announce,
        )
        refuse_trouble(outcomes, self._inner.describe(), "go on with --resume")
        return outcomes


# A batch that fails so often in the same way while the server answers is sent on in parts.
SAME_FAILURES_BEFORE_SPLIT = 3
# A smaller body is not what a proxy or server drops for its size.
MIN_BYTES_TO_SPLIT_AFTER_RESET = 65_536


def _tried_again(what: str, method: F) -> F:
    """As the wrapped one's, tried again; `what` is done with a collection, for people."""

    @functools.wraps(method)
    def tried(self: RetryingLoader | RetryingExtractor, collection: str, *rest: Any, **named: Any) -> Any:
        return self._retrier.call(what.format(collection), lambda _: method(self, collection, *rest, **named))

    return cast("F", tried)


class RetryingLoader(LoaderWrapper):
    """A loader that tries again. After an unknown outcome it says so with `resend`."""

    def __init__(self, inner: Loader, retrier: Retrier) -> None:
        super().__init__(inner)
        self._retrier = retrier

    prepare = _tried_again("prepare {}", LoaderWrapper.prepare)
    identity = _tried_again("identify the target of {}", LoaderWrapper.identity)
    is_empty = _tried_again("look at the target of {}", LoaderWrapper.is_empty)
    finish = _tried_again("finish {}", LoaderWrapper.finish)

    def load(self, batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:
        """As the wrapped loader's, tried again; a failure that goes with the batch becomes BatchRefused."""
        unknown = resend
        signatures: list[str] = []

        def attempt(number: int) -> Sequence[Outcome]:
            nonlocal unknown
            try:
                outcomes = self._inner.load(batch, resend=unknown)
            except TransientError as error:
                unknown = unknown or error.outcome_unknown
                signatures.append(error.signature)
                if self._goes_with_the_batch(batch, signatures):
                    raise BatchRefused(
                        error.message,
                        status=error.status or 0,
                        error=error.signature,
                        reason=error.message,
                        maybe_written=True,
                        server_fault=True,
                    ) from error
                raise
            except BatchRefused as error:
                # Whoever divides the batch must know of an earlier attempt's lost answer too.
                unknown = error.maybe_written = unknown or error.maybe_written
                raise
            if number > 1:
                return [outcome._replace(attempts=max(outcome.attempts, number)) for outcome in outcomes]
            return outcomes

        def retry_on(error: BaseException) -> bool:
            # One document that the server chokes on is given every chance before it is called the cause.
            poisoned = isinstance(error, BatchRefused) and error.server_fault and len(batch.documents) == 1
            return is_transient(error) or poisoned

        start = self._retrier.clock()
        result = self._retrier.call(f"load {batch.collection}", attempt, retry_on=retry_on)
        if (throttle := self._retrier.throttle) is not None:
            written = sum(outcome.status is Status.WRITTEN for outcome in result)
            throttle.succeeded(len(batch.documents), self._retrier.clock() - start, written=written)
        return result

    @staticmethod
    def _goes_with_the_batch(batch: Batch, signatures: list[str]) -> bool:
        last = signatures[-SAME_FAILURES_BEFORE_SPLIT:]
        if len(batch.documents) < 2 or len(last) < SAME_FAILURES_BEFORE_SPLIT or len(set(last)) > 1:
            return False
        large = batch.size_bytes > MIN_BYTES_TO_SPLIT_AFTER_RESET
        return large if last[0] in {"reset", "read timeout"} else last[0].startswith(("500 ", "504 "))


class RetryingExtractor(ExtractorWrapper):
    """An extractor that goes on after the last record it gave when reading breaks off."""

    def __init__(self, inner: Extractor, retrier: Retrier) -> None:
        super().__init__(inner)
        self._retrier = retrier
        self._reached: dict[str, Position | None] = {}

    def share(self, collection: str, position: Position | None = None) -> float | None:
        """As the wrapped extractor's; of what it has given where no position is named."""
        return super().share(collection, self._reached.get(collection) if position is None else position)

    def collections(self) -> Sequence[str]:
        """As the wrapped extractor's, tried again."""
        return self._retrier.call("list collections", lambda _: self._inner.collections())

    count = _tried_again("count {}", ExtractorWrapper.count)
    identity = _tried_again("look at {}", ExtractorWrapper.identity)

    def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
        """As the wrapped extractor's; a broken reading is taken up after the last record."""
        (reached := self._reached)[collection] = after

        def opened() -> Iterator[Record]:
            return self._inner.extract(collection, after=reached[collection])

        for record in self._retrier.iterate(f"extract {collection}", opened):
            reached[collection] = record.position
            yield record
