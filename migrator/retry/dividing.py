"""Divides what is sent: into batches by count and bytes, and a refused batch until the guilty items are alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from migrator.errors import BatchRefused, TransientError
from migrator.model import BatchLimits, Outcome, Status

T = TypeVar("T")
R = TypeVar("R")


def in_batches(
    items: Iterable[T], limits: BatchLimits, size_bytes: Callable[[T], int | None]
) -> Iterator[list[T]]:
    """Divide items, in order.

    Args:
        items: what is sent.
        limits: of a batch; a larger item travels alone.
        size_bytes: of an item; None for one that travels alone whatever its size, before those that wait.
    """
    batch: list[T] = []
    size = 0
    for item in items:
        length = size_bytes(item)
        if length is None:
            yield [item]
            continue
        if batch and size + length > limits.max_bytes:
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += length
        if len(batch) >= limits.max_docs or size >= limits.max_bytes:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


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


def refused_alone(id: str, refused: BatchRefused) -> Outcome:
    """The outcome of an item that is refused by itself."""
    return Outcome(
        id,
        Status.REJECTED,
        error=refused.error,
        reason=refused.reason or refused.message,
        http_status=refused.status or None,
    )


def refuse_trouble(outcomes: Sequence[Outcome], target: str, then: str) -> None:
    """Blame no item where a server fails at every one of several.

    Args:
        outcomes: of all that were sent together.
        target: the server.
        then: what to do once the server works again.

    Raises:
        TransientError: it does: the fault is its own.
    """
    if len(outcomes) > 1 and all(o.http_status == 500 and o.status is Status.REJECTED for o in outcomes):
        raise TransientError(
            f"{target}: the server fails at every document: {outcomes[0].reason}",
            hint=f"Look into the server's log; then {then}.",
            status=500,
        )
