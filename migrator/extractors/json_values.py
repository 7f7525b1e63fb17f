"""What is read of JSON text: a value as it stands there, or why there is none; where it ends, and its record."""

from __future__ import annotations

import json
import re
from enum import Enum
from typing import Any, NamedTuple

from migrator.codec import InvalidDocument, decode_value
from migrator.codec.rejected import read_loosely
from migrator.errors import ConfigError
from migrator.extractors.rows import mismatch_fault
from migrator.model import Fault, Record

_ABSENT = object()
_BRACKET_OR_STRING = re.compile(r'["{}\[\]]')
_STRING_END = re.compile(r'["\\]')
_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|[{}\[\],]')
_LINE = re.compile(r"\n([ \t]*)([^ \t\r\n])")
_BLOCK = re.compile(r"[{\[][ \t\r]*\n([ \t]*)(?=\S)")
_OPENING = {"}": "{", "]": "["}


class Problem(Enum):
    """Why a value was passed over, or cannot be looked into."""

    TOO_LARGE = "document_too_large"
    BROKEN = "invalid_json"


class Value(NamedTuple):
    """A value's text as it stands in the file, and what it is; numbers in `parsed` are not exact.

    `why` says where and how one is broken.
    """

    parsed: Any
    text: bytes
    problem: Problem | None = None
    why: str = ""


def deep_value(text: bytes, name: str) -> Value:
    """Of a text that is nested deeper than the standard library reads."""
    try:
        return Value(decode_value(text), text)
    except InvalidDocument as invalid:
        return Value(None, text, Problem.BROKEN, f"{name}: {invalid.reason}.")


class BrokenJson(ConfigError):
    """The text is not JSON; not that it cannot be read."""


def listed(position: str, value: Value) -> Record:
    """Of an element of a list."""
    fault = _fault(value, "")
    return Record(position, fault=fault) if fault else Record(position, text=value.text)


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
        return Fault(value.problem.value, "the document is longer than can be held", document_id)
    if isinstance(value.parsed, dict):
        return None
    kinds: dict[type, str] = {list: "a list", str: "a string", float: "a number", bool: "true or false"}
    kind = kinds.get(type(value.parsed), "null")
    return Fault("not_an_object", f"expected an object, found {kind}", document_id, _exact(value))


def _exact(value: Value) -> object:
    """What a reject file should hold of a value: all of it, numbers exact; else its text."""
    try:
        return json.loads(value.text)
    except (ValueError, RecursionError):
        return value.text.decode("utf-8", "backslashreplace")


def skim(text: str, at: int, depth: int, *, in_string: bool) -> tuple[int, int, bool]:
    """Find where a value ends by its brackets and quotes alone, or how far this text goes; and the state there."""
    while found := (_STRING_END if in_string else _BRACKET_OR_STRING).search(text, at):
        at = found.end()
        if found[0] == "\\":
            if at == len(text):
                # What it escapes is in the next window.
                return at - 1, depth, in_string
            at += 1
            continue
        if found[0] == '"':
            in_string = not in_string
        else:
            depth += 1 if found[0] in "{[" else -1
        if depth == 0 and not in_string:
            return at, depth, in_string
    return len(text), depth, in_string


def end_of_broken(text: str, at: int, closing: str) -> int | None:
    """Where a broken element is over: at the comma or bracket after it, or at the end of its last line.

    First by its brackets and quotes. Where those do not come out even, the next line that begins as the
    element's own line does is the next element, so only what begins a line can be found by that.

    Args:
        text: from before the element on, with its line where that is known.
        at: where the element begins; of an object's member the value.
        closing: the bracket of the list or object.

    Returns:
        The place, or None where no way on is found.
    """
    following = _next_line(text, at, closing)
    stack: list[str] = []
    for token in _TOKEN.finditer(text, at, following if following is not None else len(text)):
        found = token[0]
        if not stack and found in (",", closing):
            return token.start()
        if found in ("{", "["):
            stack.append(found)
        elif found in _OPENING and (not stack or stack.pop() != _OPENING[found]):
            break
    if following is None:
        return None
    # The comma after it is left for whoever goes on.
    element = text[at:following].rstrip()
    return at + len(element.removesuffix(","))


def end_of_junk(text: str, at: int, closing: str) -> int | None:
    """Where what stands between two elements is over: at a comma, the closing bracket or the end of its line."""
    found = re.compile(rf"[,\n\{closing}]").search(text, at)
    return found.start() if found else None


def _next_line(text: str, at: int, closing: str) -> int | None:
    """The line of the next element or of the list's end, by the indentation of the element's own."""
    begin = text.rfind("\n", 0, at) + 1
    line = text[begin:at]
    indentation = line[: len(line) - len(line.lstrip(" \t"))]
    first = '"' if closing == "}" else "{"
    # One that is not the first of its line would be found or not, as reading began before or after the others.
    head = line.strip(" \t")
    if not begin or (head[:1] if closing == "}" else head + text[at : at + 1]) != first:
        return None
    block = _BLOCK.match(text, at)
    if block and block[1] == indentation:
        # What lies within is not indented, so its lines look like elements.
        return None
    for match in _LINE.finditer(text, at):
        inner, character = match.groups()
        if len(inner) > len(indentation):
            continue
        if inner == indentation and character == first:
            return match.start(2)
        if character == closing and (len(inner) < len(indentation) or not block):
            return match.start(2)
        if len(inner) < len(indentation):
            return None
    return None
