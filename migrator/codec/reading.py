"""Reads JSON texts exactly: integers of any size, every float, every string, any depth; nothing that is not JSON.

orjson is fast and strict, but makes floats of integers beyond 64 bits; so a text with that many digits in a row
is read by the standard library, and so is whatever orjson will not read.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator
from json import JSONDecodeError, JSONDecoder
from typing import Any, NamedTuple

import orjson

from migrator.codec import deep
from migrator.codec.faults import InvalidDocument, find, find_all, has_surrogate, json_fault, path_text

# Whatever the digit, it counts as one.
_DIGITS = bytes(ord("0") if ord("0") <= byte <= ord("9") else byte for byte in range(256))
# 2**64 - 1 has 20 digits, -2**63 has 19: with fewer in a row no number is beyond 64 bits.
_TOO_MANY = b"0" * 20
_TOO_MANY_NEGATIVE = b"-" + b"0" * 19
_MARKS = {b"\xef\xbb\xbf": "UTF-8", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_EXCERPT_LENGTH = 30


def decode(text: bytes | str) -> dict[str, Any]:
    """Read one document. Of a repeated key the last value counts. Half a surrogate pair is kept as it is.

    Args:
        text: one JSON object; bytes are UTF-8.

    Returns:
        The document; integers of any size and every float are exact.

    Raises:
        InvalidDocument: the text is not a JSON object in UTF-8, or holds a number that Python cannot.
    """
    return _object(decode_value(text))


def decode_value(text: bytes | str) -> Any:
    """Read one JSON value of any kind, as `decode` does.

    Args:
        text: one JSON value; bytes are UTF-8.

    Returns:
        The value, as exact as from `decode`.

    Raises:
        InvalidDocument: as for decode.
    """
    if isinstance(text, str):
        try:
            raw = text.encode()
        except UnicodeEncodeError:
            return _exact(text)
    else:
        raw = text
    digits = raw.translate(_DIGITS)
    if _TOO_MANY in digits or _TOO_MANY_NEGATIVE in digits:
        return _exact(text)
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return _exact(text)


def top_level(text: bytes) -> dict[str, Any]:
    """Check a text that is to be passed on unparsed, and give its object, whose numbers may be inexact.

    Args:
        text: one JSON object as UTF-8.

    Returns:
        Its fields; for looking at, not for writing.

    Raises:
        InvalidDocument: as for decode; half a surrogate pair is refused too.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = _exact(text)
        path = find(value, has_surrogate) if isinstance(value, dict) else None
        if path is not None:
            raise InvalidDocument(
                "lone_surrogate", f"{path_text(path)} holds half a surrogate pair, which is not Unicode text"
            ) from None
    return _object(value)


def one_line(text: bytes) -> bytes:
    """Take the line breaks out of a JSON text; in valid JSON they only stand between tokens, never in a string.

    Args:
        text: valid JSON as UTF-8.

    Returns:
        The same JSON on one line.
    """
    return text.translate(None, b"\r\n")


class _Unreadable(NamedTuple):
    """Stands in for what is valid for the scanner but not for us, until its path is known."""

    error: str
    why: str


