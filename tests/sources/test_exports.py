"""Exports of MongoDB and Elasticsearch as sources; bson, MongoDB's own library, writes what is read here."""

from __future__ import annotations

import base64
import datetime as dt
import gzip
import json
import tracemalloc
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import bson
import pytest
from bson import json_util
from hypothesis import given
from hypothesis import strategies as st

import migrator
from migrator.errors import CheckpointError, ConfigError
from migrator.extractors.exports import JsonExportExtractor, from_elastic, from_mongo, plain_values
from migrator.extractors.json_records import read_texts
from migrator.testing import DOCUMENTS, ExtractorContract, Source, same
from tests.contract.test_extractors import Local
from tests.sources.killing import killed_and_resumed
from tests.sources.record import DATA, ELASTICDUMP, HITS

UTC = dt.UTC
OID = bson.ObjectId("65e0a1b2c3d4e5f601234567")


def mongo(path: Path, collections: Sequence[str] | None = None) -> JsonExportExtractor:
    """Of a file or folder of mongoexport."""
    return JsonExportExtractor(str(path), from_mongo, kind="mongo", collections=collections)


def elastic(path: Path, collections: Sequence[str] | None = None) -> JsonExportExtractor:
    """Of a file or folder of elasticdump."""
    return JsonExportExtractor(str(path), from_elastic, kind="elasticdump", collections=collections)


LAYOUTS: dict[str, Callable[[Sequence[Any]], str]] = {
    "lines": lambda documents: "".join(f"{json.dumps(document)}\n" for document in documents),
    "array": lambda documents: "[" + ",".join(json.dumps(document) for document in documents) + "]\n",
    "pretty array": lambda documents: json.dumps(list(documents), indent=1),
    "pretty": lambda documents: "".join(json.dumps(document, indent=4) + "\n" for document in documents),
}


class TestMongo(ExtractorContract):
    """Of a folder, in each layout that mongoexport has."""

    @pytest.fixture(params=LAYOUTS)
    def source(self, request: pytest.FixtureRequest, tmp_path: Path) -> Source:
        """One file for each collection."""
        for name, documents in DOCUMENTS.items():
            (tmp_path / f"{name}.json").write_text(LAYOUTS[request.param](documents))
        (tmp_path / "tickets.metadata.json").write_text("{}")
        return Local(lambda names: mongo(tmp_path, names))


class TestElasticdump(ExtractorContract):
    """Of a folder of hits, packed as --fsCompress packs, beside the mappings that multielasticdump writes."""

    @pytest.fixture(params=["lines", "pretty"])
    def source(self, request: pytest.FixtureRequest, tmp_path: Path) -> Source:
        """One file for each index."""
        for name, documents in DOCUMENTS.items():
            hits = [
                {
                    "_index": name,
                    "_type": "_doc",
                    "_id": document["_id"],
                    "_score": 1,
                    "_source": {field: value for field, value in document.items() if field != "_id"},
                }
                for document in documents
            ]
            text = LAYOUTS[request.param](hits)
            (tmp_path / f"{name}.json.gz").write_bytes(gzip.compress(text.encode()))
            (tmp_path / f"{name}.mapping.json").write_text('{"properties": {}}')
        return Local(lambda names: elastic(tmp_path, names))


MODES = {
    "canonical": json_util.CANONICAL_JSON_OPTIONS,
    "relaxed": json_util.RELAXED_JSON_OPTIONS,
}
options = pytest.mark.parametrize("mode", MODES)


