"""Reads the source of a verification: its documents as they would be sent, in the order of their ids."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from migrator.couch.id_ranges import Part
from migrator.errors import Interrupted
from migrator.files.sorting import ExternalSorter
from migrator.jobs.open import OpenJob
from migrator.model import Document, EncodedDocument, Fault, Position, Reject, Transformer, events
from migrator.pipeline.batching import Assembly, Preparing
from migrator.pipeline.spooling import tell_sorting
from migrator.verification.read_target import SORT_MEMORY_BYTES
from migrator.verification.result import VerifyResult

_BY_SETTINGS = frozenset({"document_too_large"})


class OutOfOrder(Exception):
    """The ids of a source do not ascend."""


@dataclass
class SourceReader:
    """Reads what a target should hold.

    Args:
        job: the job, open.
        transform: its transformers.
        prepare: does the transforming elsewhere.
        result: counts what was filtered and what no target can hold, each time a collection was read to its end.
    """

    job: OpenJob
    transform: Transformer | None
    prepare: Preparing | None
    result: VerifyResult
    _told: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        job, loader = self.job, self.job.loader
        self._assembly = Assembly(
            self.transform, self._never_held, job.values, prepare=self.prepare, recognizer=loader
        )

    def in_order(
        self, name: str, after: str | None, *, surely: bool = False, within: Part | None = None
    ) -> Iterator[EncodedDocument]:
        """Yield the documents after an id, as long as their ids ascend.

        Args:
            name: the collection.
            after: what was compared before.
            surely: somebody has said that they ascend.
            within: where all ids must be.

        Raises:
            OutOfOrder: they do not.
        """
        # Reading is cheap beside comparing, and a position is the extractor's own.
        last, end = (within.first, within.end) if within else ("", None)
        for document in self.documents(name):
            id = document.id
            if (id < last and not surely) or (end is not None and id >= end):
                raise OutOfOrder
            last = id
            if after is None or id > after:
                yield document

    def sorted(
        self, name: str, after: str | None, folder: Path, stack: contextlib.ExitStack
    ) -> Iterator[EncodedDocument]:
        """The same in the order of their ids, sorted on disk."""
        sorter = stack.enter_context(ExternalSorter(folder, max_memory_bytes=SORT_MEMORY_BYTES))
        for number, document in enumerate(self.documents(name)):
            tell_sorting(self.job.listener, self.job.extractor.share, name, number)
            sorter.add(document.id, document.body)
            if self.job.stopping.is_set():
                raise Interrupted("Stopped while the source was sorted.", hint="Go on with --resume.")
        self.job.listener(events.CollectionCounted(name, len(sorter)))
        return (EncodedDocument(id, body) for id, body in sorter.sorted_items(after))

    def first_id(self, name: str, after: Position) -> str | None:
        """The id of the first document after a position, or None; nothing is counted."""
        assembly = replace(self._assembly, prepare=None)
        made = map(assembly.assemble, self.job.extractor.extract(name, after=after))
        return next((each.id for each in made if isinstance(each, EncodedDocument)), None)

    def documents(self, name: str) -> Iterator[EncodedDocument]:
        """Yield them as they come."""
        placed = replace(self._assembly, locate=partial(self.job.extractor.describe_position, name))
        filtered = unwritable = 0
        for record in placed.prepared(self.job.extractor.extract(name)):
            made = placed.assemble(record)
            if isinstance(made, EncodedDocument):
                yield made
            elif made is None:
                filtered += record.filtered or 1
            else:
                unwritable += 1
                # What is read once more was reported before.
                if unwritable > self._told.get(name, 0):
                    stage, _, error = made.error.partition(":")
                    self.tell(Reject(name, made.id, stage, error, made.reason))
        # Counted once, at the end, as a resumed verification reads from the beginning.
        self.result.filtered += filtered
        self.result.unwritable += unwritable

    def tell(self, reject: Reject) -> None:
        """Report a document that no target can hold; the next in order."""
        self._told[reject.collection] = self._told.get(reject.collection, 0) + 1
        self.job.listener(events.DocumentRejected(reject))

    def _never_held(self, id: str, top_level: Document, body: bytes) -> Fault | None:
        """A document that the target can never hold is not missing there."""
        fault = self.job.loader.screen(id, top_level, body)
        # A server's limits can have been others when the document was written.
        return None if fault is not None and fault.error in _BY_SETTINGS else fault
