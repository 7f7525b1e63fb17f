"""What MySQL and MariaDB send becomes the value, exactly, or stays the server's text; without a server."""

from __future__ import annotations

import datetime as dt
import struct
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.extractors.mysql_values import (
    BAD_TEXT,
    as_single,
    json_columns,
    kind_of,
    place_in,
    reader,
    single,
)
from migrator.extractors.rows import Unreadable

VALUES: list[tuple[int, str, bytes, Any]] = [
    (1, "binary", b"-128", -128),
    (1, "binary", b"1", 1),
    (8, "binary", b"18446744073709551615", 2**64 - 1),
    (8, "binary", b"-9223372036854775808", -(2**63)),
    (3, "binary", b"000042", 42),
    (13, "binary", b"0000", 0),
    (13, "binary", b"2026", 2026),
    (246, "binary", b"-0.00", Decimal("-0.00")),
    (246, "binary", b"9" * 35 + b"." + b"1" * 30, Decimal("9" * 35 + "." + "1" * 30)),
    (246, "binary", b"0012.50", Decimal("12.50")),
    (4, "binary", b"16777216", 16777216.0),
    (4, "binary", b"0.10000000149011612", 0.1),
    (4, "binary", b"3.4028234663852886e38", 3.4028235e38),
    (5, "binary", b"1.7976931348623157e308", 1.7976931348623157e308),
    (5, "binary", b"5e-324", 5e-324),
    (5, "binary", b"-0", -0.0),
    (10, "binary", b"2026-11-28", dt.date(2026, 11, 28)),
    (10, "binary", b"9999-12-31", dt.date(9999, 12, 31)),
    (10, "binary", b"0000-00-00", "0000-00-00"),
    (10, "binary", b"2026-00-10", "2026-00-10"),
    (10, "binary", b"2026-10-00", "2026-10-00"),
    (10, "binary", b"2026-02-31", "2026-02-31"),
    (10, "binary", b"0000-01-01", "0000-01-01"),
    (12, "binary", b"2026-11-28 01:02:03", dt.datetime(2026, 11, 28, 1, 2, 3)),
    (12, "binary", b"2026-11-28 01:02:03.5", dt.datetime(2026, 11, 28, 1, 2, 3, 500_000)),
    (12, "binary", b"2026-11-28 01:02:03.000001", dt.datetime(2026, 11, 28, 1, 2, 3, 1)),
    (12, "binary", b"0000-00-00 00:00:00", "0000-00-00 00:00:00"),
    (12, "binary", b"2026-00-10 01:02:03.45", "2026-00-10 01:02:03.45"),
    (7, "binary", b"2038-01-19 03:14:07.999999", dt.datetime(2038, 1, 19, 3, 14, 7, 999_999, dt.UTC)),
    (7, "binary", b"0000-00-00 00:00:00", "0000-00-00 00:00:00"),
    (11, "binary", b"23:59:59.999999", dt.time(23, 59, 59, 999_999)),
    (11, "binary", b"00:00:00", dt.time(0)),
    (11, "binary", b"24:00:00", "24:00:00"),
    (11, "binary", b"838:59:59", "838:59:59"),
    (11, "binary", b"-838:59:59.000001", "-838:59:59.000001"),
    (11, "binary", b"-00:00:01", "-00:00:01"),
    (16, "binary", b"\x01", 1),
    (16, "binary", b"\x00\x05", 5),
    (16, "binary", b"\xff" * 8, 2**64 - 1),
    (245, "utf8mb4", b'{"a": 1.10, "b": 18446744073709551616}', {"a": Decimal("1.10"), "b": 2**64}),
    (245, "utf8mb4", b"null", None),
    (253, "utf8mb4", "Zoë \U0001f600".encode(), "Zoë \U0001f600"),
    (253, "latin1", "é€".encode(), "é€"),
    (254, "utf8mb3", b"", ""),
    (254, "binary", b"ab\x00\x00", b"ab\x00\x00"),
    (252, "binary", b"\xff\xfe", b"\xff\xfe"),
    (255, "binary", b"\x00\x00\x00\x00\x01", b"\x00\x00\x00\x00\x01"),
    (247, "utf8mb4", b"", ""),
]