@options
def test_every_type_that_bson_writes(mode: str) -> None:
    """Values come exactly; what neither JSON nor Python has stays as MongoDB marks it."""
    written = {
        "_id": OID,
        "long": bson.Int64(2**63 - 1),
        "int": 7,
        "double": 1e-300,
        "whole": 1.0,
        "decimal": bson.Decimal128("12345678901234567890.12345678901234"),
        "date": dt.datetime(2024, 2, 29, 12, 30, 0, 5000, UTC),
        "old": dt.datetime(1901, 1, 1, tzinfo=UTC),
        "raw": b"\x00\xff",
        "uuid": bson.Binary.from_uuid(UUID(int=5)),
        "other": bson.Binary(b"x" * 16, 3),
        "nested": [{"ref": OID, "text": "é"}, None, True],
        "stamp": bson.Timestamp(5, 6),
        "regex": bson.Regex("^a", "i"),
        "code": bson.Code("f()"),
        "min": bson.MinKey(),
        "dbref": bson.DBRef("c", OID),
    }
    text = json_util.dumps(written, json_options=MODES[mode].with_options(uuid_representation=4))
    document = from_mongo(json.loads(text))
    assert same(
        {name: document[name] for name in list(document)[:12]},
        {
            "_id": str(OID),
            "long": 2**63 - 1,
            "int": 7,
            "double": 1e-300,
            "whole": 1.0,
            "decimal": Decimal("12345678901234567890.12345678901234"),
            "date": dt.datetime(2024, 2, 29, 12, 30, 0, 5000, UTC),
            "old": dt.datetime(1901, 1, 1, tzinfo=UTC),
            "raw": b"\x00\xff",
            "uuid": UUID(int=5),
            "other": b"x" * 16,
            "nested": [{"ref": str(OID), "text": "é"}, None, True],
        },
    )
    assert document["stamp"] == {"$timestamp": {"t": 5, "i": 6}}
    assert document["regex"] == {"$regularExpression": {"pattern": "^a", "options": "i"}}
    assert document["code"] == {"$code": "f()"}
    assert document["min"] == {"$minKey": 1}
    assert document["dbref"] == {"$ref": "c", "$id": str(OID)}


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1).map(bson.Int64),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8")),
    st.binary(max_size=20).map(bson.Binary),
    st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30)).map(
        lambda value: value.replace(microsecond=value.microsecond // 1000 * 1000, tzinfo=UTC)
    ),
    st.decimals(allow_nan=False, allow_infinity=False, places=5).filter(lambda d: len(d.as_tuple().digits) < 30),
)
bson_documents = st.dictionaries(
    st.text(st.characters(codec="utf-8"), max_size=5).filter(lambda key: not key.startswith("$")),
    st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner)
    ),
    max_size=5,
)


@options
@given(document=bson_documents)
def test_whatever_bson_writes_is_read_exactly(mode: str, document: dict[str, Any]) -> None:
    """Any document comes back in value and type, through either form."""

    def to_bson(value: Any) -> Any:
        if isinstance(value, Decimal):
            return bson.Decimal128(value)
        if isinstance(value, list):
            return [to_bson(item) for item in value]
        return {key: to_bson(item) for key, item in value.items()} if isinstance(value, dict) else value

    def to_plain(value: Any) -> Any:
        if isinstance(value, (bson.Int64, bson.Binary)):
            return int(value) if isinstance(value, bson.Int64) else bytes(value)
        if isinstance(value, list):
            return [to_plain(item) for item in value]
        return {key: to_plain(item) for key, item in value.items()} if isinstance(value, dict) else value

    text = json_util.dumps(to_bson(document), json_options=MODES[mode])
    assert same(plain_values(json.loads(text)), to_plain(document))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"$oid": "65E0A1B2C3D4E5F601234567"}, "65e0a1b2c3d4e5f601234567"),
        ("text", "text"),
        (7, "7"),
        ({"$numberLong": "-9223372036854775808"}, "-9223372036854775808"),
        ({"$numberDecimal": "1.50"}, "1.50"),
        (1.5, "1.5"),
        (True, "true"),
        ({"$uuid": str(UUID(int=5))}, str(UUID(int=5))),
        ({"$date": "2024-02-29T00:00:00Z"}, "2024-02-29T00:00:00+00:00"),
        ({"b": 1, "a": {"$oid": str(OID)}}, f'{{"a":"{OID}","b":1}}'),
    ],
)
def test_ids(written: Any, expected: str) -> None:
    """Every `_id` becomes one text by a rule."""
    assert from_mongo({"_id": written})["_id"] == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"$date": 1_709_209_800_001}, dt.datetime(2024, 2, 29, 12, 30, 0, 1000, UTC)),
        ({"$date": {"$numberLong": "-1"}}, dt.datetime(1969, 12, 31, 23, 59, 59, 999_000, UTC)),
        ({"$date": "2024-02-29T14:30:00.5+02:00"}, dt.datetime(2024, 2, 29, 12, 30, 0, 500_000, UTC)),
        ({"$date": {"$numberLong": "253402300800000"}}, {"$date": {"$numberLong": "253402300800000"}}),
        ({"$binary": base64.b64encode(b"x").decode(), "$type": "00"}, b"x"),
        ({"$numberInt": "5"}, 5),
        ({"$numberDouble": "-Infinity"}, float("-inf")),
        ({"$oid": "x" * 24, "more": 1}, {"$oid": "x" * 24, "more": 1}),
    ],
)
def test_older_forms_and_edges(written: Any, expected: Any) -> None:
    """Version 1 and dates out of Python's range."""
    assert same(plain_values({"v": written}), {"v": expected})


