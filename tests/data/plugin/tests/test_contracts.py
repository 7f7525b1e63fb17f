"""All three keep to the contracts of migrator."""

from __future__ import annotations

from pathlib import Path

import pytest
from acme_migrator.extractor import IniExtractor, write_ini
from acme_migrator.loader import BoxLoader

from migrator.config import JobConfig
from migrator.jobs.run import run_job
from migrator.testing import DOCUMENTS, ExtractorContract, LoaderContract, MemoryLoader, TransformerContract
from migrator.transformers import parse


class IniSource:
    secrets = ()

    def __init__(self, folder):
        self.folder = folder

    def open(self, collections=None):
        return IniExtractor(self.folder, collections)

    def collection(self, name):
        return name


class TestIni(ExtractorContract):
    @pytest.fixture
    def source(self, tmp_path):
        for name, documents in DOCUMENTS.items():
            write_ini(tmp_path, name, documents)
        return IniSource(tmp_path)


class BoxTarget:
    secrets = ()

    def __init__(self, folder):
        self.folder = folder

    def open(self, on_conflict="fail"):
        return BoxLoader(self.folder, on_conflict)

    def collection(self, name):
        return name

    def documents(self, collection):
        return list(self.open().documents(collection))


class TestBox(LoaderContract):
    @pytest.fixture
    def target(self, tmp_path):
        return BoxTarget(tmp_path / "box")


class TestUpper(TransformerContract):
    cases = Path(__file__).with_name("upper.ndjson")

    @pytest.fixture
    def transform(self):
        return parse("upper:n")


def test_a_whole_job(tmp_path):
    write_ini(tmp_path, "tickets", [{"_id": "t1", "n": "abc"}])
    loader = MemoryLoader()  # on_conflict="fail", "skip" or "overwrite"
    config = JobConfig(
        transform="upper:n", checkpoint=str(tmp_path / "checkpoint"), rejects=str(tmp_path / "rejects.ndjson")
    )
    report = run_job(config, source=IniExtractor(tmp_path), target=loader).report
    assert report.totals.written == 1
    assert loader.documents("tickets") == [{"_id": "t1", "n": "ABC"}]
