"""From records to batches: nothing is lost between them, limits hold, and what cannot travel is a reject."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.codec import BOOKKEEPING, STRICT
from migrator.errors import TransformError
from migrator.model import Batch, BatchLimits, Document, EncodedDocument, Fault, Record, Reject
from migrator.pipeline import batching
from migrator.pipeline.batching import Assembly, batches
from tests.support.fakes import FakeExtractor, Item, numbered


def batched(
    items: list[Item], assembly: Assembly | None = None, *, max_docs: int = 500, max_bytes: int = 4_000_000
) -> list[Batch]:
    """All batches of a list."""
    records = FakeExtractor({"c": items}).extract("c")
    return list(batches("c", records, assembly or Assembly(), lambda: BatchLimits(max_docs, max_bytes)))


def assembled(item: Item, assembly: Assembly | None = None) -> EncodedDocument | Fault | None:
    """One record's end."""
    record = next(FakeExtractor({"c": [item]}).extract("c"))
    return (assembly or Assembly()).assemble(record)


def fault_of(item: Item, assembly: Assembly | None = None) -> Fault:
    """One record's fault."""
    fault = assembled(item, assembly)
    assert isinstance(fault, Fault)
    return fault


def body_of(item: Item, assembly: Assembly | None = None) -> bytes:
    """One record's text."""
    document = assembled(item, assembly)
    assert isinstance(document, EncodedDocument)
    return document.body


items: st.SearchStrategy[list[Item]] = st.lists(
    st.one_of(
        st.builds(
            lambda number, size: {"_id": f"d{number}", "pad": "x" * size}, st.integers(0, 30), st.integers(0, 60)
        ),
        st.builds(lambda number: b'{"_id":"t%d"}' % number, st.integers(0, 30)),
        st.just(b'{"_id": torn'),
        st.just({"_id": "drop me"}),
        st.just(Fault("line_too_long", "c:1: too long")),
        st.just({"no": "id"}),
    ),
    max_size=40,
)


@given(items, st.integers(1, 7), st.integers(1, 150))
def test_every_record_is_counted_in_one_batch(items: list[Item], max_docs: int, max_bytes: int) -> None:
    """Whatever comes, in whatever sizes: batches are in order, add up, end where they end, and keep the limits."""
    made = batched(
        items,
        Assembly(transform=lambda document: None if document.get("_id") == "drop me" else document),
        max_docs=max_docs,
        max_bytes=max_bytes,
    )
    assert len(items) == sum(batch.read for batch in made)
    end = 0
    for batch in made:
        assert batch.read == len(batch.documents) + batch.filtered + len(batch.rejects) > 0
        end += batch.read
        assert end == batch.end
        assert len(batch.documents) <= max_docs
        assert len(batch.documents) <= 1 or batch.size_bytes + 2 * len(batch.documents) <= max_bytes
    alone = batched(items, Assembly(transform=lambda d: None if d.get("_id") == "drop me" else d))
    assert [d for batch in alone for d in batch.documents] == [d for batch in made for d in batch.documents]
    assert [r for batch in alone for r in batch.rejects] == [r for batch in made for r in batch.rejects]


def test_a_large_document_travels_alone() -> None:
    """What is over the limit of bytes is neither refused nor put together with others."""
    large = {"_id": "b", "pad": "x" * 1000}
    made = batched([{"_id": "a"}, large, {"_id": "c"}, {"_id": "d"}], max_bytes=100)
    assert [[document.id for document in batch.documents] for batch in made] == [["a"], ["b"], ["c", "d"]]
    assert [batch.end for batch in made] == [1, 2, 4]


def test_the_end_is_before_the_document_that_did_not_fit() -> None:
    """A batch that is closed because the next document is too much ends before that one."""
    made = batched([{"_id": "a", "p": "x" * 40}, {"_id": "b", "p": "x" * 40}], max_bytes=80)
    assert [(batch.read, batch.end) for batch in made] == [(1, 1), (1, 2)]


def test_limits_are_asked_for_each_batch() -> None:
    """When the throttle shrinks, the next batch is smaller already."""
    sizes = iter([4, 2, 1, 1, 1, 1])
    records = FakeExtractor({"c": numbered(8)}).extract("c")
    made = batches("c", records, Assembly(), lambda: BatchLimits(next(sizes), 1000))
    assert [len(batch.documents) for batch in made] == [4, 2, 1, 1]


def test_nothing_read_gives_no_batch() -> None:
    """An empty collection has no batch."""
    assert batched([]) == []


