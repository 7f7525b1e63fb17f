"""A source whose package is not installed."""

from __future__ import annotations

import sys

import pytest

from migrator.config import JobConfig
from migrator.jobs.registry import open_extractor


def opened_without(monkeypatch: pytest.MonkeyPatch, package: str, module: str, source: str) -> None:
    """Open a source where its package cannot be imported.

    Args:
        monkeypatch: of the test.
        package: what is not there.
        module: of the source.
        source: what people write.
    """
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"migrator.extractors.{module}")
    open_extractor(JobConfig(source=source))
