"""The texts that fixtures stand in, and the line of a value in them, which is looked for only after a fault."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from migrator.codec import InvalidDocument, decode_value, json_fault
from migrator.seeding.problems import Place

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


class Text(Protocol):
    """Where a document's text is."""

    def place(self, path: Sequence[str | int] = ()) -> Place:
        """The line of the value at a path; of the nearest one around it where there is none."""
        ...


class Line(NamedTuple):
    """A document that stands on one line, or whose values have no lines of their own."""

    file: str
    number: int = 1

    def place(self, path: Sequence[str | int] = ()) -> Place:  # noqa: ARG002 one line is all there is
        """That line."""
        return Place(self.file, self.number)


class Within(NamedTuple):
    """A document inside a text that holds several."""

    text: Text
    path: tuple[str | int, ...]

    def place(self, path: Sequence[str | int] = ()) -> Place:
        """The line in the whole text."""
        return self.text.place((*self.path, *path))


class JsonText(NamedTuple):
    """A JSON file."""

    file: str
    text: str

    def place(self, path: Sequence[str | int] = ()) -> Place:
        """The line of a value, or of its key."""
        offsets: dict[tuple[str | int, ...], int] = {}
        for where, offset in members(self.text):
            offsets.setdefault(where, offset)
        for length in range(len(path), -1, -1):
            known = offsets.get(tuple(path[:length]))
            if known is not None:
                return self.at(known)
        return Place(self.file)

    def at(self, offset: int) -> Place:
        """The line of a character."""
        return Place(self.file, self.text.count("\n", 0, offset) + 1)


class Malformed(Exception):
    """A text cannot be read; `place` says where, the message why."""

    def __init__(self, place: Place, reason: str) -> None:
        super().__init__(reason)
        self.place = place


def read_json(file: str, data: bytes) -> tuple[Any, JsonText]:
    """Read a JSON file, exactly.

    Raises:
        Malformed: it is no JSON, or an object in it has a key twice.
    """
    try:
        characters = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Malformed(Place(file, line), f"the byte 0x{data[error.start]:02x} is no UTF-8.") from None
    text = JsonText(file, characters.removeprefix("\ufeff"))
    try:
        value = decode_value(text.text)
    except InvalidDocument as invalid:
        raise Malformed(_fault_place(text), f"invalid JSON: {invalid.reason}.") from None
    seen: set[tuple[str | int, ...]] = set()
    if _repeats_a_key(text.text):
        for path, offset in members(text.text):
            if path in seen:
                raise Malformed(text.at(offset), f"duplicate id or key {path[-1]!r} in one object.")
            seen.add(path)
    return value, text


def members(text: str) -> Iterator[tuple[tuple[str | int, ...], int]]:
    """Walk a valid JSON text: the path of each value, and where it begins, or its key where it has one."""
    path: list[str | int] = []
    # One flag a container: true for an object whose next string is a key.
    wants_key: list[bool | None] = []
    yield (), len(text) - len(text.lstrip())
    for match in _TOKEN.finditer(text):
        piece = match[0]
        if piece in "}]":
            wants_key.pop()
            if path:
                path.pop()
        elif piece == ",":
            step = path[-1]
            if isinstance(step, int):
                path[-1] = step + 1
            else:
                wants_key[-1] = True
        elif piece != ":":
            if wants_key and wants_key[-1]:
                path[-1] = json.loads(piece, strict=False)
                wants_key[-1] = False
                yield tuple(path), match.start()
                continue
            if path and isinstance(path[-1], int):
                yield tuple(path), match.start()
            if piece in "{[":
                wants_key.append(piece == "{" or None)
                path.append("" if piece == "{" else 0)


def _repeats_a_key(text: str) -> bool:
    found = False

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal found
        made = dict(pairs)
        found = found or len(made) < len(pairs)
        return made

    try:
        json.JSONDecoder(object_pairs_hook=note, parse_int=str).decode(text)
    except RecursionError:
        # So deep a text is walked instead.
        return True
    return found


def _fault_place(text: JsonText) -> Place:
    try:
        json.loads(text.text, parse_int=str)
    except json.JSONDecodeError as error:
        _, at = json_fault(error)
        return Place(text.file, text.text.count("\n", 0, at) + 1)
    except RecursionError:
        pass
    return Place(text.file)
