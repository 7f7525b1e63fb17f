"""Divides a job into splits: collections, and where the source can, ranges of keys or of a file's bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from migrator.capabilities import Divisible
from migrator.jobs.open import OpenJob
from migrator.model import Extractor, Position, Record
from migrator.pipeline.wrapper import ExtractorWrapper

# A smaller split is not worth its own checkpoint and its turn.
MIN_DOCUMENTS = 5_000


@dataclass(frozen=True)
class Split:
    """What one worker moves at a time: a collection's records after `lower`, up to `upper`; None for no bound."""

    number: int
    collection: str
    database: str
    lower: Position | None = None
    upper: Position | None = None

    def as_dict(self) -> dict[str, Any]:
        """What the main checkpoint keeps."""
        return asdict(self)


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


def divide(job: OpenJob, source: Extractor, wanted: int, *, ranges: bool) -> list[Split]:
    """Divide a job into about so many splits of about one size.

    Args:
        job: the job, open.
        source: its source without wrappers.
        wanted: how many.
        ranges: collections may be divided too; else each is one split.
    """
    sizes = {name: _size(source, name) for name in job.collections}
    whole = sum(sizes.values()) or 1
    splits: list[Split] = []
    for name in job.collections:
        parts = round(wanted * sizes[name] / whole)
        bounds: Sequence[Position] = ()
        if ranges and parts > 1 and isinstance(source, Divisible):
            bounds = source.bounds(name, parts, MIN_DOCUMENTS)
        edges = [None, *bounds, None]
        for lower, upper in pairwise(edges):
            splits.append(Split(len(splits), name, job.names[name], lower, upper))
    return splits


def _size(source: Extractor, name: str) -> int:
    return source.size(name) if isinstance(source, Divisible) else source.count(name) or 1
