"""Rows of a listing out of a stream, cut anywhere, and everything that makes a listing no whole one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.couch.rows import Row, read_rows
from migrator.errors import TransientError
from tests.support.stub_server import recorded

RECORDED = recorded()


def listing(documents: list[dict[str, Any]], *, include_docs: bool = True) -> bytes:
    """As CouchDB writes it."""
    rows = []
    for document in documents:
        value = {"id": document["_id"], "key": document["_id"], "value": {"rev": "1-abc"}}
        if include_docs:
            value["doc"] = {"_id": document["_id"], "_rev": "1-abc", **document}
        rows.append(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    return ('{"total_rows":9,"offset":3,"rows":[\r\n' + ",\r\n".join(rows) + "\r\n]}\n").encode()


def read(body: bytes, size: int = 1 << 18, *, include_docs: bool = False) -> list[Row]:
    """In pieces of a size."""
    pieces = [body[begin : begin + size] for begin in range(0, len(body), size)]
    return list(read_rows(pieces, "Reading db", include_docs=include_docs))


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_recorded_listings(size: int) -> None:
    """Real answers, with and without documents, in pieces of any size."""
    page = read(RECORDED["all_docs page"]["response"].encode(), size, include_docs=True)
    assert page == [
        Row("a", "1-0785e9eb543380151003dc452c3a001a", b'{"_id":"a","x":1}'),
        Row("b", "3-f04ea610b52a66ba022c5c6169031e18", b'{"_id":"b","x":9}'),
    ]
    without = read(RECORDED["after missing stub"]["response"].encode(), size)
    assert without == [Row("stray", "4-ebb3a522ccc05f34c43d22052eef254d", None)]


@given(
    documents=st.lists(
        st.fixed_dictionaries(
            {"_id": st.text(min_size=1)},
            optional={
                "a": st.text(),
                'quote"}],\\': st.lists(st.text()),
                "n": st.integers(),
                "_attachments": st.none(),
            },
        )
    ),
    size=st.integers(1, 64),
    include_docs=st.booleans(),
)
def test_any_documents_in_any_pieces(documents: list[dict[str, Any]], size: int, include_docs: bool) -> None:
    """What a row holds, and where the stream is cut, changes nothing."""
    rows = read(listing(documents, include_docs=include_docs), size, include_docs=include_docs)
    assert [row.id for row in rows] == [document["_id"] for document in documents]
    assert {row.rev for row in rows} <= {"1-abc"}
    if include_docs:
        found = [json.loads(row.document or b"") for row in rows]
        assert [{**document, "_rev": None} for document in documents] == [{**one, "_rev": None} for one in found]
    else:
        assert {row.document for row in rows} <= {None}


def test_a_document_is_passed_on_as_it_is_spelled() -> None:
    """Numbers keep their digits, as nothing parses them."""
    spelled = b'{"_id":"a","_rev":"1-a","n":1.10,"big":123456789012345678901234567890,"e":1E5}'
    body = (
        b'{"total_rows":1,"offset":0,"rows":[\r\n{"id":"a","key":"a","value":{"rev":"1-a"},"doc":%s}\r\n]}\n'
        % spelled
    )
    assert read(body)[0].document == spelled.replace(b'"_rev":"1-a",', b"")


def test_an_empty_listing() -> None:
    """No rows are a whole answer too, as CouchDB and others spell it."""
    assert read(b'{"total_rows":0,"offset":0,"rows":[\r\n\r\n]}\n') == []
    assert read(b'{"total_rows":0,"offset":null,"rows":[\n]}\n') == []
    assert read(b'{"offset":0,"rows":[],"total_rows":0}') == []


WHOLE = listing([{"_id": "a", "n": 1}, {"_id": "b", "n": 2}, {"_id": "c", "n": 3}])


@pytest.mark.parametrize("include_docs", [True, False])
def test_every_prefix_is_noticed(include_docs: bool) -> None:
    """Cut at any byte, the listing gives rows that are right, and then says that it broke off."""
    whole = read(WHOLE)
    end = WHOLE.rindex(b"}") + 1
    for cut in range(end):
        found: list[Row] = []
        with pytest.raises(TransientError, match="Reading db"):
            found.extend(read_rows([WHOLE[:cut]], "Reading db", include_docs=include_docs))
        assert found == whole[: len(found)]
    assert read(WHOLE[:end]) == whole


@pytest.mark.parametrize(
    "line",
    [
        b'{"error":"timeout","reason":"slow"}',
        b'{"id":"b","key":"b","value":{"rev":"1-abc"},"error":"timeout"}',
        b'{"key":"b","error":"not_found"}',
        b'{"id":"b","key":"b","value":{"rev":"1-abc"}}',
        b'{"id":"b","key":"b"}',
        b'{"id":"b","key":"b","value":null,"doc":{}}',
        b"[]",
        b"null",
        b"garbage",
    ],
)
def test_a_line_that_is_no_row(line: bytes) -> None:
    """Every such line ends the reading, and its words are told."""
    lines = WHOLE.split(b"\r\n")
    lines[2] = line + b","
    with pytest.raises(TransientError, match="broke off") as caught:
        read(b"\r\n".join(lines), include_docs=True)
    assert caught.value.signature == "torn answer"
    found: list[Row] = []
    with pytest.raises(TransientError):
        found.extend(read_rows([b"\r\n".join(lines)], "Reading db", include_docs=True))
    assert [row.id for row in found] == ["a"]


def test_an_error_in_a_row_is_one_without_documents_too() -> None:
    """Whatever else the row holds."""
    body = listing([{"_id": "a"}], include_docs=False).replace(b'"}}\r', b'"},"error":"timeout"}\r')
    with pytest.raises(TransientError, match="timeout"):
        read(body)


def test_nothing_may_follow_the_end() -> None:
    """Not even a row."""
    more = WHOLE.split(b"\r\n")[1].rstrip(b",")
    with pytest.raises(TransientError, match="broke off"):
        read(WHOLE + more + b"\n", include_docs=True)


def test_a_document_that_has_just_been_deleted() -> None:
    """`null` stands for it."""
    body = WHOLE.replace(b'{"_id":"b","_rev":"1-abc","n":2}', b"null")
    assert [(row.id, row.document is None) for row in read(body, include_docs=True)] == [
        ("a", False),
        ("b", True),
        ("c", False),
    ]


def test_half_a_surrogate_pair_is_passed_on() -> None:
    """A server that stores such a text is read; whoever encodes the document next refuses it by name."""
    body = b'{"rows":[{"id":"a","key":"a","value":{"rev":"1-a"},"doc":{"_id":"a","x":"\\ud800"}}]}'
    assert read(body, include_docs=True)[0].document == b'{"_id": "a", "x": "\\ud800"}'


def test_no_more_is_held_than_a_row() -> None:
    """Rows come while the stream is still open."""

    def pieces() -> Any:
        yield WHOLE[: WHOLE.index(b'{"id":"b"')]
        seen.append("second piece")
        yield WHOLE[WHOLE.index(b'{"id":"b"') :]

    seen: list[str] = []
    rows = read_rows(pieces(), "Reading db")
    assert next(rows).id == "a"
    assert seen == []
    assert [row.id for row in rows] == ["b", "c"]
