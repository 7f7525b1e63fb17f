"""The number of what was proven is that of these documents in these revisions, and of no others."""

from __future__ import annotations

import threading
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.checkpoint.file import CollectionState
from migrator.checkpoint.proofs import with_proofs
from migrator.couch.rows import Row
from migrator.errors import Interrupted
from migrator.model import Counts
from migrator.verification.proven import as_proven, says_enough

CONTENT = "5-x sha256:" + "0" * 64
TWO = [("a", "1-x"), ("b", "1-y")]
DOCUMENTS = st.lists(st.tuples(st.text(max_size=3), st.sampled_from(["1-a", "1-b", "2-a"])), max_size=8)


@given(DOCUMENTS, DOCUMENTS, st.integers(0, 8), st.randoms())
def test_neither_order_nor_division_counts(
    ours: list[tuple[str, str]], theirs: list[tuple[str, str]], place: int, random: Random
) -> None:
    """Added in parts, as a run that is gone on with does, or at once and shuffled, it is the same number."""
    whole = with_proofs("", ours)
    assert with_proofs(with_proofs("", ours[place:]), ours[:place]) == whole
    shuffled = list(ours)
    random.shuffle(shuffled)
    assert with_proofs("", shuffled) == whole
    assert (with_proofs("", theirs) == whole) is (sorted(theirs) == sorted(ours))


def state(documents: list[tuple[str, str]], **counts: int) -> CollectionState:
    """What a run has left that has proven these."""
    numbers = {"read": len(documents), "written": len(documents), "proven": len(documents), **counts}
    return CollectionState(
        finished=True, identity=CONTENT, counts=Counts(**numbers), proofs=with_proofs("", documents)
    )


def rows(*documents: tuple[str, str]) -> list[Row]:
    """As a target lists them."""
    return [Row(id, rev, None) for id, rev in documents]


@pytest.mark.parametrize(
    ("listed", "same"),
    [
        (TWO, True),
        ([("a", "1-y"), ("b", "1-x")], False),
        ([("a", "2-x"), ("b", "1-y")], False),
        (TWO[:1], False),
        ([*TWO, ("c", "1-z")], False),
        ([("_design/own", "1-z"), *TWO], True),
        ([], False),
    ],
)
def test_only_a_target_that_holds_just_that_is_the_same(listed: list[tuple[str, str]], same: bool) -> None:
    """Design documents that only the target has are its own."""
    found = as_proven(state(TWO), rows(*listed), threading.Event(), ignore_extra_design=True)
    assert (found is not None) is same
    if found is not None:
        assert (found.source, found.equal, found.target, found.ok) == (2, 2, len(listed), True)


def test_of_a_couchdb_source_design_documents_count() -> None:
    """They are compared as all others."""
    listed = rows(("_design/own", "1-z"), *TWO)
    assert as_proven(state(TWO), listed, threading.Event(), ignore_extra_design=False) is None


@pytest.mark.parametrize(
    ("ran", "identity", "enough"),
    [
        (state(TWO), CONTENT, True),
        (state(TWO, read=3, filtered=1), CONTENT, True),
        (state(TWO, read=3, rejected=1), CONTENT, False),
        (state(TWO, read=3, skipped=1), CONTENT, False),
        (state(TWO, proven=1), CONTENT, False),
        (state(TWO), CONTENT[:-1] + "1", False),
        (CollectionState(identity="", counts=Counts(2, 2, proven=2), proofs=with_proofs("", TWO)), "", False),
        (CollectionState(identity=CONTENT, counts=Counts(2, 2, proven=2)), CONTENT, False),
        (CollectionState(), CONTENT, False),
    ],
    ids=["all", "filtered", "rejected", "skipped", "one unproven", "changed", "live", "not kept", "no run"],
)
def test_what_a_run_proved_says_enough(ran: CollectionState, identity: str, enough: bool) -> None:
    """When it was all of a source that still has the same content."""
    assert says_enough(ran, identity) is enough


def test_it_stops_when_asked() -> None:
    """Between two rows."""
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(Interrupted):
        as_proven(state(TWO), rows(*TWO), stopping, ignore_extra_design=True)
