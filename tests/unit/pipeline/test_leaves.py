"""Leaves are carried in bounded batches, several at once, and each is settled once, in the order of reading."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pytest

from migrator.errors import EndpointError, Interrupted
from migrator.model import BatchLimits, Counts, Outcome, Status
from migrator.model.revisions import Attachment, Leaf, LeafFault
from migrator.pipeline.leaves import Settled, carry_leaves

WAIT_S = 20.0


def leaf(id: str, rev: str, *attachments: int, size: int = 10) -> Leaf:
    """A leaf with attachments of so many bytes."""
    files = tuple(Attachment(f"f{n}", "text/plain", lambda: iter(()), size) for n, size in enumerate(attachments))
    return Leaf(id, rev, b"x" * size, attachments=files)


class Target:
    """Takes leaves, refuses those of a revision, and keeps what was settled.

    Args:
        refuses: the revision.
        before: is called with the revisions of a batch before it is written.
    """

    def __init__(self, refuses: str = "", before: Callable[[list[str]], object] = lambda _: None) -> None:
        self.refuses = refuses
        self.before = before
        self.batches: list[list[str]] = []
        self.settled: list[Settled] = []
        self.stopping = threading.Event()

    def write(self, leaves: Sequence[Leaf]) -> list[Outcome]:
        """Say what became of each."""
        revs = [leaf.rev for leaf in leaves]
        self.before(revs)
        self.batches.append(revs)
        return [
            Outcome(leaf.id, Status.REJECTED if leaf.rev == self.refuses else Status.WRITTEN) for leaf in leaves
        ]

    def take(
        self, leaves: Iterable[Leaf | LeafFault], docs: int = 4, size: int = 1_000_000, **options: Any
    ) -> None:
        """Carry leaves into it, one batch at once if nothing else is asked."""
        options = {"at_once": 1, "stopping": self.stopping, **options}
        carry_leaves("db", leaves, self.write, self.settled.append, limits=BatchLimits(docs, size), **options)

    @property
    def positions(self) -> list[str]:
        """Up to where everything was settled, one after the other."""
        return [settled.position for settled in self.settled]

    @property
    def counts(self) -> Counts:
        """What was settled."""
        return Counts.sum(settled.tally.counts for settled in self.settled)


def divided(leaves: Iterable[Leaf], docs: int, size: int, **options: Any) -> list[list[str]]:
    """The batches by their revisions."""
    target = Target()
    target.take(leaves, docs, size, **options)
    return target.batches


def numbered(count: int, size: int = 10) -> list[Leaf]:
    """So many documents, whose revisions are their numbers."""
    return [leaf(f"d{number:03}", str(number), size=size) for number in range(count)]


def test_a_document_of_many_conflicts_is_divided() -> None:
    """Leaves of one document go in batches of four, whatever their number."""
    leaves = [leaf("a", "1"), *(leaf("b", str(n)) for n in range(2, 9)), leaf("c", "9")]
    assert divided(leaves, 4, 1_000_000) == [["1", "2", "3", "4"], ["5", "6", "7", "8"], ["9"]]
    assert all(len(batch) <= 4 for batch in divided([leaf("b", str(n)) for n in range(3_000)], 4, 1_000_000))


@pytest.mark.parametrize("together", [False, True])
def test_design_documents_share_no_batch_with_others(together: bool) -> None:
    """A validation function that is stored by the same request could refuse them."""
    leaves = [leaf("a", "1"), leaf("_design/a", "2"), leaf("_design/b", "3"), leaf("b", "4"), leaf("c", "5")]
    assert divided(leaves, 100, 1_000_000, together=together) == [["1"], ["2", "3"], ["4", "5"]]


def test_leaves_that_belong_together_are_not() -> None:
    leaves = [leaf("a", "1"), *(leaf("b", str(n)) for n in range(2, 9)), leaf("c", "9"), leaf("d", "10")]
    assert divided(leaves, 2, 1_000_000, together=True) == [list("12345678"), ["9", "10"]]
    assert divided(leaves, 2, 45, together=True) == [["1"], list("2345678"), ["9", "10"]]


def test_bytes_are_bounded_with_attachments() -> None:
    """Attachments that go along inline count as base64; large ones are streamed, so their bytes do not count."""
    small = [leaf(f"d{n}", str(n), 30_000) for n in range(4)]
    assert [len(batch) for batch in divided(small, 100, 100_000)] == [2, 2]
    large = [leaf(f"d{n}", str(n), 60_000, 60_000) for n in range(4)]
    assert [len(batch) for batch in divided(large, 100, 100_000)] == [4]
    assert [len(batch) for batch in divided(large, 100, 100_000, size_bytes=lambda _: 60_000)] == [1, 1, 1, 1]
    assert [len(batch) for batch in divided([leaf("a", "1", size=70), leaf("a", "2", size=70)], 9, 100)] == [1, 1]


@pytest.mark.parametrize(("size", "most"), [(10, 4), (100, 4), (150, 3), (240, 2), (300, 1), (1_000, 1)])
def test_what_is_larger_than_a_batch_is_in_memory_in_smaller_number(size: int, most: int) -> None:
    """However large leaves are: so many are under way that they are not much more than four full batches."""
    under_way = 0
    found: list[int] = []
    lock = threading.Lock()
    full = threading.Event()

    def before(_: list[str]) -> None:
        nonlocal under_way
        with lock:
            under_way += 1
            found.append(under_way)
            if under_way == most:
                full.set()
        # Those that may be under way together are.
        assert full.wait(WAIT_S)
        with lock:
            under_way -= 1

    target = Target(before=before)
    target.take(numbered(40, size), 1, 100, at_once=4)
    assert max(found) == most
    assert target.counts.written == 40


@pytest.mark.parametrize("at_once", [1, 4])
def test_what_is_divided_counts_once_and_only_when_whole(at_once: int) -> None:
    """Where reading ends within a document, its leaves are not counted, and the position is before it."""

    def torn() -> Iterator[Leaf | LeafFault]:
        yield leaf("a", "0")
        yield from (leaf("b", str(n)) for n in range(1, 12))
        raise EndpointError("The source does not answer.")

    target = Target()
    with pytest.raises(EndpointError, match="does not answer"):
        target.take(torn(), at_once=at_once)
    assert target.positions == ["a"]
    assert target.counts.read == 1


@pytest.mark.parametrize("at_once", [1, 4])
def test_all_is_accounted_for_in_small_batches(at_once: int) -> None:
    """Leaves, faults and refusals of divided documents are each counted once, in requests of at most four."""
    body = b'{"_id": "b", "_rev": "7"}'
    leaves: list[Leaf | LeafFault] = [
        leaf("a", "0", 5, 5),
        *(Leaf("b", str(n), body) for n in range(1, 10)),
        LeafFault("b", "10", "missing", "gone"),
        *(leaf("c", str(n), 5) for n in range(11, 14)),
    ]
    target = Target(refuses="7")
    target.take(leaves, at_once=at_once, reason=lambda leaf, _: f"why {leaf.rev}")
    assert max(map(len, target.batches)) <= 4
    assert (target.counts.read, target.counts.written, target.counts.rejected) == (14, 12, 2)
    assert target.positions == ["a", "b", "c"]
    rejects = [reject for settled in target.settled for reject in settled.tally.rejects]
    assert sorted((reject.error, reject.reason) for reject in rejects) == [("", "why 7"), ("missing", "gone")]
    assert sum(settled.tally.attachments for settled in target.settled) == 5


def test_they_are_settled_in_the_order_of_reading_whatever_ends_first() -> None:
    later = threading.Event()

    def before(revs: list[str]) -> None:
        if revs == ["0"]:
            assert later.wait(WAIT_S)
        elif revs == ["3"]:
            later.set()

    target = Target(before=before)
    target.take(numbered(30), 1, at_once=4)
    assert target.positions == [leaf.id for leaf in numbered(30)]
    assert target.batches.index(["0"]) > target.batches.index(["3"])


def test_one_document_is_never_under_way_twice() -> None:
    """Both could say that they wrote what the file holds twice."""
    under_way: list[str] = []
    together: list[list[str]] = []

    def before(revs: list[str]) -> None:
        id = "even" if int(revs[0]) % 2 else "odd"
        under_way.append(id)
        together.append(sorted(under_way))
        under_way.remove(id)

    target = Target(before=before)
    target.take([leaf("even" if n % 2 else "odd", str(n)) for n in range(200)], 1, at_once=4)
    assert all(len(set(ids)) == len(ids) for ids in together)
    assert target.counts.written == 200


def test_after_a_failure_what_is_older_is_settled_and_nothing_younger() -> None:
    younger = threading.Event()

    def before(revs: list[str]) -> None:
        if revs == ["2"]:
            assert younger.wait(WAIT_S)
            raise EndpointError("The target does not answer.")
        if revs == ["4"]:
            younger.set()

    target = Target(before=before)
    with pytest.raises(EndpointError, match="does not answer"):
        target.take(numbered(30), 1, at_once=4)
    assert target.positions == ["d000", "d001"]
    assert ["4"] in target.batches


@pytest.mark.parametrize("at_once", [1, 4])
def test_it_stops_between_batches_and_settles_what_is_under_way(at_once: int) -> None:
    target = Target(before=lambda revs: target.stopping.set() if revs[0] == "8" else None)
    with pytest.raises(Interrupted):
        target.take(numbered(200), 4, at_once=at_once)
    assert 12 <= target.counts.written == sum(map(len, target.batches)) < 60
    assert target.positions[-1] == f"d{target.counts.written - 1:03}"


def test_what_is_no_leaf_needs_no_target() -> None:
    target = Target(before=lambda _: pytest.fail("nothing is to be written"))
    target.take([LeafFault(f"d{n}", "1", "missing", "gone") for n in range(9)])
    assert (target.counts.read, target.counts.rejected, target.positions) == (9, 9, ["d3", "d7", "d8"])
