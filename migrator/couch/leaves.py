"""Reads every leaf of a live database in the order of ids: first what there is by `_changes`, then `_bulk_get`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import orjson

from migrator.couch.bulk_get import Asked, StoredAttachments, read_leaves
from migrator.couch.changes import BEGINNING, Change, ChangesFeed
from migrator.couch.client import CouchClient
from migrator.couch.copies import settle
from migrator.couch.documents import TooLong
from migrator.couch.endpoint import database_url
from migrator.couch.settings import read_facts
from migrator.couch.trouble import MAX_BLAMED_IN_A_ROW, READING_VERDICTS
from migrator.errors import Interrupted, TransientError
from migrator.files.failures import temporary_folder
from migrator.files.sorting import ExternalSorter, side_by_side
from migrator.model.revisions import DatabaseFacts, Leaf, LeafFault
from migrator.naming import counted
from migrator.retry.retrier import Retrier, repeat_while
from migrator.retry.window import Window

MAX_LEAVES_ASKED = 1_000
# Nobody knows how large documents are before the first ones have come.
FIRST_LEAVES_ASKED = 100
ANSWER_BYTES = 2_000_000
# An answer that grows beyond this is given up, and asked for in halves.
MAX_ANSWER_BYTES = 16_000_000
PARALLEL = 4
FAULT_ATTEMPTS = 4


class Held(NamedTuple):
    """What somebody holds of a document: leaf revisions, and those that could not be read the last time."""

    id: str
    revs: tuple[str, ...]
    faults: tuple[str, ...] = ()


Known: TypeAlias = Callable[[str | None], Iterator[Held]]
"""Gives what somebody holds in the order of ids, from the first after one."""


@dataclass(eq=False)
class LeafReader:
    """A RevisionReader over one database. It lists once, when it is first asked; `leaves` may be called often.

    What changes while it is read is given as it was listed or as it is now; either way it is listed again after
    `last_seq`.

    Args:
        client: the server.
        database: its name.
        retrier: tries again; its `stopping` ends any reading with Interrupted.
        folder: an empty folder for what does not fit into memory; `close` removes it.
        since: list only what changed after this sequence.
        known: documents whose leaves are exactly those that somebody holds already are left out, and those of
            which a leaf could not be read are read again, changed or not.
        parallel: requests at once.
        max_memory_bytes: of the listing.
    """

    client: CouchClient
    database: str
    retrier: Retrier
    folder: Path
    since: str = BEGINNING
    known: Known | None = None
    parallel: int = PARALLEL
    max_memory_bytes: int = 32_000_000
    answer_bytes: int = ANSWER_BYTES
    max_answer_bytes: int = MAX_ANSWER_BYTES

    def __post_init__(self) -> None:
        self._sorter = ExternalSorter(self.folder, max_memory_bytes=self.max_memory_bytes)
        self._last_seq: str | None = None
        self._attachments = StoredAttachments(self.client, self.database, self.retrier)
        self._lock = threading.Lock()
        self._readings: list[Generator[Leaf | LeafFault]] = []
        self._bytes_per_leaf = self.answer_bytes / FIRST_LEAVES_ASKED

    def describe(self) -> str:
        """The database's URL without credentials."""
        return database_url(self.client.endpoint, self.database)

    def facts(self) -> DatabaseFacts:
        """What the server says of the database."""
        return self.retrier.call(f"look at {self.database}", lambda _: read_facts(self.client, self.database))

    @property
    def unconfirmed(self) -> list[str]:
        """What of the listing could not be made sure of, as sentences."""
        return self.client.doubts_of(self.database)

    @property
    def last_seq(self) -> str:
        """The sequence up to which the listing goes."""
        if self._last_seq is None:
            settle(self.client, self.database, self.retrier)
            feed = ChangesFeed(self.client, self.database, self.retrier)
            self._last_seq = feed.list(self.since, self._take)
            self._sorter.finish()
        return self._last_seq

    @property
    def listed(self) -> int:
        """How many changes the listing holds; a few may be of the same documents."""
        _ = self.last_seq
        return len(self._sorter)

    def revisions(self) -> Iterator[tuple[str, list[str]]]:
        """Each listed document with the revisions of its leaves, in order of ids; nothing more is asked for it."""
        _ = self.last_seq
        return _last_of_each(self._sorter.sorted_items(None))

    def close(self) -> None:
        """End all readings, and remove the listing."""
        # An error's traceback holds a reading that it ended. Left to the garbage collector, its threads would be
        # waited for in any other thread, also one that holds what they need to end.
        for reading in self._readings:
            reading.close()
        self._readings.clear()
        self._sorter.close()

    def _take(self, change: Change) -> None:
        self._sorter.add(change.id, " ".join(change.revs).encode())

    def leaves(self, *, after: str | None = None) -> Iterator[Leaf | LeafFault]:
        """Yield the leaves of what was listed, in order of ids.

        Raises:
            EndpointError: the server does not give them.
        """
        reading = self._leaves(after)
        self._readings.append(reading)
        return reading

    def _leaves(self, after: str | None) -> Generator[Leaf | LeafFault]:
        _ = self.last_seq
        asked = (Asked(id, rev) for id, revs in self._wanted(after) for rev in revs)
        with ThreadPoolExecutor(self.parallel, thread_name_prefix="leaves") as pool:
            window = Window(pool, self._fetch, at_once=lambda: self.parallel, queued=1)
            try:
                for leaves in window.results(iter(lambda: self._next_part(asked), [])):
                    yield from leaves
                    self._end_if_stopped()
            finally:
                window.abandon()

    def fetch(self, id: str, revs: Sequence[str]) -> list[Leaf | LeafFault]:
        """These leaves of one document, or what has grown out of them."""
        return self._fetch([Asked(id, rev) for rev in revs])

    def _wanted(self, after: str | None) -> Iterator[tuple[str, list[str]]]:
        """Each listed document once, as it was listed last."""
        listed = _last_of_each(self._sorter.sorted_items(after))
        known = ((held.id, held) for held in (self.known(after) if self.known else ()))
        for id, revs, held in side_by_side(listed, known):
            if held is not None and revs is None:
                if held.faults:
                    yield id, [*held.revs, *held.faults]
            elif revs is not None and (held is None or held.faults or set(held.revs) != set(revs)):
                yield id, revs

    def _end_if_stopped(self) -> None:
        if self.retrier.stopping.is_set():
            raise Interrupted("Stopped while reading documents.", hint="Go on later with the same command.")

    def _next_part(self, asked: Iterator[Asked]) -> list[Asked]:
        self._end_if_stopped()
        size = min(self.client.pace.at_most(MAX_LEAVES_ASKED), int(self.answer_bytes / self._bytes_per_leaf))
        return [leaf for _, leaf in zip(range(max(1, size)), asked, strict=False)]

    def _fetch(self, asked: Sequence[Asked]) -> list[Leaf | LeafFault]:
        try:
            leaves = self.retrier.call(f"read documents of {self.database}", lambda _: self._ask(asked))
        except TooLong:
            middle = len(asked) // 2
            return self._fetch(asked[:middle]) + self._fetch(asked[middle:])
        return self._asked_again(leaves) if any(isinstance(leaf, LeafFault) for leaf in leaves) else leaves

    def _ask(self, asked: Sequence[Asked]) -> list[Leaf | LeafFault]:
        what = f"Reading {len(asked)} revisions of {self.describe()}"
        body = orjson.dumps({"docs": [{"id": id, "rev": rev} for id, rev in asked]})
        parts: list[bytes] = []
        size = 0
        # What has a child by now is given as that child; else its body might be compacted away.
        params = {"revs": "true", "latest": "true"}
        self.client.pace.read(len(asked))
        with closing(self.client.stream(what, self.database, "_bulk_get", params=params, body=body)) as pieces:
            for piece in pieces:
                parts.append(piece)
                size += len(piece)
                if size > self.max_answer_bytes and len(asked) > 1:
                    raise TooLong
        with self._lock:
            # Large ones count at once, small ones slowly.
            self._bytes_per_leaf = max(size / len(asked), 0.7 * self._bytes_per_leaf, 1.0)
        leaves = read_leaves(b"".join(parts), asked, self._attachments.of, what)
        if len(leaves) > 1 and all(_is_trouble(leaf) for leaf in leaves):
            raise self._fails_at(leaves)
        return leaves

    def _fails_at(self, leaves: Sequence[Leaf | LeafFault]) -> TransientError:
        first = leaves[0]
        why = f"{first.error} ({first.reason})" if isinstance(first, LeafFault) else ""
        return TransientError(
            f"Reading {self.describe()}: the server fails at {counted(len(leaves), 'revision')}, the first "
            f"{first.id!r:.100} ({first.rev}): {why}.",
            status=500,
            signature=f"row {why:.100}",
        )

    def _asked_again(self, leaves: Sequence[Leaf | LeafFault]) -> list[Leaf | LeafFault]:
        """Ask once more for what did not come; a fault that stays is the leaf's own."""
        settled: list[Leaf | LeafFault] = []
        for leaf in leaves:
            if isinstance(leaf, LeafFault) and leaf.rev:
                settled += self._insisted(Asked(leaf.id, leaf.rev))
            else:
                settled.append(leaf)
        troubled = [leaf for leaf in settled if _is_trouble(leaf)]
        if len(troubled) > MAX_BLAMED_IN_A_ROW:
            raise self._fails_at(troubled)
        return settled

    def _insisted(self, asked: Asked) -> list[Leaf | LeafFault]:
        def step() -> list[Leaf | LeafFault]:
            return self.retrier.call(f"read {asked.id!r:.100}", lambda _: self._ask([asked]))

        return repeat_while(
            lambda found: any(isinstance(leaf, LeafFault) for leaf in found), step, max_attempts=FAULT_ATTEMPTS
        )


@contextmanager
def listed_leaves(client: CouchClient, database: str, retrier: Retrier, **options: Any) -> Iterator[LeafReader]:
    """A reader whose listing is in a temporary folder, and removed afterwards; `options` are the reader's."""
    with (
        temporary_folder("migrator-listing-") as folder,
        closing(LeafReader(client, database, retrier, folder=folder, **options)) as reader,
    ):
        yield reader


def _is_trouble(leaf: Leaf | LeafFault) -> bool:
    return isinstance(leaf, LeafFault) and leaf.error not in READING_VERDICTS


def _last_of_each(items: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, list[str]]]:
    """Of records with equal ids the last one, which was listed last."""
    held: tuple[str, bytes] | None = None
    for item in items:
        if held is not None and held[0] != item[0]:
            yield held[0], held[1].decode().split(" ")
        held = item
    if held is not None:
        yield held[0], held[1].decode().split(" ")
