"""The loaders that need no server keep to the contract."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from migrator.loaders.ndjson import NdjsonLoader
from migrator.model import Loader

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
