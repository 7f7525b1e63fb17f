"""A reject file as a source: its documents by collection, what is still none as faults, resumable anywhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from migrator.checkpoint.reject_file import RejectFile
from migrator.errors import ConfigError
from migrator.jobs.rejects import RejectsExtractor
from migrator.model import Extractor, Record, Reject
from tests.support.commands import run


def reject(collection: str, document: Any, id: str = "") -> Reject:
    """One."""
    return Reject(collection, id, "load", "e", "r", document=document)


def written(path: Path, rejects: Sequence[Reject]) -> RejectsExtractor:
    """An extractor of a file with these."""
    file = RejectFile(path)
    file.write(rejects)
    file.close()
    return RejectsExtractor(path)


@pytest.fixture
def mixed(tmp_path: Path) -> RejectsExtractor:
    """Two collections, and all that can be rejected."""
    return written(
        tmp_path / "r.ndjson",
        [
            reject("users", {"_id": "a", "big": 123456789012345678901}),
            reject("tickets", {"_id": "t"}),
            reject("users", '{"_id": "b", "fixed": true}'),
            reject("users", '{"_id": "torn'),
            reject("users", None, "c"),
            reject("users", [1], "d"),
            reject("users", {"no": "id"}),
        ],
    )


def test_gives_documents_by_collection(mixed: RejectsExtractor) -> None:
    """In the file's order, numbers exact, texts that were fixed by hand as documents."""
    assert isinstance(mixed, Extractor)
    assert mixed.collections() == ["users", "tickets"]
    assert [mixed.count("users"), mixed.count("tickets")] == [6, 1]
    records = list(mixed.extract("users"))
    assert [record.document for record in records if record.document is not None] == [
        {"_id": "a", "big": 123456789012345678901},
        {"_id": "b", "fixed": True},
        {"no": "id"},
    ]
    assert [record.document for record in mixed.extract("tickets")] == [{"_id": "t"}]
    mixed.close()


def test_what_is_still_no_document_is_a_fault_again(mixed: RejectsExtractor, tmp_path: Path) -> None:
    """With its id, its document and its line in the file."""
    faults = [record.fault for record in mixed.extract("users") if record.fault is not None]
    assert [(fault.error, fault.id, fault.document) for fault in faults] == [
        ("invalid_json", "", '{"_id": "torn'),
        ("not_an_object", "c", None),
        ("not_an_object", "d", [1]),
    ]
    assert [f"{tmp_path}/r.ndjson:{number}" for number in (4, 5, 6)] == [
        fault.reason.rpartition(": ")[0].partition(": ")[0] for fault in faults
    ]


def test_goes_on_anywhere(mixed: RejectsExtractor) -> None:
    """After every record comes the rest."""
    whole: list[Record] = list(mixed.extract("users"))
    for number, record in enumerate(whole, 1):
        assert whole[number:] == list(mixed.extract("users", after=record.position))


def test_names_its_lines(mixed: RejectsExtractor, tmp_path: Path) -> None:
    """File and line of what was read."""
    places = [mixed.describe_position("users", record.position) for record in mixed.extract("users")]
    assert [f"{tmp_path}/r.ndjson:{number}" for number in (1, 3, 4, 5, 6, 7)] == places


def test_knows_another_file(tmp_path: Path) -> None:
    """A changed file has another identity."""
    first = written(tmp_path / "a", [reject("c", {"_id": "a"})])
    second = written(tmp_path / "b", [reject("c", {"_id": "b"})])
    assert first.identity("c") != second.identity("c")
    assert first.describe() != second.describe()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """With where it comes from."""
    with pytest.raises(ConfigError, match="no reject file") as caught:
        RejectsExtractor(tmp_path / "none")
    assert "--rejects" in caught.value.hint


def test_another_kind_of_file_is_named(tmp_path: Path) -> None:
    """The first line that is none is said."""
    path = tmp_path / "r.ndjson"
    path.write_text(json.dumps({"_id": "a"}) + "\n")
    with pytest.raises(ConfigError, match=r"r\.ndjson:1 is not a line of a reject file"):
        RejectsExtractor(path).collections()