def test_a_long_stretch_of_filtered_documents_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transformer that filters everything out must not keep the checkpoint where it is."""
    monkeypatch.setattr(batching, "MAX_RECORDS_PER_BATCH", 10)
    made = batched([*numbered(25)], Assembly(transform=lambda _document: None))
    assert [(b.read, b.filtered, b.end) for b in made] == [(10, 10, 10), (10, 10, 20), (5, 5, 25)]


def test_what_was_filtered_before_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that stands for many filtered documents counts as many, and closes batches as they would."""
    monkeypatch.setattr(batching, "MAX_RECORDS_PER_BATCH", 10)
    records = [Record(1, filtered=4), Record(2, {"_id": "a"}), Record(3, filtered=7), Record(4, {"_id": "b"})]
    made = batches("c", records, Assembly(), BatchLimits)
    assert [(b.read, b.filtered, b.end) for b in made] == [(12, 11, 3), (1, 0, 4)]


def test_rejects_are_bounded_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source of nothing but rejects is held in pieces."""
    monkeypatch.setattr(batching, "MAX_REJECTS_PER_BATCH", 3)
    assert [len(batch.rejects) for batch in batched([b"{"] * 7)] == [3, 3, 1]


def test_rejects_are_bounded_by_bytes() -> None:
    """Rejected documents that are large are held as long as sent ones would be, not hundreds at a time."""
    refuse = Assembly(screen=lambda name, _top, _body: Fault("document_too_large", "too large", name))
    text = b'{"_id":"a","pad":"%s"}' % (b"x" * 1000)
    assert [len(batch.rejects) for batch in batched([text] * 3, refuse, max_bytes=500)] == [1, 1, 1]
    assert [len(batch.rejects) for batch in batched([text] * 4, refuse, max_bytes=2500)] == [3, 1]


def test_a_text_passes_as_it_is() -> None:
    """Without a transformer a text is sent byte for byte: digits, spaces and doubled keys included."""
    text = b'{"_id":"a",  "n":1.50, "big":12345678901234567890123, "n":2E0}'
    assert text is body_of(text)


@pytest.mark.parametrize("text", [b'{"_id":\n"a"}', b'{"_id":\r\n"a"}', b'\n{"_id":"a"}\r'])
def test_a_text_becomes_one_line(text: bytes) -> None:
    """Line breaks between tokens go away, because a document is one line everywhere."""
    assert body_of(text) == b'{"_id":"a"}'


@pytest.mark.parametrize("field", sorted(BOOKKEEPING))
@pytest.mark.parametrize("make", [lambda d: json.dumps(d).encode(), dict], ids=["text", "object"])
def test_bookkeeping_is_not_sent(field: str, make: Callable[[Document], Item]) -> None:
    """The server's own fields of one copy are left out, whether a document comes as a text or as an object."""
    body = body_of(make({"_id": "a", field: "1-x", "inner": {field: "stays"}}))
    assert {"_id": "a", "inner": {field: "stays"}} == json.loads(body)


def test_the_source_is_not_changed() -> None:
    """Leaving fields out makes a new document."""
    document = {"_id": "a", "_rev": "1-x", "list": [1]}
    body_of(document, Assembly(transform=lambda d: {**d, "list": 2}))
    assert document == {"_id": "a", "_rev": "1-x", "list": [1]}


@pytest.mark.parametrize(
    ("item", "error", "reason"),
    [
        (b'{"_id": "a", "b": ', "extract:invalid_json", "found the end of the text"),
        (b"", "extract:invalid_json", "empty"),
        (b"[1]", "extract:not_an_object", "found an array"),
        (b"null", "extract:not_an_object", "found null"),
        (b'{"_id": "\xff"}', "extract:invalid_utf8", "0xff at offset 9"),
        (Fault("line_too_long", "c.ndjson:7: too long"), "extract:line_too_long", "c.ndjson:7"),
        ({"a": 1}, "load:missing_id", "--transform id:"),
        (b'{"a": 1}', "load:missing_id", "--transform id:"),
        ({"_id": ""}, "load:empty_id", "the _id is empty"),
        ({"_id": 7}, "load:id_not_string", "but int"),
        (b'{"_id": null}', "load:id_not_string", "but NoneType"),
        (b'{"_id": ["a"]}', "load:id_not_string", "but list"),
        ({"_id": "a", "b": {1: 2}}, "transform:", "b"),
        ({"_id": "a", "b": [object()]}, "transform:", "b[0]"),
    ],
)
def test_what_cannot_travel_says_why(item: Item, error: str, reason: str) -> None:
    """Each kind of bad record becomes a fault with its stage, one word, and a sentence with the place in it."""
    fault = fault_of(item)
    assert fault.error.startswith(error)
    assert reason in fault.reason


