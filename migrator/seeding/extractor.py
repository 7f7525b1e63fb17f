"""Fixtures as a source of the pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from migrator.model import Position, Record
from migrator.seeding.model import Fixture


class FixtureExtractor:
    """Documents of fixtures, in the order of their ids. A position is an id.

    Args:
        folder: where they are from, for people.
        documents: by database, sorted by id.
    """

    ordered = True

    def __init__(self, folder: Path, documents: Mapping[str, Sequence[Fixture]]) -> None:
        self._folder = folder
        self._documents = documents

    def describe(self) -> str:
        """The absolute path."""
        return str(self._folder.absolute())

    def collections(self) -> Sequence[str]:
        """The databases."""
        return list(self._documents)

    def count(self, collection: str) -> int | None:
        """How many there are."""
        return len(self._documents[collection])

    def identity(self, collection: str) -> str:  # noqa: ARG002 ids fit any state of a folder
        """Always the same."""
        return ""

    def describe_position(self, collection: str, position: Position) -> str:
        """The file and line of the document."""
        found = [fixture for fixture in self._documents[collection] if fixture.id == position]
        return str(found[0].text.place()) if found else str(position)

    def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
        """Yield the documents behind an id."""
        behind = str(after).encode() if after is not None else None
        for fixture in self._documents[collection]:
            if behind is None or fixture.id.encode() > behind:
                yield Record(fixture.id, text=fixture.body)

    def close(self) -> None:
        """Nothing is open."""
