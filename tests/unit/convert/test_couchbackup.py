"""couchbackup's files in all the states in which they are found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from migrator.convert.formats.lines import BATCH_LEAVES, MARKER
from tests.unit.convert.support import leaf, read, shown, write

HEADER = b'{"name":"@cloudant/couchbackup","version":"2.11.12","mode":"full","attachments":false}\n'
A = b'{"_id":"a","_rev":"1-aa","_revisions":{"start":1,"ids":["aa"]}}'
B = b'{"_id":"b","_rev":"1-bb","_revisions":{"start":1,"ids":["bb"]}}'


def found(tmp_path: Path, text: bytes, **options: int) -> tuple[list[str], list[tuple[str, str]]]:
    """Ids and faults of a file."""
    path = tmp_path / "x.backup"
    path.write_bytes(text)
    leaves, faults = read(path, "couchbackup", **options)
    return [each.id for each in leaves], [(fault.error, fault.reason.replace(str(path), "")) for fault in faults]


@pytest.mark.parametrize(
    "text",
    [
        HEADER + b"[" + A + b"," + B + b"]\n",
        b"[" + A + b"]\n[" + B + b"]",
        HEADER + b"\n[" + A + b"]\r\n\n[" + B + b"]\n\n",
        HEADER + MARKER + b"\n[" + A + b"]\n" + MARKER + b"\n[]\n[" + B + b"]\n",
        b"\xef\xbb\xbf[ " + A + b" , " + B + b" ]\n",
    ],
)
def test_whole_files(tmp_path: Path, text: bytes) -> None:
    """With a header or without, with blank lines, marks of resuming and any line's end."""
    assert (["a", "b"], []) == found(tmp_path, text)


def test_a_torn_line_with_the_mark_behind_it_is_no_fault(tmp_path: Path) -> None:
    """What a resumed run repeats is not missing; what stood whole before the tear is given."""
    text = HEADER + b"[" + A + b',{"_id":"b","_r' + MARKER + b"\n[" + A + b"," + B + b"]\n"
    assert (["a", "a", "b"], []) == found(tmp_path, text)


@pytest.mark.parametrize(
    "torn", [b'[{"_id":"b","_r', b"[" + B, b"[" + B + b",", b"[", b"[" + B + b"]]", b"[" + B + b"] x"]
)
@pytest.mark.parametrize("header", [HEADER, b""])
def test_a_torn_line_is_a_fault(tmp_path: Path, torn: bytes, header: bytes) -> None:
    """Without the mark nobody says that the batch comes again."""
    ids, faults = found(tmp_path, header + b"[" + A + b"]\n" + torn)
    assert "a" == ids[0]
    assert ["broken_line"] == [error for error, _ in faults]
    assert f":{3 if header else 2}: " in faults[0][1]


def test_the_mark_does_not_excuse_a_file_without_a_header(tmp_path: Path) -> None:
    """Releases that wrote no header wrote no mark either, so a batch may be glued to the torn one."""
    ids, faults = found(tmp_path, b"[" + A + b"]\n[" + B[:9] + MARKER + b"\n")
    assert (["a"], ["broken_line"]) == (ids, [error for error, _ in faults])


@pytest.mark.parametrize("line", [b'{"some":"thing"}', b'{"rows":[', b"null", b'"x"', b'{"_id":"c"}'])
def test_a_line_of_another_kind_is_a_fault(tmp_path: Path, line: bytes) -> None:
    """What is neither batch nor mark is named, and the lines around it are read."""
    ids, faults = found(tmp_path, HEADER + b"[" + A + b"]\n" + line + b"\n[" + B + b"]\n")
    assert (["a", "b"], ["broken_line"]) == (ids, [error for error, _ in faults])


def test_a_document_too_large_to_hold_costs_no_other(tmp_path: Path) -> None:
    """It is named by its place in the batch."""
    large = b'{"_id":"large","_rev":"1-a","x":"' + b"x" * 3_000_000 + b'"}'
    ids, faults = found(
        tmp_path, HEADER + b"[" + A + b"," + large + b"," + B + b"]\n", max_document_bytes=1_000_000
    )
    assert ["a", "b"] == ids
    assert [("document_too_large", ":2 (2. document): what begins here is longer than 1000000 bytes;")] == [
        (error, reason.partition(" raise")[0]) for error, reason in faults
    ]


def test_a_batch_longer_than_memory_may_be(tmp_path: Path) -> None:
    """A line is never held, only the document that is read."""
    documents = [f'{{"_id":"{number:04}","_rev":"1-a","x":"{"é" * 30_000}"}}'.encode() for number in range(100)]
    ids, faults = found(tmp_path, HEADER + b"[" + b",".join(documents) + b"]\n", max_document_bytes=70_000)
    assert ([f"{number:04}" for number in range(100)], []) == (ids, faults)


