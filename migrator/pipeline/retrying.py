"""Wrappers that try again: a loader and an extractor with the face of what they wrap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from migrator.errors import BatchRefused, TransientError
from migrator.model import Batch, Extractor, Loader, Outcome, Position, Record
from migrator.pipeline.wrapper import ExtractorWrapper, LoaderWrapper
from migrator.retry.retrier import Retrier, is_transient

# A batch that fails so often in the same way while the server answers is sent on in parts.
SAME_FAILURES_BEFORE_SPLIT = 3
# A smaller body is not what a proxy or server drops for its size.
MIN_BYTES_TO_SPLIT_AFTER_RESET = 65_536


class RetryingLoader(LoaderWrapper):
    """A loader that tries again. After an unknown outcome it says so with `resend`."""

    def __init__(self, inner: Loader, retrier: Retrier) -> None:
        super().__init__(inner)
        self._retrier = retrier

    def prepare(self, collection: str, mark: int | None) -> None:
        """As the wrapped loader's, tried again."""
        self._retrier.call(
            f"prepare {collection}", lambda _: self._inner.prepare(collection, mark), retry_on=is_transient
        )

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
        if self._retrier.throttle is not None:
            self._retrier.throttle.succeeded(len(batch.documents), self._retrier.clock() - start)
        return result

    def identity(self, collection: str) -> str | None:
        """As the wrapped loader's, tried again."""
        return self._retrier.call(
            f"identify the target of {collection}",
            lambda _: super(RetryingLoader, self).identity(collection),
            retry_on=is_transient,
        )

    def is_empty(self, collection: str) -> bool:
        """As the wrapped loader's, tried again."""
        return self._retrier.call(
            f"look at the target of {collection}",
            lambda _: super(RetryingLoader, self).is_empty(collection),
            retry_on=is_transient,
        )

    def finish(self, collection: str) -> None:
        """As the wrapped loader's, tried again."""
        self._retrier.call(f"finish {collection}", lambda _: self._inner.finish(collection), retry_on=is_transient)

    @staticmethod
    def _goes_with_the_batch(batch: Batch, signatures: list[str]) -> bool:
        last = signatures[-SAME_FAILURES_BEFORE_SPLIT:]
        if len(batch.documents) < 2 or len(last) < SAME_FAILURES_BEFORE_SPLIT or len(set(last)) > 1:
            return False
        if last[0] in {"reset", "read timeout"}:
            return batch.size_bytes > MIN_BYTES_TO_SPLIT_AFTER_RESET
        return last[0].startswith(("500 ", "504 "))


class RetryingExtractor(ExtractorWrapper):
    """An extractor that goes on after the last record it gave when reading breaks off."""

    def __init__(self, inner: Extractor, retrier: Retrier) -> None:
        super().__init__(inner)
        self._retrier = retrier

    def collections(self) -> Sequence[str]:
        """As the wrapped extractor's, tried again."""
        return self._retrier.call("list collections", lambda _: self._inner.collections(), retry_on=is_transient)

    def count(self, collection: str) -> int | None:
        """As the wrapped extractor's, tried again."""
        return self._retrier.call(
            f"count {collection}", lambda _: self._inner.count(collection), retry_on=is_transient
        )

    def identity(self, collection: str) -> str:
        """As the wrapped extractor's, tried again."""
        return self._retrier.call(
            f"look at {collection}", lambda _: self._inner.identity(collection), retry_on=is_transient
        )

    def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
        """As the wrapped extractor's; a broken reading is taken up after the last record."""
        reached = after

        def opened() -> Iterator[Record]:
            return self._inner.extract(collection, after=reached)

        for record in self._retrier.iterate(f"extract {collection}", opened):
            reached = record.position
            yield record
