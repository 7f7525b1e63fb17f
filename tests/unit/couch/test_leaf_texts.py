"""Cutting answers into leaves: every text comes out as it was spelled, however the answer is laid out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.codec import InvalidDocument, decode
from migrator.codec.reading import elements, members
from migrator.couch.bulk_get import Asked, leaf_of, read_leaves
from migrator.couch.changes import Change, Tail, read_changes
from migrator.errors import TransientError
from migrator.model.revisions import Leaf, LeafFault

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
# What the quick way looks for, in every place where it does not mean anything.
TRAPS = st.sampled_from(
    [
        '}]},{"id":"x","docs":[{"ok":{"_id":"x","_rev":"1-a"',
        ',"_revisions":{"start":1,"ids":["a"]}',
        {"_revisions": {"start": 1, "ids": ["a"]}},
        [{"ok": {"_id": "x", "_rev": "1-a", "_revisions": {"start": 1, "ids": ["a"]}}}],
        {"x": [{"id": "x", "docs": [{"ok": {"_id": "x"}}]}, {"id": "y", "docs": [{"ok": {"_id": "y"}}]}]},
        {"_deleted": True},
        {"_attachments": {"a": {"stub": True}}},
    ]
)
FIELDS = st.dictionaries(st.text().filter(lambda name: not name.startswith("_")), JSON | TRAPS, max_size=4)


def no_attachments(_id: str, _rev: str, stubs: Any) -> tuple[()]:
    """Attachments are somebody else's part."""
    assert isinstance(stubs, dict)
    return ()


def written(value: Any, *, spaces: bool = False) -> bytes:
    """JSON as CouchDB writes it, or with spaces as others do."""
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": ") if spaces else (",", ":")).encode()


def answered(documents: Iterable[dict[str, Any]], *, spaces: bool = False) -> bytes:
    """An answer of `_bulk_get`."""
    rows = [{"id": document["_id"], "docs": [{"ok": document}]} for document in documents]
    return written({"results": rows}, spaces=spaces)


def stored(id: str, fields: dict[str, Any], *, deleted: bool, files: bool) -> dict[str, Any]:
    """A document in the order in which CouchDB gives it."""
    document = {"_id": id, "_rev": "2-b", **fields}
    if deleted:
        document["_deleted"] = True
    document["_revisions"] = {"start": 2, "ids": ["b", "a"]}
    if files:
        document["_attachments"] = {'_revisions"': {"content_type": "text/plain", "stub": True, "length": 1}}
    return document


@given(st.lists(st.tuples(st.text(min_size=1), FIELDS, st.booleans(), st.booleans()), max_size=4), st.booleans())
def test_leaves_are_cut_exactly(rows: list[tuple[str, dict[str, Any], bool, bool]], spaces: bool) -> None:
    """Whatever stands in the documents, and however the answer is spaced, each comes out whole in its place."""
    documents = [
        stored(f"{number}{id}", fields, deleted=deleted, files=files)
        for number, (id, fields, deleted, files) in enumerate(rows)
    ]
    asked = [Asked(document["_id"], "2-b") for document in documents]
    found = read_leaves(answered(documents, spaces=spaces), asked, no_attachments, "reading")
    assert len(found) == len(documents)
    for leaf, document in zip(found, documents, strict=True):
        assert isinstance(leaf, Leaf)
        document.pop("_attachments", None)
        assert json.loads(leaf.body) == document
        assert (leaf.id, leaf.rev, leaf.deleted) == (document["_id"], "2-b", document.get("_deleted", False))
        first = [name for name, _, _ in members(leaf.body)][: 4 if leaf.deleted else 3]
        assert first == ["_id", "_rev", "_revisions", "_deleted"][: len(first)]
        assert b"\n" not in leaf.body


@pytest.mark.parametrize("order", [("_id", "_rev", "n", "_revisions"), ("n", "_revisions", "_rev", "_id")])
def test_numbers_are_not_respelled(order: tuple[str, ...]) -> None:
    """Both ways of cutting leave them as they were."""
    raw = {"_id": '"a"', "_rev": '"1-a"', "n": "[1.0,1e22,0.10,12345678901234567890123]"}
    raw["_revisions"] = '{"start":1,"ids":["a"]}'
    text = "{" + ",".join(f'"{name}":{raw[name]}' for name in order) + "}"
    leaf = leaf_of(text.encode(), no_attachments)
    assert leaf.body.endswith(b',"n":[1.0,1e22,0.10,12345678901234567890123]}')


