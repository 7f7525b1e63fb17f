"""Puts a collection into the order of ids before it is loaded: an external merge sort beside the checkpoint.

Random ids cost a B-tree server twice the time and a file twice the size; sorting them costs a fraction of that.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from migrator.checkpoint.rejects import line_to_reject, reject_to_line
from migrator.errors import Interrupted, MigratorError, StorageError
from migrator.files.failures import RESUME, write_error
from migrator.files.sorting import ExternalSorter
from migrator.model import EncodedDocument, Extractor, Fault, Position, Record
from migrator.model.events import SORTING, CollectionCounted, Listener, TaskProgressed, ignore
from migrator.pipeline.batching import Assembly, as_reject
from migrator.pipeline.wrapper import ExtractorWrapper

# Below this a database's tree is small enough to take ids in any order.
MIN_DOCUMENTS_TO_SORT = 20_000
# What is read to see whether that is so is held, and not read again. Where this is reached first, documents are
# large, and
MAX_HELD_BYTES = 6_000_000
# beyond this size the tree is small beside them.
MAX_BYTES_TO_SORT = 10_000
# No document has it, so what is sorted under it comes first: faults, and last how many were filtered out.
NO_ID = ""
FORMAT = 2
TELL_EVERY = 1_000
OLDER_FILES = ("faults.ndjson", "counts.json")
"""What format 1 kept beside the sorted documents; a spool of it is sorted again."""


@dataclass(eq=False)
class SpoolingExtractor(ExtractorWrapper):
    """An extractor whose documents come encoded and sorted by id, where that gains.

    What cannot be written comes first. A position is how many of these were given, or else an id. The sorted
    spool survives a killed process and is taken up again when reading goes on after a position.

    Args:
        inner: the source.
        assembly: gives the assembly of a collection: the transformers are applied here, before sorting.
        folder: a folder for the spool alone.
        label: the job; a spool of another job is not taken up.
        decided: which collections are sorted; those that are not pass through as they are.
        wanted: says so for one that `decided` does not know; None to look at what the source begins with.
        max_memory_bytes: of one sort.
        stopping: set it to stop a sort.
        listener: receives how far a sort is, and then how much there is.
    """

    inner: Extractor
    assembly: Callable[[str], Assembly]
    folder: Path
    label: str
    decided: dict[str, bool]
    wanted: Callable[[str], bool | None] = lambda _collection: True
    max_memory_bytes: int = 16_000_000
    stopping: threading.Event = field(default_factory=threading.Event)
    listener: Listener = ignore

    def __post_init__(self) -> None:
        super().__init__(self.inner)
        self.ordered = True
        self._names = {name: str(number) for number, name in enumerate(self.inner.collections())}

    def describe_position(self, collection: str, position: Position) -> str:
        """The id, or for what is not sorted the source's own words."""
        place = "" if self.decided.get(collection) else super().describe_position(collection, position)
        return place or f"{collection} {position!r:.100}"

    def share(self, collection: str, position: Position | None = None) -> float | None:
        """The source's own; of what is sorted the number is known."""
        return None if self.decided.get(collection) else super().share(collection, position)

    def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
        """Sort first, where that gains and was not done before, then yield in order."""
        records: Iterator[Record] | None = None
        if collection not in self.decided:
            wanted = self.wanted(collection)
            if wanted is None and after is None:
                records, wanted = self._looked_into(collection)
            self.decided[collection] = bool(wanted)
        if self.decided[collection]:
            yield from self._sorted(collection, after, records)
        else:
            yield from self._inner.extract(collection, after=after) if records is None else records

    def _looked_into(self, collection: str) -> tuple[Iterator[Record], bool]:
        """The source's records, and whether a look at their beginning shows many documents in no order."""
        assembly = self.assembly(collection)
        assemble = assembly.assemble
        records = iter(assembly.prepared(self._inner.extract(collection)))
        held: deque[Record] = deque()
        held_bytes = documents = 0
        ascending = True
        last = ""
        for record in records:
            made = assemble(record)
            held.append(_assembled(record, made))
            # What came as an object is the source's own; of a text that is at fault there are two.
            held_bytes += 2 * len(record.text or b"") if not isinstance(made, EncodedDocument) else len(made.body)
            if isinstance(made, EncodedDocument):
                # Python compares texts by code points, which is the order of their bytes.
                ascending = ascending and made.id >= last
                last = made.id
                documents += 1
            if len(held) >= MIN_DOCUMENTS_TO_SORT or held_bytes >= MAX_HELD_BYTES:
                worth = not ascending and held_bytes <= documents * MAX_BYTES_TO_SORT
                return chain(_taken(held), records), worth
        return _taken(held), False

    def _sorted(
        self, collection: str, after: Position | None, records: Iterator[Record] | None
    ) -> Iterator[Record]:
        folder = self._spool(collection)
        label = json.dumps([self.label, collection, self.identity(collection), FORMAT])
        sorter = None if after is None else ExternalSorter.reopen(folder, label=label)
        if sorter is None:
            records = self._inner.extract(collection) if records is None else records
            sorter = self._sort(collection, folder, label, records)
        with contextlib.closing(sorter):
            position: Position = 0 if after is None else after
            given = 0 if isinstance(position, str) else position
            self.listener(CollectionCounted(collection, len(sorter)))
            items = sorter.sorted_items(after if isinstance(after, str) else None)
            number = 0
            following = next(items, None)
            while following is not None:
                id, body = following
                following = next(items, None)
                if id == NO_ID:
                    number += 1
                    if number > given:
                        position = number
                        yield _before_documents(body, number, f"{folder}:{number}")
                    continue
                # After an id are only higher ones: of several documents with one id the last alone may end there.
                if following is None or following[0] != id:
                    position = id
                yield Record(position, encoded=EncodedDocument(id, body))

    def finish(self, collection: str) -> None:
        """Remove the collection's spool, where it was sorted."""
        super().finish(collection)
        if self.decided.get(collection):
            self.remove(collection)

    def remove(self, collection: str) -> None:
        """Remove a collection's spool, which is needed no more."""
        folder = self._spool(collection)
        for name in OLDER_FILES:
            (folder / name).unlink(missing_ok=True)
        if folder.exists():
            ExternalSorter(folder).remove()
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _spool(self, collection: str) -> Path:
        return self.folder / self._names[collection]

    def _sort(self, collection: str, folder: Path, label: str, records: Iterator[Record]) -> ExternalSorter:
        try:
            sorter = ExternalSorter(folder, max_memory_bytes=self.max_memory_bytes, keep=True, label=label)
            self._fill(sorter, collection, records)
            sorter.finish()
        except (OSError, StorageError) as error:
            self._give_up(collection)
            cause = error if isinstance(error, OSError) else error.__cause__
            if not isinstance(cause, OSError):
                raise
            instead = "keep the checkpoint elsewhere with --checkpoint, or load unsorted with --sort never"
            raise write_error(cause, folder, instead=instead, again=RESUME) from error
        except BaseException:
            # Only a finished sort is worth keeping.
            self._give_up(collection)
            raise
        return sorter

    def _give_up(self, collection: str) -> None:
        with contextlib.suppress(MigratorError, OSError):
            self.remove(collection)

    def _fill(self, sorter: ExternalSorter, collection: str, records: Iterator[Record]) -> None:
        assembly = self.assembly(collection)
        assemble = assembly.assemble
        stopped = self.stopping.is_set
        filtered = 0
        for number, record in enumerate(assembly.prepared(records)):
            tell_sorting(self.listener, super().share, collection, number)
            made = assemble(record)
            if isinstance(made, EncodedDocument):
                sorter.add(made.id, made.body)
            elif made is None:
                filtered += record.filtered or 1
            else:
                sorter.add(NO_ID, reject_to_line(as_reject(collection, made, "spool", made.error)))
            if stopped():
                raise Interrupted("Stopped while the documents were sorted.", hint="Go on with --resume.")
        if filtered:
            sorter.add(NO_ID, b"%d" % filtered)