@pytest.mark.parametrize("item", [{"_id": 7}, b'{"_id": 7}', b'{"_id": 7, "b": NaN}', b'{"_id": 7, "b'])
def test_an_id_that_is_a_whole_number_is_named(item: Item) -> None:
    """Whatever is wrong with the document."""
    assert fault_of(item).id == "7"


@pytest.mark.parametrize("id", [True, None, 1.5, ["a"], 10**50])
def test_what_has_no_text_of_its_own_names_no_id(id: object) -> None:
    """Nor does it end the run."""
    assert fault_of({"_id": id}).id == ""


def test_the_place_is_named() -> None:
    """A torn text is found by file and line, where the extractor can say so."""
    located = Assembly(locate=lambda position: f"users.ndjson:{position}")
    assert fault_of(b"{", located).reason.startswith("users.ndjson:1: no valid JSON")
    assert fault_of({"_id": "a", "b": object()}, located).reason.startswith("users.ndjson:1: ")


@pytest.mark.parametrize(
    ("item", "id", "document"),
    [
        (b'{"_id": torn', "", b'{"_id": torn'),
        (b'{"_id": "a", "n": NaN}', "a", b'{"_id": "a", "n": NaN}'),
        ({"_id": 7, "big": 2**70}, "7", {"_id": 7, "big": 2**70}),
        (
            b'{"_id": 7, "big": 12345678901234567890123}',
            "7",
            {"_id": 7, "big": 12345678901234567890123},
        ),
        (b'{"_id": "screened", "big": 1e400000}', "screened", None),
        (b'{"_id": "screened", "n": 1}', "screened", {"_id": "screened", "n": 1}),
    ],
)
def test_a_reject_keeps_its_document(item: Item, id: str, document: Any) -> None:
    """The reject file gets the id where there is one, and the document with its numbers exact."""
    screen = Assembly(screen=lambda name, _top, _body: Fault("no", "no", name) if name == "screened" else None)
    fault = fault_of(item, screen)
    if document is None:
        assert fault.error.startswith("extract:")
    else:
        assert (id, document) == (fault.id, fault.document)


def failing(document: Document) -> Document | None:
    """A transformer that cannot map anything."""
    raise TransformError("no field x.", hint="Add it.")


def test_a_failed_transformation_is_a_reject() -> None:
    """The document is kept as it was read, so that it can go the same way again."""
    (batch,) = batched([{"_id": "a", "n": 1}], Assembly(transform=failing))
    expected = Reject(
        "c",
        "a",
        "transform",
        "transform_error",
        "no field x. Add it.",
        document={"_id": "a", "n": 1},
    )
    assert (expected,) == batch.rejects


def test_what_a_transformer_made_unwritable_is_kept_as_it_was_read() -> None:
    """Stage `transform` always means: the document before its transformers."""
    fault = fault_of({"_id": "a"}, Assembly(transform=lambda d: {**d, "x": object()}))
    assert (fault.document, fault.id) == ({"_id": "a"}, "a")


def test_transformers_see_decoded_texts() -> None:
    """With a transformer a text is parsed, exactly."""
    seen: list[Mapping[str, Any]] = []

    def look(document: Document) -> Document:
        seen.append(document)
        return {"_id": "b"}

    assert body_of(b'{"_id":"a","n":12345678901234567890123}', Assembly(transform=look)) == b'{"_id":"b"}'
    assert seen == [{"_id": "a", "n": 12345678901234567890123}]


def test_transformers_do_not_see_design_documents() -> None:
    """A design document is the database's: it passes transformers untouched, even one that filters all out."""
    design = {"_id": "_design/app", "views": {}}
    assert design == json.loads(body_of(design, Assembly(transform=lambda _document: None)))


def test_the_value_codec_is_used() -> None:
    """Values that JSON lacks go through the declared codec."""
    moment = {"_id": "a", "at": datetime(2024, 1, 2, tzinfo=UTC)}
    assert json.loads(body_of(moment))["at"].startswith("2024-01-02T00:00:00")
    assert fault_of(moment, Assembly(values=STRICT)).error.startswith("transform:")
