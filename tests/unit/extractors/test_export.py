"""Reading JSON exports."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

import migrator
from migrator.codec.rejected import Unfixed
from migrator.errors import CheckpointError, ConfigError
from migrator.extractors import export
from migrator.extractors.export import ExportExtractor
from migrator.extractors.lines import TextFile
from migrator.model import Fault, Record


def extractor(tmp_path: Path, content: Any, **options: Any) -> ExportExtractor:
    """An extractor of a file with this content; bytes and strings as they are."""
    path = tmp_path / "dump.json"
    if not isinstance(content, bytes):
        content = (content if isinstance(content, str) else json.dumps(content)).encode()
    path.write_bytes(content)
    return ExportExtractor(path, **options)


def read(opened: ExportExtractor, collection: str) -> list[Record]:
    """All records of a collection."""
    records = list(opened.extract(collection))
    opened.close()
    return records


def texts(opened: ExportExtractor, collection: str) -> list[str]:
    """All documents of a collection, as they stand in the file."""
    return [(record.text or b"?").decode() for record in read(opened, collection)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"metadata": {"v": 1}, "data": {"a": [], "b": {}}}, {"a": 0, "b": 0}),
        ({"data": {"a": [{}, {}]}}, {"a": 2}),
        ({"data": {"a": [{}]}, "metadata": [1, 2]}, {"a": 1}),
        ({"version": 1, "data": {"a": [{}]}, "exported": "today", "metadata": None}, {"a": 1}),
        ({"metadata": {}, "data": {}}, {}),
        ({"a": [{}], "data": {"b": [1], "c": {}}}, {"a": 1, "data": 2}),
        ({"data": {"x": {"_id": "x"}, "y": 5}}, {"data": 2}),
        ({"data": {"x": {"_id": "x"}, "y": 5, "z": []}}, {"data": 3}),
        ({"metadata": {}, "data": {"x": {"_id": "x"}, "y": 5}}, {"metadata": 0, "data": 2}),
        ({"metadata": {"x": {}}, "data": [{}, {}]}, {"metadata": 1, "data": 2}),
        ({"metadata": {"x": {}}}, {"metadata": 1}),
        ([{}, {}, {}], {"dump": 3}),
        ([], {"dump": 0}),
        ({}, {}),
    ],
)
def test_forms_are_told_apart(tmp_path: Path, content: Any, expected: dict[str, int]) -> None:
    """`data` holds the collections where beside it there is nothing that could be one; else it is one itself."""
    opened = extractor(tmp_path, content)
    assert expected == {name: opened.count(name) for name in opened.collections()}


@pytest.mark.parametrize(
    "content",
    ["7", '"x"', "null", '{"a": 1}', '{"a": [], "b": "x"}', '{"data": 5}', '{"a": [], "data": {}, "b": 1}'],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, content: str) -> None:
    """What is not a collection is named, with the forms that are expected."""
    with pytest.raises(ConfigError, match=r'Expected \{"metadata"'):
        extractor(tmp_path, content).collections()


def test_a_collection_that_is_none_makes_no_documents_of_the_others(tmp_path: Path) -> None:
    """An export with null for an empty collection was taken for two collections, `metadata` and `data`."""
    content = {"metadata": {"v": 1}, "data": {"a": [{"_id": "x"}], "b": {}, "c": None}}
    with pytest.raises(ConfigError, match=r"The collection 'c' .* is neither a list nor an object"):
        extractor(tmp_path, content).collections()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": [{"x": 1}]\n "b" []}', r"dump\.json:2:2: expected , or }"),
        ('{"a": [{"x": 1}]', r"dump\.json:1:17: expected , or }, but the file ends"),
        (
            '{"a": []}\n{"b": []}',
            r"dump\.json:2:1: expected the end of the file\. A file with one document a line",
        ),
        ('{"a": [], "b": [], "a": []}', "has the collection 'a' twice"),
        ('{"data": {"a": [], "a": {}}}', "has the collection 'a' twice"),
        ("", r"dump\.json:1:1: expected value, but the file ends"),
    ],
)
def test_a_broken_file_is_refused_as_a_whole(tmp_path: Path, content: str, message: str) -> None:
    """Nothing is read from a file in which collections cannot be separated."""
    opened = extractor(tmp_path, content)
    with pytest.raises(ConfigError, match=message):
        opened.collections()
    with pytest.raises(ConfigError, match=message):
        next(iter(opened.extract("a")))


@pytest.mark.parametrize(
    "bad",
    [
        '"x": NaN',
        '"x": -Infinity',
        '"x": 1e400',
        '"x": [{"y": -1e999}]',
        '"x": "a\x01b"',
        '"x": "a\nb"',
        '"x\t": 1',
        '"x": "\udcff"',
        '"\udcff": 1',
        f'"x": {"9" * 5000}',
        '"x": "\\ud800"',
    ],
)
@pytest.mark.parametrize("keyed", [False, True])
def test_a_value_that_is_none_rejects_its_document_alone(tmp_path: Path, bad: str, keyed: bool) -> None:
    """With its id and place; the others are written, whether ids are keys or fields."""
    documents = [f'{{"_id":"{id}",{text}}}' for id, text in (("a", '"n":1'), ("b", bad), ("c", '"n":3'))]
    inner = ", ".join(f'"{id}": {text}' for id, text in zip("abc", documents, strict=True))
    path = tmp_path / "dump.json"
    content = f'{{"t": {{{inner}}}}}' if keyed else f'{{"t": [{", ".join(documents)}]}}'
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    files: dict[str, Any] = {"checkpoint": str(tmp_path / "c"), "rejects": str(tmp_path / "r")}
    report = migrator.run(str(path), str(tmp_path / "o"), transform=["set:z=1"], **files)
    assert (report.totals.written, report.totals.rejected) == (2, 1)
    (reject,) = [json.loads(line) for line in (tmp_path / "r").read_text().splitlines()]
    assert (reject["collection"], reject["id"]) == ("t", "b")
    assert f"{path}: t[" in reject["reason"]


def test_documents_come_as_they_stand(tmp_path: Path) -> None:
    """No digit, escape or double key of the text is touched."""
    documents = [
        '{"_id":"1", "n": 1.10, "e": 1E5, "big": ' + "9" * 5000 + "}",
        '{"_id" : "2","x":"\\u00e9\\/","x":1}',
        '{ "_id": "\\u0033",\n "nan": NaN }',
    ]
    assert documents == texts(extractor(tmp_path, f'{{"a":[{" , ".join(documents)}]}}'), "a")
    first, second, third = documents
    keyed = f'{{"a": {{"1": {first}, "2": {second}, "3": {third}}}}}'
    assert documents == texts(extractor(tmp_path, keyed), "a")


def test_keys_become_ids(tmp_path: Path) -> None:
    """The id is put in as it is written, before whatever the document holds, also into an empty one."""
    content = '{"a": {"k\\u00e91": {"n": 1.0}, "é\\"2": {}, "3": { "_Id": 1}}}'
    expected = ['{"_id":"k\\u00e91","n": 1.0}', '{"_id":"é\\"2"}', '{"_id":"3", "_Id": 1}']
    found = texts(extractor(tmp_path, content), "a")
    assert expected == found
    assert [json.loads(text)["_id"] for text in found] == ["ké1", 'é"2', "3"]


def test_what_is_no_document_is_a_fault(tmp_path: Path) -> None:
    """Each has its place and what was found, and the others are read."""
    listed = extractor(tmp_path, '{"a": [{}, 12345678901234567890, "x", null, [1], true, {"ok": 1}]}')
    records = read(listed, "a")
    path = tmp_path / "dump.json"
    expected = [
        Fault("not_an_object", f"{path}: a[1]: expected an object, found a number", "", 12345678901234567890),
        Fault("not_an_object", f"{path}: a[2]: expected an object, found a string", "", "x"),
        Fault("not_an_object", f"{path}: a[3]: expected an object, found null", "", None),
        Fault("not_an_object", f"{path}: a[4]: expected an object, found a list", "", [1]),
        Fault("not_an_object", f"{path}: a[5]: expected an object, found true or false", "", True),
    ]
    assert expected == [record.fault for record in records if record.fault]
    assert (records[0].text, records[-1].text) == (b"{}", b'{"ok": 1}')


def test_keys_that_cannot_be_ids_are_faults(tmp_path: Path) -> None:
    """An empty key, a key that is not the document's own id, and a value that is not a document."""
    content = {"a": {"": {"n": 1}, "k": {"_id": "other"}, "m": {"_id": 5}, "o": 1, "same": {"_id": "same"}}}
    records = read(extractor(tmp_path, content), "a")
    path = tmp_path / "dump.json"
    expected = [
        Fault("empty_id", f"{path}: a['']: the key is empty", "", {"n": 1}),
        Fault(
            "id_mismatch",
            f"{path}: a['k']: the document has the _id 'other', which is not its key",
            "k",
            {"_id": "other"},
        ),
        Fault(
            "id_mismatch",
            f"{path}: a['m']: the document has the _id 5, which is not its key",
            "m",
            {"_id": Unfixed(5)},
        ),
        Fault("not_an_object", f"{path}: a['o']: expected an object, found a number", "o", 1),
    ]
    assert expected == [record.fault for record in records[:-1]]
    assert records[-1].text == b'{"_id": "same"}'


