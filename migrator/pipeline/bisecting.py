"""Finds the documents for which a target refuses a whole batch, so that all others are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from migrator.errors import BatchRefused, TransientError
from migrator.events import BatchSplit, Listener, ignore
from migrator.model import Batch, EncodedDocument, Loader, Outcome, Status
from migrator.pipeline.wrapper import LoaderWrapper

T = TypeVar("T")
R = TypeVar("R")


class BisectingLoader(LoaderWrapper):
    """A loader that divides a refused batch until exactly the bad documents are alone.

    Wrap it around the retrying loader: what arrives here is no passing fault.
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
            _rejected,
            id_of=lambda document: document.id,
            resend=resend,
            on_split=announce,
        )
        if len(outcomes) > 1 and all(o.http_status == 500 and o.status is Status.REJECTED for o in outcomes):
            raise TransientError(
                f"{self._inner.describe()}: the server fails at every document: {outcomes[0].reason}",
                hint="Look into the server's log; then go on with --resume.",
                status=500,
            )
        return outcomes


def divide_refused(
    items: Sequence[T],
    send: Callable[[Sequence[T], bool], Sequence[R]],
    alone: Callable[[T, BatchRefused], R],
    *,
    id_of: Callable[[T], str],
    resend: bool = False,
    on_split: Callable[[int, BatchRefused], None] | None = None,
) -> list[R]:
    """Send items together, and divide them where the target refuses the whole, until the bad ones are alone.

    Args:
        items: what is sent.
        send: sends some of them; with True where an earlier try may have written some. One result for each.
        alone: the result of an item that is refused by itself.
        id_of: an item's id, which the target may name.
        resend: what `send` is told at first.
        on_split: receives each division, as the number of items and what was said.

    Returns:
        One result for each item, in order.
    """
    # Depth is the logarithm of the number of items.
    try:
        return list(send(items, resend))
    except BatchRefused as refused:
        resend = resend or refused.maybe_written
        if len(items) == 1:
            return [alone(items[0], refused)]
        if on_split is not None:
            on_split(len(items), refused)
        guilty = [index for index, item in enumerate(items) if id_of(item) == refused.guilty_id]

        def part(some: Sequence[T]) -> list[R]:
            return divide_refused(some, send, alone, id_of=id_of, resend=resend, on_split=on_split) if some else []

        if len(guilty) == 1:
            at = guilty[0]
            results = part([*items[:at], *items[at + 1 :]])
            return [*results[:at], alone(items[at], refused), *results[at:]]
        middle = len(items) // 2
        return part(items[:middle]) + part(items[middle:])


def _rejected(document: EncodedDocument, refused: BatchRefused) -> Outcome:
    return Outcome(
        document.id,
        Status.REJECTED,
        error=refused.error,
        reason=refused.reason or refused.message,
        http_status=refused.status or None,
    )
