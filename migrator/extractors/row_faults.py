"""Turns a row that cannot be given into a Fault: the one place where every source does so.

A fault names what people need to find the row again: its place (file and line, table and key), the column, the
reason, the id where it can be read, and what could be had of the row.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from migrator.codec import InvalidDocument
from migrator.codec.faults import find_all
from migrator.codec.rejected import Unfixed, changed, id_in
from migrator.model import Fault, Position, Record
from migrator.naming import shown

# What says what a text is stands near its beginning, and a long one must not cost long.
_MAX_SEARCHED_BYTES = 1_000_000

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)
_COLON = re.compile(r"\s*:\s*")
# Anything but what opens a string, list or object.
_WORD = re.compile(r'[^\s,{}\[\]"]+')


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands in a row for a value that cannot be given: one word, one sentence, and what the source holds."""

    error: str
    reason: str
    raw: Any = None


def row_fault(
    place: str, error: str, reason: object, *, column: str = "", id: str = "", document: Any = None
) -> Fault:
    """The fault of one row.

    Args:
        place: where it stands, for people.
        error: one machine-readable word.
        reason: what is wrong.
        column: the column or path of the value that is at fault.
        id: the document's, where it can be read.
        document: what could be had of it; what is unreadable in it is kept as `Unfixed`.
    """
    one_line = " ".join(str(reason).split())[:500]
    parts = [part for part in (place, column, one_line) if part]
    return Fault(error, ": ".join(parts), id, _kept(document))


def mismatch_fault(place: str, id: str, document: Mapping[str, Any], what: str = "the document") -> Fault:
    """The fault of a document whose own `_id` is not the one that its place in the source says.

    Args:
        place: where it stands, for people.
        id: what the place says.
        document: with its own `_id`, which is not written before somebody has chosen one.
        what: it is, for people.
    """
    own = document["_id"]
    reason = f"{what} has the _id {shown(own) if isinstance(own, str) else repr(own)}, which is not its key"
    unsure = {**document, "_id": Unreadable("id_mismatch", reason, own)}
    return row_fault(place, "id_mismatch", reason, id=id, document=unsure)


def text_fault(invalid: InvalidDocument, text: bytes, place: str = "", *, id: str = "") -> Fault:
    """The fault of a text that is no document, which is kept as it is; its id is looked for in the text.

    Args:
        invalid: what the codec says.
        text: as the source holds it.
        place: where it stands, for people.
        id: the id, where something else than the text says it.
    """
    return row_fault(place, invalid.error, invalid.reason, id=id or id_in(text), document=text)


def row_record(position: Position, place: str, document: dict[str, Any], id: str = "") -> Record:
    """The record of a row; where it holds an `Unreadable`, at any depth, its fault."""
    for name, value in document.items():
        found = _find(value, name)
        if found is not None:
            column, bad = found
            fault = row_fault(place, bad.error, bad.reason, column=column, id=id, document=document)
            return Record(position, fault=fault)
    return Record(position, document)


def text_of(raw: str) -> str:
    """The text of a value that stands so in JSON: of a string or a whole number; else ""."""
    if re.fullmatch(r"-?\d+", raw):
        return raw
    try:
        found = json.loads(raw, strict=False) if raw.startswith('"') else ""
        found.encode()
    except ValueError:
        # Broken, or with bytes that are no UTF-8: another id would be named.
        return ""
    return str(found)


def field_in_text(text: bytes | str, name: str) -> str:
    """What stands after a key of the outermost object of a text, which need be no JSON; "" for nothing."""
    shown = text if isinstance(text, str) else text[:_MAX_SEARCHED_BYTES].decode("utf-8", "surrogateescape")
    depth = 0
    for token in _TOKEN.finditer(shown):
        if token[0] in ("{", "["):
            depth += 1
        elif token[0] in ("}", "]"):
            depth -= 1
        elif depth == 1 and token[0] == f'"{name}"':
            colon = _COLON.match(shown, token.end())
            if colon is not None:
                return _value_at(shown, colon.end())
    return ""


def _value_at(text: str, begin: int) -> str:
    word = _WORD.match(text, begin)
    if word is not None:
        return word[0]
    depth = 0
    for token in _TOKEN.finditer(text, begin):
        depth += (token[0] in ("{", "[")) - (token[0] in ("}", "]"))
        if depth <= 0:
            return text[begin : token.end()]
    return text[begin:]


def _find(value: Any, path: str) -> tuple[str, Unreadable] | None:
    if isinstance(value, Unreadable):
        return path, value
    inner: Any = ()
    if isinstance(value, Mapping):
        inner = ((f"{path}.{name}", item) for name, item in value.items())
    elif isinstance(value, list):
        inner = ((f"{path}[{number}]", item) for number, item in enumerate(value))
    for place, item in inner:
        found = _find(item, place)
        if found is not None:
            return found
    return None


def _kept(value: Any) -> Any:
    if isinstance(value, Unreadable):
        return _unfixed(value)
    if not isinstance(value, dict | list):
        return value
    found = find_all(value, lambda item: isinstance(item, Unreadable))
    return changed(value, [(path, _unfixed(bad)) for path, bad in found])


def _unfixed(bad: Unreadable) -> Unfixed:
    raw = bad.raw
    return Unfixed(bytes(raw).decode("utf-8", "backslashreplace") if isinstance(raw, bytes | memoryview) else raw)
