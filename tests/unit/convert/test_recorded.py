"""Files that the other tools wrote of one database are read as what that database holds."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

import pytest

from migrator.convert.formats.table import open_reader, sniff
from tests.unit.convert.support import DATA, read

LEAVES = {
    (each["_id"], each["_rev"]): each
    for each in map(json.loads, (DATA / "leaves.ndjson").read_text().splitlines())
}
WINNERS = {"plain", "older", "été 日本/a b", "numbers", "_design/app", "attached"}
TOMBSTONES = {"gone", "gone with a body"}
ATTACHED = {"attached"}
# What Node makes of numbers under the same revision.
IN_NODE = {"big": 12345678901234567000, "neg": -98765432109876540000, "one": 1, "small": 1e-7, "e": 1e22}

FILES = {
    # name: format, full, winners only, through Node, without attachments
    "couchbackup-2.11.12.backup": ("couchbackup", True, True, ATTACHED),
    "couchbackup-2.11.12-shallow.backup": ("couchbackup", False, True, ATTACHED),
    "couchbackup-2.11.12-attachments.backup": ("couchbackup", True, True, set()),
    "couchbackup-2.11.12-resumed.backup": ("couchbackup", True, True, ATTACHED),
    "couchbackup-2.9.2.backup": ("couchbackup", True, True, ATTACHED),
    "couchbackup-2.9.2-shallow.backup": ("couchbackup", False, True, ATTACHED),
    "couchbackup-2.9.2-resumed.backup": ("couchbackup", True, True, ATTACHED),
    "pouchdb-dump-cli-2.0.6.txt": ("pouchdb", True, True, ATTACHED),
    "couchdb-python-1.2.dump": ("couchdb-python", False, False, set()),
    "all-docs.json": ("all-docs", False, False, set()),
    "all-docs-stubs.json": ("all-docs", False, False, ATTACHED),
    "changes.json": ("changes", False, False, set()),
    "changes-all-leaves.json": ("changes", False, False, set()),
    "changes-continuous.json": ("changes", False, False, set()),
    "couchdb-dump.json": ("bulk-docs", False, False, {"plain"}),
}
FAULTS = {
    "couchbackup-2.9.2-resumed.backup": ["broken_line"],
    "all-docs-stubs.json": ["attachment_missing"],
    "changes-all-leaves.json": ["not_in_dump", "not_in_dump"],
    # The tool destroys a document that has a field called doc.
    "couchdb-dump.json": ["invalid_json"],
}


def expected(*, full: bool, node: bool, missing: set[str], tombstones: bool) -> dict[tuple[str, str], Any]:
    """What such a file holds of the database."""
    found = {}
    for key, leaf in LEAVES.items():
        winner = leaf["_id"] in WINNERS or leaf.get("side") == "left"
        gone = tombstones and leaf["_id"] in TOMBSTONES
        if leaf["_id"] in missing or not (full or winner or gone):
            continue
        document = copy.deepcopy(leaf)
        if node and document["_id"] == "numbers":
            document.update(IN_NODE)
        if not full:
            start, _, digest = key[1].partition("-")
            document["_revisions"] = {"start": int(start), "ids": [digest]}
        found[key] = document
    return found


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_another_tool_wrote(name: str) -> None:
    """Every leaf that the tool had a place for is read, with what it is; all else is a fault by name and place."""
    format, full, node, missing = FILES[name]
    assert format == sniff(DATA / name)
    leaves, faults = read(DATA / name)
    found = {}
    for leaf in leaves:
        document = json.loads(leaf.body)
        assert (leaf.id, leaf.rev, leaf.deleted) == (document["_id"], document["_rev"], "_deleted" in document)
        if leaf.attachments:
            document["_attachments"] = {
                each.name: [each.content_type, base64.b64encode(b"".join(each.open())).decode()]
                for each in leaf.attachments
            }
        found[leaf.id, leaf.rev] = document
    wanted = expected(full=full, node=node, missing=missing, tombstones=format == "changes")
    if format == "couchdb-python":
        # Its dump breaks off at an empty attachment, so it was given a database without one.
        del wanted["attached", "2-" + "a" * 32]["_attachments"]["empty"]
    assert wanted == found
    assert FAULTS.get(name, []) == [fault.error for fault in faults]
    assert all(str(DATA / name) in fault.reason for fault in faults)


def test_numbers_stay_as_they_were_spelled() -> None:
    """A dump by curl holds the server's spelling, and so does the leaf."""
    (numbers,) = [leaf for leaf in read(DATA / "all-docs.json")[0] if leaf.id == "numbers"]
    spelled = b'"big":12345678901234567890,"neg":-98765432109876543210,"one":1.0,"small":1e-7,"e":1e+22}'
    assert numbers.body.endswith(spelled)


def test_rows_by_keys() -> None:
    """A row of a deleted document and one of a document that never was are faults, not documents."""
    leaves, faults = read(DATA / "all-docs-keys.json")
    assert ["plain"] == [leaf.id for leaf in leaves]
    assert [("gone", "deleted"), ("never", "not_found")] == [(fault.id, fault.error) for fault in faults]


def test_a_resumed_backup_repeats_what_was_torn() -> None:
    """The line that a kill had torn is told apart from damage by the tool's own mark after it."""
    reader = open_reader(DATA / "couchbackup-2.11.12-resumed.backup")
    items = list(reader.leaves())
    assert {"resumed": 1, "torn_lines_repeated": 1} == reader.notes
    keys = [(item.id, item.rev) for item in items]
    assert len(keys) > len(set(keys)) == 10


def test_the_place_of_a_destroyed_document_is_named() -> None:
    """The line of couchdb-dump's file is in the reason."""
    (fault,) = read(DATA / "couchdb-dump.json")[1]
    assert "couchdb-dump.json:7: " in fault.reason
