"""The accounting of a batch: every document has exactly one end, or it is said which has none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.errors import UnaccountedError
from migrator.model import Batch, Outcome, Reject, Status
from migrator.model.revisions import Leaf, LeafFault
from migrator.pipeline.accounting import account, account_leaves
from tests.support.fakes import batch_of


def outcomes(batch: Batch, status: Status = Status.WRITTEN) -> list[Outcome]:
    """The same end for all."""
    return [Outcome(document.id, status) for document in batch.documents]


@given(st.lists(st.sampled_from(Status)), st.integers(0, 5), st.integers(0, 5))
def test_counts_add_up(ends: list[Status], filtered: int, rejected: int) -> None:
    """Whatever the outcomes: read is the sum of all ends, and each reject is there."""
    ids = [f"d{number}" for number in range(len(ends))]
    early = tuple(Reject("c", f"r{number}", "extract", "e", "r") for number in range(rejected))
    batch = replace(batch_of(*ids), read=len(ids) + filtered + rejected, filtered=filtered, rejects=early)
    counts, rejects = account(batch, [Outcome(id, end) for id, end in zip(ids, ends, strict=True)])
    assert counts.accounted
    assert len(ids) + filtered + rejected == counts.read
    assert [ends.count(status) for status in (Status.WRITTEN, Status.UNCHANGED, Status.SKIPPED)] == [
        counts.written,
        counts.unchanged,
        counts.skipped,
    ]
    assert counts.rejected == len(rejects) == rejected + ends.count(Status.REJECTED)


def test_a_reject_tells_all() -> None:
    """Stage, status, attempts, reason and the document as it was sent."""
    batch = batch_of("a", "b")
    made = [
        Outcome("a", Status.WRITTEN),
        Outcome("b", Status.REJECTED, "forbidden", "not you", attempts=3, http_status=403),
    ]
    counts, rejects = account(batch, made)
    assert [Reject("c", "b", "load", "forbidden", "not you", 3, 403, {"_id": "b", "pad": ""})] == rejects
    assert (counts.written, counts.rejected) == (1, 1)


def test_conflicts_are_counted_beside() -> None:
    """A conflict is not an end of its own: it is counted whatever the policy did."""
    made = [Outcome("a", Status.SKIPPED, conflict=True), Outcome("b", Status.WRITTEN, conflict=True)]
    counts, _ = account(batch_of("a", "b"), made)
    assert (counts.skipped, counts.written, counts.conflicts) == (1, 1, 2)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda made: made[:-1], "unaccounted for: 'c'"),
        (lambda made: made[1:], "unaccounted for: 'a'"),
        (lambda _made: [], "unaccounted for: 'a', 'b', 'c'"),
        (lambda made: [*made, made[0]], "4 outcomes"),
        (lambda made: [made[0], made[0], made[2]], "unaccounted for: 'b'"),
        (lambda made: [made[1], made[0], made[2]], "disorder"),
        (lambda made: [made[0], made[1], Outcome("x", Status.WRITTEN)], "unaccounted for: 'c'"),
    ],
    ids=["last", "first", "all", "one more", "twice", "swapped", "another's"],
)
def test_a_missing_outcome_names_its_document(
    change: Callable[[list[Outcome]], Sequence[Outcome]], named: str
) -> None:
    """Fewer, more, doubled, swapped and foreign outcomes are all refused."""
    batch = batch_of("a", "b", "c")
    with pytest.raises(UnaccountedError, match=named):
        account(batch, change(outcomes(batch)))


def test_the_same_id_twice_needs_two_outcomes() -> None:
    """Two documents of one id in a batch are two documents."""
    batch = batch_of("a", "a")
    counts, _ = account(batch, outcomes(batch))
    assert counts.written == 2
    with pytest.raises(UnaccountedError, match="unaccounted for: 'a'"):
        account(batch, outcomes(batch)[:1])


def test_wrong_numbers_of_a_batch_are_refused() -> None:
    """A batch that says it read more than it holds is a bug, and is not passed over."""
    batch = replace(batch_of("a"), read=2)
    with pytest.raises(UnaccountedError, match="do not add up"):
        account(batch, outcomes(batch))


def test_many_lost_documents_are_not_all_listed() -> None:
    """A message stays readable."""
    batch = batch_of(*(f"d{number}" for number in range(500)))
    with pytest.raises(UnaccountedError) as caught:
        account(batch, [])
    assert len(str(caught.value)) < 500


@given(st.lists(st.one_of(st.none(), st.sampled_from(Status))))
def test_leaves_and_what_cannot_be_read_add_up(ends: list[Status | None]) -> None:
    """Each revision has one end: its outcome, or that it could not be read (None)."""
    leaves: list[Leaf | LeafFault] = [
        LeafFault(f"d{number}", "1-a", "gone", "it is gone")
        if end is None
        else Leaf(f"d{number}", "1-a", b'{"_id":"d%d","_rev":"1-a"}' % number)
        for number, end in enumerate(ends)
    ]
    made = [Outcome(leaf.id, end) for leaf, end in zip(leaves, ends, strict=True) if end is not None]
    tally = account_leaves("c", leaves, made, lambda leaf, _: f"why {leaf.rev}")
    counts, rejects = tally.counts, tally.rejects
    assert counts.accounted
    assert (counts.read, counts.written) == (len(ends), ends.count(Status.WRITTEN))
    assert counts.rejected == len(rejects)
    assert {reject.id for reject in rejects if reject.stage == "extract"} == {
        f"d{number}" for number, end in enumerate(ends) if end is None
    }
    assert {(reject.id, reject.reason, str(reject.document)) for reject in rejects if reject.stage == "load"} == {
        (f"d{number}", "why 1-a", str({"_id": f"d{number}", "_rev": "1-a"}))
        for number, end in enumerate(ends)
        if end is Status.REJECTED
    }


def test_a_leaf_without_an_outcome_is_named() -> None:
    """What a writer does not answer for is never counted as written."""
    leaves: list[Leaf | LeafFault] = [
        Leaf("a", "1-a", b"{}"),
        LeafFault("b", "1-a", "e", "r"),
        Leaf("c", "1-a", b"{}"),
    ]
    with pytest.raises(UnaccountedError, match="unaccounted for: 'c'"):
        account_leaves("c", leaves, [Outcome("a", Status.WRITTEN)])
