"""A document of a JSON list or object that is not JSON is one reject; those before and after it are read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

import migrator
from migrator.extractors.export import ExportExtractor
from migrator.extractors.exports import JsonExportExtractor
from migrator.model import Extractor, Record
from tests.support.commands import run

# Each is broken, and its brackets come out even.
EVEN = [
    '{"_id": "b", "n": tru}',
    '{"_id": "b", "n": 1,}',
    '{"_id": "b" "n": 1}',
    '{"_id": "b", n: 1}',
    "{'_id': 'b'}",
    '{"_id": "b", "n": undefined}',
    '{"_id": "b", "n": 01}',
    '{"_id": "b", "n": [1, 2,]}',
    '{"_id": "b", "n": {"x": }}',
    '{"_id": "b", "n": ObjectId("5f")}',
    '{"_id": "b", "s": "\\x"}',
    '{"_id": "b", "s": "} ] \\" {" oops}',
    "tru",
    "",
]
# The brackets or quotes of these do not.
ODD = [
    '{"_id": "b", "n": 1',
    '{"_id": "b", "n": [1, 2}',
    '{"_id": "b", "n": {"x": 1}',
    '{"_id": "b", "s": "5" tall"}',
    '{"_id": "b", "s": "open}',
    '{"_id": "b", "s": "open',
    '{"_id": "b"} /* a remark */',
    '{"_id": "b"}}',
    '{"_id": "b", "n": [[[',
]


def text(broken: str, layout: str) -> str:
    """An export of two collections, of which the first has a broken document in its middle."""
    a, c = '{"_id": "a", "l": [{"x": 1}]}', '{"_id": "c", "s": "}{,\\""}'
    if layout == "keyed lines":
        return f'{{"t": {{\n "a": {a},\n "b": {broken},\n "c": {c}\n}},\n"u": [{{"_id": "z"}}]\n}}'
    between = {"line": ", ", "lines": ",\n"}.get(layout, ",\n    ")
    begin, end = {"line": ("", ""), "lines": ("\n", "\n")}.get(layout, ("\n    ", "\n  "))
    if layout == "pretty":
        a, c = (json.dumps(json.loads(each), indent=2).replace("\n", "\n    ") for each in (a, c))
    return f'{{"t": [{begin}{between.join((a, broken, c))}{end}],\n"u": [{{"_id": "z"}}]\n}}'


def extractor(tmp_path: Path, content: str) -> ExportExtractor:
    """Of a file with this text."""
    (tmp_path / "dump.json").write_text(content)
    return ExportExtractor(tmp_path / "dump.json")


def ids(records: list[Record]) -> list[str]:
    """Of the documents; of a fault its word."""
    return [record.fault.error if record.fault else json.loads(record.text or b"{}")["_id"] for record in records]


@pytest.mark.parametrize("layout", ["line", "lines", "indented", "pretty", "keyed lines"])
@pytest.mark.parametrize("broken", EVEN)
def test_an_element_is_one_fault(tmp_path: Path, broken: str, layout: str) -> None:
    """In every layout; it keeps its text, its id and the line."""
    found = read(extractor(tmp_path, text(broken, layout)))
    assert ids(found["t"]) == ["a", "invalid_json", "c"]
    assert ids(found["u"]) == ["z"]
    fault = found["t"][1].fault
    assert fault is not None
    line = text(broken, layout)[: text(broken, layout).index('"_id": "c"')].count("\n") + 1
    at = int(fault.reason.split("dump.json:")[1].split(":")[0])
    assert at in range(line - 2, line + 1), fault.reason
    assert broken.strip()[1:] in fault.document.decode()


@pytest.mark.parametrize("layout", ["lines", "indented", "pretty", "keyed lines"])
@pytest.mark.parametrize("broken", ODD)
def test_the_next_line_that_begins_alike_is_the_next_document(tmp_path: Path, broken: str, layout: str) -> None:
    """Where brackets or quotes do not come out even."""
    if layout == "keyed lines":
        # A bracket that fits would be the object's own, and a member without its brace takes the next one in.
        broken = broken.replace("}}", "}]").replace('"n": 1', '"n": [').replace('{"x": 1}', '{"x": [}')
    found = read(extractor(tmp_path, text(broken, layout)))
    wanted = ["a", "invalid_json", "c"]
    kept = [id for id in ids(found["t"]) if id != "b"]
    assert kept == wanted, [record.fault for record in found["t"]]
    assert ids(found["u"]) == ["z"]


@pytest.mark.parametrize("broken", ODD)
def test_the_last_document_takes_nothing_of_the_next_collection(tmp_path: Path, broken: str) -> None:
    """Which begins after the list's end."""
    content = f'{{"t": [\n    {{"_id": "a"}},\n    {broken}\n  ],\n"u": [\n    {{"_id": "z"}}\n]}}'
    found = read(extractor(tmp_path, content))
    assert [id for id in ids(found["t"]) if id != "b"] == ["a", "invalid_json"]
    assert ids(found["u"]) == ["z"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('[{"_id":"a"},,{"_id":"c"}]', ["a", "invalid_json", "c"]),
        ('[{"_id":"a"},{"_id":"c"},]', ["a", "c", "invalid_json"]),
        ('[,{"_id":"c"}]', ["invalid_json", "c"]),
        ('[{"_id":"a"} {"_id":"b"}, {"_id":"c"}]', ["a", "invalid_json", "c"]),
        ('[{"_id":"a"}, {"_id":"c"', ["a", "invalid_json"]),
        ('[{"_id":"a"}, {"_id":"c"}', ["a", "c", "invalid_json"]),
        ('[{"_id":"a"},', ["a", "invalid_json"]),
        ('[{"_id":"a"}, {"_id":"b", "n": [1}, {"_id":"c"}]', ["a", "invalid_json"]),
        ("[", ["invalid_json"]),
    ],
)
def test_commas_and_the_end(tmp_path: Path, content: str, expected: list[str]) -> None:
    """What is missing or too much is a fault; where no way on is found, the rest of the file is."""
    (found,) = read(extractor(tmp_path, content)).values()
    assert ids(found) == expected
    if expected[-1] != "c":
        fault = found[-1].fault
        assert fault is not None
        assert "dump.json:1:" in fault.reason