def test_what_cannot_be_parsed_is_shown_as_text(tmp_path: Path) -> None:
    """A fault holds the text where no value can be made of it."""
    content = b'{"a": {"k": "\xff", "l": ' + b"9" * 5000 + b"}}"
    first, second = read(extractor(tmp_path, content), "a")
    assert first.fault is not None
    assert second.fault is not None
    assert (first.fault.document, second.fault.document) == ('"\\xff"', "9" * 5000)


def test_large_documents_are_faults_and_deep_ones_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be held is passed over with its place; a deep one is read in a list and under its key alike."""
    large = {"text": "x" * 1000}
    deep = "[" * 50_000 + "]" * 50_000
    path = tmp_path / "dump.json"
    with monkeypatch.context() as short:
        short.setattr("migrator.extractors.json_text.MAX_DOCUMENT_BYTES", 500)
        first, second = read(extractor(tmp_path, {"a": {"k": large, "l": {}}}), "a")
    assert (
        Fault("document_too_large", f"{path}: a['k']: the document is longer than can be held", "k") == first.fault
    )
    assert second.text == b'{"_id":"l"}'
    record = read(extractor(tmp_path, f'{{"a": {{"k": {{"d":{deep}}}}}}}'), "a")[0]
    assert f'{{"_id":"k","d":{deep}}}'.encode() == record.text
    record = read(extractor(tmp_path, f'{{"a": {{"k": {{"_id":"x","d":{deep}}}}}}}'), "a")[0]
    assert record.fault is not None
    assert (record.fault.error, record.fault.id) == ("id_mismatch", "k")
    record = read(extractor(tmp_path, f'{{"a": [{{"d":{deep}}}]}}'), "a")[0]
    assert f'{{"d":{deep}}}'.encode() == record.text


def test_positions_name_their_documents(tmp_path: Path) -> None:
    """A position is turned into file: collection[index]."""
    opened = extractor(tmp_path, {"a b": [{}, {}], "c": {"k": {}}})
    path = tmp_path / "dump.json"
    places = [opened.describe_position("a b", record.position) for record in read(opened, "a b")]
    assert [f"{path}: a b[0]", f"{path}: a b[1]"] == places


@pytest.mark.parametrize("position", ["", "1", "x:1", 5])
def test_a_position_of_another_kind_is_refused(tmp_path: Path, position: str | int) -> None:
    """A damaged position is an error and not a wrong place."""
    opened = extractor(tmp_path, {"a": [{}]})
    with pytest.raises(CheckpointError, match="position"):
        list(opened.extract("a", after=position))


def test_names_and_paths_are_checked(tmp_path: Path) -> None:
    """What is not there, a folder, and a name without the suffix each have their sentence."""
    (tmp_path / "folder.json").mkdir()
    for name, message in (
        ("no.json", "no file"),
        ("folder.json", "is a folder"),
        ("x.csv", r"\.json, \.json\.gz"),
    ):
        with pytest.raises(ConfigError, match=message):
            ExportExtractor(tmp_path / name)


def test_the_name_of_a_list_is_its_files(tmp_path: Path) -> None:
    """A bare list's collection is the file's stem, percent signs decoded, whatever the packing."""
    for name, expected in (("a%20b.json", "a b"), ("x.y.json.gz", "x.y"), ("X.JSON", "X"), ("Y.Json.GZ", "Y")):
        path = tmp_path / name
        path.write_bytes(gzip.compress(b"[]") if name.lower().endswith(".gz") else b"[]")
        assert (expected,) == ExportExtractor(path).collections()


def test_a_packed_file_is_not_unpacked_for_each_collection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Collections that are read in the file's order share one opening, in addition to the first look."""
    path = tmp_path / "dump.json.gz"
    content = {f"c{number}": [{"n": number, "é": "日本"}] for number in range(20)}
    path.write_bytes(gzip.compress(json.dumps(content, ensure_ascii=False).encode()))
    openings = []

    class Counted(TextFile):
        def __init__(self, path: Path, *, offset: int = 0) -> None:
            openings.append(offset)
            super().__init__(path, offset=offset)

    monkeypatch.setattr(export, "TextFile", Counted)
    opened = ExportExtractor(path)
    found = {
        name: [json.loads(record.text or b"") for record in opened.extract(name)] for name in opened.collections()
    }
    assert content == found
    assert len(openings) == 2
    # Going back needs another one.
    assert content["c3"] == [json.loads(record.text or b"") for record in opened.extract("c3")]
    opened.close()
    assert len(openings) == 3


def test_a_hostile_number_of_collections_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of collections is bounded; an object of that many entries called data is one collection."""
    monkeypatch.setattr(export, "MAX_COLLECTIONS", 10)
    many: dict[str, Any] = {f"c{number}": {} for number in range(11)}
    with pytest.raises(ConfigError, match="more than 10 collections"):
        extractor(tmp_path, many).collections()
    opened = extractor(tmp_path, {"data": many})
    assert opened.collections() == ("data",)
    assert opened.count("data") == 11


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    """A file that was broken after the first look gives an error and not fewer documents."""
    opened = extractor(tmp_path, {"a": [{"n": 1}, {"n": 2}]})
    assert opened.count("a") == 2
    path = tmp_path / "dump.json"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ConfigError, match="was changed while it was read"):
        list(opened.extract("a"))
