"""Carries leaves from one place into another format, and accounts for each of them."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from migrator.convert.formats.reader import FileReader
from migrator.convert.formats.writer import FileWriter, Holds, WholeFile
from migrator.convert.group import designs_last, repeats, sorted_leaves, winners
from migrator.couch.leaf_sender import on_disk
from migrator.errors import Interrupted, UnreadableLeaf
from migrator.files.failures import temporary_folder
from migrator.model import BatchLimits, Reject
from migrator.model.revisions import Leaf, LeafFault, RevisionReader, RevisionWriter, is_design, leaf_bytes
from migrator.pipeline.leaves import Settled, carry_leaves

_ONE_REVISION = re.compile(rb'"_revisions":\{"start":\d+,"ids":\["[^"]*"\]\}')
BATCH = BatchLimits()
AT_ONCE = 4


@dataclass
class Conversion:
    """What became of every leaf; `read` adds up from all the others."""

    source: str
    target: str
    format: str
    read: int = 0
    written: int = 0
    unchanged: int = 0
    rejected: int = 0
    attachments: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    """Leaves that the format has no place for, or that a later one stands for."""
    ancestries_shortened: int = 0
    notes: Counter[str] = field(default_factory=Counter)
    unconfirmed: list[str] = field(default_factory=list)
    """What could not be made sure of, as sentences."""
    seconds: float = 0.0

    @property
    def accounted(self) -> bool:
        """True when every leaf has ended in exactly one way."""
        return self.read == self.written + self.unchanged + self.rejected + sum(self.left_out.values())

    @property
    def ok(self) -> bool:
        """True when nothing was rejected."""
        return self.accounted and not self.rejected

    def as_text(self) -> str:
        """For people, in one line."""
        names = ("read", "written", "unchanged", "rejected", "attachments")
        numbers = ", ".join(f"{getattr(self, name):,} {name}" for name in names)
        return f"{self.source} to {self.target}: {numbers} in {self.seconds:.1f} s\n"

    def as_dict(self) -> dict[str, Any]:
        """For the line of JSON."""
        value = {"schema": 1, "ok": self.ok, **vars(self), "seconds": round(self.seconds, 3)}
        return value if self.unconfirmed else {key: each for key, each in value.items() if key != "unconfirmed"}


@dataclass
class Converter:
    """One conversion.

    Args:
        result: where the counts are kept.
        reject: takes what was not written, by name.
        stopping: set it to stop.
    """

    result: Conversion
    reject: Callable[[Sequence[Reject]], None]
    stopping: threading.Event = field(default_factory=threading.Event)

    def into_file(self, source: RevisionReader, writer: FileWriter, *, scratch: Path) -> None:
        """Write all leaves that the format holds; the file appears at the end.

        Args:
            source: the leaves.
            writer: the format.
            scratch: a folder for sorting what does not fit into memory.

        Raises:
            Interrupted: it was asked to stop.
            EndpointError: the source cannot be read or the file not be written.
        """
        holds = writer.holds
        writer.begin()
        # A database knows what it has; a file takes everything that it is given.
        for leaf in self._whole(self._chosen(source, holds, scratch, once=True)):
            if not holds.ancestry and not _ONE_REVISION.search(leaf.body):
                self.result.ancestries_shortened += 1
            writer.write(leaf)
            self.result.written += 1
            self.result.attachments += len(leaf.attachments)
        writer.finish()

    def into_database(self, source: RevisionReader, writer: RevisionWriter, *, scratch: Path) -> None:
        """Write all leaves with their revisions, design documents last: their functions could refuse the others.

        Args:
            source: the leaves.
            writer: the database.
            scratch: a folder for sorting what does not fit into memory.
        """
        chosen = self._whole(self._chosen(source, Holds(), scratch / "sorted", once=False), wanted=is_design)
        carry_leaves(
            self.result.source,
            designs_last(chosen, scratch / "designs"),
            writer.write,
            self._settle,
            limits=BATCH,
            at_once=AT_ONCE,
            # A file's attachments are in memory with their documents.
            size_bytes=leaf_bytes,
            stopping=self.stopping,
            reason=lambda leaf, outcome: f"{leaf.rev}: {outcome.reason}",
        )

    def _settle(self, settled: Settled) -> None:
        counts = settled.tally.counts
        self.result.written += counts.written
        self.result.unchanged += counts.unchanged
        self.result.attachments += settled.tally.attachments
        for reject in settled.tally.rejects:
            # The revision is to be carried again, which its document alone does not tell.
            self._rejected(reject._replace(document=None))

    def _chosen(self, source: RevisionReader, holds: Holds, scratch: Path, *, once: bool) -> Iterator[Leaf]:
        """The leaves that the target has a place for, each `once` if need be; faults are rejected here."""
        read = self._counted(source)
        items: Iterator[Leaf | LeafFault] = read
        file = source if isinstance(source, FileReader) else None
        newest_last = file is not None and file.newest_last
        together = file is None or file.ordered or file.grouped
        with closing(read):
            if newest_last or (once and not together and self._to_sort(source, holds, scratch)):
                items = sorted_leaves(items, scratch, self.result.left_out, newest_last=newest_last)
            if not holds.conflicts:
                items = winners(items, self.result.left_out)
            for item in items:
                if isinstance(item, LeafFault):
                    self._rejected(Reject(self.result.source, item.id, "extract", item.error, item.reason))
                elif item.deleted and not holds.tombstones:
                    self.result.left_out["tombstones"] += 1
                else:
                    yield item
        if file is not None:
            self.result.notes.update(file.notes)

    def _to_sort(self, source: RevisionReader, holds: Holds, scratch: Path) -> bool:
        """True when leaves that lie apart must come together; to read twice is faster than to sort unasked."""
        return not holds.conflicts or repeats(self._read(source), scratch.with_name("revisions"))

    def _whole(self, leaves: Iterable[Leaf], *, wanted: Callable[[Leaf], bool] = lambda _: True) -> Iterator[Leaf]:
        """The leaves, of which those that are `wanted` are whole: half a row could not be taken back.

        One whose attachment cannot be read is rejected, and the others go on.
        """
        for leaf in leaves:
            with ExitStack() as stack:
                try:
                    whole = _held_leaf(leaf, stack) if wanted(leaf) else leaf
                except UnreadableLeaf as error:
                    reason = f"{leaf.rev}: {error.message}"
                    self._rejected(Reject(self.result.source, leaf.id, "extract", error.error, reason))
                    continue
                yield whole

    def _counted(self, source: RevisionReader) -> Generator[Leaf | LeafFault]:
        for item in self._read(source):
            self.result.read += 1
            yield item

    def _read(self, source: RevisionReader) -> Iterator[Leaf | LeafFault]:
        for item in source.leaves():
            if self.stopping.is_set():
                raise Interrupted("Stopped; nothing was put in place.", hint="Run it again.")
            yield item

    def _rejected(self, reject: Reject) -> None:
        self.result.rejected += 1
        self.reject([reject])


def convert_file(
    source: RevisionReader, writer_type: type[FileWriter], path: Path, converter: Converter, *, overwrite: bool
) -> None:
    """Convert into a file that appears whole or not at all."""
    with (
        WholeFile(path, overwrite=overwrite) as output,
        temporary_folder(".migrator-", path.parent) as scratch,
    ):
        writer = writer_type(output, database=path.name.partition(".")[0])
        converter.into_file(source, writer, scratch=Path(scratch) / "sorted")
        output.commit()


def _held_leaf(leaf: Leaf, stack: ExitStack) -> Leaf:
    """The same leaf, whose attachments can be opened without the source until the stack is left.

    Raises:
        UnreadableLeaf: one of them cannot be read.
        TransientError: the source gives them no more.
    """
    if not leaf.attachments:
        return leaf
    return leaf._replace(attachments=tuple(on_disk(attachment, stack) for attachment in leaf.attachments))
