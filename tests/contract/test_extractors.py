"""The extractors that need no server keep to the contract."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import zstandard

from migrator.extractors.export import ExportExtractor
from migrator.extractors.memory import MemoryExtractor
from migrator.extractors.ndjson import NdjsonExtractor
from migrator.model import Extractor

from .extractor_contract import DOCUMENTS, ExtractorContract, Source

KEYED = {
    name: {
        document["_id"]: {field: value for field, value in document.items() if field != "_id"}
        for document in documents
    }
    for name, documents in DOCUMENTS.items()
}


class Local:
    """A source whose extractors are made by a function."""

    secrets: Sequence[str] = ()

    def __init__(self, make: Callable[[Sequence[str] | None], Extractor]) -> None:
        self._make = make

    def open(self, collections: Sequence[str] | None = None) -> Extractor:
        """A new extractor."""
        return self._make(collections)

    def collection(self, name: str) -> str:
        """The same."""
        return name


def packed(text: str, suffix: str) -> bytes:
    """Text as a file with this suffix holds it."""
    if suffix.endswith(".gz"):
        return gzip.compress(text.encode())
    return zstandard.compress(text.encode()) if suffix.endswith(".zst") else text.encode()


class TestMemoryMapping(ExtractorContract):
    """Of a mapping of ids."""

    @pytest.fixture
    def source(self) -> Source:
        """Ids as keys only, as the in-memory service has them."""
        return Local(lambda names: MemoryExtractor(KEYED, name="app:db", collections=names))


class TestMemoryLists(ExtractorContract):
    """Of lists of documents."""

    @pytest.fixture
    def source(self) -> Source:
        """The documents themselves."""
        return Local(lambda names: MemoryExtractor(dict(DOCUMENTS), name="app:db", collections=names))


class TestNdjson(ExtractorContract):
    """Of a folder."""

    @pytest.fixture(params=[".ndjson", ".jsonl", ".ndjson.gz", ".ndjson.zst"])
    def source(self, request: pytest.FixtureRequest, tmp_path: Path) -> Source:
        """One file for each collection."""
        for name, documents in DOCUMENTS.items():
            text = "".join(f"{json.dumps(document)}\n" for document in documents)
            (tmp_path / f"{name}{request.param}").write_bytes(packed(text, request.param))
        return Local(lambda names: NdjsonExtractor(tmp_path, collections=names))


class TestExport(ExtractorContract):
    """Of one file, in each form."""

    @pytest.fixture(params=["lists", "objects", "bare"])
    def source(self, request: pytest.FixtureRequest, tmp_path: Path) -> Source:
        """All in one."""
        forms = {
            "lists": {"metadata": {"version": 1}, "data": DOCUMENTS},
            "objects": {"metadata": {"version": 1}, "data": KEYED},
            "bare": DOCUMENTS,
        }
        path = tmp_path / "export.json"
        path.write_text(json.dumps(forms[request.param], indent=2))
        return Local(lambda names: ExportExtractor(path, collections=names))


class TestPackedExport(ExtractorContract):
    """Of one packed file."""

    @pytest.fixture(params=[".json.gz", ".json.zst"])
    def source(self, request: pytest.FixtureRequest, tmp_path: Path) -> Source:
        """All in one, in raw UTF-8."""
        path = tmp_path / f"export{request.param}"
        path.write_bytes(packed(json.dumps(KEYED, ensure_ascii=False), request.param))
        return Local(lambda names: ExportExtractor(path, collections=names))
