"""One document a line in a file called .json is read; an export stays an export, and what is neither is said."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from migrator.config import JobConfig
from migrator.errors import ConfigError
from migrator.jobs.registry import open_extractor
from migrator.model import Record


def read(path: Path) -> dict[str, list[Any]]:
    """Documents by collection; for a fault its word."""
    with contextlib.closing(open_extractor(JobConfig(source=str(path)))) as extractor:
        return {name: [_shown(record) for record in extractor.extract(name)] for name in extractor.collections()}


def _shown(record: Record) -> Any:
    if record.fault:
        return record.fault.error
    return record.document if record.document is not None else (record.text or b"").decode("utf-8", "replace")


LINES = [
    '{"_id":"a","n":1}\n{"_id":"b","n":2}\n',
    '{"_id":"a","n":1}\n{"_id":"b","n":2}',
    '{"_id":"a","n":1}\r\n{"_id":"b","n":2}\r\n',
    '\ufeff{"_id":"a","n":1}\n{"_id":"b","n":2}\n',
    '\n\n{"_id":"a","n":1}\n\n{"_id":"b","n":2}\n\n',
    '  {"_id":"a","n":1}\n  {"_id":"b","n":2}\n',
    '{"_id":"a"}\n',
    '{"_id":"a"}',
    '{"_id":"a","tags":[1],"o":{}}',
    '{"_id":5,"tags":[1]}',
    '{"tags":[1],"o":{}}\n{"tags":[2]}\n',
    '{"a":[]}\n{"b":{}}\n',
    '{}\n{"_id":"b"}\n',
    '{"_id":"a","n":NaN}\n{"_id":"b"}\n',
    '{"_id":"a",}\n{"_id":"b"}\n',
    '{"_id":"a"}\n{"_id":"torn\n{"_id":"c"}\n',
    '{"_id":"a"}\n{\n',
]


@pytest.mark.parametrize("packing", ["", ".gz", ".zst"])
@pytest.mark.parametrize("text", LINES)
def test_lines_are_read_as_lines(tmp_path: Path, text: str, packing: str) -> None:
    """As in a file called .ndjson: the same records under the same collection's name."""
    packers: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}
    pack = packers[packing]
    paths = [tmp_path / f"users.{kind}{packing}" for kind in ("json", "ndjson")]
    for path in paths:
        path.write_bytes(pack(text.encode()))
    found, expected = (read(path) for path in paths)
    assert found == expected
    assert list(found) == ["users"]


EXPORTS: list[tuple[str, dict[str, int]]] = [
    ('{"users":[{"_id":"a"}]}', {"users": 1}),
    ('{"users":[{"_id":"a"}]}\n', {"users": 1}),
    ('{"users":[{"_id":"a"}]}\n\n\n', {"users": 1}),
    ('{"users":{"a":{}}}\n', {"users": 1}),
    ('{"metadata":{},"data":{"users":[{"_id":"a"}]}}', {"users": 1}),
    ('{\n"users":[{"_id":"a"}]\n}\n', {"users": 1}),
    ('{"users":[\n{"_id":"a"},\n{"_id":"b"}\n]}\n', {"users": 2}),
    ('[{"_id":"a"},\n{"_id":"b"}]\n', {"x": 2}),
    ('[\n{"_id":"a"}\n]\n', {"x": 1}),
    ('{"_id":[{"_id":"a"}]}', {"_id": 1}),
    ('{"_id":{"a":{}}}', {"_id": 1}),
    ("{}", {}),
    ("[]", {"x": 0}),
]


@pytest.mark.parametrize(("text", "counts"), EXPORTS)
def test_exports_are_read_as_exports(tmp_path: Path, text: str, counts: dict[str, int]) -> None:
    """Whatever they look like, also with a collection that is called `_id`."""
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")
    assert counts == {name: len(documents) for name, documents in read(path).items()}


@pytest.mark.parametrize(
    "text",
    [
        '{\n"_id": "a"\n}\n{\n"_id": "b"\n}\n',
        '{"users":[]} {"_id":"b"}',
        '{"_id": "a", "n": ' + json.dumps("x" * 1_100_000) + '}\n{"_id":"b"}\n',
        '{"n": 1, "m": [2]}\n',
        '"a"\n"b"\n',
    ],
    ids=lambda text: text[:30],
)
def test_what_is_neither_is_said_with_the_other_name(tmp_path: Path, text: str) -> None:
    """Objects over several lines, several on one, a first line that is too long to look at."""
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert ".ndjson" in str(caught.value)


def test_a_folder_of_json_files_says_what_to_do(tmp_path: Path) -> None:
    """It has no NDJSON, and names one that is there."""
    (tmp_path / "users.json").write_text('{"_id":"a"}\n{"_id":"b"}\n')
    with pytest.raises(ConfigError, match=r"no NDJSON file.*users\.json"):
        read(tmp_path)
