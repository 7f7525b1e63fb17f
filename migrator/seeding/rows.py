"""Reads files that hold many documents of one database: NDJSON, JSON, YAML and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from migrator.codec import InvalidDocument, decode, decode_value
from migrator.seeding.problems import Place
from migrator.seeding.texts import Line, Malformed, Text, Within, read_json

_CSV_KINDS = ("text", "number", "boolean", "json")


class Row(NamedTuple):
    """One document as it was read. `id` is its key where it has one; `line` its text where it stands on one."""

    value: Any
    text: Text
    id: str | None = None
    line: bytes | None = None


def read_rows(path: Path, suffix: str) -> Iterator[Row | Malformed]:
    """Yield a file's documents in order, and what is wrong with those that cannot be read.

    Raises:
        Malformed: nothing of the file, or nothing more of it, can be read.
        OSError: it cannot be opened.
    """
    return _READERS[suffix](path.name, path.read_bytes())


def _ndjson(file: str, data: bytes) -> Iterator[Row | Malformed]:
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        stripped = line.strip()
        if stripped:
            try:
                value = decode(stripped)
            except InvalidDocument as invalid:
                yield Malformed(Place(file, number), f"invalid JSON: {invalid.reason}.")
                continue
            yield Row(value, Line(file, number), None, stripped)


def _json(file: str, data: bytes) -> Iterator[Row]:
    value, text = read_json(file, data)
    return _collection(value, text)


def _yaml(file: str, data: bytes) -> Iterator[Row]:
    from migrator.seeding.yaml_text import read_yaml  # noqa: PLC0415 only YAML needs PyYAML

    value, text = read_yaml(file, data)
    return iter(()) if value is None else _collection(value, text)


def _collection(value: Any, text: Text) -> Iterator[Row]:
    if isinstance(value, list):
        return (Row(item, Within(text, (index,))) for index, item in enumerate(value))
    if isinstance(value, dict):
        return (Row(item, Within(text, (key,)), key) for key, item in value.items())
    raise Malformed(text.place(), "expected a list of documents, or documents by their ids.")


def _csv(file: str, data: bytes) -> Iterator[Row | Malformed]:
    try:
        characters = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Malformed(Place(file, line), f"the byte 0x{data[error.start]:02x} is no UTF-8.") from None
    reader = csv.reader(io.StringIO(characters, newline=""), strict=True)
    head: list[tuple[list[str], str]] | None = None
    begin = 1
    try:
        for cells in reader:
            number, begin = begin, reader.line_num + 1
            if not cells:
                continue
            if head is None:
                head = [_column(file, cell) for cell in cells]
                if len({".".join(path) for path, _ in head}) < len(head):
                    raise Malformed(Place(file, number), "two columns have one name.")
                continue
            yield _csv_row(Line(file, number), head, cells)
    except csv.Error as error:
        raise Malformed(Place(file, reader.line_num or 1), f"invalid CSV: {error}.") from None


def _column(file: str, cell: str) -> tuple[list[str], str]:
    name, colon, kind = cell.strip().rpartition(":")
    if not colon:
        name, kind = kind, ""
    if (colon and kind not in _CSV_KINDS) or not all(name.split(".")):
        raise Malformed(
            Place(file), f"the column {cell!r} is no field; write name, a.b or name:{', name:'.join(_CSV_KINDS)}."
        )
    return name.split("."), kind


def _csv_row(line: Line, head: list[tuple[list[str], str]], cells: list[str]) -> Row | Malformed:
    if len(cells) != len(head):
        return Malformed(
            line.place(), f"the line has {len(cells)} cells, but the first line {len(head)} names of columns."
        )
    document: dict[str, Any] = {}
    for (path, kind), cell in zip(head, cells, strict=True):
        # An empty cell is a field that is not there; only a column that says :text can be an empty text.
        if cell == "" and kind != "text":
            continue
        name = ".".join(path)
        try:
            value = _cell(cell, kind)
        except ValueError:
            return Malformed(line.place(), f"the column {name}: {cell!r:.60} is no {kind}.")
        inner = document
        for step in path[:-1]:
            inner = inner.setdefault(step, {})
            if not isinstance(inner, dict):
                return Malformed(line.place(), f"the column {name}: another column gives {step} a value.")
        inner[path[-1]] = value
    return Row(document, line)


def _cell(cell: str, kind: str) -> Any:
    if kind not in {"number", "boolean", "json"} or "${" in cell:
        return cell
    try:
        value = decode_value(cell.strip())
    except InvalidDocument as invalid:
        raise ValueError(kind) from invalid
    wanted = {"number": (int, float), "boolean": (bool,)}.get(kind)
    if wanted and type(value) not in wanted:
        raise ValueError(kind)
    return value


_READERS: dict[str, Callable[[str, bytes], Iterator[Row] | Iterator[Row | Malformed]]] = {
    ".ndjson": _ndjson,
    ".jsonl": _ndjson,
    ".json": _json,
    ".yaml": _yaml,
    ".yml": _yaml,
    ".csv": _csv,
}
SUFFIXES = tuple(_READERS)
