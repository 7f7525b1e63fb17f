"""What a source could not give is written by `retry` only after a person or a transformer changed it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from migrator.checkpoint.reject_file import RejectFile
from migrator.checkpoint.rejects import line_to_reject, reject_to_line
from migrator.codec import Unencodable, encode
from migrator.codec.rejected import Unfixed, marked_again, shown_raw
from migrator.extractors import dynamodb
from migrator.jobs.rejects import RejectsExtractor
from migrator.model import Reject
from tests.support.commands import run

app: dict[str, dict[str, Any]] = {"t": {"m": {"_id": "other", "k": 1}}}
"""A document whose key and id differ, as `memory:` reads it."""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints go where the command stands."""
    monkeypatch.chdir(tmp_path)


def from_csv(folder: Path) -> str:
    """A text where a number should be."""
    (folder / "t.csv").write_text("_id,n,k\nm,many,1\n")
    return f"csv:{folder}/t.csv?types=n:int,k:int"


def from_csv_bytes(folder: Path) -> str:
    """A byte that is not of the encoding."""
    (folder / "t.csv").write_bytes(b"_id,n,k\nm,a\xff,1\n")
    return f"csv:{folder}/t.csv?types=k:int"


def from_parquet(folder: Path) -> str:
    """A date in the year 9999 and a day."""
    table = pa.table({"_id": ["m"], "n": pa.array([2_932_897], pa.int32()).cast(pa.date32()), "k": [1]})
    pq.write_table(table, folder / "t.parquet")
    return f"{folder}/t.parquet"


def from_parquet_list(folder: Path) -> str:
    """Such a date within a list."""
    days = pa.array([[1, 2_932_897]], pa.list_(pa.int32())).cast(pa.list_(pa.date32()))
    pq.write_table(pa.table({"_id": ["m"], "n": days, "k": [1]}), folder / "t.parquet")
    return f"{folder}/t.parquet"


def from_sqlite(folder: Path) -> str:
    """A text that is not UTF-8; the id is made of the key, which has another name."""
    with sqlite3.connect(folder / "t.db") as database:
        database.execute("create table t (name text primary key, n text, k integer)")
        database.execute("insert into t values ('m', cast(x'61ff' as text), 1)")
    database.close()
    return f"sqlite:///{folder}/t.db"


def from_memory(folder: Path) -> str:
    """An id that is not the key."""
    return "memory:tests.unit.codec.test_unfixed:app"


def from_export(folder: Path) -> str:
    """The same in a file."""
    (folder / "t.json").write_text('{"t": {"m": {"_id": "other", "k": 1}}}')
    return f"{folder}/t.json"


SOURCES = {
    make.__name__: make
    for make in (
        from_csv,
        from_csv_bytes,
        from_parquet,
        from_parquet_list,
        from_sqlite,
        from_memory,
        from_export,
    )
}


