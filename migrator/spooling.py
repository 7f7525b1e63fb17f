"""Puts a collection into the order of ids before it is loaded: an external merge sort beside the checkpoint.

Random ids cost a B-tree server twice the time and a file twice the size; sorting them costs a fraction of that.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

from migrator.batching import Assembly
from migrator.errors import EndpointError
from migrator.model import EncodedDocument, Extractor, Fault, Position, Record, Reject
from migrator.rejects import line_to_reject, reject_to_line
from migrator.sorting import ExternalSorter
from migrator.wrapping import ExtractorWrapper

# Below this a database's tree is small enough to take ids in any order.
MIN_DOCUMENTS_TO_SORT = 20_000
FAULTS_FILE = "faults.ndjson"
COUNTS_FILE = "counts.json"


class SpoolingExtractor(ExtractorWrapper):
    """An extractor whose documents come encoded and sorted by id, whatever order the inner one has.

    What cannot be written comes first. A position is how many of these were given, or else an id. The sorted
    spool survives a killed process and is taken up again when reading goes on behind a position.

    Args:
        inner: the source.
        assembly: gives the assembly of a collection: the transformers are applied here, before sorting.
        folder: a folder of the spool's own.
        label: the job; a spool of another job is not taken up.
        is_spooled: whether a collection is sorted; others pass through as they are.
        max_memory_bytes: of one sort.
    """

    def __init__(
        self,
        inner: Extractor,
        assembly: Callable[[str], Assembly],
        folder: Path,
        label: str,
        is_spooled: Callable[[str], bool],
        *,
        max_memory_bytes: int = 16_000_000,
    ) -> None:
        super().__init__(inner)
        self.ordered = True
        self._assembly = assembly
        self._folder = folder
        self._label = label
        self._is_spooled = is_spooled
        self._max_memory_bytes = max_memory_bytes
        self._names = {name: str(number) for number, name in enumerate(inner.collections())}

    def describe_position(self, collection: str, position: Position) -> str:
        """The id, or for what is not sorted the source's own words."""
        locate = getattr(self._inner, "describe_position", None)
        if locate is None or self._is_spooled(collection):
            return f"{collection} {position!r:.100}"
        return str(locate(collection, position))

    def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
        """Sort first, where that was not done before, then yield in order."""
        if not self._is_spooled(collection):
            yield from self._inner.extract(collection, after=after)
            return
        folder = self._spool(collection)
        label = json.dumps([self._label, collection, self.identity(collection)])
        sorter = None if after is None else ExternalSorter.reopen(folder, label=label)
        if sorter is None:
            sorter = self._sort(collection, folder, label)
        with contextlib.closing(sorter):
            position: Position = 0 if after is None else after
            if not isinstance(position, str):
                for record in self._before_documents(folder, position):
                    position = record.position
                    yield record
            items = sorter.sorted_items(after if isinstance(after, str) else None)
            following = next(items, None)
            while following is not None:
                id, body = following
                following = next(items, None)
                # Behind an id are only higher ones: of several documents with one id the last alone may end there.
                if following is None or following[0] != id:
                    position = id
                yield Record(position, text=body, ready=True)

    def remove(self, collection: str) -> None:
        """Remove a collection's spool, which is needed no more."""
        folder = self._spool(collection)
        for name in (FAULTS_FILE, COUNTS_FILE):
            (folder / name).unlink(missing_ok=True)
        if folder.exists():
            ExternalSorter(folder).remove()
        with contextlib.suppress(OSError):
            self._folder.rmdir()

    def close(self) -> None:
        """Close the source; a finished spool stays for the next run."""
        self._inner.close()

    def _spool(self, collection: str) -> Path:
        return self._folder / self._names[collection]

    def _sort(self, collection: str, folder: Path, label: str) -> ExternalSorter:
        sorter = ExternalSorter(folder, max_memory_bytes=self._max_memory_bytes, keep=True, label=label)
        try:
            counts = self._fill(sorter, collection, folder)
            with open(folder / COUNTS_FILE, "w", opener=_private) as file:
                json.dump(counts, file)
                _make_durable(file)
            # From here on the spool counts as whole, so what is beside the documents must be on disk before.
            sorter.finish()
        except OSError as error:
            sorter.close()
            raise EndpointError(
                f"The documents of {collection} cannot be sorted in {folder}: {error.strerror}.",
                hint="Make room, keep the checkpoint elsewhere with --checkpoint, or load unsorted: --sort never.",
            ) from error
        except BaseException:
            # Only a finished sort is worth keeping.
            sorter.close()
            raise
        return sorter

    def _fill(self, sorter: ExternalSorter, collection: str, folder: Path) -> dict[str, int]:
        assembly = self._assembly(collection)
        counts = {"faults": 0, "filtered": 0}
        with open(folder / FAULTS_FILE, "wb", opener=_private) as faults:
            for record in self._inner.extract(collection):
                made = assembly.assemble(record)
                if isinstance(made, EncodedDocument):
                    sorter.add(made.id, made.body)
                elif made is None:
                    counts["filtered"] += 1
                else:
                    counts["faults"] += 1
                    reject = Reject(collection, made.id, "spool", made.error, made.reason, document=made.document)
                    faults.write(reject_to_line(reject))
            _make_durable(faults)
        return counts

    def _before_documents(self, folder: Path, given: int) -> Iterator[Record]:
        counts = json.loads((folder / COUNTS_FILE).read_text())
        with (folder / FAULTS_FILE).open("rb") as file:
            for number, line in enumerate(islice(file, given, None), given + 1):
                reject = line_to_reject(line, f"{folder / FAULTS_FILE}:{number}")
                fault = Fault(reject.error, reject.reason, reject.id, reject.document)
                # The line stands for what the fault holds, where batches are bounded by bytes.
                yield Record(number, text=line, fault=fault)
        if counts["filtered"] and given <= counts["faults"]:
            yield Record(counts["faults"] + 1, filtered=counts["filtered"])


def is_worth_sorting(extractor: Extractor, collection: str, assembly: Assembly) -> bool:
    """True when a look at the beginning shows many documents whose ids are in no order."""
    last = b""
    ascending = True
    documents = 0
    for record in extractor.extract(collection):
        made = assembly.assemble(record)
        if isinstance(made, EncodedDocument):
            key = made.id.encode()
            ascending = ascending and key >= last
            last = key
            documents += 1
            if documents >= MIN_DOCUMENTS_TO_SORT:
                return not ascending
    return False


def _make_durable(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
