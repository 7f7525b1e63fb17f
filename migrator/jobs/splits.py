"""Parts of a job that others work on: one collection, or a range of one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from migrator import errors
from migrator.model import Extractor, Position, Record
from migrator.model.capabilities import Divisible
from migrator.pipeline.wrapper import ExtractorWrapper

# Options that belong to who divided the job, or to one process that reads the whole.
OF_A_SPLIT: dict[str, Any] = {
    "executor": "", "splits": 0, "report": "", "verify": False, "restart": False, "metrics": "", "ping": "",
    "webhook": "",
    "json": False, "readers": 1,
}  # fmt: skip


def told_of(error: errors.MigratorError) -> list[str]:
    """An error as texts, for another process: the nearest kind that all know, message and hint."""
    kind = next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in vars(errors))
    return [kind, error.message, error.hint]


def error_of(kind: str, message: str, hint: str) -> errors.MigratorError:
    """The error that another process told of: the same kind, with its exit code."""
    error: errors.MigratorError = getattr(errors, kind, errors.EndpointError)(message, hint=hint)
    return error


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
