"""The report: the documented JSON for machines, an aligned table for people."""

from __future__ import annotations

import json

import pytest

from migrator.errors import ConfigError
from migrator.model import CollectionReport, Counts, Report
from migrator.report.summary import dump, report_from_json, report_to_json, report_to_table, table

USERS = Counts(read=1500, written=1000, unchanged=200, skipped=100, filtered=150, rejected=50, conflicts=120)
REPORT = Report(
    {"Users": CollectionReport("users", USERS), "tickets": CollectionReport("tickets", Counts(500, 500))}, 4.0004
)


def test_has_the_documented_schema() -> None:
    """Exactly these keys, in this order."""
    expected = {
        "schema": 1,
        "ok": False,
        "collections": {
            "Users": {
                "database": "users",
                "read": 1500,
                "written": 1000,
                "unchanged": 200,
                "skipped": 100,
                "filtered": 150,
                "rejected": 50,
                "conflicts": 120,
                "proven": 0,
                "altered": 0,
            },
            "tickets": {
                "database": "tickets",
                "read": 500,
                "written": 500,
                "unchanged": 0,
                "skipped": 0,
                "filtered": 0,
                "rejected": 0,
                "conflicts": 0,
                "proven": 0,
                "altered": 0,
            },
        },
        "totals": {
            "read": 2000,
            "written": 1500,
            "unchanged": 200,
            "skipped": 100,
            "filtered": 150,
            "rejected": 50,
            "conflicts": 120,
            "proven": 0,
            "altered": 0,
        },
        "seconds": 4.0,
        "documents_per_second": 500.0,
    }
    made = report_to_json(REPORT)
    assert json.dumps(expected) == json.dumps(made)


def test_says_what_else_there_is() -> None:
    """What earlier runs had settled, where the rejects are, and that nothing was written."""
    report = Report({}, 1.0, Counts(read=5, written=5))
    made = report_to_json(report, rejects="r.ndjson", dry_run=True)
    assert made["settled_before"] == Counts(read=5, written=5).as_dict()
    assert (made["rejects"], made["dry_run"], made["ok"]) == ("r.ndjson", True, True)


@pytest.mark.parametrize(
    ("counts", "carried", "ok"),
    [
        (Counts(), Counts(), True),
        (Counts(read=2, written=1, skipped=1, conflicts=1), Counts(), True),
        (Counts(read=1, rejected=1), Counts(), False),
        (Counts(read=2, written=1), Counts(), False),
        (Counts(read=1, written=1), Counts(read=1, rejected=1), False),
    ],
)
def test_is_ok_only_when_all_is_there(counts: Counts, carried: Counts, ok: bool) -> None:
    """A reject of this run or of one gone on from, or a number that does not add up, is not ok."""
    assert ok == Report({"c": CollectionReport("c", counts)}, 1.0, carried).ok


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_no_time_is_no_rate(seconds: float) -> None:
    """A clock that did not move divides nothing by zero."""
    report = Report({"c": CollectionReport("c", Counts(5, 5))}, seconds)
    assert report_to_json(report)["documents_per_second"] == 0.0
    assert "(0/s)" in report_to_table(report)


def test_is_readable() -> None:
    """Names to the left, numbers to the right, a line of totals, one sentence."""
    expected = """\
collection  database   read  written  unchanged  skipped  filtered  rejected  conflicts
----------  --------  -----  -------  ---------  -------  --------  --------  ---------
Users       users     1,500    1,000        200      100       150        50        120
tickets     tickets     500      500          0        0         0         0          0
----------  --------  -----  -------  ---------  -------  --------  --------  ---------
total                 2,000    1,500        200      100       150        50        120
2,000 documents accounted for in 4.0 s (500/s)
"""
    assert expected == report_to_table(REPORT)


def test_a_column_without_anything_is_left_out() -> None:
    """But for what everybody looks for: read, written and rejected."""
    report = Report({"c": CollectionReport("d", Counts(read=2, written=1, filtered=1))}, 1.0)
    head = report_to_table(report).splitlines()[0]
    assert head.split() == ["collection", "database", "read", "written", "filtered", "rejected"]


def test_wide_letters_keep_their_columns() -> None:
    """East Asian letters take two columns of a terminal, what is set over a letter none."""
    assert table([("name", "n"), ("東京", "1"), ("e\u0301", "2")]) == "name  n\n----  -\n東京  1\ne\u0301     2"


def test_lists_of_numbers_stand_on_one_line() -> None:
    """And a text that looks like one is left as it is."""
    value = {"a": [1, -2.5, None], "b": ["1", "2"], "c": "[\n  1\n]", "d": [], "e": [[1, 2], [3]]}
    text = dump(value)
    assert json.loads(text) == value
    assert '"a": [1, -2.5, null]' in text
    assert "[1, 2],\n" in text


def test_comes_back_from_json() -> None:
    """What was written can be shown again."""
    report = Report(REPORT.collections, 4.0, Counts(read=5, written=5))
    again = report_from_json(json.loads(dump(report_to_json(report))), name="r.json")
    assert again == report
    assert report_to_table(again) == report_to_table(report)


@pytest.mark.parametrize("value", [None, [], {}, {"schema": 1}, {"schema": 9, "collections": {}, "seconds": 1}])
def test_what_is_no_report_is_refused(value: object) -> None:
    """With its name and a hint."""
    with pytest.raises(ConfigError, match=r"r\.json is (not )?a report") as caught:
        report_from_json(value, name="r.json")
    assert caught.value.hint


def test_tells_of_dry_and_of_earlier_runs() -> None:
    """A dry run says that nothing was written, a resumed one what was there before."""
    report = Report({}, 1.0, Counts(read=1234, written=1234))
    assert "dry run, nothing was written" in report_to_table(report, dry_run=True)
    assert "1,234 more had been settled" in report_to_table(report)


def test_names_from_outside_stay_on_their_line() -> None:
    """A collection's name can break neither the table nor the terminal."""
    report = Report({"a\n\x1b[31mb\ud800": CollectionReport("c", Counts())}, 1.0)
    lines = report_to_table(report).splitlines()
    assert len(lines) == 6
    assert lines[2].startswith("a\\n\\x1b[31mb\\ud800  c")


@pytest.mark.parametrize("name", ["zoë", "\ud800", "\u2028", 'a"b', "\x00"])
def test_json_can_always_be_written(name: str) -> None:
    """Whatever a collection is called: the text is UTF-8, and read back it is the same."""
    text = dump({"collections": {name: 1}})
    assert {"collections": {name: 1}} == json.loads(text.encode())
    assert text.endswith("\n")


def test_text_stays_readable_in_json() -> None:
    """What can be written as it is is not escaped."""
    assert '"zoë"' in dump({"name": "zoë"})


def test_a_table_of_one_row() -> None:
    """A head alone is a head alone."""
    assert table([("a", "b")]) == "a  b\n-  -"


def test_what_was_proven_is_said_below_the_table() -> None:
    """It is not an end of a document, as the columns are; what was changed on its way is."""
    counts = Counts(read=3, written=2, rejected=1, proven=2, altered=1)
    text = report_to_table(Report({"c": CollectionReport("c", counts)}, 1.0))
    assert text.splitlines()[0].split()[2:] == ["read", "written", "rejected", "altered"]
    assert text.endswith("3 documents accounted for in 1.0 s (3/s), 2 proven\n")
