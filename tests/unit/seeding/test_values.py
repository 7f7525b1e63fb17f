"""Expressions in the texts of fixtures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.errors import ConfigError
from migrator.fixtures.problems import Place
from migrator.fixtures.texts import Line
from migrator.fixtures.values import Expander, escaped, iso, parse_now

NOW = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)
HERE = Line("orders.ndjson", 7)


def expander(**environ: str) -> Expander:
    return Expander(environ, NOW, [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("${NAME}", "Ada"),
        ("Dear ${NAME}!", "Dear Ada!"),
        ("${OTHER:-nobody}", "nobody"),
        ("${OTHER:-}", ""),
        ("${EMPTY:-default}", ""),
        ("${now}", "2024-05-01T12:00:00Z"),
        ("${now-3d}", "2024-04-28T12:00:00Z"),
        ("${now+1w-2h+30m-5s}", "2024-05-08T10:29:55Z"),
        ("${now+250ms}", "2024-05-01T12:00:00.250Z"),
        ("${now-3d|date}", "2024-04-28"),
        ("${now|s}", 1714564800),
        ("${now+250ms|ms}", 1714564800250),
        ("at ${now|s}", "at 1714564800"),
        ("$${NAME}", "${NAME}"),
        ("$$${NAME}", "$${NAME}"),
        ("costs $5 {x} $", "costs $5 {x} $"),
        ("${ref:people/p/1}", "p/1"),
        ("${ref:p1}", "p1"),
    ],
)
def test_each_expression_has_its_value(text: str, expected: Any) -> None:
    """An expression gives what the table of the documentation says, alone and within a text."""
    ours = expander(NAME="Ada", EMPTY="")
    assert expected == ours.expand({"a": [{"b": text}]}, "orders", HERE)["a"][0]["b"]
    assert ours.problems == []


def test_now_in_a_value_that_is_no_expression_stays() -> None:
    """Only ${now-3d} is a date; the words now-3d are words."""
    assert expander().expand("now-3d", "d", HERE) == "now-3d"


def test_references_are_noted_with_their_database() -> None:
    """A reference without a database is to the own one; a slash in a database's name is written %2F."""
    ours = expander()
    ours.expand(["${ref:x}", "${ref:people/y}", "${ref:a%2Fb/z}"], "orders", HERE)
    assert [(found.database, found.id) for found in ours.references] == [
        ("orders", "x"),
        ("people", "y"),
        ("a/b", "z"),
    ]
    assert ours.references[0].place() == Place("orders.ndjson", 7)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("${MISSING}", "the variable MISSING is not set"),
        ("${now-3y}", "is no expression"),
        ("${now-3d|week}", "there is no form 'week'"),
        ("${now-9999999w}", "beyond the years"),
        ("${a b}", "is no expression"),
        ("${}", "is no expression"),
        ("${NAME", "without a closing brace"),
    ],
)
def test_wrong_expressions_are_told_with_their_place(text: str, words: str) -> None:
    """Nothing wrong passes as text, and nothing is raised, so that all problems come together."""
    ours = expander()
    ours.expand({"a": f"x {text}"}, "orders", HERE)
    assert [problem.place for problem in ours.problems] == [Place("orders.ndjson", 7)]
    assert words in ours.problems[0].message


def test_several_faults_of_one_text_are_all_told() -> None:
    """A text with two unset variables names both."""
    ours = expander()
    ours.expand("${ONE} ${TWO}", "orders", HERE)
    assert [problem.message[:16] for problem in ours.problems] == ["the variable ONE", "the variable TWO"]


@given(
    st.recursive(
        st.text("$}{aN") | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_escaped_values_come_out_as_they_went_in(value: Any) -> None:
    """Escaping is undone by expanding, whatever dollars and braces a text holds."""
    ours = expander()
    assert value == ours.expand(escaped(value), "d", HERE)
    assert ours.problems == []


def test_now_is_read_in_utc() -> None:
    """A time without a zone is UTC, others are converted."""
    assert parse_now("2024-05-01") == datetime(2024, 5, 1, tzinfo=UTC)
    assert parse_now("2024-05-01T02:00:00+02:00") == datetime(2024, 5, 1, tzinfo=UTC)
    assert iso(datetime(2024, 5, 1, 2, tzinfo=timezone(timedelta(hours=2)))) == "2024-05-01T00:00:00Z"


def test_now_is_the_present_to_the_second() -> None:
    """Without --now it is the time of the run, without a fraction."""
    now = parse_now(None)
    assert now.microsecond == 0
    assert abs(datetime.now(UTC) - now) < timedelta(minutes=1)


def test_a_wrong_now_is_refused() -> None:
    """--now yesterday is no time."""
    with pytest.raises(ConfigError, match="'yesterday' is no time"):
        parse_now("yesterday")
