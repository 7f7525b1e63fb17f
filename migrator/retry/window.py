"""A bounded window of work under way on several threads, whose results are taken in the order of submission."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_LOOK_S = 0.2


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

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        work: Callable[[T], R],
        *,
        at_once: Callable[[], int],
        queued: int = 0,
        ahead: int = 0,
        clash: Callable[[T, T], bool] | None = None,
        look: Callable[[], None] | None = None,
    ) -> None:
        self._pool = pool
        self._work = work
        self._at_once = at_once
        self._queued = queued
        self._ahead = ahead
        self._clash = clash
        self._look = look
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
            at_once = self._at_once()
            most = at_once + self._queued
            if len(self._items) >= (most + self._ahead if at_once > 1 else most):
                return False
            if item is not None and self._clash and any(self._clash(item, other) for other, _ in self._items):
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
        self._items.append((item, self._pool.submit(self._work, item)))

    @property
    def ended(self) -> bool:
        """True when the oldest has its result."""
        return bool(self._items) and self._items[0][1].done()

    def oldest(self) -> tuple[T, R]:
        """Wait for the oldest; what its work raised is raised here."""
        item, future = self._items[0]
        # What the work raised may be a timeout itself, so none is asked of its result.
        while self._look is not None and not wait([future], _LOOK_S).done:
            self._look()
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
            while self._clash and not self.has_room(item):
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


def until_broken(items: Iterable[T], broken: list[Exception]) -> Iterator[T]:
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
