"""Blanks after commas: skipped where that is asked for, else said; never quotes in names and values unasked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from migrator.errors import ConfigError
from migrator.extractors.csv import CsvExtractor


def read(path: Path, text: str, options: str = "") -> list[Any]:
    """Documents, and for a fault its word."""
    path.write_bytes(text.encode())
    extractor = CsvExtractor(f"{path}{options}")
    (collection,) = extractor.collections()
    return [record.fault.error if record.fault else record.document for record in extractor.extract(collection)]


CASES = [
    ('"_id", "name", "age"\n"a", "Ann", 7\n', [{"_id": "a", "name": "Ann", "age": "7"}]),
    ('_id, "name"\na, "Ann"\n', [{"_id": "a", "name": "Ann"}]),
    ('_id,   "name"\na,     "Ann"\n', [{"_id": "a", "name": "Ann"}]),
    ('_id,"name"\na, "Doe, Ann"\n', [{"_id": "a", "name": "Doe, Ann"}]),
    ('_id,"name"\na, "two\nlines"\n', [{"_id": "a", "name": "two\nlines"}]),
    ('_id,"name"\na, "say ""hi"""\n', [{"_id": "a", "name": 'say "hi"'}]),
    (' "_id","name"\n "a","Ann"\n', [{"_id": "a", "name": "Ann"}]),
    ("_id, name\na, Ann\n", [{"_id": "a", "name": "Ann"}]),
    ("_id,name\na, \n", [{"_id": "a", "name": ""}]),
    ('_id,name\r\na, "Ann"\r\n', [{"_id": "a", "name": "Ann"}]),
    ('_id,name\na,"Ann"', [{"_id": "a", "name": "Ann"}]),
    ('_id,name\na, "Ann"', [{"_id": "a", "name": "Ann"}]),
]


@pytest.mark.parametrize(("text", "documents"), CASES)
def test_blanks_are_skipped_where_asked(tmp_path: Path, text: str, documents: list[Any]) -> None:
    """After every delimiter, in the header as in the records."""
    assert documents == read(tmp_path / "a.csv", text, "?skip_space=true")


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ('"_id", "name"\n"a", "Ann"\n', "?skip_space=true&types=auto"),
        ('"_id"; "name"\n"a"; "Ann"\n', "?delimiter=;&skip_space=true"),
        ("'_id', 'name'\n'a', 'Ann'\n", "?quote='&skip_space=true"),
        ('"a", "Ann"\n', "?header=_id,name&skip_space=true"),
    ],
)
def test_goes_with_other_options(tmp_path: Path, text: str, options: str) -> None:
    """Whichever the delimiter and the quote are."""
    assert read(tmp_path / "a.csv", text, options) == [{"_id": "a", "name": "Ann"}]


@pytest.mark.parametrize(
    ("name", "text", "options"),
    [
        ("a.csv", '"_id", "name", "age"\n"a", "Ann", 7\n', ""),
        ("a.csv", '_id, "name"\n', ""),
        ("a.csv", ' "_id",name\n', ""),
        ("a.csv", '_id,name,  "last"\n', ""),
        ("a.csv", '\ufeff"_id", "name"\n', ""),
        ("a.csv", '"_id"; "name"\n', "?delimiter=;"),
        ("a.csv", "'_id', 'name'\n", "?quote='"),
        ("a.tsv", '"_id"\t "name"\n', ""),
        ("a.csv", '"_id", "two\n', ""),
    ],
)
def test_a_header_with_quotes_in_its_names_is_refused(tmp_path: Path, name: str, text: str, options: str) -> None:
    """With the option to write, beside those that were given."""
    with pytest.raises(ConfigError, match="a blank before its quote") as caught:
        read(tmp_path / name, text, options)
    assert f"skip_space=true{'&' + options[1:] if options else ''}'" in caught.value.hint
    hinted = caught.value.hint.split("'csv:")[1]
    assert hinted.startswith(str(tmp_path / name))


@pytest.mark.parametrize(
    ("row", "good"),
    [
        ('a, "Ann",7', False),
        ('a,  "Ann",7', False),
        ('a,b, "7"', False),
        (' "a",b,7', False),
        ('a, "Doe, Ann"', False),
        ('"x, ""y""", "Ann",7', False),
        ("a, Ann,7", True),
        ('a," ""Ann""",7', True),
        ('a,"x, ""y"" z",7', True),
        ('a,"x, ""y"" z", 7', True),
        ('a, 5" pipe,7', True),
        ('a,say "hi",7', True),
        ('"a","two\nlines, ""here""",7', True),
        ('"a"," ",7', True),
        ("a, ,7", True),
    ],
)
def test_a_record_with_quotes_in_its_values_is_a_reject(tmp_path: Path, row: str, good: bool) -> None:
    """And no other is: what is quoted rightly may hold blanks and quotes, and inches stand after a number."""
    (found,) = read(tmp_path / "a.csv", f"_id,name,age\n{row}\n")
    assert good is isinstance(found, dict)
    path = tmp_path / "a.csv"
    faults = [record.fault for record in CsvExtractor(str(path)).extract("a") if record.fault]
    assert good or (faults[0].error == "invalid_csv" and "skip_space=true" in faults[0].reason)


@pytest.mark.parametrize("options", ["?skip_space=yes", "?skip_space=", "?skip_space=true&delimiter=space"])
def test_what_cannot_be_is_said(tmp_path: Path, options: str) -> None:
    """With what it takes."""
    with pytest.raises(ConfigError) as caught:
        read(tmp_path / "a.csv", "_id\n", options)
    assert caught.value.hint


def test_without_quotes_nothing_is_quoted(tmp_path: Path) -> None:
    """Then they are letters like any other."""
    assert read(tmp_path / "a.csv", '_id, "n"\na, "x"\n', "?quote=none") == [{"_id": "a", ' "n"': ' "x"'}]
