"""Readers agree with the plain way of doing the same, however the bytes come."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path
from typing import Any

import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from migrator.extractors import json_values
from migrator.extractors.export import ExportExtractor
from migrator.extractors.json_text import JsonText
from migrator.extractors.lines import TextFile, read_lines
from migrator.extractors.ndjson import NdjsonExtractor
from tests.support.seeds import examples

PIECES = st.lists(
    st.sampled_from([b"a", b"\n", b"\r", b"\r\n", "\u2028é".encode(), b" ", b"xyz" * 5, b"\xff"]), max_size=40
)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**100, max_value=10**400)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(TEXTS.filter(lambda key: key != "_id"), VALUES, max_size=4)
KEYED = st.dictionaries(TEXTS.filter(bool), DOCUMENTS, max_size=4)
LISTED = st.lists(
    DOCUMENTS | st.builds(lambda document, key: {"_id": key, **document}, DOCUMENTS, TEXTS), max_size=4
)
COLLECTIONS = st.dictionaries(
    TEXTS.filter(lambda name: name not in {"data", "metadata"}), KEYED | LISTED, max_size=4
)


class Chopped:
    """A stream that gives its text in given steps, over and over."""

    def __init__(self, text: bytes, steps: list[int]) -> None:
        self._file = io.BytesIO(text)
        self._steps = steps
        self._turn = 0

    def read(self, _size: int, /) -> bytes:
        """The next step."""
        self._turn += 1
        return self._file.read(self._steps[self._turn % len(self._steps)])


STEPS = st.lists(st.integers(min_value=1, max_value=50), min_size=1, max_size=5)


@given(PIECES, STEPS, st.integers(min_value=1, max_value=30))
def test_lines_are_those_of_a_split(pieces: list[bytes], steps: list[int], max_line_bytes: int) -> None:
    """On any chopping, lines are the parts between newlines, with number and end, the long ones without bytes."""
    text = b"".join(pieces)
    parts = text.split(b"\n")
    last = parts.pop()
    ends = [len(part) + 1 for part in parts]
    if last:
        parts.append(last)
        ends.append(len(last))
    expected = [
        (sum(ends[: number + 1]), number + 1, part.removesuffix(b"\r") if len(part) <= max_line_bytes else None)
        for number, part in enumerate(parts)
    ]
    assert expected == list(read_lines(Chopped(text, steps), max_line_bytes=max_line_bytes))


@given(st.lists(st.binary(max_size=300), max_size=5), st.integers(min_value=0, max_value=1500))
@settings(max_examples=examples(25))
def test_frames_are_read_as_their_texts(texts: list[bytes], offset: int) -> None:
    """A file of several frames gives their texts, from any offset within."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.zst"
        path.write_bytes(b"".join(zstandard.compress(text) for text in texts) or zstandard.compress(b""))
        whole = b"".join(texts)
        begin = min(offset, len(whole))
        found = b""
        with TextFile(path, offset=begin) as file:
            while block := file.read(7):
                found += block
    assert whole[begin:] == found


@given(st.lists(VALUES, max_size=5), STEPS, st.sampled_from([None, 2]), st.booleans())
def test_values_are_those_of_a_list(
    values: list[Any], steps: list[int], indent: int | None, escaped: bool
) -> None:
    """On any chopping, walking through a list gives the text of each element, exactly."""
    text = json.dumps(values, indent=indent, ensure_ascii=escaped).encode()
    walker = JsonText(Chopped(text, steps), "x.json", max_value_bytes=1 << 20)
    walker.take("[")
    found = [walker.value().text for _ in walker.entries(keyed=False)]
    walker.end()
    assert [repr(value) for value in values] == [repr(json.loads(value)) for value in found]


@given(st.lists(VALUES, min_size=1, max_size=4), STEPS, st.integers(min_value=1, max_value=40))
def test_values_passed_over_end_where_they_end(values: list[Any], steps: list[int], max_value_bytes: int) -> None:
    """A value over the limit is left out as a whole, so that the next one is read right."""
    # Numbers over the limit are refused, not passed over.
    wrapped = [[value] for value in values]
    text = json.dumps(wrapped, ensure_ascii=False).encode()
    walker = JsonText(Chopped(text, steps), "x.json", max_value_bytes=max_value_bytes)
    walker.take("[")
    found = [walker.value() for _ in walker.entries(keyed=False)]
    walker.end()
    bodies = [json.dumps(value, ensure_ascii=False).encode() for value in wrapped]
    expected = [
        (body, None) if len(body) <= max_value_bytes else (b"", json_values.Problem.TOO_LARGE) for body in bodies
    ]
    assert expected == [(value.text, value.problem) for value in found]


@given(COLLECTIONS, st.booleans(), st.sampled_from([None, 1]), st.booleans())
@settings(max_examples=examples(25))
def test_an_export_is_what_json_load_gives(
    collections: dict[str, Any], wrapped: bool, indent: int | None, escaped: bool
) -> None:
    """In every form, the documents and their order are those of a reading as a whole, to the last digit."""
    content = {"metadata": {"n": 1}, "data": collections} if wrapped else collections
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dump.json"
        path.write_text(json.dumps(content, indent=indent, ensure_ascii=escaped), encoding="utf-8")
        extractor = ExportExtractor(path)
        found = {
            name: [json.loads(record.text or b"") for record in extractor.extract(name)]
            for name in extractor.collections()
        }
        extractor.close()
    expected = {
        name: inner if isinstance(inner, list) else [{"_id": key, **document} for key, document in inner.items()]
        for name, inner in collections.items()
    }
    assert repr(expected) == repr(found)


@given(st.lists(DOCUMENTS, max_size=6), st.lists(st.sampled_from(["", " ", "\t\r"]), max_size=4), st.booleans())
@settings(max_examples=examples(25))
def test_ndjson_is_its_lines(documents: list[Any], blanks: list[str], ended: bool) -> None:
    """Documents come out as they were written, blank lines between them or not, and from every position."""
    lines = [json.dumps(document, ensure_ascii=False) for document in documents]
    text = "\n".join(blanks + [line for document in lines for line in (document, *blanks)]) + (
        "\n" if ended else ""
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.ndjson"
        path.write_bytes(text.encode())
        extractor = NdjsonExtractor(path)
        records = list(extractor.extract("a"))
        for number, record in enumerate(records, 1):
            assert records[number:] == list(extractor.extract("a", after=record.position))
    assert lines == [(record.text or b"").decode() for record in records]
