"""CSV files as sources."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import json
import tracemalloc
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import migrator
from migrator.errors import CheckpointError, ConfigError
from migrator.extractors.csv import CsvExtractor
from migrator.testing import ExtractorContract, Source
from tests.contract.test_extractors import Local
from tests.sources.killing import killed_and_resumed

TEXTS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "tickets": [{"_id": f"t{n:03}", "number": str(n), "note": "two\nlines\r\n" * (n % 3)} for n in range(40)],
    "users": [
        {"_id": "!", "text": "", "": "an empty name"},
        {"_id": "a b/c", "text": 'a comma , a quote " a tab \t and \u2028', "": '"'},
        {"_id": "line\nbreak", "text": "\n", "": "\r\n"},
        {"_id": "é", "text": "'", "": " spaces "},
        {"_id": "\U0001f600", "text": "\U0001f600" * 100, "": "\x00"},
    ],
    "nothing": [],
}


def text_of(documents: Sequence[Mapping[str, Any]], names: Sequence[str] = ("_id",), **dialect: Any) -> str:
    """As the standard library writes it."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(documents[0]) if documents else list(names), **dialect)
    writer.writeheader()
    writer.writerows(documents)
    return out.getvalue()


def records(source: str, name: str = "a", after: Any = None) -> list[Any]:
    """All records."""
    return list(CsvExtractor(source).extract(name, after=after))


def documents(source: str) -> list[Any]:
    """All documents; a fault fails."""
    found = records(source)
    assert [record.fault for record in found if record.fault] == []
    return [record.document for record in found]


class TestCsv(ExtractorContract):
    """Of a folder, in each packing."""

    contents: ClassVar[Mapping[str, Sequence[Mapping[str, Any]]]] = TEXTS

    @pytest.fixture(params=[".csv", ".tsv", ".csv.gz", ".csv.zst"])
    def source(self, request: pytest.FixtureRequest, tmp_path: Path) -> Source:
        """One file for each collection."""
        for name, rows in TEXTS.items():
            raw = text_of(rows, delimiter="\t" if ".tsv" in request.param else ",").encode()
            if request.param.endswith(".gz"):
                raw = gzip.compress(raw)
            elif request.param.endswith(".zst"):
                raw = zstandard.compress(raw)
            (tmp_path / f"{name}{request.param}").write_bytes(raw)
        return Local(lambda names: CsvExtractor(str(tmp_path), collections=names))


fields = st.text(st.characters(codec="utf-8", exclude_characters="\ufeff"))
rows = st.lists(st.fixed_dictionaries({"a": fields, "b": fields}))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows, st.sampled_from([",", ";", "\t", "|"]), st.sampled_from(["\r\n", "\n"]), st.sampled_from(['"', "'"]))
def test_whatever_is_written_is_read(
    tmp_path: Path, content: list[dict[str, str]], delimiter: str, end: str, quote: str
) -> None:
    """Any text in any field, in any dialect, comes back, and from each position exactly the rest."""
    written = text_of(
        content, ("a", "b"), delimiter=delimiter, lineterminator=end, quotechar=quote, quoting=csv.QUOTE_ALL
    )
    path = tmp_path / "a.csv"
    path.write_bytes(written.encode())
    said = {"\t": "tab", ";": "%3B"}.get(delimiter, delimiter)
    source = f"{path}?delimiter={said}&quote={quote}"
    found = records(source)
    assert [record.document for record in found] == content
    for number in range(1, len(found) + 1, 3):
        assert records(source, after=found[number - 1].position) == found[number:]


def test_dialects(tmp_path: Path) -> None:
    """Delimiter, quote, escape, encoding, and names where the file has no header."""
    path = tmp_path / "a.csv"
    path.write_bytes("a;b\n'x;y';Zoë\n".encode("latin-1"))
    assert documents(f"{path}?delimiter=;&quote='&encoding=latin-1") == [{"a": "x;y", "b": "Zoë"}]
    path.write_text('1|it\\|s\n2|"\n')
    assert documents(f"{path}?delimiter=|&quote=none&escape=\\&header=n,t") == [
        {"n": "1", "t": "it|s"},
        {"n": "2", "t": '"'},
    ]
    path.write_bytes(b"\xef\xbb\xbfa,b\r\n\r\n1,2\r\n\r\n")
    assert documents(str(path)) == [{"a": "1", "b": "2"}]
    path.write_text("a,b\n1,2")
    assert documents(str(path)) == [{"a": "1", "b": "2"}]
    path.write_bytes('名,b\n日本,ソ"表\n'.encode("cp932"))
    assert documents(f"{path}?encoding=cp932") == [{"名": "日本", "b": 'ソ"表'}]