@pytest.mark.parametrize(
    "damaged",
    [{"$oid": "short"}, {"$oid": 5}, {"$date": "yesterday"}, {"$numberLong": "1.5"}, {"$binary": {"base64": "!"}}],
)
def test_a_damaged_mark_rejects_its_document(tmp_path: Path, damaged: Any) -> None:
    """The reject names the path; the document before and the one after it are read."""
    path = tmp_path / "a.json"
    path.write_text(LAYOUTS["lines"]([{"_id": "a"}, {"_id": "b", "list": [{"v": damaged}]}, {"_id": "c"}]))
    good, bad, last = mongo(path).extract("a")
    assert (good.document, last.document) == ({"_id": "a"}, {"_id": "c"})
    assert bad.fault is not None
    assert bad.fault.error == "invalid_extended_json"
    assert f"{path}:2: list[0].v is marked as {next(iter(damaged))}" in bad.fault.reason


FAR = [
    {"$date": {"$numberLong": "253402300800000"}},
    {"$date": {"$numberLong": "-62135596800001"}},
    {"$date": {"$numberLong": "9223372036854775807"}},
    {"$date": {"$numberLong": "-9223372036854775808"}},
    {"$date": 10**20},
    {"$date": "0000-01-01T00:00:00Z"},
    {"$date": "+010000-01-01T00:00:00Z"},
    {"$date": "-000044-03-15T00:00:00Z"},
    {"$date": "9999-12-31T23:59:59.999-01:00"},
    {"$date": "0001-01-01T00:00:00+01:00"},
    {"$date": "2020-01-01T00:00:00.1234567Z"},
    {"$timestamp": {"t": 1, "i": 1}},
    {"$minKey": 1},
    {"$regularExpression": {"pattern": "a", "options": ""}},
    {"$code": "x", "$scope": {}},
    {"$symbol": "x"},
    {"$undefined": True},
    {"$dbPointer": {"$ref": "b", "$id": {"$minKey": 1}}},
]


