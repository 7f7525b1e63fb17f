"""Walking through JSON text."""

from __future__ import annotations

import io
import json
import tracemalloc

import pytest

from migrator.errors import ConfigError
from migrator.extractors.json_text import JsonText
from migrator.extractors.json_values import Problem, Value
from migrator.extractors.lines import BLOCK_BYTES


class Dripping:
    """A stream that gives a few bytes at a time, whatever is asked for."""

    def __init__(self, text: bytes, step: int) -> None:
        self._file = io.BytesIO(text)
        self._step = step
        self.reads = 0

    def read(self, _size: int, /) -> bytes:
        """The next few bytes."""
        self.reads += 1
        return self._file.read(self._step)


def cursor(text: bytes, *, step: int = 1 << 20, max_value_bytes: int = 1 << 20) -> JsonText:
    """A cursor at the start of a text."""
    return JsonText(Dripping(text, step), "x.json", max_value_bytes=max_value_bytes)


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_values_are_whole_however_they_come(step: int) -> None:
    """Values that are cut anywhere, in a number, an escape or a character, come out as they stand."""
    values = [
        b"-12.5e+10",
        b'"\\ud83d\\ude00 \\" \xf0\x9f\x98\x80 \\\\"',
        b"[1 , 2]",
        b"true",
        b'{"a":{"b":[null]}}',
        b"7",
    ]
    text = cursor(b" [" + b" ,\n".join(values) + b" ]\r\n", step=step)
    text.take("[")
    found = [text.value() for _ in text.entries(keyed=False)]
    text.end()
    assert values == [value.text for value in found]
    assert [json.loads(value) for value in values] == [value.parsed for value in found]


@pytest.mark.parametrize("step", [1, 1000])
def test_offsets_are_of_bytes(step: int) -> None:
    """The offset after each value is that of the file, byte order mark and wide characters counted."""
    values = ['"é"', '"日本"', '"\U0001f600"', '"a"']
    prefix = "\ufeff [ "
    text = cursor((prefix + " , ".join(values) + "]").encode(), step=step)
    text.take("[")
    found = []
    for _ in text.entries(keyed=False):
        text.value()
        found.append(text.offset)
    expected = [len((prefix + " , ".join(values[: number + 1])).encode()) for number in range(len(values))]
    assert expected == found


def test_bytes_that_are_no_text_come_through() -> None:
    """Bad UTF-8 belongs to the value that holds it, and does not spoil the others."""
    text = cursor(b'["ok", "\xff\xed\xa0\x80", "\xe6\x97"]')
    text.take("[")
    found = [text.value().text for _ in text.entries(keyed=False)]
    assert found == [b'"ok"', b'"\xff\xed\xa0\x80"', b'"\xe6\x97"']


@pytest.mark.parametrize(
    ("broken", "place", "why"),
    [
        (b"", "1:1", "expected value, but the file ends"),
        (b'{"a": 1', "1:8", "expected ',' delimiter, but the file ends"),
        (b'{"a": "b', "1:7", "unterminated string"),
        (b'\n\n  {"a" 1}', "3:8", "expected ':' delimiter"),
        (b'{"a": 1,}', "1:8", "illegal trailing comma"),
        (b"[1, 2,\n ]", "1:6", "illegal trailing comma"),
        (b"[1, 2,\n tru]", "2:2", "expected value"),
        (b'"\\x"', "1:2", r"invalid \escape"),
        (b"'a'", "1:1", "expected value"),
    ],
)
@pytest.mark.parametrize("step", [1, 1000])
def test_a_broken_value_has_its_place(broken: bytes, place: str, why: str, step: int) -> None:
    """The message has file, line and column, and what was expected there."""
    with pytest.raises(ConfigError) as caught:
        cursor(broken, step=step).value()
    assert caught.value.message.startswith(f"x.json:{place}: {why}"), caught.value.message


def test_the_place_is_right_in_a_long_file() -> None:
    """Lines and columns are counted across blocks."""
    rows = b'["' + b"x" * 5000 + b'",\n' + b" 1,\n" * 10 + b'"' + b"y" * 5000 + b'", oops]'
    text = cursor(rows, step=64)
    text.take("[")
    with pytest.raises(ConfigError, match=r"x\.json:12:5005: expected value\."):
        walk(text, keyed=False)


def test_what_stands_between_values_is_checked() -> None:
    """Brackets, commas, colons, keys and the end of the file each have their message."""
    cases = {
        b"[1 2]": r"1:4: expected , or \]",
        b"[1": r"1:3: expected , or \], but the file ends",
        b'{"a" 1}': "1:6: expected :",
        b"{1: 1}": "1:2: expected a key in double quotes",
        b'{"a": 1,}': "1:9: expected a key in double quotes",
        b"[1,]": "1:4: expected value",
        b"{} {}": "1:4: expected the end of the file",
    }
    for broken, message in cases.items():
        text = cursor(broken)
        opening = text.take("{[")
        with pytest.raises(ConfigError, match=message):
            walk(text, keyed=opening == "{")


