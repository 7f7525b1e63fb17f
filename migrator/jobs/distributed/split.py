"""Divides a job into splits: collections, and where the source can, ranges of keys or of a file's bytes.

A worker was started in another folder than the command, so the job's files get names that mean the same to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from migrator.config import JobConfig
from migrator.config.kinds import ENDINGS
from migrator.errors import ConfigError
from migrator.files.streams import is_stream
from migrator.jobs.open import OpenJob
from migrator.jobs.piped import refuse_pipe
from migrator.jobs.registry import scheme_of, target_text
from migrator.model import Extractor, Position, Record
from migrator.model.capabilities import Divisible
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


_SQLITE = re.compile(r"(sqlite(?:\+\w+)?:///)([^/].*)", re.IGNORECASE)


def everywhere(config: JobConfig, environ: Mapping[str, str] | None) -> JobConfig:
    """The job with its source, target and TLS files named from the root, and with the target that is meant.

    Args:
        config: the job as it was typed.
        environ: the environment of the command, which may name the target; the process's own by default.
    """
    refuse_pipe(config.source, "each worker of --executor reads it")
    if is_stream(config.target):
        raise ConfigError(f"Workers cannot write to {config.target}.", hint="Name a server or a folder with --to.")
    return replace(
        config,
        source=from_root(config.source),
        target=from_root(target_text(config, environ)),
        ca_file=_path(config.ca_file),
        client_cert=_path(config.client_cert),
        client_key=_path(config.client_key),
    )


def from_root(text: str) -> str:
    """A SOURCE or TARGET whose path, if it has one, begins at the root.

    >>> from_root("http://localhost:5984"), from_root("csv:/data/a.csv?delimiter=;")
    ('http://localhost:5984', 'csv:/data/a.csv?delimiter=;')
    """
    if Path(text).exists():
        # As everywhere, a file goes before a scheme.
        return _path(text)
    scheme, _, rest = text.partition(":")
    if scheme.lower() in ENDINGS:
        return f"{scheme}:{_path(rest)}"
    if found := _SQLITE.fullmatch(text):
        return found[1] + _path(found[2])
    return text if scheme_of(text) else _path(text)


def _path(text: str) -> str:
    # Put before it and no more: links stay, and so does whatever stands after a question mark.
    return f"{Path.cwd()}/{text}" if text and not text.startswith("/") else text