@pytest.mark.parametrize(
    ("document", "error"),
    [
        (b'{"_rev":"1-a"}', "missing_id"),
        (b'{"_id":7,"_rev":"1-a"}', "invalid_id"),
        (b'{"_id":"c"}', "no_revision"),
        (b'{"_id":"c","_rev":"nonsense"}', "no_revision"),
        (b'{"_id":"c","_rev":"2-a","_revisions":{"start":2,"ids":["b","a"]}}', "invalid_revisions"),
        (b'{"_id":"c","_rev":"1-a","_revisions":{"start":1,"ids":["a","b"]}}', "invalid_revisions"),
        (b'{"_id":"c","_rev":"1-a","_revisions":[]}', "invalid_revisions"),
        (b'{"_id":"c","_rev":"1-a","_deleted":"yes"}', "invalid_document"),
        (b'{"_id":"c","_rev":"1-a","x":"\xff"}', "invalid_utf8"),
        (b'{"_id":"c","_rev":"1-a","x":"\\ud800"}', "lone_surrogate"),
        (b'{"_id":"c","_rev":"1-a","x":NaN}', "invalid_json"),
        (b'{"_id":"c","_rev":"1-a","_attachments":{"x":{"stub":true,"length":3}}}', "attachment_missing"),
        (b'{"_id":"c","_rev":"1-a","_attachments":{"x":{"data":"AA==AA=="}}}', "attachment_damaged"),
        (b'{"_id":"c","_rev":"1-a","_attachments":{"x":{"data":"AAA"}}}', "attachment_damaged"),
        (b'{"_id":"c","_rev":"1-a","_attachments":{"x":{"data":"A!AA"}}}', "attachment_damaged"),
        (b'{"_id":"c","_rev":"1-a","_attachments":{"x":{"data":"AAAA","length":4}}}', "attachment_damaged"),
        (b'{"_id":"c","_rev":"1-a","_attachments":[]}', "invalid_attachments"),
        (b"[]", "not_an_object"),
    ],
)
def test_documents_that_are_none(tmp_path: Path, document: bytes, error: str) -> None:
    """Each is a fault by name, and the documents beside it are read."""
    ids, faults = found(tmp_path, HEADER + b"[" + A + b"," + document + b"," + B + b"]\n")
    assert (["a", "b"], [error]) == (ids, [found for found, _ in faults])


def test_names_of_attachments_fields_as_the_tool_spells_them(tmp_path: Path) -> None:
    """contentType, as the tool writes it, and content_type, as CouchDB does."""
    path = tmp_path / "x.backup"
    for key in ("contentType", "content_type"):
        fields = {key: "image/png", "data": "AAEC", "digest": "md5-x", "revpos": 2}
        path.write_text(json.dumps([{"_id": "a", "_rev": "2-a", "_attachments": {"é": fields}}]))
        ((attachment,),) = [each.attachments for each in read(path)[0]]
        assert ("é", "image/png", 3, "md5-x", 2) == (
            *(attachment.name, attachment.content_type, attachment.length_bytes),
            *(attachment.digest, attachment.revpos),
        )
        assert b"\x00\x01\x02" == b"".join(attachment.open())


def test_notes_of_one_copy_are_left_behind(tmp_path: Path) -> None:
    """What the server computes again is not the document's."""
    path = tmp_path / "x.backup"
    path.write_bytes(b'[{"_id":"a","_conflicts":["1-b"],"_rev":"1-a","_revs_info":[],"_local_seq":3,"x":1}]\n')
    assert b'{"_id":"a","_rev":"1-a","_revisions":{"start":1,"ids":["a"]},"x":1}' == read(path)[0][0].body


def test_what_is_written_is_ascii_in_batches(tmp_path: Path) -> None:
    """Releases of couchrestore from 2.11.12 on corrupt other text; readline of Node 24 breaks lines at U+2028."""
    path = tmp_path / "x.backup"
    leaves = [leaf(f"é{number}", ["a"], '"x":"\u2028 線 😀 \\u00e9"') for number in range(BATCH_LEAVES + 1)]
    write(path, "couchbackup", leaves)
    lines = path.read_bytes().splitlines()
    assert path.read_bytes().isascii()
    assert HEADER.strip() == lines[0]
    assert [BATCH_LEAVES, 1] == [len(json.loads(line)) for line in lines[1:]]
    assert shown(leaves) == shown(read(path)[0])


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_the_header_tells_of_attachments(tmp_path: Path, suffix: str) -> None:
    """The tool refuses a file whose header and content disagree."""
    path = tmp_path / f"x.backup{suffix}"
    leaves = [leaf("a", ["a"]), leaf("b", ["b", "a"], x=b"\r\n", y=b"")]
    write(path, "couchbackup", leaves)
    assert shown(leaves) == shown(read(path)[0])
    plain = tmp_path / "plain.backup"
    write(plain, "couchbackup", leaves)
    assert b'"attachments":true}\n[{' in plain.read_bytes()


def test_shallow(tmp_path: Path) -> None:
    """Winners with no more than their revision; what there is no place for is counted."""
    path = tmp_path / "x.backup"
    leaves = [
        leaf("a", ["c", "a"]),
        leaf("a", ["b", "a"]),
        leaf("a", ["e", "d", "a"], deleted=True),
        leaf("gone", ["f"], deleted=True),
    ]
    result, _ = write(path, "couchbackup-shallow", leaves)
    assert ({"conflicts": 1, "tombstones": 2}, 1, 1) == (
        *(result.left_out, result.written, result.ancestries_shortened),
    )
    assert b'"mode":"shallow"' in path.read_bytes()
    assert [leaf("a", ["c"])._replace(rev="2-c").rev] == [each.rev for each in read(path)[0]]