@pytest.mark.parametrize("value", FAR, ids=str)
@pytest.mark.parametrize("deep", [False, True])
def test_what_python_lacks_stays_as_it_is_marked(tmp_path: Path, value: Any, deep: bool) -> None:
    """In the document, in a list in an object, and as an id it is that text."""
    written = {"_id": "a", "v": [{"w": value}] if deep else value}
    path = tmp_path / "a.json"
    path.write_text(json.dumps(written) + "\n" + json.dumps({"_id": value}) + "\n")
    first, second = mongo(path).extract("a")
    assert first.document == written
    assert second.document is not None
    assert json.loads(second.document["_id"]) == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"$date": {"$numberLong": "253402300799999"}}, dt.datetime(9999, 12, 31, 23, 59, 59, 999_000, UTC)),
        ({"$date": {"$numberLong": "-62135596800000"}}, dt.datetime(1, 1, 1, tzinfo=UTC)),
        ({"$date": "9999-12-31T23:59:59.999Z"}, dt.datetime(9999, 12, 31, 23, 59, 59, 999_000, UTC)),
        ({"$date": "2020-01-01T00:00:00.123456000Z"}, dt.datetime(2020, 1, 1, 0, 0, 0, 123456, UTC)),
        ({"$numberDecimal": "9.999999999999999999999999999999999E+6144"}, Decimal("9." + "9" * 33 + "E+6144")),
        ({"$numberDecimal": "-0E-6176"}, Decimal("-0E-6176")),
        ({"$numberDouble": "-0.0"}, -0.0),
        ({"$numberDouble": "5E-324"}, 5e-324),
        ({"$numberDouble": "1.7976931348623157E+308"}, 1.7976931348623157e308),
        ({"$numberLong": "-9223372036854775808"}, -(2**63)),
    ],
)
def test_the_edges_of_what_python_has(value: Any, expected: Any) -> None:
    """The first and last date, and numbers with every digit."""
    assert repr(plain_values(value)) == repr(expected)


@pytest.mark.parametrize(
    "value",
    [
        {"$numberDouble": "1e400"},
        {"$numberDouble": "1e-400"},
        {"$numberDouble": "0.12345678901234567890123"},
        {"$numberDouble": "1_0"},
        {"$numberDecimal": "1_0"},
        {"$numberDecimal": " 1"},
        {"$numberDecimal": "1E99999999999999999999"},
        {"$uuid": "73ffd264-44b3-4c69-90e8-e7d1dfc035d"},
        {"$uuid": "73ffd26444b-34c6-990e8e-7d1dfc035d4"},
        {"$uuid": "{73ffd264-44b3-4c69-90e8-e7d1dfc035d4}"},
        {"$date": "2020-02-30T00:00:00Z"},
        {"$date": "2020-01-01T24:00:00Z"},
        {"$date": True},
        {"$date": []},
        {"$oid": 7},
        {"$oid": "x" * 24},
        {"$binary": {"base64": "?", "subType": "00"}},
        {"$binary": {"base64": "AA==", "subType": "zz"}},
        {"$binary": {"subType": "00"}},
        {"$numberInt": "1.5"},
        {"$numberLong": "9" * 5000},
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_damaged_mark_names_place_and_id(tmp_path: Path, value: Any) -> None:
    """One reject with the line, the path and the id, an ObjectId too; the others are given."""
    for id, shown in (("b", "b"), ({"$oid": str(OID)}, str(OID)), (7, "7"), (value, "")):
        path = tmp_path / "a.json"
        path.write_text(
            "".join(json.dumps(d) + "\n" for d in ({"_id": 1}, {"_id": id, "v": {"w": [value]}}, {"_id": 3}))
        )
        first, second, third = mongo(path).extract("a")
        assert (first.document, third.document) == ({"_id": "1"}, {"_id": "3"})
        assert second.fault is not None
        assert second.fault.error == "invalid_extended_json"
        assert second.fault.reason.startswith(f"{path}:2: {'v.w[0]' if shown else '_id'} is marked as ")
        assert second.fault.id == shown


@pytest.mark.parametrize(
    ("hit", "expected"),
    [
        ({"_id": 5, "_source": {"u": 1}}, {"_id": "5", "u": 1}),
        ({"_id": 10021042309491564510020011410144, "_source": {}}, {"_id": "10021042309491564510020011410144"}),
        ({"_id": -(2**70), "_source": {}}, {"_id": str(-(2**70))}),
        ({"_id": 0, "_source": {}}, {"_id": "0"}),
        ({"_id": "05", "_source": {}}, {"_id": "05"}),
        ({"_id": 5, "_source": {"_id": 5}}, {"_id": "5"}),
        ({"_id": 5, "_source": {"_id": "5"}}, {"_id": "5"}),
        ({"_id": "5", "_source": {"_id": 5}}, {"_id": "5"}),
        ({"_id": 5, "_source": {"_id": 6}}, "id_mismatch"),
        ({"_id": 5, "_source": None}, "no_source"),
        ({"_id": 5}, "no_source"),
        ({"_id": 5, "_source": [1]}, "no_source"),
    ],
)
def test_an_id_of_elasticsearch_is_a_text(tmp_path: Path, hit: Any, expected: Any) -> None:
    """Written as digits by --support-big-int; a fault names it as well."""
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"_index": "a", **hit}) + "\n")
    (found,) = elastic(path).extract("a")
    if isinstance(expected, str):
        assert found.fault is not None
        assert (found.fault.error, found.fault.id) == (expected, "5")
    else:
        assert found.document == expected
    path.write_text(json.dumps({"_id": 7, "bare": True}) + "\n")
    (bare,) = elastic(path).extract("a")
    assert bare.document == {"_id": "7", "bare": True}