def test_types_are_asked_for(tmp_path: Path) -> None:
    """Without types every field is text; auto takes what is written back the same; named ones are held to."""
    path = tmp_path / "a.csv"
    path.write_text("i,f,b,z,e,big\n7,1.5,true,007,,36893488147419103233\n-0,1.50,True,1e5,x,NaN\n")
    assert documents(str(path))[0] == {
        "i": "7",
        "f": "1.5",
        "b": "true",
        "z": "007",
        "e": "",
        "big": str(2**65 + 1),
    }
    assert documents(f"{path}?types=auto") == [
        {"i": 7, "f": 1.5, "b": True, "z": "007", "e": None, "big": 2**65 + 1},
        {"i": "-0", "f": "1.50", "b": "True", "z": "1e5", "e": "x", "big": "NaN"},
    ]
    path.write_text(
        "n,price,born,at,id,j,ok,t\n"
        '7,1.50,2024-02-29,2024-02-29T12:00:00+00:00,00000000-0000-0000-0000-000000000001,"{""a"":1.0}",yes,N\n'
        ",,,,,,,x\n"
    )
    types = "n:int,price:decimal,born:date,at:datetime,id:uuid,j:json,ok:bool"
    first, second = documents(f"{path}?types={types}&null=N")
    assert first == {
        "n": 7,
        "price": Decimal("1.50"),
        "born": date(2024, 2, 29),
        "at": datetime.fromisoformat("2024-02-29T12:00:00+00:00"),
        "id": UUID(int=1),
        "j": {"a": 1.0},
        "ok": True,
        "t": None,
    }
    assert second == {**dict.fromkeys(first), "t": "x"}


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("1", "field_count"),
        ("1,2,3", "field_count"),
        ('1,"a"b', "invalid_csv"),
        ("1,é", "invalid_encoding"),
        ("x,2", "invalid_value"),
    ],
)
def test_a_bad_record_is_a_fault_and_the_others_are_read(tmp_path: Path, line: str, error: str) -> None:
    """Each is rejected with its line, counted once, and reading goes on after it."""
    path = tmp_path / "a.csv"
    path.write_bytes(f"_id,b\n1,ok\n{line}\n3,ok\n".encode("latin-1"))
    source = f"{path}?types=_id:int"
    found = records(source)
    assert [record.fault.error if record.fault else record.document["_id"] for record in found] == [
        "1",
        error,
        "3",
    ]
    assert f"{path}:3:" in found[1].fault.reason
    assert records(source, after=found[1].position) == found[2:]
    report = migrator.run(
        f"{path}", str(tmp_path / "out"), checkpoint=str(tmp_path / "c"), rejects=str(tmp_path / "r"), transform=[]
    )
    assert report.totals.read == 3


EXACT: list[tuple[str, str, Any]] = [
    ("float", "0.1", 0.1),
    ("float", "0.30000000000000004", 0.30000000000000004),
    ("float", "0.1000000000000000055511151231257827021181583404541015625", 0.1),
    ("float", "1.50", 1.5),
    ("float", " 7 ", 7.0),
    ("float", "5e-324", 5e-324),
    ("float", "0.000", 0.0),
    ("float", "9007199254740992", 9007199254740992.0),
    ("float", "9007199254740993", None),
    ("float", "12345678901234567890.5", None),
    ("float", "3.14159265358979323846", None),
    ("float", "1e-400", None),
    ("float", "-1e-320000", None),
    ("float", "1.2345e-320", None),
    ("float", "1e400", None),
    ("float", "nan", None),
    ("float", "1_0", None),
    ("float", "0x10", None),
    (
        "decimal",
        "0.10000000000000000000000000000000000000001",
        Decimal("0.10000000000000000000000000000000000000001"),
    ),
    ("decimal", "1e-400", Decimal("1e-400")),
    ("decimal", "sNaN", None),
    ("decimal", "1e99999999999999999999", None),
    ("int", "9" * 100, 10**100 - 1),
    ("int", "1.0", None),
    ("int", "9" * 5000, None),
    ("datetime", "2020-01-31T10:00:00.1234567Z", "2020-01-31T10:00:00.1234567Z"),
    ("datetime", "2020-01-31T10:00:00.123456789Z", "2020-01-31T10:00:00.123456789Z"),
    ("datetime", "2020-01-31 10:00:00,000000001+02:00", "2020-01-31 10:00:00,000000001+02:00"),
    ("datetime", "2020-01-31T10:00:00.123456000Z", dt.datetime(2020, 1, 31, 10, 0, 0, 123456, dt.UTC)),
    ("datetime", "2020-01-31T10:00:00.5", dt.datetime(2020, 1, 31, 10, 0, 0, 500_000)),
    ("datetime", "2020-01-31T24:00:00", None),
    ("datetime", "2020-01-31 24:00", None),
    ("datetime", "20200131T240000", None),
    ("datetime", "10000-01-01T00:00:00", None),
    ("datetime", "0000-01-01T00:00:00", None),
    ("datetime", "2020-02-30T00:00:00.1234567", None),
    ("datetime", "2020-06-30T23:59:60", None),
    ("date", "0001-01-01", dt.date(1, 1, 1)),
    ("date", "infinity", None),
    ("date", "2020-01-31T10:00:00", None),
    ("time", "10:00:00.1234567", "10:00:00.1234567"),
    ("time", "10:00:00.1234560", dt.time(10, 0, 0, 123456)),
    ("time", "24:00:00", None),
    ("time", "T24:00", None),
    ("json", "1e400", None),
    ("json", "NaN", None),
    ("uuid", "nope", None),
    ("bool", "2", None),
]