@pytest.fixture(params=SOURCES)
def rejects(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A run's reject file with one line of a source."""
    source = SOURCES[request.param](tmp_path)
    path = tmp_path / "r.ndjson"
    ran = run("run", "--from", source, "--to", f"{tmp_path}/first", "--rejects", str(path), "--quiet")
    assert ran.code == 3, ran.output
    return path


def retried(rejects: Path, *more: str) -> tuple[int, list[dict[str, Any]], list[dict[str, Any]]]:
    """The exit code of a retry, what it wrote and what it rejected."""
    folder, again = rejects.with_name("out"), rejects.with_name("again.ndjson")
    ran = run("retry", str(rejects), "--to", str(folder), "--rejects", str(again), "--quiet", *more)
    written = [json.loads(line) for file in folder.glob("*") for line in file.read_bytes().splitlines()]
    return ran.code, written, lines(again) if again.exists() else []


def lines(path: Path) -> list[dict[str, Any]]:
    """Of a reject file."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def edited(path: Path, edit: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Change the first line of a reject file, and give it."""
    (line,) = lines(path)
    edit(line)
    path.write_text(json.dumps(line) + "\n")
    return line


def place(line: dict[str, Any]) -> str:
    """The field that holds the value."""
    (pointer,) = line["unfixed"]
    return str(pointer.split("/")[1])


def test_what_nobody_changed_is_rejected_again(rejects: Path) -> None:
    """With its error, its document and its mark, and once more after that."""
    (line,) = lines(rejects)
    for _ in range(2):
        code, written, again = retried(rejects)
        assert (code, written) == (3, [])
        kept = ("collection", "id", "stage", "error", "document", "unfixed")
        assert [{name: each[name] for name in kept} for each in again] == [{name: line[name] for name in kept}]
        assert again[0]["reason"].startswith(f"{rejects}:1: /{place(line)}")
        rejects.write_bytes(rejects.with_name("again.ndjson").read_bytes())
        rejects.with_name("again.ndjson").unlink()


@pytest.mark.parametrize("transform", ["set:seen=1", "rename:n=other", "rename:k=z"])
def test_a_transformer_that_changes_something_else_is_none(rejects: Path, transform: str) -> None:
    """Also when it only moves the value."""
    code, written, again = retried(rejects, "--transform", transform)
    assert (code, written, [each["error"] for each in again]) == (3, [], ["unfixed"])
    assert "the raw text of a value that the source could not give; write there what" in again[0]["reason"]
    assert "Unfixed" not in again[0]["reason"]


def test_a_transformer_that_replaces_it_is_a_fix(rejects: Path) -> None:
    """And nothing of the rest is lost: the id is there, other values have their types."""
    name = place(lines(rejects)[0])
    code, (written,), again = retried(rejects, "--transform", f"set:{name}=m")
    assert (code, again) == (0, [])
    assert (written["_id"], written[name], written["k"]) == ("m", "m", 1)


def test_a_person_who_changes_the_value_fixes_it(rejects: Path) -> None:
    """In the line, and nothing else need be touched."""
    line = edited(rejects, lambda line: line["document"].__setitem__(place(line), "m"))
    assert retried(rejects) == (0, [line["document"]], [])
    assert line["document"]["_id"] == "m"


def test_a_person_who_deletes_the_mark_means_the_raw_value(rejects: Path) -> None:
    """Which is written as it stands; so are lines of versions before, which have no mark."""
    line = edited(rejects, lambda line: line.pop("unfixed"))
    assert retried(rejects) == (0, [line["document"]], [])


def test_a_value_of_another_type_is_a_change() -> None:
    """True is not 1, and a text is not a number."""
    for raw, other in [(1, True), (1, 1.0), (1, "1"), ("1", 1), (None, ""), (None, False)]:
        assert marked_again({"a": other}, {"/a": raw}) == ({"a": other}, "")
        assert marked_again({"a": raw}, {"/a": raw})[1] == "/a"


@pytest.mark.parametrize(
    ("document", "unfixed"),
    [
        ({"a": Unfixed("x")}, {"/a": "x"}),
        ({"a/b~c": {"": [0, Unfixed(7)]}}, {"/a~1b~0c//1": 7}),
        ({"a": Unfixed(None), "b": [Unfixed("y"), {"c": Unfixed("z")}]}, {"/a": None, "/b/0": "y", "/b/1/c": "z"}),
        ({"a": [[Unfixed(str(n))] for n in range(30)]}, {f"/a/{n}/0": str(n) for n in range(30)}),
        ({"a": "x", "b": [1]}, {}),
        (None, {}),
        (b"{", {}),
    ],
)
def test_comes_back_from_a_line(document: Any, unfixed: dict[str, Any]) -> None:
    """At every depth, under every name; the document that was given stays as it was."""
    before = repr(document)
    reject = line_to_reject(reject_to_line(Reject("c", "", "extract", "e", "r", document=document)), "r:1")
    assert shown_raw(reject.document)[1] == shown_raw(document)[1] == unfixed
    assert repr(document) == before


def test_comes_back_beside_what_json_lacks(tmp_path: Path) -> None:
    """A line whose document is a text, as NaN stands in it too: both are to be fixed."""
    path = tmp_path / "r.ndjson"
    document = {"_id": "a", "n": float("nan"), "d": Unfixed(5), "s": "\ud800"}
    for _ in range(2):
        path.write_bytes(reject_to_line(Reject("c", "a", "extract", "e", "r", document=document)))
        (line,) = lines(path)
        assert (line["form"], line["unfixed"]) == ("text", {"/d": 5})
        (record,) = RejectsExtractor(path).extract("c")
        assert record.fault is not None
        assert record.fault.error == "e"
        document = record.fault.document
    edited(path, lambda line: line.update(document=line["document"].replace("5", "6")))
    (record,) = RejectsExtractor(path).extract("c")
    assert record.fault is not None
    assert record.fault.error != "e"
    (record,) = RejectsExtractor(path, loose=True).extract("c")
    assert record.document is not None
    assert record.document["d"] == 6


def test_an_unfixed_value_is_a_text_for_functions_and_nothing_to_write() -> None:
    """What is made of it is written."""
    value = Unfixed("2024-13-01")
    assert value[:4] == "2024"
    with pytest.raises(Unencodable, match="could not give"):
        encode({"a": [value]})
    assert encode({"a": value.replace("13", "12"), "b": str(value)}) == b'{"a":"2024-12-01","b":"2024-13-01"}'


def test_a_deep_document_is_no_trouble() -> None:
    """Beside the mark."""
    deep: Any = 1
    for _ in range(50_000):
        deep = [deep]
    plain, unfixed = shown_raw({"deep": deep, "_id": Unfixed("x")})
    assert unfixed == {"/_id": "x"}
    assert plain["deep"] is deep


def test_an_attribute_of_dynamodb_is_marked_and_the_others_are_read(tmp_path: Path) -> None:
    """With the id that the key makes."""
    item = {"k": {"S": "m"}, "v": {"X": 1}, "n": {"N": "1"}}
    fault = dynamodb._record("t", item, ["k"]).fault
    assert fault is not None
    file = RejectFile(tmp_path / "r.ndjson")
    file.write([Reject("t", fault.id, "extract", fault.error, fault.reason, document=fault.document)])
    file.close()
    (line,) = lines(tmp_path / "r.ndjson")
    assert line["document"] == {"_id": "m", "k": "m", "v": '{"X": 1}', "n": 1}
    assert line["unfixed"] == {"/v": '{"X": 1}'}