@pytest.mark.parametrize("id", [1.5, 1e31, True, None, [1], {"a": 1}])
def test_an_id_that_is_no_text_nor_digits_is_not_made_one(id: Any) -> None:
    """A rounded number would be another document's id."""
    assert from_elastic({"_index": "a", "_id": id, "_source": {}})["_id"] is id


@pytest.mark.parametrize(
    ("line", "id"),
    [
        (b'{"_id":"b","v":NaN}', "b"),
        (b'{"v":{"_id":"x"},"_id":"b","w":1e400}', "b"),
        (b'{"_id":{"$oid":"65e0a1b2c3d4e5f601234567"},"v":"\xff"}', "65e0a1b2c3d4e5f601234567"),
        (b'{"_id":7,"v":"a\x01"}', "7"),
        (b'{"_id":"b","v":[1,}', "b"),
        (b'{"_id":"b"', "b"),
        (b'{"v":1', ""),
        (b"nonsense", ""),
        (b"[1]", ""),
    ],
)
@pytest.mark.parametrize("make", [mongo, elastic])
def test_a_text_that_is_no_json_still_names_its_id(tmp_path: Path, line: bytes, id: str, make: Any) -> None:
    """Where the text shows it; and it is kept as it stands."""
    path = tmp_path / "a.json"
    path.write_bytes(b'{"_id":"a"}\n' + line + b'\n{"_id":"c"}\n')
    first, second, third = make(path).extract("a")
    assert (first.document, third.document) == ({"_id": "a"}, {"_id": "c"})
    assert second.fault.id == id
    assert second.fault.document == line
    assert second.fault.reason.startswith(f"{path}:2: ")


def test_bad_lines_are_rejects(tmp_path: Path) -> None:
    """A torn line, one that is not an object, and a hit without source are counted; the others are written."""
    (tmp_path / "a.json").write_text('{"_id": "torn\n[1]\n{"_id": "ok"}\n{"_id": {"$oid": "x"}}\n')
    options: dict[str, Any] = {"checkpoint": str(tmp_path / "c"), "rejects": str(tmp_path / "r")}
    report = migrator.run(f"mongo:{tmp_path / 'a.json'}", str(tmp_path / "out"), **options)
    assert (report.totals.read, report.totals.written, report.totals.rejected) == (4, 1, 3)
    hits = [{"_index": "i", "_id": "1"}, {"_index": "i", "_id": "1", "_source": {"_id": "2"}}]
    (tmp_path / "e.json").write_text(LAYOUTS["lines"]([*hits, {"_id": "x", "bare": 1}]))
    found = list(elastic(tmp_path / "e.json").extract("e"))
    assert [record.fault.error if record.fault else record.document for record in found] == [
        "no_source", "id_mismatch", {"_id": "x", "bare": 1},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (bson.encode({"a": "b"}), "bsondump"),
        (b"\x6d\xe2\x99\x81" + bytes(8), "binary"),
        ('{"a":1}\n'.encode("utf-16"), "iconv"),
    ],
)
def test_what_is_no_text_is_refused(raw: bytes, words: str, tmp_path: Path) -> None:
    """A file of mongodump, or one that PowerShell wrote: what to do is said, instead of rejecting each line."""
    (tmp_path / "a.bson").write_bytes(raw)
    with pytest.raises(ConfigError, match=words):
        list(mongo(tmp_path / "a.bson").extract("a"))


