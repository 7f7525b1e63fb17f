"""Dividing a refused batch: exactly the bad documents are alone in the end."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.errors import BatchRefused, TransientError
from migrator.model import Batch, Loader, Outcome, Status
from migrator.model.events import BatchSplit
from migrator.pipeline.wrapper import BisectingLoader
from tests.support.fakes import FakeLoader, FaultyLoader, Forwarding, Recorder, batch_of, encoded


class Choosy(Forwarding):
    """Refuses every batch that holds a bad document, as a server does.

    Args:
        inner: the loader of good batches.
        bad: the bad ids.
        status: of the refusal.
        names: the refusal names the first of them.
        writes: the documents before the first bad one are written all the same.
    """

    def __init__(
        self, inner: Loader, bad: Sequence[str], *, status: int = 413, names: bool = False, writes: bool = False
    ) -> None:
        super().__init__(inner)
        self._bad = frozenset(bad)
        self._status = status
        self._names = names
        self._writes = writes
        self.calls: list[tuple[tuple[str, ...], bool]] = []

    def load(self, batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:
        """Refuse, or pass on."""
        ids = tuple(document.id for document in batch.documents)
        self.calls.append((ids, resend))
        found = [id for id in ids if id in self._bad]
        if not found:
            return super().load(batch, resend=resend)
        if self._writes:
            before = batch.documents[: ids.index(found[0])]
            super().load(Batch(batch.collection, before), resend=resend)
        raise BatchRefused(
            f"{self._status} for {len(ids)}",
            status=self._status,
            error="bad",
            reason="because",
            guilty_id=found[0] if self._names else "",
            maybe_written=self._writes,
            server_fault=self._status == 500,
        )


def names_of(count: int) -> list[str]:
    """So many ids."""
    return [f"d{number}" for number in range(count)]


def check(ids: Sequence[str], bad: Sequence[str], choosy: Choosy, inner: FakeLoader) -> None:
    """Exactly the bad ones are rejected, in the batch's order, and all others are written once."""
    outcomes = BisectingLoader(choosy).load(batch_of(*ids))
    assert list(ids) == [outcome.id for outcome in outcomes]
    assert list(bad) == [outcome.id for outcome in outcomes if outcome.status is Status.REJECTED]
    assert {id: 1 for id in ids if id not in bad} == inner.writes
    assert {outcome.status for outcome in outcomes} <= {Status.WRITTEN, Status.UNCHANGED, Status.REJECTED}


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("writes", [False, True])
def test_finds_exactly_the_bad_ones(named: bool, writes: bool) -> None:
    """All sets of bad documents in all batches of up to six."""
    for count in range(1, 7):
        ids = names_of(count)
        for size in range(count + 1):
            for bad in itertools.combinations(ids, size):
                inner = FakeLoader()
                check(ids, bad, Choosy(inner, bad, names=named, writes=writes), inner)


@given(st.integers(1, 300), st.sets(st.integers(0, 299), max_size=8), st.booleans(), st.booleans())
def test_few_bad_ones_cost_few_calls(count: int, chosen: set[int], named: bool, writes: bool) -> None:
    """Each bad document costs at most a walk down the tree, or one call where it is named."""
    ids = names_of(count)
    bad = [id for number, id in enumerate(ids) if number in chosen]
    inner = FakeLoader()
    choosy = Choosy(inner, bad, names=named, writes=writes)
    check(ids, bad, choosy, inner)
    depth = count.bit_length() + 1
    assert len(choosy.calls) <= (1 + len(bad) if named else 1 + 2 * depth * len(bad))


def test_a_good_batch_is_sent_once() -> None:
    """Nothing is divided that is not refused."""
    inner = FakeLoader()
    outcomes = BisectingLoader(inner).load(batch_of("a", "b"))
    assert [Outcome("a", Status.WRITTEN), Outcome("b", Status.WRITTEN)] == list(outcomes)
    assert len(inner.calls) == 1


def test_a_reject_says_why() -> None:
    """Status, word and sentence are the server's."""
    outcomes = BisectingLoader(Choosy(FakeLoader(), ["b"])).load(batch_of("a", "b"))
    assert Outcome("b", Status.REJECTED, "bad", "because", http_status=413) == outcomes[1]