@pytest.mark.parametrize(("kind", "text", "value"), EXACT)
def test_a_value_comes_with_every_digit_or_not_at_all(tmp_path: Path, kind: str, text: str, value: Any) -> None:
    """None stands for a reject, which names line, column, id and what the file holds."""
    path = tmp_path / "a.csv"
    path.write_text(f'_id,v\na,\nb,"{text}"\nc,\n')
    first, second, third = records(f"{path}?types=v:{kind}")
    assert first.document == {"_id": "a", "v": None}
    assert third.document == {"_id": "c", "v": None}
    if value is None:
        assert second.fault.id == "b"
        assert second.fault.reason.startswith(f"{path}:3: v is ")
        assert second.fault.document == {"_id": "b", "v": text}
    else:
        assert second.document["v"] == value
        assert type(second.document["v"]) is type(value)


@pytest.mark.parametrize(
    ("types", "text", "id"),
    [
        ("auto", "7", "7"),
        ("auto", "007", "007"),
        ("auto", "1.5", "1.5"),
        ("auto", "true", "true"),
        ("_id:int", "007", "7"),
        ("_id:decimal", "1.50", "1.50"),
        ("_id:uuid", "{00000000-0000-0000-0000-00000000000A}", "00000000-0000-0000-0000-00000000000a"),
        ("_id:date", "2020-01-31", "2020-01-31"),
        ("_id:text", "7", "7"),
    ],
)
def test_an_id_is_a_text_whatever_its_type(tmp_path: Path, types: str, text: str, id: str) -> None:
    """A file knows texts alone, so no type makes its ids something that no id can be."""
    path = tmp_path / "a.csv"
    path.write_text(f"_id,v\n{text},1\n")
    assert [record.document["_id"] for record in records(f"{path}?types={types}")] == [id]