def test_an_export_that_is_read_as_ndjson_says_how_to_read_it(tmp_path: Path) -> None:
    """Whoever forgets the scheme is told it by the reject."""
    (tmp_path / "a.ndjson").write_text(json_util.dumps({"_id": OID}) + "\n")
    options: dict[str, Any] = {"checkpoint": str(tmp_path / "c"), "rejects": str(tmp_path / "r")}
    report = migrator.run(str(tmp_path / "a.ndjson"), str(tmp_path / "out"), **options)
    assert report.totals.rejected == 1
    assert "--from mongo:FILE" in (tmp_path / "r").read_text()


def test_a_broken_object_and_a_foreign_position_end_the_run(tmp_path: Path) -> None:
    """Where objects follow one another over lines, what follows a break cannot be told."""
    path = tmp_path / "a.json"
    path.write_text('{\n"_id": "a"}\n{\n"_id": }\n')
    with pytest.raises(ConfigError, match=r"a\.json"):
        list(mongo(path).extract("a"))
    for position in ("x", 5, "900:1"):
        with pytest.raises(CheckpointError):
            list(mongo(path).extract("a", after=position))
    with pytest.raises(ConfigError, match="no file or folder"):
        mongo(tmp_path / "none.json")


@pytest.mark.parametrize("layout", ["lines", "array"])
def test_memory_is_bounded(tmp_path: Path, layout: str) -> None:
    """A file is not held, whatever its size and layout."""
    path = tmp_path / "a.json"
    path.write_text(LAYOUTS[layout]([{"_id": str(n), "t": "x" * 1000} for n in range(15_000)]))
    tracemalloc.start()
    assert sum(1 for _ in read_texts(path)) == 15_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 9_000_000


@pytest.mark.parametrize("layout", ["lines", "array"])
def test_a_killed_run_goes_on(tmp_path: Path, layout: str) -> None:
    """After SIGKILL in the middle and --resume, every document is at the target once."""
    written = [{"_id": {"$oid": f"{n:024x}"}, "n": {"$numberLong": str(n)}} for n in range(15_000)]
    (tmp_path / "a.json").write_text(LAYOUTS[layout](written))
    found = killed_and_resumed("mongo:a.json", tmp_path)
    assert found == [{"_id": f"{n:024x}", "n": n} for n in range(15_000)]


@pytest.mark.parametrize("name", ["hits.json", "hits.json.gz", "big-int.json", "source-only.json"])
def test_what_elasticdump_wrote_is_read(name: str, tmp_path: Path) -> None:
    """Files that elasticdump itself wrote: every hit under its id, and digits wherever it kept them itself."""
    whole = name == "big-int.json"
    expected = {hit["_id"]: {**hit["_source"], "_id": hit["_id"]} for hit in HITS}
    if not whole:
        # It takes numbers as JavaScript does, where it is not told --support-big-int.
        expected["big"] |= {"n": 9007199254740992, "exact": 9223372036854776000}
    source = f"elasticdump:{DATA / f'elasticdump-{ELASTICDUMP}-{name}'}"
    options: dict[str, Any] = {"checkpoint": str(tmp_path / "c"), "rejects": str(tmp_path / "r")}
    if name == "source-only.json":
        options["transform"] = ["id:hash"]
        for document in expected.values():
            # Only the last has an id of its own, which then stays.
            document.pop("_id")
    report = migrator.run(source, str(tmp_path / "out"), **options)
    assert report.totals.written == len(HITS)
    (file,) = (tmp_path / "out").iterdir()
    found = [json.loads(line) for line in file.read_bytes().splitlines()]
    if name == "source-only.json":
        contents = [{key: value for key, value in document.items() if key != "_id"} for document in found]
        assert contents == list(expected.values())
    else:
        assert {document["_id"]: document for document in found} == expected