def test_a_guilty_one_that_is_not_there_is_looked_for() -> None:
    """A name that no document of the batch has helps nothing, so the batch is divided."""

    class Misnaming(Choosy):
        def load(self, batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:
            try:
                return super().load(batch, resend=resend)
            except BatchRefused as refused:
                refused.guilty_id = "nobody"
                raise

    inner = FakeLoader()
    check(names_of(7), ["d3"], Misnaming(inner, ["d3"]), inner)


class TooLarge(Forwarding):
    """Refuses what is large, and names its id."""

    def load(self, batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:
        """Look at the sizes."""
        for document in batch.documents:
            if len(document.body) > 100:
                raise BatchRefused("413", status=413, error="large", reason="", guilty_id=document.id)
        return super().load(batch, resend=resend)


def test_a_guilty_name_that_two_have_is_looked_for() -> None:
    """Of two documents of one id the one that is bad is rejected, and not the other."""
    documents = (*encoded("a", "b"), *encoded("a", size=200), *encoded("c"))
    outcomes = BisectingLoader(TooLarge(FakeLoader())).load(Batch("c", documents))
    expected = [Status.WRITTEN, Status.WRITTEN, Status.REJECTED, Status.WRITTEN]
    assert expected == [outcome.status for outcome in outcomes]


@pytest.mark.parametrize("writes", [False, True])
def test_parts_of_a_batch_that_may_be_written_are_resends(writes: bool) -> None:
    """After a refusal that wrote some, every part says that it may be there; after one that wrote none, not."""
    choosy = Choosy(FakeLoader(), ["d5"], writes=writes)
    BisectingLoader(choosy).load(batch_of(*names_of(8)))
    assert [False, *[writes] * (len(choosy.calls) - 1)] == [resend for _, resend in choosy.calls]
    choosy = Choosy(FakeLoader(), ["d5"])
    BisectingLoader(choosy).load(batch_of(*names_of(8)), resend=True)
    assert {True} == {resend for _, resend in choosy.calls}


def test_a_server_that_fails_at_everything_is_at_fault_itself() -> None:
    """When each single document meets a 500, not one is rejected: the run ends and can go on later."""
    ids = names_of(5)
    with pytest.raises(TransientError, match="fails at every document") as caught:
        BisectingLoader(Choosy(FakeLoader(), ids, status=500)).load(batch_of(*ids))
    assert "--resume" in caught.value.hint
    assert caught.value.exit_code == 5


def test_documents_that_are_all_bad_are_all_rejected() -> None:
    """A refusal that is not a server's fault can meet a whole batch."""
    ids = names_of(5)
    check(ids, ids, Choosy(FakeLoader(), ids, status=413), FakeLoader())


def test_one_document_that_meets_a_500_is_rejected() -> None:
    """Where others pass, the fault is the document's."""
    inner = FakeLoader()
    check(names_of(5), ["d2"], Choosy(inner, ["d2"], status=500), inner)


def test_other_errors_come_out() -> None:
    """What is not a refusal is not a reason to divide."""
    faulty = FaultyLoader(FakeLoader(), {1: TransientError("away")})
    with pytest.raises(TransientError):
        BisectingLoader(faulty).load(batch_of("a", "b"))
    assert faulty.count == 1


def test_each_division_is_announced() -> None:
    """People see why a batch takes long."""
    recorder = Recorder()
    BisectingLoader(Choosy(FakeLoader(), ["d0"]), recorder).load(batch_of(*names_of(4)))
    assert [BatchSplit("c", 4, "413 for 4"), BatchSplit("c", 2, "413 for 2")] == recorder.events


def test_has_the_face_of_what_it_wraps() -> None:
    """Everything but loading is the wrapped loader's own."""
    inner = FakeLoader(max_in_flight=3, screened=["a"])
    wrapped = BisectingLoader(inner)
    assert isinstance(wrapped, Loader)
    assert (wrapped.max_in_flight, wrapped.describe(), wrapped.target_name("c")) == (3, "fake target", "db_c")
    assert wrapped.screen("a", {}, b"") == inner.screen("a", {}, b"")
    wrapped.prepare("c", 7)
    assert wrapped.flush("c") is None
    wrapped.finish("c")
    wrapped.close()
    assert (inner.prepared, inner.flushed, inner.finished, inner.closed) == ([("c", 7)], ["c"], ["c"], True)
