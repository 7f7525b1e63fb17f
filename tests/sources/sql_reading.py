"""Reads tables of a database in tests, whatever its dialect, also while something happens to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import migrator
from migrator.extractors.sql import SqlExtractor


def read(url: str, name: str, after: Any = None, **options: Any) -> list[Any]:
    """All records of a collection."""
    with closing(SqlExtractor(url, collections=[name], **options)) as extractor:
        extractor.collections()
        return list(extractor.extract(name, after=after))


def documents(url: str, name: str, **options: Any) -> list[Any]:
    """All documents of a collection, which has no faults."""
    found = read(url, name, **options)
    assert [record.fault for record in found] == [None] * len(found)
    return [record.document for record in found]


def read_through_a_cut(url: str, folder: Path, cut_connections: Callable[[], object]) -> None:
    """A table `t` with the ids 1 to 30,000: connections are cut once in its middle, and each row comes once."""
    cut = False

    class Cutting(SqlExtractor):
        def extract(self, collection: str, *, after: Any = None) -> Iterator[Any]:
            nonlocal cut
            for record in super().extract(collection, after=after):
                yield record
                if not cut and record.document and record.document["id"] == 5_000:
                    cut = True
                    cut_connections()

    report = migrator.run(Cutting(url), str(folder / "out"), checkpoint=str(folder / "cp"), max_attempts=5)
    assert cut
    assert report.ok
    assert report.totals.written == 30_000
    ids = [json.loads(line)["id"] for line in (folder / "out" / "t.ndjson").read_bytes().splitlines()]
    assert ids == list(range(1, 30_001))
