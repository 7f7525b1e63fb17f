"""Extractors, loaders and sinks in memory that keep to the protocols, and wrappers that make them fail or die."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

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
    Reject,
    Status,
)
from migrator.model.events import Event
from migrator.testing.memory import MemoryLoader

Item = Mapping[str, Any] | bytes | Fault


def numbered(count: int, **fields: Any) -> list[Mapping[str, Any]]:
    """Documents with ids that sort as they are numbered."""
    return [{"_id": f"d{number:05d}", "number": number, **fields} for number in range(count)]


def encoded(*ids: str, size: int = 0) -> tuple[EncodedDocument, ...]:
    """Documents ready to be sent; `size` pads each of them."""
    return tuple(EncodedDocument(id, json.dumps({"_id": id, "pad": "x" * size}).encode()) for id in ids)


def batch_of(*ids: str, collection: str = "c", size: int = 0) -> Batch:
    """A batch of such documents."""
    return Batch(collection, encoded(*ids, size=size), end=1, read=len(ids))


class FakeExtractor:
    """Reads lists; a position is the number of items read so far.

    Args:
        data: per collection documents, texts or faults.
        breaks: errors by the number of the reading step (over all readings, from 1) in whose place they come.
    """

    ordered = True

    def __init__(
        self, data: Mapping[str, Sequence[Item]], breaks: Mapping[int, BaseException] | None = None
    ) -> None:
        self.data = data
        self.breaks = dict(breaks or {})
        self.steps = 0
        self.openings: list[tuple[str, Position | None]] = []
        self.identities: dict[str, str] = {}
        self.closed = False

    def describe(self) -> str:
        """Its name."""
        return "fake source"

    def collections(self) -> Sequence[str]:
        """In the order given."""
        return list(self.data)

    def count(self, collection: str) -> int | None:
        """As many as there are."""
        return len(self.data[collection])

    def identity(self, collection: str) -> str:
        """As the test sets it."""
        return self.identities.get(collection, "")

    def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
        """The items after a position."""
        self.openings.append((collection, after))
        begin = int(after or 0)
        for position, item in enumerate(self.data[collection][begin:], begin + 1):
            self._step()
            if isinstance(item, Fault):
                yield Record(position, fault=item)
            elif isinstance(item, bytes):
                yield Record(position, text=item)
            else:
                yield Record(position, item)
        self._step()

    def close(self) -> None:
        """Remember it."""
        self.closed = True

    def _step(self) -> None:
        self.steps += 1
        error = self.breaks.pop(self.steps, None)
        if error is not None:
            raise error


class Call(NamedTuple):
    """One call of `load`."""

    ids: tuple[str, ...]
    resend: bool


class FakeLoader(MemoryLoader):
    """A target in memory that remembers each call.

    Args:
        max_in_flight: as in the protocol.
        refused: ids that end as rejects.
        skip: other content under an id is SKIPPED, not REJECTED.
        hold: called with each batch before it is written, so that a test decides which one ends first.
        screened: ids that the screen refuses.
    """

    def __init__(
        self,
        *,
        max_in_flight: int = 4,
        refused: Sequence[str] = (),
        skip: bool = False,
        hold: Callable[[Batch], None] = lambda _batch: None,
        screened: Sequence[str] = (),
    ) -> None:
        super().__init__(on_conflict="skip" if skip else "fail", max_in_flight=max_in_flight)
        self.calls: list[Call] = []
        self.writes: dict[str, int] = {}
        self.prepared: list[tuple[str, int | None]] = []
        self.flushed: list[str] = []
        self.finished: list[str] = []
        self.closed = False
        self.in_flight: list[frozenset[str]] = []
        self.shared_ids: set[str] = set()
        self.most_in_flight = 0
        self._refused = frozenset(refused)
        self._screened = frozenset(screened)
        self._hold = hold
        self._calls_lock = threading.Lock()

    def describe(self) -> str:
        """Its name."""
        return "fake target"

    def target_name(self, collection: str) -> str:
        """The collection's, with a prefix."""
        return f"db_{super().target_name(collection)}"

    def screen(self, id: str, top_level: Document, body: bytes) -> Fault | None:
        """As the test says."""
        return Fault("screened", "the test does not like it", id) if id in self._screened else None

    def prepare(self, collection: str, mark: int | None) -> None:
        """Remember it."""
        self.prepared.append((collection, mark))
        super().prepare(collection, mark)

    def load(self, batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:
        """Write what is not there, when the test lets it."""
        ids = frozenset(document.id for document in batch.documents)
        with self._calls_lock:
            self.calls.append(Call(tuple(document.id for document in batch.documents), resend))
            for other in self.in_flight:
                self.shared_ids |= other & ids
            self.in_flight.append(ids)
            self.most_in_flight = max(self.most_in_flight, len(self.in_flight))
        try:
            self._hold(batch)
            return super().load(batch, resend=resend)
        finally:
            with self._calls_lock:
                self.in_flight.remove(ids)

    def keep(self, collection: str, document: EncodedDocument) -> Outcome:
        """Refuse what the test refuses, and count what is written."""
        if document.id in self._refused:
            return Outcome(document.id, Status.REJECTED, "forbidden", "the test forbids it", http_status=403)
        outcome = super().keep(collection, document)
        self.writes[document.id] = self.writes.get(document.id, 0) + (outcome.status is Status.WRITTEN)
        return outcome

    def flush(self, collection: str) -> int | None:
        """Remember it."""
        self.flushed.append(collection)
        return super().flush(collection)

    def finish(self, collection: str) -> None:
        """Remember it."""
        self.finished.append(collection)

    def close(self) -> None:
        """Remember it."""
        self.closed = True

    @property
    def sent(self) -> int:
        """How many documents all calls held."""
        return sum(len(call.ids) for call in self.calls)


class Forwarding:
    """A loader that passes every call on; wrappers change one of them."""

    def __init__(self, inner: Loader) -> None:
        self.inner = inner
        self.max_in_flight = inner.max_in_flight

    def describe(self) -> str:
        """As the wrapped loader's."""
        return self.inner.describe()

    def target_name(self, collection: str) -> str:
        """As the wrapped loader's."""
        return self.inner.target_name(collection)

    def screen(self, id: str, top_level: Document, body: bytes) -> Fault | None:
        """As the wrapped loader's."""
        return self.inner.screen(id, top_level, body)

    def prepare(self, collection: str, mark: int | None) -> None:
        """As the wrapped loader's."""
        self.inner.prepare(collection, mark)

    def load(self, batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:
        """As the wrapped loader's."""
        return self.inner.load(batch, resend=resend)

    def flush(self, collection: str) -> int | None:
        """As the wrapped loader's."""
        return self.inner.flush(collection)

    def finish(self, collection: str) -> None:
        """As the wrapped loader's."""
        self.inner.finish(collection)

    def close(self) -> None:
        """As the wrapped loader's."""
        self.inner.close()


class FaultyLoader(Forwarding):
    """Fails at chosen calls of `load`.

    Args:
        inner: the loader that works.
        fail_at: errors by the number of the call, from 1.
        after_writing: numbers of calls that fail when all is written; the others fail before.
    """

    def __init__(
        self, inner: Loader, fail_at: Mapping[int, BaseException], after_writing: Sequence[int] = ()
    ) -> None:
        super().__init__(inner)
        self._fail_at = fail_at
        self._after_writing = frozenset(after_writing)
        self._lock = threading.Lock()
        self.count = 0

    def load(self, batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:
        """Fail or pass on."""
        with self._lock:
            self.count += 1
            number = self.count
        error = self._fail_at.get(number)
        if error is None:
            return self.inner.load(batch, resend=resend)
        if number in self._after_writing:
            self.inner.load(batch, resend=resend)
        raise error


class Crash(BaseException):
    """The process dies here: what catches Exception does not see it."""


@dataclass
class Fuse:
    """Lets the process die at its nth effect, and lets it have none after that.

    Args:
        blows_at: the number of the effect, from 1; 0 for never.
    """

    blows_at: int = 0
    burnt: int = 0
    blown: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def burn(self) -> None:
        """Have one effect.

        Raises:
            Crash: the process is dead.
        """
        with self._lock:
            self.burnt += 1
            self.blown |= self.burnt == self.blows_at
            if self.blown:
                raise Crash


class MortalExtractor(FakeExtractor):
    """An extractor whose every step may be the last."""

    def __init__(self, data: Mapping[str, Sequence[Item]], fuse: Fuse) -> None:
        super().__init__(data)
        self._fuse = fuse

    def _step(self) -> None:
        super()._step()
        self._fuse.burn()


class MortalLoader(Forwarding):
    """A loader that may die before or after each of its effects."""

    def __init__(self, inner: Loader, fuse: Fuse) -> None:
        super().__init__(inner)
        self._fuse = fuse

    def load(self, batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:
        """May die with nothing, or all, written."""
        self._fuse.burn()
        outcomes = super().load(batch, resend=resend)
        self._fuse.burn()
        return outcomes

    def flush(self, collection: str) -> int | None:
        """May die before or after."""
        self._fuse.burn()
        mark = super().flush(collection)
        self._fuse.burn()
        return mark

    def finish(self, collection: str) -> None:
        """May die before or after."""
        self._fuse.burn()
        super().finish(collection)
        self._fuse.burn()


class ListSink:
    """Keeps rejects; what is not flushed is known apart."""

    def __init__(self) -> None:
        self.rejects: list[Reject] = []
        self.durable = 0
        self.digest = ""

    def write(self, rejects: Sequence[Reject]) -> None:
        """Append them."""
        self.rejects += rejects

    def flush(self) -> int:
        """Make them durable."""
        self.durable = len(self.rejects)
        return self.durable


@dataclass
class Recorder:
    """A listener that keeps what it hears, from any thread."""

    events: list[Event] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        """Keep it."""
        self.events.append(event)

    def of(self, kind: type[Event]) -> list[Any]:
        """The events of one kind."""
        return [event for event in self.events if type(event) is kind]


def protocols_hold() -> tuple[Extractor, Loader]:
    """The type checker's proof that the fakes have the protocols' face; a test asks for it at run time too."""
    return FakeExtractor({}), FaultyLoader(FakeLoader(), {})
