"""A leaf that a file holds twice is one: whatever the file's format is, and whatever it is converted into."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from migrator.convert.copy import Conversion, Converter, convert_file
from migrator.convert.formats.table import READERS, WRITERS, open_reader
from migrator.model import Reject
from migrator.model.revisions import Leaf, LeafFault
from tests.unit.convert.support import leaf, read, write

HEAD = '{"name":"@cloudant/couchbackup","version":"2.11.12","mode":"full","attachments":false}\n'
ORDERS = ["aa", "aba", "abab", "ba", "bacab", "aaaaaa"]


def line(id: str) -> str:
    """A document of this id, as the server gives it."""
    return json.dumps({"_id": id, "_rev": "1-967a00dff5e02add41819138abb3284d", "n": id})


def file_of(format: str, ids: str) -> str:
    """A file that holds documents of these ids, one after the other."""
    documents = [line(id) for id in ids]
    if format == "couchbackup":
        return HEAD + "".join(f"[{document}]\n" for document in documents)
    if format == "pouchdb":
        head = '{"version":"1.0.0","db_type":"http","db_info":{"db_name":"x"}}\n'
        return head + "".join(f'{{"docs":[{document}]}}\n{{"seq":1}}\n' for document in documents)
    if format == "all-docs":
        # A view that emits more than once, in the order of what it emits.
        rows = [f'{{"id":"{id}","key":{n},"value":null,"doc":{line(id)}}}' for n, id in enumerate(ids)]
        return '{"total_rows":9,"offset":0,"rows":[\n' + ",\n".join(rows) + "\n]}\n"
    if format == "changes":
        rows = [f'{{"seq":{n},"id":"{id}","changes":[],"doc":{line(id)}}}' for n, id in enumerate(ids)]
        return '{"results":[\n' + ",\n".join(rows) + '\n],\n"last_seq":9,"pending":0}\n'
    if format == "bulk-docs":
        return '{"new_edits":false,"docs":[\n' + ",\n".join(documents) + "\n]}\n"
    if format == "couchsnap":
        return "".join(json.dumps({"_id": id, "n": id}) + "\n" for id in ids)
    return "\n".join(documents) + "\n"


@pytest.mark.parametrize("ids", ORDERS)
@pytest.mark.parametrize("target", WRITERS)
@pytest.mark.parametrize("source", [format for format in READERS if format != "couchdb-python"])
def test_every_file_into_every_file(tmp_path: Path, source: str, target: str, ids: str) -> None:
    """Each document once, and each of the others is accounted for; the multipart's own tool never repeats one."""
    path = tmp_path / "source"
    path.write_text(file_of(source, ids), encoding="utf-8")
    result, rejects = Conversion("source", "target", target), list[Reject]()
    converter = Converter(result, rejects.extend)
    convert_file(open_reader(path, source), WRITERS[target], tmp_path / "target", converter, overwrite=False)
    assert (rejects, result.read, result.written) == ([], len(ids), len(set(ids)))
    assert sum(result.left_out.values()) == result.left_out.get("repeated", 0) == len(ids) - len(set(ids))
    name = target.removesuffix("-shallow").removesuffix("-continuous")
    found, faults = read(tmp_path / "target", name)
    assert (sorted(each.id for each in found), faults) == (sorted(set(ids)), [])
    assert [json.loads(each.body)["n"] for each in found] == [each.id for each in found]


@pytest.mark.parametrize("target", [name for name, writer in WRITERS.items() if writer.holds.conflicts])
def test_leaves_of_one_document_that_lie_apart_stay(tmp_path: Path, target: str) -> None:
    """A conflict is not a repetition; its twin is, and what cannot be read is still named."""
    leaves: list[Leaf | LeafFault] = [
        leaf("b", ["a"], '"n":1'),
        LeafFault("", "", "invalid_json", "x:1: no JSON"),
        leaf("a", ["c"], "", file=b"text" * 30_000),
        leaf("b", ["b", "a"], '"n":2'),
        leaf("a", ["c"], "", file=b"text" * 30_000),
        leaf("b", ["a"], '"n":1'),
        leaf("b", ["z", "y"], deleted=True),
    ]
    result, rejects = write(tmp_path / "x", target, leaves, grouped=False)
    assert (result.read, result.written, result.left_out) == (7, 4, {"repeated": 2})
    assert [reject.error for reject in rejects] == ["invalid_json"]
    found, _ = read(tmp_path / "x", target)
    assert [(each.id, each.rev) for each in found] == [("a", "1-c"), ("b", "1-a"), ("b", "2-b"), ("b", "2-z")]
    assert b"".join(found[0].attachments[0].open()) == b"text" * 30_000
