"""Folders of fixtures for the tests of seeding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from migrator.fixtures.folder import read_fixtures
from migrator.fixtures.model import Fixtures
from migrator.fixtures.values import parse_now

Folder = Callable[[Mapping[str, str]], Path]
Read = Callable[..., Fixtures]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Writes files by their paths into a new folder."""

    def write(files: Mapping[str, str]) -> Path:
        root = tmp_path / "fixtures"
        root.mkdir(exist_ok=True)
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode("utf-8", "surrogateescape"))
        return root

    return write


@pytest.fixture
def read(folder: Folder) -> Read:
    """Reads fixtures that are given as texts by their paths."""

    def reading(files: Mapping[str, str], prefix: str = "", **environ: str) -> Fixtures:
        now = parse_now("2024-05-01T12:00:00Z")
        return read_fixtures(folder(files), environ=environ, now=now, prefix=prefix)

    return reading