@pytest.mark.parametrize(("code", "charset", "sent", "value"), VALUES)
def test_a_value_comes_exactly(code: int, charset: str, sent: bytes, value: Any) -> None:
    """It is Python's, or the server's own text where Python has none such; of the very type."""
    found = reader(kind_of(code, charset))(sent)
    if code == 245 and value is not None:
        assert str(found["a"]) in ("1.1", "1.10")
        assert found["b"] == value["b"]
        return
    assert type(found) is type(value)
    assert repr(found) == repr(value)


@pytest.mark.parametrize("code", sorted({code for code, *_ in VALUES}))
def test_null_stays_null(code: int) -> None:
    """Of whatever type: it is no zero, and no empty text."""
    assert reader(kind_of(code, "binary"))(None) is None


@pytest.mark.parametrize(
    ("code", "sent", "words", "raw"),
    [
        (253, b"caf\xe9", "not UTF-8", b"caf\xe9"),
        (253, BAD_TEXT + b"\x81\x30", "Unicode lacks", b"\x81\x30"),
        (253, BAD_TEXT, "max_allowed_packet", b""),
        (245, b'{"a": ', "", b'{"a": '),
        (3, b"seven", "kind integer", b"seven"),
        (246, b"NaN", "kind decimal", b"NaN"),
        (5, b"0.1000000000000000123", "kind double", b"0.1000000000000000123"),
        (10, b"\xff", "kind date", b"\xff"),
        (245, b"1e999", "", b"1e999"),
    ],
)
def test_what_has_no_value_is_a_fault_with_its_bytes(code: int, sent: bytes, words: str, raw: bytes) -> None:
    """It is never guessed, and never null."""
    found = reader(kind_of(code, "utf8mb4"))(sent)
    assert isinstance(found, Unreadable)
    assert words in found.reason
    assert bytes(found.raw or b"") == raw


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_single_precision_goes_both_ways(value: float) -> None:
    """The shortest decimal is the same number of single precision, and the server's own is found again."""
    short = single(value)
    assert struct.pack("<f", short) == struct.pack("<f", value)
    assert as_single(short) == value
    assert len(repr(short)) <= len(repr(value))


@given(st.sets(st.sampled_from("abcdefgh"), min_size=1), st.data())
def test_the_number_of_a_member_is_the_servers(members: set[str], data: st.DataObject) -> None:
    """An ENUM is ordered by place, a SET by its bits, the empty value of both comes first."""
    declared = sorted(members)
    one = data.draw(st.sampled_from(declared))
    some = data.draw(st.sets(st.sampled_from(declared)))
    assert place_in(declared, one, several=False) == declared.index(one) + 1
    assert place_in(declared, ",".join(sorted(some)), several=True) == sum(2 ** declared.index(x) for x in some)
    assert place_in(declared, "", several=False) == 0
    with pytest.raises(ValueError, match="none of"):
        place_in(declared, "none of these", several=False)


def test_columns_of_json_are_told_from_those_that_look_alike() -> None:
    """Only a check of the column itself, and of nothing else, makes its text JSON."""
    created = """CREATE TABLE `t` (
  `a` longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL CHECK (json_valid(`a`)),
  `b``c` longtext NOT NULL COMMENT 'x' CHECK (json_valid(`b``c`)),
  `other` longtext DEFAULT NULL CHECK (json_valid(`a`)),
  `said` longtext DEFAULT NULL COMMENT 'CHECK (json_valid(`said`))',
  `more` longtext DEFAULT NULL CHECK (json_valid(`more`) and `more` <> ''),
  CONSTRAINT `k` CHECK (json_valid(`said`))
)"""
    assert json_columns(created) == {"a", "b`c"}
