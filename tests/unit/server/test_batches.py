"""Batches of a move are bounded, whatever a document looks like, and no leaf counts twice."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from migrator.checkpoint.file import Checkpoint, CheckpointFile
from migrator.checkpoint.reject_file import RejectFile
from migrator.model import BatchLimits, Outcome, Status
from migrator.model.revisions import Attachment, Leaf, LeafFault
from migrator.server.move.copy import Copier
from migrator.server.move.journal import Journal


def leaf(id: str, rev: str, *attachments: int, size: int = 10) -> Leaf:
    """A leaf with attachments of so many bytes."""
    files = tuple(Attachment(f"f{n}", "text/plain", lambda: iter(()), size) for n, size in enumerate(attachments))
    return Leaf(id, rev, b"x" * size, attachments=files)


def divided(leaves: list[Leaf | LeafFault], docs: int, size: int) -> list[list[str]]:
    """The batches by their revisions."""
    writer = Writer()
    journal = Journal(Checkpoint({}), CheckpointFile(None), RejectFile(None))
    copier = Copier(None, None, journal, BatchLimits(docs, size))  # type: ignore[arg-type]
    copier._carry("db", writer, iter(leaves))  # type: ignore[arg-type]
    return writer.batches


def test_a_document_of_many_conflicts_is_divided() -> None:
    """Leaves of one document go in batches of four, whatever their number."""
    leaves = [leaf("a", "1"), *(leaf("b", str(n)) for n in range(2, 9)), leaf("c", "9")]
    assert divided([*leaves], 4, 1_000_000) == [["1", "2", "3", "4"], ["5", "6", "7", "8"], ["9"]]
    assert all(len(batch) <= 4 for batch in divided([leaf("b", str(n)) for n in range(3_000)], 4, 1_000_000))


def test_bytes_are_bounded_with_attachments() -> None:
    """Attachments that go along inline count as base64; large ones are streamed, so their bytes do not count."""
    small = [leaf(f"d{n}", str(n), 30_000) for n in range(4)]
    assert [len(batch) for batch in divided([*small], 100, 100_000)] == [2, 2]
    large = [leaf(f"d{n}", str(n), 60_000, 60_000) for n in range(4)]
    assert [len(batch) for batch in divided([*large], 100, 100_000)] == [4]
    assert [len(batch) for batch in divided([leaf("a", "1", size=70), leaf("a", "2", size=70)], 9, 100)] == [
        1,
        1,
    ]


class Writer:
    """Takes leaves, and refuses those of a revision."""

    def __init__(self, refuses: str = "") -> None:
        self.refuses = refuses
        self.batches: list[list[str]] = []

    def write(self, leaves: list[Leaf]) -> list[Outcome]:
        """Say what became of each."""
        self.batches.append([leaf.rev for leaf in leaves])
        return [
            Outcome(leaf.id, Status.REJECTED if leaf.rev == self.refuses else Status.WRITTEN) for leaf in leaves
        ]


def carried(tmp_path: Path, leaves: Iterator[Leaf | LeafFault], writer: Writer) -> Journal:
    """Carry leaves in batches of four."""
    rejects = RejectFile(tmp_path / "rejects.ndjson", None)
    journal = Journal(Checkpoint({}), CheckpointFile(tmp_path / "checkpoint"), rejects)
    copier = Copier(None, None, journal, BatchLimits(4, 1_000_000))  # type: ignore[arg-type]
    copier._carry("db", writer, leaves)  # type: ignore[arg-type]
    return journal


def test_what_is_divided_counts_once_and_only_when_whole(tmp_path: Path) -> None:
    """Where reading ends within a document, its leaves are not counted, and the position is before it."""

    def torn() -> Iterator[Leaf | LeafFault]:
        yield leaf("a", "0")
        yield from (leaf("b", str(n)) for n in range(1, 12))
        raise KeyboardInterrupt

    rejects = RejectFile(tmp_path / "r", None)
    journal = Journal(Checkpoint({}), CheckpointFile(tmp_path / "c"), rejects)
    copier = Copier(None, None, journal, BatchLimits(4, 1_000_000))  # type: ignore[arg-type]
    with contextlib.suppress(KeyboardInterrupt):
        copier._carry("db", Writer(), torn())  # type: ignore[arg-type]
    assert journal.state("db").position == "a"
    assert journal.state("db").counts.read == 1


def test_all_is_accounted_for_in_small_batches(tmp_path: Path) -> None:
    """Leaves, faults and refusals of divided documents are each counted once, in requests of at most four."""
    body = b'{"_id": "b", "_rev": "7"}'
    leaves: list[Leaf | LeafFault] = [
        leaf("a", "0"),
        *(Leaf("b", str(n), body) for n in range(1, 10)),
        LeafFault("b", "10", "missing", "gone"),
        *(leaf("c", str(n)) for n in range(11, 14)),
    ]
    writer = Writer(refuses="7")
    state = carried(tmp_path, iter(leaves), writer).state("db")
    assert max(map(len, writer.batches)) <= 4
    assert (state.counts.read, state.counts.written, state.counts.rejected) == (14, 12, 2)
    assert state.position == "c"
