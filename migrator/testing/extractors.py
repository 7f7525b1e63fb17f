"""What every extractor keeps to, as a class of cases; a test binds an implementation by giving it a source.

class TestFooExtractor(ExtractorContract):
    @pytest.fixture
    def source(self) -> Source: ...
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import pytest

from migrator.errors import MigratorError
from migrator.model import Extractor, Position, Record
from migrator.testing.data import read_data

DOCUMENTS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    name: read_data(name) for name in ("tickets", "users", "nothing")
}
"""What the source of each implementation holds, from `data/`; ids ascend by their UTF-8 bytes."""

NAMES = tuple(DOCUMENTS)


class Source(Protocol):
    """A source that holds DOCUMENTS, which extractors can be opened on again and again."""

    secrets: Sequence[str]
    """What must never show."""

    def open(self, collections: Sequence[str] | None = None) -> Extractor:
        """Open a new extractor on the source.

        Args:
            collections: the source's own names of what to read; None for all.

        Returns:
            The extractor; the test closes it.
        """

    def collection(self, name: str) -> str:
        """Find a collection of DOCUMENTS in the source.

        Args:
            name: its name in DOCUMENTS.

        Returns:
            The source's own name for it.
        """


def documents_of(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Parse what an extractor read; a fault among it fails the test.

    Args:
        records: what it yielded.

    Returns:
        The documents, without what a database adds.
    """
    documents = []
    for record in records:
        assert record.fault is None, record.fault
        document = record.document if record.text is None else json.loads(record.text)
        documents.append({field: value for field, value in dict(document or {}).items() if field != "_rev"})
    return documents


def by_id(documents: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Sort documents by their ids' UTF-8 bytes.

    Args:
        documents: documents with an `_id`.

    Returns:
        A sorted list of the same documents.
    """
    return sorted(documents, key=lambda document: str(document["_id"]).encode())


class ExtractorContract:
    """The cases. The source holds `contents`; who cannot hold DOCUMENTS says what else, under the same names."""

    contents: ClassVar[Mapping[str, Sequence[Mapping[str, Any]]]] = DOCUMENTS
    """Three collections: 40 or so in `tickets`, a few odd ones in `users`, none in `nothing`; ids ascend."""

    @pytest.fixture
    def source(self) -> Source:
        """What the extractors are opened on; each implementation defines its own."""
        raise NotImplementedError

    @pytest.fixture
    def opened(self, source: Source) -> Iterator[Extractor]:
        """An extractor of all of the source, closed afterwards."""
        with contextlib.closing(source.open()) as extractor:
            yield extractor

    def test_is_an_extractor(self, opened: Extractor) -> None:
        """It has everything that the protocol names."""
        assert isinstance(opened, Extractor)

    def test_names_its_collections(self, source: Source, opened: Extractor) -> None:
        """Every collection of the source is named once, the empty one too."""
        expected = sorted(source.collection(name) for name in self.contents)
        assert expected == sorted(opened.collections())

    def test_reads_chosen_collections_only(self, source: Source) -> None:
        """Chosen collections are named in the order chosen."""
        chosen = [source.collection("users"), source.collection("tickets")]
        extractor = source.open(chosen)
        assert chosen == list(extractor.collections())
        extractor.close()

    def test_refuses_a_collection_that_is_not_there(self, source: Source) -> None:
        """A chosen collection that is missing is an error that names it, before anything is read."""
        with pytest.raises(MigratorError, match="no-such-one"):
            source.open(["no-such-one"]).collections()

    @pytest.mark.parametrize("name", NAMES)
    def test_reads_every_document_once(self, source: Source, opened: Extractor, name: str) -> None:
        """What comes out is what is in, to the last digit."""
        found = documents_of(opened.extract(source.collection(name)))
        assert list(self.contents[name]) == by_id(found)
        assert json.dumps(list(self.contents[name]), sort_keys=True) == json.dumps(by_id(found), sort_keys=True)

    @pytest.mark.parametrize("name", NAMES)
    def test_each_record_is_one_thing(self, source: Source, opened: Extractor, name: str) -> None:
        """A record has either a document, a text or a fault."""
        for record in opened.extract(source.collection(name)):
            assert [record.document, record.text, record.fault].count(None) == 2

    def test_reads_again(self, source: Source, opened: Extractor) -> None:
        """A second reading gives the same records at the same positions."""
        first = list(opened.extract(source.collection("tickets")))
        assert first == list(opened.extract(source.collection("tickets")))

    @pytest.mark.parametrize("name", ["tickets", "users"])
    def test_goes_on_after_every_position(self, source: Source, name: str) -> None:
        """From each position, as a checkpoint keeps it, another extractor reads exactly what comes after."""
        extractor = source.open()
        collection = source.collection(name)
        records = list(extractor.extract(collection))
        extractor.close()
        for number, record in enumerate(records, 1):
            kept: Position = json.loads(json.dumps(record.position))
            later = source.open()
            assert records[number:] == list(later.extract(collection, after=kept))
            later.close()

    def test_positions_differ(self, source: Source, opened: Extractor) -> None:
        """No two records of a collection have the same position."""
        positions = [record.position for record in opened.extract(source.collection("tickets"))]
        assert len(self.contents["tickets"]) == len(set(positions))

    def test_order_is_as_said(self, source: Source, opened: Extractor) -> None:
        """An extractor that says it is ordered gives ids in the order of their UTF-8 bytes."""
        if opened.ordered:
            for name, expected in self.contents.items():
                assert list(expected) == documents_of(opened.extract(source.collection(name)))

    @pytest.mark.parametrize("name", NAMES)
    def test_counts_right_or_not_at_all(self, source: Source, opened: Extractor, name: str) -> None:
        """A number of documents is the right one; None says that it would cost a reading."""
        count = opened.count(source.collection(name))
        assert count in (None, len(self.contents[name]))

    def test_identity_and_description_stay(self, source: Source) -> None:
        """Two extractors of one unchanged source describe themselves alike, before and after reading."""
        first, second = source.open(), source.open()
        collection = source.collection("users")
        list(first.extract(collection))
        assert first.describe() == second.describe()
        assert first.identity(collection) == second.identity(collection)
        first.close()
        second.close()

    def test_shows_no_secret(self, source: Source, opened: Extractor) -> None:
        """Its description holds no credentials."""
        assert opened.describe()
        assert [secret for secret in source.secrets if secret in opened.describe()] == []

    def test_reads_two_collections_in_turn(self, source: Source, opened: Extractor) -> None:
        """Two readings that take turns do not disturb each other."""
        users = opened.extract(source.collection("users"))
        tickets = opened.extract(source.collection("tickets"))
        found: dict[str, list[Record]] = {"users": [], "tickets": []}
        for user in users:
            found["users"].append(user)
            found["tickets"].append(next(tickets))
        found["tickets"].extend(tickets)
        for name, records in found.items():
            assert list(self.contents[name]) == by_id(documents_of(records))

    def test_can_be_left_in_the_middle(self, source: Source, opened: Extractor) -> None:
        """A reading that is given up holds nothing open, and the next one is whole."""
        reading = opened.extract(source.collection("tickets"))
        next(iter(reading))
        if isinstance(reading, Generator):
            reading.close()
        found = documents_of(opened.extract(source.collection("tickets")))
        # It is closed once more later, which is not an error.
        opened.close()
        assert list(self.contents["tickets"]) == by_id(found)