def tell_sorting(
    listener: Listener, share_of: Callable[[str], float | None], collection: str, number: int
) -> None:
    """Say now and then how much of a source is sorted, where that is known.

    Args:
        listener: receives it.
        share_of: how much of a collection was read.
        collection: which one.
        number: of the record that comes now.
    """
    if not number % TELL_EVERY and (share := share_of(collection)) is not None:
        listener(TaskProgressed(SORTING, collection, share))


def _before_documents(body: bytes, number: int, place: str) -> Record:
    """What was sorted under no id."""
    if body.isdigit():
        return Record(number, filtered=int(body))
    reject = line_to_reject(body, place)
    fault = Fault(reject.error, reject.reason, reject.id, reject.document, reject.notation)
    # The line stands for what the fault holds, where batches are bounded by bytes.
    return Record(number, text=body, fault=fault)


def _assembled(record: Record, made: EncodedDocument | Fault | None) -> Record:
    """A record that says what became of another one."""
    if isinstance(made, EncodedDocument):
        return Record(record.position, encoded=made)
    if made is None:
        return Record(record.position, filtered=record.filtered or 1)
    return Record(record.position, text=record.text, fault=made)


def _taken(held: deque[Record]) -> Iterator[Record]:
    """Give records away, so that none is held twice."""
    while held:
        yield held.popleft()