@given(st.dictionaries(st.text(), JSON), st.booleans())
def test_members_and_elements_are_raw_texts(value: dict[str, Any], spaces: bool) -> None:
    """What is cut out of an object or an array is what stood there."""
    text = written(value, spaces=spaces)
    assert {name: json.loads(raw) for name, raw, _ in members(text)} == value
    listed = list(value.values())
    assert [json.loads(raw) for raw in elements(written(listed, spaces=spaces))] == listed


@pytest.mark.parametrize("text", [b"", b"{", b'{"a":1', b'{"a":[1}'])
def test_a_text_that_ends_early_is_no_object(text: bytes) -> None:
    """It is told, not cut short."""
    with pytest.raises(InvalidDocument):
        list(members(text))


@pytest.mark.parametrize("cut", [1, 20, 60, -1, -2, -3])
def test_a_torn_answer_is_no_answer(cut: int) -> None:
    """Wherever it ends, nothing of it is taken for whole."""
    body = answered([stored("a", {"n": 1}, deleted=False, files=False)])
    with pytest.raises(TransientError):
        read_leaves(body[:cut], [Asked("a", "2-b")], no_attachments, "reading")


def test_errors_and_gaps_are_faults_in_their_place() -> None:
    """Rows that say an error, that say nothing, and that are not there, each for the leaf that was asked for."""
    leaf = stored("a", {}, deleted=False, files=False)
    grown = {**stored("c", {}, deleted=False, files=False), "_rev": "3-c"}
    rows = [
        {"id": "a", "docs": [{"ok": leaf}]},
        {"id": "a", "docs": [{"error": {"id": "a", "rev": "2-x", "error": "not_found", "reason": "missing"}}]},
        {"id": "b", "docs": [{}]},
        {"id": "c", "docs": [{"ok": grown}]},
    ]
    asked = [Asked("a", "2-x"), Asked("a", "2-b"), Asked("b", "1-b"), Asked("c", "2-b"), Asked("d", "1-d")]
    found = read_leaves(written({"results": rows}), asked, no_attachments, "reading")
    assert [(row.id, row.rev, isinstance(row, LeafFault) and row.error) for row in found] == [
        ("a", "2-b", False),
        ("a", "2-x", "not_found"),
        ("b", "1-b", "missing"),
        ("c", "3-c", False),
        ("d", "1-d", "no_answer"),
    ]


def listed(*pieces: bytes) -> tuple[list[Change], Tail]:
    """All changes of an answer, and its end."""
    changes = read_changes(pieces, "reading")
    found: list[Change] = []
    while True:
        try:
            found.append(next(changes))
        except StopIteration as end:
            return found, end.value


ROW = b'{"seq":null,"id":"\\u00e9","changes":[{"rev":"2-b"},{"rev":"1-a"}],"deleted":true}'


@pytest.mark.parametrize(
    "body",
    [
        b'{"results":[\n' + ROW + b'\n],\n"last_seq":"5-x","pending":7}\n',
        b'\n\n{"results":[\n\n' + ROW + b'\n\n],\n"last_seq":"5-x","pending":7}\n',
        b'{"results":[' + ROW + b'],"last_seq":"5-x","pending":7}',
        b'\n{"results":[\n' + ROW + b",\n" + ROW + b'\n],\n"last_seq":"5-x","pending":7}\n',
    ],
)
def test_changes_are_read_in_every_layout(body: bytes) -> None:
    """With heartbeats before and between, and as one text; cut into pieces anywhere."""
    changes, tail = listed(*(body[at : at + 7] for at in range(0, len(body), 7)))
    assert set(changes) == {Change("é", ("2-b", "1-a"), True)}
    assert tail == Tail("5-x", len(changes), 7)
    assert decode(ROW)["id"] == "é"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"results":[\n',
        b'{"results":[\n' + ROW,
        b'{"results":[\n' + ROW + b"\n],\n",
        b'{"results":[\n' + ROW + b'\n],\n"last_seq":"5-',
        b'{"results":[\n' + ROW + b',\n{"error":"timeout","reason":"x"}\n',
        b'{"results":[\n' + ROW + b'\n],\n"error":"timeout"}',
        b'{"error":"timeout","reason":"x"}',
        b"[]",
    ],
)
def test_changes_that_break_off_are_told(body: bytes) -> None:
    """An answer without its end, or with an error in place of it, is none."""
    with pytest.raises(TransientError):
        listed(body)