def _object(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    kinds = {str: "a string", list: "an array", type(None): "null", bool: "true or false"}
    raise InvalidDocument("not_an_object", f"expected a JSON object, found {kinds.get(type(value), 'a number')}")


def _exact(text: bytes | str) -> Any:
    characters = text if isinstance(text, str) else _characters(text)
    if characters.startswith("\ufeff"):
        raise _marked("UTF-8")
    met: list[_Unreadable] = []
    try:
        value = deep.read(characters, _decoder(met))
    except JSONDecodeError as error:
        raise _invalid_json(error) from None
    if not met:
        return value
    for path, unreadable in find_all([value], lambda item: isinstance(item, _Unreadable)):
        raise InvalidDocument(unreadable.error, f"{path_text(path[1:])} is {unreadable.why}")
    # Of a repeated key only the last value is left to be found.
    raise InvalidDocument(met[0].error, f"a value of a repeated key is {met[0].why}")


def _characters(text: bytes) -> str:
    for mark, encoding in _MARKS.items():
        if text.startswith(mark):
            raise _marked(encoding)
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        byte = text[error.start]
        raise InvalidDocument(
            "invalid_utf8", f"the byte 0x{byte:02x} at offset {error.start} is not UTF-8 ({error.reason})"
        ) from None


def _marked(encoding: str) -> InvalidDocument:
    return InvalidDocument(
        "byte_order_mark",
        f"the text begins with a byte order mark (of {encoding}); JSON is UTF-8 without one",
    )


def _invalid_json(error: JSONDecodeError) -> InvalidDocument:
    if not error.doc.strip(" \t\r\n"):
        return InvalidDocument("invalid_json", "the text is empty", error.pos)
    why, at = json_fault(error)
    found = error.doc[at : at + _EXCERPT_LENGTH]
    place = f"found {found!a}" if found else "found the end of the text"
    return InvalidDocument("invalid_json", f"no valid JSON at character {at}: {why}, {place}", at)


def _decoder(met: list[_Unreadable]) -> JSONDecoder:
    """Reads numbers exactly; what cannot be read so is noted in `met`, and stands in its place."""

    def unreadable(error: str, why: str) -> _Unreadable:
        met.append(_Unreadable(error, why))
        return met[-1]

    def integer(text: str) -> int | _Unreadable:
        try:
            return int(text)
        except ValueError:
            digits = len(text.lstrip("-"))
            return unreadable("integer_too_long", f"an integer of {digits} digits, too long for Python")

    def number(text: str) -> float | _Unreadable:
        value = float(text)
        if math.isfinite(value):
            return value
        return unreadable("number_out_of_range", f"the number {text[:_EXCERPT_LENGTH]}, beyond every 64-bit float")

    def constant(text: str) -> _Unreadable:
        return unreadable("invalid_json", f"{text}, which is not a JSON value")

    return JSONDecoder(parse_int=integer, parse_float=number, parse_constant=constant)


# Possessive, so that a string of many megabytes costs no memory to walk back through.
STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_KEY = re.compile(rb"[\s,{]*+(" + STRING + rb")\s*+:\s*+", re.DOTALL)
_SCALAR = re.compile(STRING + rb"|[^\s,\]}\[{\"]++", re.DOTALL)
_TOKEN = re.compile(STRING + rb"|[\[{]|([\]}])", re.DOTALL)
_OBJECT, _OBJECT_END = re.compile(rb"\s*+(?=\{)"), re.compile(rb"[\s{]*+\}")
_LIST, _GAP = re.compile(rb"\s*+\["), re.compile(rb"[\s,]*+(\])?")


class Member(NamedTuple):
    """One member of an object: its key, the text of the value, and the text of both."""

    key: str
    value: bytes
    text: bytes


def members(text: bytes) -> Iterator[Member]:
    """The members of a JSON object in their order, each with its own text.

    >>> [member.text for member in members(b'{ "a" : 1.10, "b":[1e2, "}"] }')]
    [b'"a":1.10', b'"b":[1e2, "}"]']
    """
    at = _after(_OBJECT, text, 0)
    while key := _KEY.match(text, at):
        at = _value_end(text, key.end())
        value = text[key.end() : at]
        yield Member(json.loads(key[1]), value, key[1] + b":" + value)
    _after(_OBJECT_END, text, at)


def values(text: bytes) -> dict[str, bytes]:
    """The raw texts of an object's values by their names."""
    return {member.key: member.value for member in members(text)}


def without_members(text: bytes, names: Collection[str]) -> bytes:
    """The same object without some of its members."""
    return b"{" + b",".join([member.text for member in members(text) if member.key not in names]) + b"}"


def elements(text: bytes) -> Iterator[bytes]:
    """The elements of a JSON array, as raw texts.

    >>> list(elements(b'[1.0, {"a": "]"} ,[]]'))
    [b'1.0', b'{"a": "]"}', b'[]']
    """
    at = _after(_LIST, text, 0)
    while (gap := _GAP.match(text, at)) and not gap[1]:
        at = _value_end(text, gap.end())
        yield text[gap.end() : at]


def _after(pattern: re.Pattern[bytes], text: bytes, at: int) -> int:
    match = pattern.match(text, at)
    if match is None:
        raise InvalidDocument("invalid_json", "the text ends in the middle")
    return match.end()


def _value_end(text: bytes, at: int) -> int:
    if text[at : at + 1] not in {b"[", b"{"}:
        return _after(_SCALAR, text, at)
    depth = 0
    for token in _TOKEN.finditer(text, at):
        if token[1]:
            depth -= 1
            if not depth:
                return token.end()
        elif token[0] in {b"[", b"{"}:
            depth += 1
    raise InvalidDocument("invalid_json", "the text ends in the middle")