@pytest.mark.parametrize(
    ("bad", "encoding"),
    [
        (b"\xff", "utf-8"),
        (b"\xc3", "utf-8"),
        (b"\xed\xa0\x80", "utf-8"),
        (b"\xf5\x80\x80\x80", "utf-8"),
        (b"\x81", "cp1252"),
        (b"\xe9", "ascii"),
        (b"\xfd", "shift_jis"),
        (b"\x81", "euc_jp"),
    ],
)
@pytest.mark.parametrize("field", [b"%s", b'"x\n%s\ny"', b'"%s,"', b"a%sb", b'"""%s"'])
def test_bytes_of_another_encoding_reject_their_record_alone(
    tmp_path: Path, bad: bytes, encoding: str, field: bytes
) -> None:
    """Also in a quoted field of several lines: the record ends where it ends, and id and column are named."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"_id,v,w\n1,x,y\n2," + field % bad + b",y\n3,x,y\n")
    first, second, third = records(f"{path}?encoding={encoding}")
    assert (first.document["_id"], third.document["_id"]) == ("1", "3")
    assert second.fault.error == "invalid_encoding"
    assert second.fault.reason.startswith(
        f"{path}:3: byte 0x{bad[0]:02x} is not {encoding.replace('_', '')[:3]}"[:-3]
    )
    assert second.fault.id == "2"
    assert second.fault.document["w"] == "y"
    assert "\\x" in second.fault.document["v"]
    assert records(f"{path}?encoding={encoding}", after=second.position) == [third]


SPECTRUM = {
    'a,b\n1,"ha \n""ha"" \nha"\n3,4\n': [{"a": "1", "b": 'ha \n"ha" \nha'}, {"a": "3", "b": "4"}],
    'a,b,c\n1,"",""\n2,3,4\n': [{"a": "1", "b": "", "c": ""}, {"a": "2", "b": "3", "c": "4"}],
    'k,v\n1,"{""t"": ""P"", ""c"": [1.5, 2]}"\n': [{"k": "1", "v": '{"t": "P", "c": [1.5, 2]}'}],
    'a,b\n1,"ha ""ha"" ha"\n': [{"a": "1", "b": 'ha "ha" ha'}],
    'first,last,address\nJohn,Doe,"1, Main St."\n': [{"first": "John", "last": "Doe", "address": "1, Main St."}],
    "a,b,c\n1,2,3\n4,5,\u02a4\n": [{"a": "1", "b": "2", "c": "3"}, {"a": "4", "b": "5", "c": "\u02a4"}],
}


@pytest.mark.parametrize("text", SPECTRUM)
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_the_spectrum_of_csv_is_read_as_its_makers_say(tmp_path: Path, text: str, ends: str) -> None:
    """Commas, quotes and line breaks in quotes, empty fields, JSON, other alphabets, both ends of lines."""
    path = tmp_path / "a.csv"
    path.write_bytes(text.replace("\n", ends).encode())
    found = [record.document for record in records(str(path))]
    assert found == [
        {name: value.replace("\n", ends) for name, value in document.items()} for document in SPECTRUM[text]
    ]


def test_a_quote_without_end_does_not_eat_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short one is a fault with its line; where the rest of a large file would be one record, the run ends."""
    path = tmp_path / "a.csv"
    path.write_text('a,b\n1,2\n3,"4\n5,6\n')
    found = records(str(path))
    assert [record.fault.error if record.fault else record.document for record in found] == [
        {"a": "1", "b": "2"},
        "invalid_csv",
    ]
    path.write_text('a,b\n1,2\n3,"4\n' + "5,6\n" * 100_000)
    monkeypatch.setattr("migrator.extractors.csv.MAX_RECORD_BYTES", 10_000)
    extractor = CsvExtractor(str(path))
    with pytest.raises(ConfigError, match=r"a.csv:3: the record that begins here has no end"):
        list(extractor.extract("a"))
    path.write_text("a,b\n" + "x" * 3_000_000)
    with pytest.raises(ConfigError, match="no end within 10000"):
        list(CsvExtractor(str(path)).extract("a"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("delimitter=;", "Did you mean delimiter"),
        ("delimiter=;;", "delimiter"),
        ("encoding=utf-16", "iconv"),
        ("encoding=nonsense", "not known"),
        ("quote=ab", "quote"),
        ("types=c:int", "no column 'c'"),
        ("types=a:number", "Known are: text, int"),
        ("null=a&null=b", "twice"),
    ],
)
def test_options_that_cannot_be_are_refused(tmp_path: Path, options: str, words: str) -> None:
    """Before anything is read, with what could be said instead."""
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ConfigError, match=words):
        records(f"{path}?{options}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"a,a\n1,2\n", "'a' twice"),
        (b"a;b\n1;2\n", "delimiter=;"),
        (b"a\tb\n", "delimiter=tab"),
        (b"\xff,b\n", "header"),
        ("a,b\n".encode("utf-16"), "iconv -f UTF-16"),
        (b"a,b\r1,2\r", "old Mac"),
        (b"sep=;\na;b\n", "tail -n"),
        (b"sep=,\na,b\n", "tail -n"),
    ],
)
def test_a_header_that_cannot_be_is_refused(tmp_path: Path, text: bytes, words: str) -> None:
    """Two columns of one name, another delimiter or encoding, or what only a spreadsheet reads: each is named."""
    path = tmp_path / "a.csv"
    path.write_bytes(text)
    with pytest.raises(ConfigError, match=words):
        records(str(path))


def test_a_shorter_file_is_not_gone_on_with(tmp_path: Path) -> None:
    """A position after the file's end, or of something else, ends the run."""
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n")
    for position in ("500:3", "x", 5):
        with pytest.raises(CheckpointError):
            records(str(path), after=position)


def test_memory_is_bounded(tmp_path: Path) -> None:
    """A file is not held, whatever its size."""
    path = tmp_path / "a.csv"
    with path.open("w") as file:
        file.write("a,b\n")
        for number in range(20_000):
            file.write(f'{number},"{"x" * 500}\n{"y" * 500}"\n')
    tracemalloc.start()
    count = sum(1 for _ in CsvExtractor(str(path)).extract("a"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 8_000_000


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    """After SIGKILL in the middle and --resume, every record is at the target once."""
    path = tmp_path / "a.csv"
    path.write_text(
        text_of([{"_id": f"{n:06}", "t": "two\nlines, é" * (n % 3)} for n in range(20_000)]), newline=""
    )
    found = killed_and_resumed("a.csv", tmp_path)
    assert [document["_id"] for document in found] == [f"{n:06}" for n in range(20_000)]
    assert json.dumps(found[5]["t"]) == json.dumps("two\nlines, é" * 2)
