"""What is read of JSON text: a value as it stands there, or why there is none; and the record that it makes."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any, NamedTuple

from migrator.codec.rejected import read_loosely
from migrator.errors import ConfigError
from migrator.extractors.row_faults import mismatch_fault
from migrator.model import Fault, Record

_ABSENT = object()


class Problem(Enum):
    """Why a value was passed over, or cannot be looked into."""

    TOO_LARGE = "document_too_large"
    TOO_DEEP = "too_deep"
    BROKEN = "invalid_json"


class Value(NamedTuple):
    """A value's text as it stands in the file, and what it is; numbers in `parsed` are not exact.

    `why` says where and how one is broken.
    """

    parsed: Any
    text: bytes
    problem: Problem | None = None
    why: str = ""


class BrokenJson(ConfigError):
    """The text is no JSON; not that it cannot be read."""


def listed(position: str, value: Value) -> Record:
    """Of an element of a list."""
    fault = _fault(value, "")
    if fault and fault.error != Problem.TOO_DEEP.value:
        return Record(position, fault=fault)
    return Record(position, text=value.text)


def keyed(position: str, key: Value, value: Value) -> Record:
    """Of a member of an object, whose key is its id."""
    document_id = str(key.parsed)
    fault = _fault(value, document_id)
    if fault is None and not document_id:
        fault = Fault("empty_id", "the key is empty", "", _exact(value))
    if fault and value.text.startswith(b"{") and value.problem is Problem.BROKEN:
        fault = fault._replace(document=_with_id(key, value))
    if fault:
        return Record(position, fault=fault)
    own = value.parsed.get("_id", _ABSENT)
    if own is _ABSENT:
        return Record(position, text=_with_id(key, value))
    if own != document_id:
        exact = _exact(value)
        document = exact if isinstance(exact, dict) else read_loosely(value.text) or value.parsed
        return Record(position, fault=mismatch_fault("", document_id, document))
    return Record(position, text=value.text)


def _with_id(key: Value, value: Value) -> bytes:
    """An object's text with its key as its id; whatever else is in it stays as it is written."""
    comma = b"" if value.text[1:].lstrip().startswith(b"}") else b","
    return b'{"_id":' + key.text + comma + value.text[1:]


def _fault(value: Value, document_id: str) -> Fault | None:
    if value.problem is Problem.BROKEN:
        return Fault(value.problem.value, value.why, document_id, value.text)
    if value.problem is not None:
        how = "longer than can be held" if value.problem is Problem.TOO_LARGE else "nested too deeply"
        return Fault(value.problem.value, f"the document is {how}", document_id)
    if isinstance(value.parsed, dict):
        return None
    kinds: dict[type, str] = {list: "a list", str: "a string", float: "a number", bool: "true or false"}
    kind = kinds.get(type(value.parsed), "null")
    return Fault("not_an_object", f"expected an object, found {kind}", document_id, _exact(value))


def _exact(value: Value) -> object:
    """What a reject file should hold of a value: all of it, numbers exact; else its text."""
    try:
        return json.loads(value.text)
    except ValueError:
        return value.text.decode("utf-8", "backslashreplace")
