"""Cuts JSON texts into the raw texts of their parts, so that what is passed on keeps every digit as spelled.

A text is checked by the codec first; here only its brackets and quotes are followed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from migrator.codec import InvalidDocument

# Possessive, so that a string of many megabytes costs no memory to walk back through.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_KEY = re.compile(rb"[\s,{]*+(" + _STRING + rb")\s*+:\s*+", re.DOTALL)
_SCALAR = re.compile(_STRING + rb"|[^\s,\]}\[{\"]++", re.DOTALL)
_TOKEN = re.compile(_STRING + rb"|[\[{]|([\]}])", re.DOTALL)
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