@pytest.mark.parametrize(
    "content",
    [
        '{"t": [{"_id": "a"}], [], "u": []}',
        '{"t": [{"_id": "a"}]],\n"u": []}',
        '{"t": {"a": {}}},\n"u": []}',
        "[{}]]",
    ],
)
def test_what_divides_collections_is_not_guessed(tmp_path: Path, content: str) -> None:
    """Nothing is written, with the place and the exit code of a usage error."""
    (tmp_path / "dump.json").write_text(content)
    ran = run("run", "--from", str(tmp_path / "dump.json"), "--to", str(tmp_path / "o"))
    assert ran.code == 2
    assert "dump.json:1:" in ran.output
    assert "nothing was read from it" in ran.output or "end of the file" in ran.output
    assert not (tmp_path / "o").exists()


def read(source: Extractor) -> dict[str, list[Record]]:
    """All of it, and from after every record the rest, which must be the same."""
    found = {}
    for name in source.collections():
        whole = found[name] = list(source.extract(name))
        assert source.count(name) in (None, len(whole))
        for number, record in enumerate(whole[:-1], 1):
            assert list(source.extract(name, after=record.position)) == whole[number:]
    source.close()
    return found


def test_a_block_without_indentation_is_not_divided_by_its_lines(tmp_path: Path) -> None:
    """What lies within a broken document is not a document."""
    inner = '{\n"_id": "b",\n"l": [\n{\n"_id": "no"\n}\n'
    (found,) = read(extractor(tmp_path, f'[\n{{\n"_id": "a"\n}},\n{inner},\n{{\n"_id": "c"\n}}\n]\n')).values()
    assert ids(found)[:2] == ["a", "invalid_json"]
    assert "no" not in ids(found)


def test_a_broken_document_among_many_large_ones(tmp_path: Path) -> None:
    """Across blocks, packed, and named by its line."""
    lines = [json.dumps({"_id": f"{n:05}", "s": "é" * 3_000}, ensure_ascii=False) for n in range(2_000)]
    lines[700] = lines[700][:-2]
    lines[1_500] = lines[1_500].replace('"s"', "s")
    path = tmp_path / "t.json.gz"
    path.write_bytes(gzip.compress(("[\n" + ",\n".join(lines) + "\n]\n").encode(), 1))
    for source in (ExportExtractor(path), JsonExportExtractor(str(path), dict, kind="mongo")):
        found = list(source.extract("t"))
        source.close()
        faults = [(number, record.fault) for number, record in enumerate(found) if record.fault]
        assert len(found) == 2_000
        assert [number for number, _ in faults] == [700, 1_500]
        assert [fault.id or "" for _, fault in faults] in ([""] * 2, ["00700", "01500"])
        # What is missing is noticed where the next line begins.
        assert [fault.reason.split(":")[1] for _, fault in faults] == ["703", "1502"]


@pytest.mark.parametrize("keyed", [False, True])
def test_a_run_writes_the_others_and_retry_the_fixed_one(tmp_path: Path, keyed: bool) -> None:
    """The reject's text is the document with its id, to be fixed in the line."""
    documents: dict[str, Any] = {"a": '{"n": 1}', "b": "{n: 2}", "c": '{"n": 3}'}
    if keyed:
        content = ",".join(f'"{id}": {document}' for id, document in documents.items())
        (tmp_path / "d.json").write_text(f'{{"t": {{{content}}}}}')
    else:
        content = ",".join(f'{{"_id": "{id}", {document[1:]}' for id, document in documents.items())
        (tmp_path / "d.json").write_text(f'{{"t": [{content}]}}')
    report = migrator.run(
        str(tmp_path / "d.json"), str(tmp_path / "o"), checkpoint=str(tmp_path / "c"), rejects=str(tmp_path / "r")
    )
    assert (report.totals.read, report.totals.written, report.totals.rejected) == (3, 2, 1)
    line = json.loads((tmp_path / "r").read_text())
    assert (line["id"], line["error"]) == ("b", "invalid_json")
    assert f"{tmp_path}/d.json:1:" in line["reason"]
    line["document"] = line["document"].replace("n:", '"n":')
    (tmp_path / "r").write_text(json.dumps(line) + "\n")
    assert run("retry", str(tmp_path / "r"), "--to", str(tmp_path / "o"), "--quiet").code == 0
    written = [json.loads(each) for each in (tmp_path / "o" / "t.ndjson").read_text().splitlines()]
    assert {each["_id"]: each["n"] for each in written} == {"a": 1, "b": 2, "c": 3}
