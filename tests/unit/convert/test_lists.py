"""Dumps of lists: a line a row or laid out again, whole, torn and damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from migrator.convert.copy import Conversion, Converter, convert_file
from migrator.convert.formats.table import WRITERS, open_reader
from tests.unit.convert.support import leaf, read, shown, write

ROWS = [
    '{"id":"a","key":"a","value":{"rev":"1-a"},"doc":{"_id":"a","_rev":"1-a","n":1.0}}',
    '{"id":"é","key":"é","value":{"rev":"2-b"},"doc":{"_id":"é","_rev":"2-b","doc":{"x":"]}"}}}',
    '{"id":"z","key":"z","value":{"rev":"1-c"},"doc":{"_id":"z","_rev":"1-c"}}',
]
HEAD = '{"total_rows":3,"offset":0,"rows":[\r\n'


def found(tmp_path: Path, text: str | bytes, format: str | None = None) -> tuple[list[str], list[str]]:
    """Ids, and words of faults."""
    path = tmp_path / "x.json"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    leaves, faults = read(path, format)
    return [each.id for each in leaves], [fault.error for fault in faults]


@pytest.mark.parametrize(
    "text",
    [
        HEAD + ",\r\n".join(ROWS) + "\r\n]}\n",
        HEAD + ",\n".join(ROWS) + '\n],"update_seq":"7-x"}',
        json.dumps(json.loads(HEAD + ",".join(ROWS) + "]}"), indent=2),
        '{"rows":[' + ",".join(ROWS) + '],"offset":0,"total_rows":3}',
        '{"offset":0,"rows":[' + ",\n".join(ROWS) + "]}",
        "\ufeff" + HEAD + ",\n".join(ROWS) + "\n]}",
    ],
)
def test_layouts(tmp_path: Path, text: str) -> None:
    """A line a row, on one line, indented, members in any order: all the same."""
    assert (["a", "é", "z"], []) == found(tmp_path, text)


@pytest.mark.parametrize("cut", range(10, len(HEAD + ",\n".join(ROWS)), 7))
def test_a_file_that_was_cut_off(tmp_path: Path, cut: int) -> None:
    """However short, it is never taken for a whole one."""
    text = (HEAD + ",\n".join(ROWS)).encode()[:cut]
    ids, faults = found(tmp_path, text, "all-docs")
    assert ids == ["a", "é", "z"][: len(ids)]
    assert faults


@pytest.mark.parametrize(
    ("text", "ids", "faults"),
    [
        (HEAD + f"{ROWS[0]},\n{ROWS[1][:-9]},\n{ROWS[2]}\n]}}", "az", ["invalid_json"]),
        (HEAD + f"{ROWS[0]}\n{ROWS[2]}\n]}}", "az", ["broken_file"]),
        (HEAD + f"{ROWS[0]},\n{ROWS[2]},\n]}}", "az", ["broken_file"]),
        (HEAD + f"{ROWS[0]},\n{ROWS[2]}\n]}}]", "az", ["broken_file"]),
        (HEAD + f"{ROWS[0]},\n" + '{"error":"timeout","reason":"x"}\n', "a", ["timeout", "broken_file"]),
        (HEAD + f"{ROWS[0]},\n" + '{"id":"b","key":"b","value":{"rev":"1-b"}}\n]}', "a", ["no_document"]),
        (
            HEAD + f"{ROWS[0]},\n" + ROWS[2].replace('"rev":"1-c"}', '"rev":"1-d"}') + "\n]}",
            "a",
            ["foreign_document"],
        ),
        (HEAD + f"{ROWS[0]},\n" + ROWS[2].replace('{"id":"z"', '{"id":"y"') + "\n]}", "a", ["foreign_document"]),
        ('{"rows":[' + f'{ROWS[0]},{{"id":"b\n"}},{ROWS[2]}]}}', "az", ["invalid_json"]),
        ('{"rows":{}}', "", ["broken_file"]),
        ('{"total_rows":3}', "", ["broken_file"]),
        ("[]", "", ["broken_file"]),
        ("", "", ["broken_file"]),
    ],
)
def test_damage_is_named_and_costs_no_other_row(tmp_path: Path, text: str, ids: str, faults: list[str]) -> None:
    """A damaged row, a lost line, a wrong end, an error in the middle of an answer."""
    assert (list(ids), faults) == found(tmp_path, text, "all-docs")


def test_a_tail_of_any_length_is_not_held(tmp_path: Path) -> None:
    """A line that looks like the end does not swallow what follows unseen."""
    text = HEAD + f"{ROWS[0]},\n]\n" + f"{ROWS[2]},\n" * 2_000
    assert (["a"], ["broken_file", "broken_file"]) == found(tmp_path, text, "all-docs")


def change(seq: int, document: str, *revs: str, deleted: bool = False) -> str:
    """One change."""
    value = json.loads(document)
    changes = json.dumps([{"rev": rev} for rev in (value["_rev"], *revs)])
    mark = ',"deleted":true' if deleted else ""
    return f'{{"seq":"{seq}-x","id":{json.dumps(value["_id"])},"changes":{changes}{mark},"doc":{document}}}'


CHANGES = [
    change(1, '{"_id":"b","_rev":"1-a","n":1e2}'),
    change(2, '{"_id":"a","_rev":"2-b","_deleted":true}', deleted=True),
    change(3, '{"_id":"b","_rev":"2-c","n":2}'),
]


@pytest.mark.parametrize(
    "text",
    [
        '{"results":[\n' + ",\n".join(CHANGES) + '\n],\n"last_seq":"3-x","pending":0}\n',
        '{"results":[' + ",".join(CHANGES) + '],"last_seq":3}',
        json.dumps(json.loads('{"results":[' + ",".join(CHANGES) + '],"last_seq":3}'), indent=1),
        "\n".join(CHANGES) + '\n{"last_seq":"3-x","pending":0}\n',
        "\n\n" + "\n\n\n".join(CHANGES) + "\n",
    ],
)
def test_feeds(tmp_path: Path, text: str) -> None:
    """Normal and continuous, with heartbeats; the last change of a document stands for it."""
    path, target = tmp_path / "x.json", tmp_path / "out.ndjson"
    path.write_text(text)
    leaves, faults = read(path, "changes")
    assert [] == faults
    result, rejects = write_from(path, target)
    assert ({"superseded": 1}, []) == (result["left_out"], rejects)
    assert ["a", "b"] == [each.id for each in read(target)[0]]
    assert ["2-b", "2-c"] == [each.rev for each in read(target)[0]]
    assert [True, False] == [each.deleted for each in read(target)[0]]
    assert len(leaves) == 3


def write_from(path: Path, target: Path) -> tuple[dict[str, object], list[object]]:
    """Convert one file into NDJSON."""
    result = Conversion("x", "y", "ndjson")
    rejects: list[object] = []
    converter = Converter(result, rejects.extend)
    convert_file(open_reader(path), WRITERS["ndjson"], target, converter, overwrite=False)
    assert result.accounted
    return result.as_dict(), rejects


@pytest.mark.parametrize("cut", range(1, 300, 9))
def test_a_feed_that_was_cut_off_within_a_row(tmp_path: Path, cut: int) -> None:
    """A torn row is a fault; a feed that was followed has no other end than where somebody stopped it."""
    text = "\n".join(CHANGES).encode()[:cut]
    leaves, faults = found(tmp_path, text, "changes")
    ends = [len("\n".join(CHANGES[:number])) for number in (1, 2, 3)]
    whole = cut > ends[-1] or any(cut in {end, end + 1} for end in ends)
    assert bool(faults) != whole
    assert len(leaves) <= 3


def test_leaves_that_a_feed_only_names(tmp_path: Path) -> None:
    """With style=all_docs a change names conflicts, of which the dump has no document."""
    text = change(1, '{"_id":"a","_rev":"2-b"}', "2-a", "1-z") + '\n{"last_seq":1}\n'
    assert (["a"], ["not_in_dump"] * 2) == found(tmp_path, text)
    bare = '{"seq":1,"id":"a","changes":[{"rev":"1-a"}]}\n{"seq":2,"changes":[]}\n{"last_seq":1}\n'
    assert ([], ["no_document", "no_change"]) == found(tmp_path, bare)


def test_a_body_of_bulk_docs(tmp_path: Path) -> None:
    """It is legal JSON that a server takes as it is, one document a line; design documents begin with _rev."""
    path = tmp_path / "x.json"
    leaves = [
        leaf("_design/a", ["b", "a"]),
        leaf("é", ["c"], '"n":1.0', x=b"\x00\xff"),
        leaf("é", ["d"], deleted=True),
    ]
    write(path, "bulk-docs", leaves)
    assert {"new_edits", "docs"} == set(json.loads(path.read_bytes()))
    lines = path.read_bytes().splitlines()
    assert 5 == len(lines)
    assert lines[1].startswith(b'{"_rev":"2-b","_id":"_design/a",')
    assert shown(leaves) == shown(read(path)[0])
    path.write_text(json.dumps(json.loads(path.read_bytes()), indent=3))
    assert shown(leaves) == shown(read(path)[0])
    path.write_text('{"docs":[{"_id":"a","_rev":"1-a"}]}')
    assert (["a"], []) == ([each.id for each in read(path)[0]], read(path)[1])


def test_empty_lists(tmp_path: Path) -> None:
    """A database without documents makes files that are whole."""
    for format in (
        "all-docs",
        "changes",
        "changes-continuous",
        "bulk-docs",
        "couchbackup",
        "couchdb-python",
        "pouchdb",
    ):
        path = tmp_path / format
        write(path, format, [])
        assert ([], []) == read(path)


def test_winners_of_documents_whose_leaves_lie_apart(tmp_path: Path) -> None:
    """What wins is found after sorting, and a leaf that came twice is counted once."""
    leaves = [
        leaf("b", ["a"]),
        leaf("a", ["c"]),
        leaf("b", ["b"]),
        leaf("a", ["c"]),
        leaf("b", ["z", "y"], deleted=True),
    ]
    result, _ = write(tmp_path / "x", "all-docs", leaves, grouped=False)
    assert {"repeated": 1, "conflicts": 1, "tombstones": 1} == result.left_out
    assert [("a", "1-c"), ("b", "1-b")] == [(each.id, each.rev) for each in read(tmp_path / "x")[0]]
