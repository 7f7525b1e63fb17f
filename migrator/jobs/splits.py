"""Parts of a job that others work on: one collection, or a range of one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from migrator.model import Extractor, Position, Record
from migrator.model.capabilities import Divisible
from migrator.pipeline.wrapper import ExtractorWrapper


@dataclass(frozen=True)
class Split:
    """What one worker moves at a time: a collection's records after `lower`, up to `upper`; None for no bound."""

    number: int
    collection: str
    database: str
    lower: Position | None = None
    upper: Position | None = None


class RangeExtractor(ExtractorWrapper):
    """An extractor that reads one range of one collection.

    Args:
        inner: the source; with a range that has an end, it is `Divisible`.
        split: the range.
    """

    def __init__(self, inner: Extractor, split: Split) -> None:
        super().__init__(inner)
        self._split = split

    def count(self, collection: str) -> int | None:
        """Of a range nobody knows it without reading."""
        return self._inner.count(collection) if self._split.lower is self._split.upper is None else None

    def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
        """Yield what is in the range."""
        upper = self._split.upper
        begin = self._split.lower if after is None else after
        if upper is not None and isinstance(self._inner, Divisible):
            return self._inner.extract_range(collection, begin, upper)
        return self._inner.extract(collection, after=begin)
