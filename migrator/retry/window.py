"""Work in parts: batches, halves of a batch that is refused, and a bounded window of work under way in threads."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

from migrator.errors import BatchRefused, TransientError
from migrator.model import BatchLimits, Outcome, Status

T = TypeVar("T")
R = TypeVar("R")

_LOOK_S = 0.2


@dataclass(eq=False)
class Window(Generic[T, R]):
    """Items under way, oldest first. The oldest stays until it is dropped, so nothing passes what is not settled.

    Args:
        pool: does the work.
        work: what is done with an item, in a thread of the pool.
        at_once: how many may run at once; asked each time.
        queued: so many more may wait for a thread, so that none is idle while results are taken.
        ahead: so many may have ended while an older one still runs.
        clash: True where two items may not be under way together.
        look: called now and then while a result is waited for; what it raises ends the waiting.
    """

    pool: ThreadPoolExecutor
    work: Callable[[T], R]
    at_once: Callable[[], int]
    queued: int = 0
    ahead: int = 0
    clash: Callable[[T, T], bool] | None = None
    look: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        self._items: deque[tuple[T, Future[R]]] = deque()

    def __len__(self) -> int:
        return len(self._items)

    def has_room(self, item: T | None = None) -> bool:
        """Wait for a thread where that is enough.

        Args:
            item: what is to be submitted; None to ask for any that clashes with no other.

        Returns:
            False when the oldest must be settled first: there are too many, one clashes, or one has failed.
        """
        while self._items:
            at_once = self.at_once()
            most = at_once + self.queued
            if len(self._items) >= (most + self.ahead if at_once > 1 else most):
                return False
            if item is not None and self.clash and any(self.clash(item, other) for other, _ in self._items):
                return False
            if any(future.done() and future.exception() for _, future in self._items):
                return False
            running = [future for _, future in self._items if not future.done()]
            if len(running) < most:
                return True
            wait(running, return_when=FIRST_COMPLETED)
        return True

    def submit(self, item: T) -> None:
        """Begin with an item."""
        self._items.append((item, self.pool.submit(self.work, item)))

    @property
    def ended(self) -> bool:
        """True when the oldest has its result."""
        return bool(self._items) and self._items[0][1].done()

    def oldest(self) -> tuple[T, R]:
        """Wait for the oldest; what its work raised is raised here."""
        item, future = self._items[0]
        # What the work raised may be a timeout itself, so none is asked of its result.
        while self.look is not None and not wait([future], _LOOK_S).done:
            self.look()
        return item, future.result()

    def drop(self) -> None:
        """The oldest is settled."""
        self._items.popleft()

    def results(self, items: Iterable[T]) -> Iterator[R]:
        """Do all of it, and yield the results in the items' order. The next item is taken when there is room.

        An error of the items themselves is raised after the results of those before it.
        """
        broken: list[Exception] = []
        waiting = until_broken(items, broken)
        while True:
            while not self.has_room():
                yield self._taken()
            try:
                item = next(waiting)
            except StopIteration:
                break
            while self.clash and not self.has_room(item):
                yield self._taken()
            self.submit(item)
        while self._items:
            yield self._taken()
        if broken:
            raise broken[0]

    def abandon(self) -> bool:
        """Wait for what has begun and begin nothing more; True when some of it may be done."""
        begun = [future for _, future in self._items if not future.cancel()]
        wait(begun)
        return bool(begun)

    def _taken(self) -> R:
        _, result = self.oldest()
        self.drop()
        return result


def until_broken(items: Iterable[T], broken: list[Exception]) -> Generator[T]:
    """What can be read; the error that ends it is kept, so that what is under way can be settled first."""
    try:
        yield from items
    except Exception as error:  # noqa: BLE001 raised by whoever gave the list
        broken.append(error)


@contextlib.contextmanager
def watching(found: Callable[[], bool], act: Callable[[], object]) -> Iterator[None]:
    """Meanwhile look now and then in a thread, and act once on what is found.

    Args:
        found: True when there is something to act on.
        act: done then.
    """
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_LOOK_S):
            if found():
                act()
                return

    watcher = threading.Thread(target=watch, daemon=True, name="stopping")
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


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
