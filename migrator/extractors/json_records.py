"""Tells how the JSON objects of a file are laid out, and reads them: one a line, a list, or one after another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import orjson

from migrator.codec.rejected import id_in
from migrator.errors import ConfigError, MigratorError
from migrator.extractors.base import parse_position
from migrator.extractors.json_text import JsonText, documents_in
from migrator.extractors.json_values import Problem, Value
from migrator.extractors.lines import BLANK, BOM, MAX_LINE_BYTES, TextFile, text_lines
from migrator.extractors.remote import FilePath
from migrator.model import Fault, Position

_HEAD_BYTES = 64 << 10
# A longer first line is taken for an export, whose own message then says what else it could be.
_MAX_FIRST_LINE_BYTES = 1 << 20


class Text(NamedTuple):
    """One object's text, or why there is none, with the position after it and the place for people."""

    position: str
    place: str
    text: bytes
    fault: Fault | None = None


def read_texts(path: FilePath, *, after: Position | None = None) -> Iterator[Text]:
    """Yield the texts of a file's objects, in bounded memory.

    A line that is not JSON is for whoever parses it, such an element of a list is a fault, and where
    objects follow one another over several lines, it ends the reading. A position is
    `<offset after the object>:<lines or objects so far>`.

    Raises:
        CheckpointError: the file is shorter than it was when `after` was taken.
        ConfigError: the file is damaged, or its JSON is broken where lines do not divide it.
    """
    offset, number = (0, 0) if after is None else parse_position(after)
    layout = _layout(path)
    if layout == "lines":
        with TextFile(path, offset=offset) as file:
            for end, line, text in text_lines(file, start=(offset, number)):
                position, place = f"{end}:{line}", f"{path}:{line}"
                if text is None:
                    fault = Fault("line_too_long", f"{place}: the line is longer than {MAX_LINE_BYTES} bytes")
                    yield Text(position, place, b"", fault)
                else:
                    yield Text(position, place, text)
        return
    with TextFile(path, offset=offset) as file:
        json = documents_in(file)
        if layout == "list":
            if after is None:
                json.take("[")
            for _, value in json.elements(keyed=False, begun=number > 0):
                number += 1
                yield _text(json, value, path, number)
            json.end()
        else:
            while json.peek():
                number += 1
                yield _text(json, json.value(), path, number)


def _text(json: JsonText, value: Value, path: FilePath, number: int) -> Text:
    place = f"{path}: document {number}"
    fault = None
    if value.problem is Problem.BROKEN:
        fault = Fault(value.problem.value, value.why, id_in(value.text), value.text)
    elif value.problem is not None and not value.text:
        fault = Fault(value.problem.value, f"{place}: it is longer than can be held")
    return Text(f"{json.offset}:{number}", place, value.text, fault)


def _layout(path: FilePath) -> str:
    """`lines`, `list` or `objects`, by the first line that is not blank.

    Raises:
        ConfigError: it is not text.
    """
    with TextFile(path) as file:
        text = file.read(_HEAD_BYTES).removeprefix(BOM).lstrip(BLANK)
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfigError(
            f"{path} is UTF-16, as PowerShell writes it.",
            hint=f"Convert it: iconv -f UTF-16 -t UTF-8 {path} > NEW.json",
        )
    if b"\0" in text:
        raise ConfigError(
            f"{path} is binary, no JSON.",
            hint=f"A .bson file of mongodump: bsondump {path} > NEW.json; an archive: mongorestore it first.",
        )
    if text.startswith(b"["):
        return "list"
    line, end, _ = text.partition(b"\n")
    # Of an object that runs over lines the first line is a beginning.
    return "objects" if end and line.startswith(b"{") and _is_beginning(line.rstrip(BLANK)) else "lines"


def _is_beginning(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        # The parser met the end where a pretty printer breaks the line, and nothing that is wrong.
        return error.pos >= len(error.doc) - 1 and text[-1:] in b"{[,"
    return False


def holds_lines(path: FilePath) -> bool:
    """True of a file whose first line is a whole object, and no export: another one follows, or it has an `_id`.

    A file that cannot be read is left to whoever opens it.
    """
    if not path.is_file():
        # A pipe is read once.
        return False
    try:
        with TextFile(path) as file:
            head = file.read(_MAX_FIRST_LINE_BYTES)
    except MigratorError:
        return False
    first, _, rest = head.removeprefix(BOM).lstrip(BLANK).partition(b"\n")
    first, rest = first.strip(BLANK), rest.lstrip(BLANK)
    if not first.startswith(b"{") or (rest and not rest.startswith(b"{")):
        return False
    try:
        document = orjson.loads(first)
    except orjson.JSONDecodeError:
        # A first line that is broken is a line where the next one is whole.
        return first.endswith(b"}") and _is_object(rest.partition(b"\n")[0])
    return bool(rest) or not isinstance(document.get("_id", []), dict | list)


def _is_object(text: bytes) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False