def walk(text: JsonText, *, keyed: bool) -> None:
    """Pass over all entries and the end."""
    for _ in text.entries(keyed=keyed):
        text.value()
    text.end()


@pytest.mark.parametrize("step", [1, 3, 1000])
@pytest.mark.parametrize(
    "big", [b'{"a":"' + b'}]\\"\\\\' * 40 + b'"}', b'["' + b"x" * 300 + b'"]', b'"' + b"\\\\" * 99 + b'"']
)
def test_a_value_too_large_is_passed_over(big: bytes, step: int) -> None:
    """What is over the limit is not kept, and what follows is read; brackets in strings do not count."""
    text = cursor(b"[1," + big + b",2]", step=step, max_value_bytes=100)
    text.take("[")
    found = [text.value() for _ in text.entries(keyed=False)]
    text.end()
    assert [Value(1, b"1"), Value(None, b"", Problem.TOO_LARGE), Value(2, b"2")] == found


def test_the_limit_is_in_bytes() -> None:
    """A value of just so many bytes passes, one byte more does not, wide characters counted as they are."""
    exact = '"' + "é" * 49 + '"'
    assert cursor(exact.encode(), max_value_bytes=100).value().problem is None
    assert cursor(exact.encode(), max_value_bytes=99).value().problem == Problem.TOO_LARGE


def test_deep_nesting_is_read() -> None:
    """Nesting beyond what the standard library reads is not an error and no crash."""
    for depth in (50_000, 100_000):
        deep = b'{"a":' * depth + b'"}"' + b"}" * depth
        text = cursor(b"[" + deep + b",2]", step=4096)
        text.take("[")
        found = [text.value() for _ in text.entries(keyed=False)]
        assert [deep, b"2"] == [value.text for value in found]
        assert [None, None] == [value.problem for value in found]
        assert list(found[0].parsed) == ["a"]
    broken = b"[" * 50_000 + b"1,]" + b"]" * 49_999
    assert cursor(broken).value().problem == Problem.BROKEN
    text = cursor(b"[" * 200_000 + b"]" * 200_000, max_value_bytes=1000)
    assert text.value().problem == Problem.TOO_LARGE


def test_a_value_without_an_end_is_broken() -> None:
    """A missing bracket or quote is found at the end of the file, in little memory."""
    for broken in (b"[" * 100_000, b'"' + b"x" * 5000, b'{"a":"' + b"\\" * 5001):
        with pytest.raises(ConfigError, match="a value has no end, but the file ends"):
            cursor(broken, step=512, max_value_bytes=1000).value()


def test_endless_numbers_and_keys_are_refused() -> None:
    """What can only be meant to fill the memory is an error."""
    with pytest.raises(ConfigError, match="number is longer than 1000 bytes"):
        cursor(b"1" * 5000, step=512, max_value_bytes=1000).value()
    text = cursor(b'{"' + b"k" * 5000 + b'":1}', step=512, max_value_bytes=1000)
    text.take("{")
    with pytest.raises(ConfigError, match="key before this is longer than 1000 bytes"):
        walk(text, keyed=True)


def test_numbers_of_any_length_are_numbers() -> None:
    """Python's limit on the digits of integers does not apply."""
    digits = b"9" * 10_000
    assert digits == cursor(digits).value().text


def test_a_long_value_is_not_read_over_and_over() -> None:
    """The work for one long value grows with its length and no faster: each read is as long as all so far."""

    class Counting(io.BytesIO):
        reads = 0

        def read(self, size: int | None = -1, /) -> bytes:
            self.reads += 1
            return super().read(size)

    stream = Counting(b"[" + b'"' + b"x" * (31 * BLOCK_BYTES) + b'"' + b"]")
    JsonText(stream, "x.json", max_value_bytes=64 * BLOCK_BYTES).value()
    assert stream.reads <= 8


def test_memory_is_bounded_by_the_value() -> None:
    """A long list of small values is walked through in a few blocks."""
    text = b"[" + b",".join([b'{"a":"' + b"x" * 1000 + b'"}'] * 20_000) + b"]"
    stream = io.BytesIO(text)
    tracemalloc.start()
    walker = JsonText(stream, "x.json", max_value_bytes=1 << 20)
    walker.take("[")
    walk(walker, keyed=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * BLOCK_BYTES


@pytest.mark.parametrize("step", [1, 5, 1000])
def test_advances_to_an_offset(step: int) -> None:
    """Moving on lands on the byte, in the window or beyond, wide characters before it or not."""
    whole = '["é日本\U0001f600", "b", "日本", 4]'.encode()
    for start in ('"b"', '"日本"', "4"):
        text = cursor(whole, step=step)
        text.take("[")
        text.advance(whole.index(start.encode()))
        assert start.encode() == text.value().text
    text = cursor(whole, step=step)
    text.advance(len(whole))
    text.end()


def test_a_place_in_the_middle_is_in_bytes() -> None:
    """Where lines were not counted from the start, the offset names the place."""
    text = JsonText(io.BytesIO(b"oops"), "x.json", offset=77, max_value_bytes=10)
    with pytest.raises(ConfigError, match=r"x\.json is broken after byte 77: expected value"):
        text.value()