def test_blank_lines_are_passed_over(tmp_path: Path) -> None:
    """Who edits by hand leaves some."""
    extractor = written(tmp_path / "r", [reject("c", {"_id": "a"}), reject("c", {"_id": "b"})])
    path = tmp_path / "r"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\n\n  \n"))
    assert [record.document for record in extractor.extract("c")] == [{"_id": "a"}, {"_id": "b"}]


def test_revisions_of_a_faithful_copy_are_refused(tmp_path: Path) -> None:
    """What `apply` and `restore` reject has an ancestry, which a retry would lose: nothing is written."""
    leaf = {"_id": "a", "_rev": "2-b", "_revisions": {"start": 2, "ids": ["b", "a"]}}
    rejects = written(tmp_path / "r.ndjson", [reject("users", {"_id": "t"}), reject("users", leaf, "a")])
    with pytest.raises(ConfigError, match="another revision") as caught:
        rejects.collections()
    assert "migrator apply PLAN --restart" in caught.value.hint


NOTATIONS = [
    ("mongo", {"_id": {"$oid": "507f1f77bcf86cd799439011"}, "n": {"$numberLong": "5"}}, {"n": 5}),
    ("mongo", b'{"_id": {"$oid": "507f1f77bcf86cd799439011"}, "n": {"$numberLong": "5"}}', {"n": 5}),
    ("elasticdump", {"_index": "i", "_id": 5, "_source": {"a": 1}}, {"a": 1}),
    ("elasticdump", b'{"_index": "i", "_id": "w", "_source": {"a": 1}}', {"a": 1}),
    ("", {"_id": "x", "n": {"$numberLong": "5"}}, {"n": {"$numberLong": "5"}}),
]


@pytest.mark.parametrize(("notation", "document", "content"), NOTATIONS)
def test_a_document_in_another_tools_notation_is_read_as_its_source_reads_it(
    tmp_path: Path, notation: str, document: Any, content: dict[str, Any]
) -> None:
    """Once it is fixed, the same comes out of it as of the others of its source."""
    line = Reject("c", "", "extract", "e", "r", document=document, notation=notation)
    [record] = written(tmp_path / "r", [line]).extract("c")
    assert record.document is not None
    assert isinstance(record.document["_id"], str)
    assert {name: value for name, value in record.document.items() if name != "_id"} == content


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("mongo", '{"_id": "a", "n": {"$numberLong": "many"}}'),
        ("mongo", '{"_id": "a", "n": {"$numberLong": "5"}, "f": NaN}'),
        ("elasticdump", '{"_index": "i", "_id": "a", "_source": null}'),
        ("elasticdump", '{"_index": "i", "_id": "a", "_source": {"f": NaN}}'),
    ],
)
@pytest.mark.parametrize("sort", ["never", "always"])
def test_what_was_not_fixed_is_a_reject_again(tmp_path: Path, source: str, text: str, sort: str) -> None:
    """Nothing is written as the other tool marks it, however often it is tried."""
    (tmp_path / "c.json").write_text(text + "\n")
    first, again = tmp_path / "r1", tmp_path / "r2"
    out = ("--to", str(tmp_path / "out"), "-q", "--rejects")
    assert run("run", "--from", f"{source}:{tmp_path}/c.json", "--sort", sort, *out, str(first)).code == 3
    [line] = map(json.loads, first.read_bytes().splitlines())
    assert (line["notation"], line["id"]) == (source, "a")
    assert run("retry", str(first), *out, str(again)).code == 3
    [other] = map(json.loads, again.read_bytes().splitlines())
    assert {**other, "reason": "", "run": ""} == {**line, "reason": "", "run": ""}


def test_an_unknown_notation_is_told(tmp_path: Path) -> None:
    """Of a later version, say: nothing is guessed."""
    line = Reject("c", "", "extract", "e", "r", document={"_id": "a"}, notation="later")
    with pytest.raises(ConfigError, match="later"):
        list(written(tmp_path / "r", [line]).extract("c"))
