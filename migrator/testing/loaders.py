"""What every loader keeps to, as a class of cases; a test binds an implementation by giving it a target.

class TestFooLoader(LoaderContract):
    @pytest.fixture
    def target(self) -> Target: ...
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import pytest

from migrator.checkpoint.target_guard import NOTHING_THERE, TargetGuard, identity_of, is_same
from migrator.errors import ConfigError, TargetReplaced
from migrator.model import Batch, Loader, Outcome, Status
from migrator.model.capabilities import Identified
from migrator.testing.extractors import DOCUMENTS, by_id
from migrator.testing.memory import batch_of, load_all

TICKETS = DOCUMENTS["tickets"]


class Target(Protocol):
    """An empty target, which loaders can be opened on again and again.

    Where its loaders have `identity`, it also has `remove(collection)`: what the collection has there is gone.
    """

    secrets: Sequence[str]
    """What must never show."""

    def open(self, on_conflict: str = "fail") -> Loader:
        """Open a new loader on the target.

        Args:
            on_conflict: what to do about other content under an id: fail, skip or overwrite.

        Returns:
            The loader; the test closes it.
        """

    def collection(self, name: str) -> str:
        """Name a collection whose target is empty when the test begins.

        Args:
            name: the name that the test has for it.

        Returns:
            The name under which to write it.
        """

    def documents(self, collection: str) -> list[Mapping[str, Any]]:
        """Read what a finished collection has at the target.

        Args:
            collection: a name that `collection` gave.

        Returns:
            All its documents, without what a database adds.
        """


class LoaderContract:
    """The cases."""

    @pytest.fixture
    def target(self) -> Target:
        """What the loaders are opened on; each implementation defines its own."""
        raise NotImplementedError

    def test_is_a_loader(self, target: Target) -> None:
        """It has everything that the protocol names."""
        loader = target.open()
        assert isinstance(loader, Loader)
        assert loader.max_in_flight >= 1
        loader.close()

    def test_shows_no_secret(self, target: Target) -> None:
        """Its description is stable and holds no credentials."""
        first, second = target.open(), target.open()
        assert first.describe() == second.describe()
        assert [secret for secret in target.secrets if secret in first.describe()] == []
        first.close()
        second.close()

    def test_names_its_targets(self, target: Target) -> None:
        """Each collection has one target, and an empty name none."""
        loader = target.open()
        name = target.collection("tickets")
        assert loader.target_name(name) == loader.target_name(name)
        with pytest.raises(ConfigError):
            loader.target_name("")
        loader.close()

    @pytest.mark.parametrize("name", DOCUMENTS)
    def test_writes_what_it_is_given(self, target: Target, name: str) -> None:
        """Everything is there afterwards, to the last digit, and each document has its outcome in order."""
        collection = target.collection(name)
        outcomes = load_all(target.open(), collection, DOCUMENTS[name])
        assert [Outcome(document["_id"], Status.WRITTEN) for document in DOCUMENTS[name]] == outcomes
        found = by_id(target.documents(collection))
        assert json.dumps(list(DOCUMENTS[name]), sort_keys=True) == json.dumps(found, sort_keys=True)

    def test_screens_no_good_document(self, target: Target) -> None:
        """What can be written passes the screen."""
        loader = target.open()
        for document in (document for documents in DOCUMENTS.values() for document in documents):
            assert loader.screen(document["_id"], document, json.dumps(document).encode()) is None
        loader.close()

    @pytest.mark.parametrize("resend", [False, True])
    def test_loading_twice_is_loading_once(self, target: Target, resend: bool) -> None:
        """The same batch again leaves every document there once, whether or not the caller knows of the first."""
        collection = target.collection("tickets")
        loader = target.open()
        loader.prepare(collection, None)
        batch = batch_of(collection, TICKETS)
        loader.load(batch)
        again = loader.load(batch, resend=resend)
        loader.flush(collection)
        loader.finish(collection)
        loader.close()
        assert [document["_id"] for document in TICKETS] == [outcome.id for outcome in again]
        assert {outcome.status for outcome in again} <= {Status.WRITTEN, Status.UNCHANGED}
        assert list(TICKETS) == by_id(target.documents(collection))

    def test_second_run_changes_nothing(self, target: Target) -> None:
        """A second run finds every document unchanged, however it is divided into batches."""
        collection = target.collection("tickets")
        load_all(target.open(), collection, TICKETS)
        outcomes = load_all(target.open(), collection, TICKETS, size=11)
        assert [Outcome(document["_id"], Status.UNCHANGED) for document in TICKETS] == outcomes
        assert list(TICKETS) == by_id(target.documents(collection))

    def test_overwrites_when_told(self, target: Target) -> None:
        """With `overwrite`, what differs is replaced, and what does not is left."""
        collection = target.collection("tickets")
        load_all(target.open(), collection, TICKETS)
        newer = [*TICKETS[:-1], {**TICKETS[-1], "open": "changed"}]
        outcomes = load_all(target.open("overwrite"), collection, newer)
        assert outcomes[-1].status == Status.WRITTEN
        assert outcomes[0].status == Status.UNCHANGED
        assert newer == by_id(target.documents(collection))

    def test_overwrites_nothing_untold(self, target: Target) -> None:
        """Without a policy, what stands there stays, and the difference is an error or a conflict."""
        collection = target.collection("tickets")
        load_all(target.open(), collection, TICKETS)
        newer = [{**TICKETS[0], "open": "changed"}, *TICKETS[1:]]
        outcomes: list[Outcome] = []
        refusal = ""
        try:
            outcomes = load_all(target.open(), collection, newer)
        except ConfigError as error:
            refusal = str(error)
        if outcomes:
            assert (outcomes[0].status, outcomes[0].conflict) == (Status.REJECTED, True)
        else:
            assert "--on-conflict overwrite" in refusal
        assert list(TICKETS) == by_id(target.documents(collection))

    @pytest.mark.parametrize("settled", [0, 10, 20, 40])
    @pytest.mark.parametrize("beyond", [0, 5])
    def test_goes_on_from_a_mark(self, target: Target, settled: int, beyond: int) -> None:
        """A run that ended, with more written than was settled, is finished by another without doubles."""
        collection = target.collection("tickets")
        first = target.open()
        first.prepare(collection, None)
        for begin in range(0, settled, 10):
            first.load(batch_of(collection, TICKETS[begin : begin + 10], end=begin + 10))
        mark = first.flush(collection)
        first.load(batch_of(collection, TICKETS[settled : settled + beyond], end=settled + beyond))
        first.close()
        assert mark is None or -(2**63) <= mark < 2**63
        outcomes = load_all(target.open(), collection, TICKETS[settled:], mark=mark)
        assert [document["_id"] for document in TICKETS[settled:]] == [outcome.id for outcome in outcomes]
        assert {outcome.status for outcome in outcomes} <= {Status.WRITTEN, Status.UNCHANGED}
        assert list(TICKETS) == by_id(target.documents(collection))

    def test_starts_over_where_something_was_left(self, target: Target) -> None:
        """A run without a mark does not trip over one that ended in the middle."""
        collection = target.collection("tickets")
        first = target.open()
        first.prepare(collection, None)
        first.load(batch_of(collection, TICKETS[:25]))
        first.flush(collection)
        first.close()
        load_all(target.open(), collection, TICKETS)
        assert list(TICKETS) == by_id(target.documents(collection))

    def test_keeps_collections_apart(self, target: Target) -> None:
        """Two collections that are written in turn do not mix."""
        tickets, users = target.collection("tickets"), target.collection("users")
        loader = target.open()
        for collection in (tickets, users):
            loader.prepare(collection, None)
        loader.load(batch_of(tickets, TICKETS[:20], end=1))
        loader.load(batch_of(users, DOCUMENTS["users"]))
        loader.load(batch_of(tickets, TICKETS[20:], end=2))
        for collection in (tickets, users):
            loader.flush(collection)
            loader.finish(collection)
        loader.close()
        assert list(TICKETS) == by_id(target.documents(tickets))
        assert list(DOCUMENTS["users"]) == by_id(target.documents(users))

    def test_an_empty_batch_has_no_outcomes(self, target: Target) -> None:
        """Nothing in, nothing out; the target of an empty collection is there and empty."""
        collection = target.collection("nothing")
        loader = target.open()
        loader.prepare(collection, None)
        assert list(loader.load(Batch(collection, (), end=1))) == []
        loader.finish(collection)
        loader.flush(collection)
        loader.close()
        assert target.documents(collection) == []

    # -- which target it is: for loaders that have `identity` ---------------------------------------------------

    def test_tells_where_nothing_is(self, target: Target) -> None:
        """To ask makes nothing, so the answer stays the same."""
        loader = target.open()
        collection = target.collection("tickets")
        found = {identity_of(loader, collection) for _ in range(2)}
        loader.close()
        assert found == {NOTHING_THERE if isinstance(loader, Identified) else None}

    def test_tells_its_target_for_as_long_as_it_stays(self, target: Target) -> None:
        """Each loader tells the same, whatever is written; None where that cannot be told yet."""
        collection = target.collection("tickets")
        loader = target.open()
        told = []
        loader.prepare(collection, None)
        told.append(identity_of(loader, collection))
        loader.load(batch_of(collection, TICKETS))
        told.append(identity_of(loader, collection))
        loader.flush(collection)
        loader.finish(collection)
        told.append(identity_of(loader, collection))
        loader.close()
        load_all(target.open(), collection, TICKETS)
        other = target.open()
        told.append(identity_of(other, collection))
        other.close()
        assert (told[-1] is None) is not isinstance(loader, Identified)
        assert {is_same(told[-1] or "", identity or "") for identity in told if identity is not None} <= {True}

    @pytest.mark.parametrize("again", [False, True], ids=["removed", "made again"])
    def test_tells_a_target_from_a_later_one(self, target: Target, again: bool) -> None:
        """One that was taken away, and one of the same name that holds the same, are not the one before."""
        collection = target.collection("tickets")
        load_all(target.open(), collection, TICKETS)
        loader = target.open()
        guard = TargetGuard(loader, sleep=lambda _seconds: None)
        recorded = guard.begin(collection, None)
        guard.refuse_other(collection, recorded, confirmed=len(TICKETS))
        if recorded is not None:
            target.remove(collection)  # type: ignore[attr-defined] # see Target
            if again:
                load_all(target.open(), collection, TICKETS)
            with pytest.raises(TargetReplaced):
                guard.check(collection)
            with pytest.raises(TargetReplaced):
                guard.refuse_other(collection, recorded)
        loader.close()
        assert (recorded is None) is not isinstance(loader, Identified)
