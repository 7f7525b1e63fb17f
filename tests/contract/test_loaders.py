"""The loaders that need no server keep to the contract, and so does the target in memory that tests may use."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from migrator.config import JobConfig
from migrator.extractors.memory import MemoryExtractor
from migrator.jobs.run import run_job
from migrator.loaders.ndjson import NdjsonLoader
from migrator.model import Batch, EncodedDocument, Loader, Outcome, Status
from migrator.testing import DOCUMENTS, MemoryLoader

from .loader_contract import LoaderContract, Target


class Folder:
    """A folder of NDJSON."""

    secrets: Sequence[str] = ()

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self, on_conflict: str = "fail") -> Loader:
        """A new loader."""
        return NdjsonLoader(self._path, on_conflict=on_conflict)

    def collection(self, name: str) -> str:
        """The same."""
        return name

    def remove(self, collection: str) -> None:
        """Without its file."""
        (self._path / f"{collection}.ndjson").unlink()

    def documents(self, collection: str) -> list[Mapping[str, Any]]:
        """The file's lines."""
        lines = (self._path / f"{collection}.ndjson").read_bytes().split(b"\n")
        assert lines.pop() == b""
        return [json.loads(line) for line in lines]


class TestNdjson(LoaderContract):
    """Of a folder that is not there yet."""

    @pytest.fixture
    def target(self, tmp_path: Path) -> Target:
        """Empty."""
        return Folder(tmp_path / "new" / "out")


class Memory:
    """Loaders that share what they keep."""

    secrets: Sequence[str] = ()

    def __init__(self) -> None:
        self.store: dict[str, dict[str, bytes]] = {}

    def open(self, on_conflict: str = "fail") -> MemoryLoader:
        """A new loader of the same documents."""
        return MemoryLoader(self.store, on_conflict=on_conflict)

    def collection(self, name: str) -> str:
        """The same."""
        return name

    def documents(self, collection: str) -> list[Mapping[str, Any]]:
        """What the collection holds, in the order of ids."""
        return self.open().documents(collection)


class TestMemory(LoaderContract):
    """What `migrator.testing` has for tests of sources and transformers."""

    @pytest.fixture
    def target(self) -> Target:
        """Empty."""
        return Memory()


@pytest.mark.parametrize(
    ("policy", "status", "kept"),
    [("fail", Status.REJECTED, 1), ("skip", Status.SKIPPED, 1), ("overwrite", Status.WRITTEN, 2)],
)
def test_memory_has_policies(policy: str, status: Status, kept: int) -> None:
    """Other content under an id; the order of keys and white space are not other content."""
    loader = MemoryLoader(on_conflict=policy)
    texts = [b'{"_id":"a","n":1,"m":0}', b'{"_id": "a", "m": 0, "n": 1}', b'{"_id":"a","n":2,"m":0}']
    outcomes: list[Outcome] = []
    for text in texts:
        outcomes += loader.load(Batch("c", (EncodedDocument("a", text),)))
    assert [outcome.status for outcome in outcomes] == [Status.WRITTEN, Status.UNCHANGED, status]
    assert [outcome.conflict for outcome in outcomes] == [False, False, True]
    assert [document["n"] for document in loader.documents("c")] == [kept]


def test_a_job_runs_into_memory(tmp_path: Path) -> None:
    """As docs/plugins.md shows it."""
    documents = {"users": {str(each["_id"]): each for each in DOCUMENTS["users"]}}
    loader = MemoryLoader()
    config = JobConfig(transform=("set:seen=yes",), checkpoint=str(tmp_path / "c"), rejects=str(tmp_path / "r"))
    result = run_job(config, source=MemoryExtractor(documents, name="users"), target=loader)
    assert (result.report.totals.written, result.report.totals.rejected) == (len(documents["users"]), 0)
    assert {str(each["_id"]): each["seen"] for each in loader.documents("users")} == dict.fromkeys(
        documents["users"], "yes"
    )
