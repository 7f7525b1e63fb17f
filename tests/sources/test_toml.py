"""TOML files as sources."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

import migrator
from migrator.errors import ConfigError
from migrator.extractors import toml
from migrator.extractors.toml import open_toml
from migrator.testing import DOCUMENTS, ExtractorContract
from tests.contract.extractor_contract import Source
from tests.contract.test_extractors import Local


def as_toml(value: Any) -> str:
    """A JSON value as TOML, which has no null."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{as_toml(key)} = {as_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def keyed(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The documents by id, as tables hold them."""
    return {each["_id"]: {name: value for name, value in each.items() if name != "_id"} for each in documents}


class TestToml(ExtractorContract):
    """Of one file, in both forms."""

    contents: ClassVar[Mapping[str, Sequence[Mapping[str, Any]]]] = {
        **DOCUMENTS,
        "users": [document for document in DOCUMENTS["users"] if "nested" not in document],
    }

    @pytest.fixture(params=["tables", "arrays of tables"])
    def source(self, request: pytest.FixtureRequest, tmp_path: Path) -> Source:
        """All in one."""
        path = tmp_path / "settings.toml"
        made = {name: keyed(each) if request.param == "tables" else each for name, each in self.contents.items()}
        path.write_text("".join(f"{name} = {as_toml(each)}\n" for name, each in made.items()), encoding="utf-8")
        return Local(lambda names: open_toml(str(path), collections=names))


def test_is_a_source_by_its_name_and_by_its_scheme(tmp_path: Path) -> None:
    """What people write by hand arrives, dates as texts."""
    text = '[plans.basic]\nsince = 2024-01-31\n[[owners]]\n_id = "ada"\n[[owners]]\n_id = "bob"\n'
    (tmp_path / "settings.toml").write_text(text)
    (tmp_path / "settings.conf").write_text(text)
    for source, target in (("settings.toml", "one"), ("settings.conf", "two")):
        scheme = "" if source.endswith(".toml") else "TOML:"
        report = migrator.run(f"{scheme}{tmp_path / source}", str(tmp_path / target))
        assert (report.ok, report.totals.written) == (True, 3)
        lines = (tmp_path / target / "plans.ndjson").read_text().splitlines()
        assert [{"_id": "basic", "since": "2024-01-31"}] == list(map(json.loads, lines))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"a = 1\nb = \n", "is not TOML: .*line 2"),
        (b"\xff", "is not TOML"),
        (b'title = "x"\n[a.b]\n', "settings.toml title"),
        (b"#" * 101, "more than 100 bytes"),
    ],
)
def test_what_is_no_source_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes, words: str
) -> None:
    """With the file, the reason, and what to do."""
    monkeypatch.setattr(toml, "MAX_BYTES", 100)
    (tmp_path / "settings.toml").write_bytes(text)
    with pytest.raises(ConfigError, match=words) as caught:
        open_toml(str(tmp_path / "settings.toml"))
    assert caught.value.hint


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """It is a mistyped path."""
    with pytest.raises(ConfigError, match=r"There is no file .*gone\.toml"):
        open_toml(str(tmp_path / "gone.toml"))
